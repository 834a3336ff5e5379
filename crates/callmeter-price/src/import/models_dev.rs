//! models.dev's `api.json`: USD for a million tokens, today's prices alone.

use super::model::{Found, Place};
use super::node::Node;
use super::{ImportFormat, Imported};
use crate::canonical_provider;
use crate::format::ModelText;

const KEYS: &[(&str, &str)] = &[
    ("input", "input"),
    ("output", "output"),
    ("cache_read", "cache_read"),
    ("cache_write", "cache_write_5m"),
    ("reasoning", "reasoning"),
    ("input_audio", "audio_in"),
    ("output_audio", "audio_out"),
];

pub(super) fn read(file: &Node) -> Imported {
    let mut imported = Imported::new(ImportFormat::ModelsDev);
    for (id, provider) in file.members() {
        let seller = canonical_provider(id).to_owned();
        let models = provider.get("models");
        for (model, entry) in models.into_iter().flat_map(Node::members) {
            let Some(cost) = entry.get("cost") else {
                continue;
            };
            let mut found = Found::default();
            put(&mut found, &seller, "", cost);
            let modes = entry
                .get("experimental")
                .and_then(|experimental| experimental.get("modes"));
            for (mode, entry) in modes.into_iter().flat_map(Node::members) {
                if let Some(cost) = entry.get("cost") {
                    put(&mut found, &seller, mode, cost);
                }
            }
            if let Some(period) = imported.period(&seller, model, found) {
                imported.models.push(ModelText {
                    provider: seller.clone(),
                    model: model.clone(),
                    periods: vec![period],
                    ..ModelText::default()
                });
            }
        }
    }
    imported
}

fn put(found: &mut Found, seller: &str, service_tier: &str, cost: &Node) {
    let mut rates = |over: Option<u64>, cost: &Node| {
        for (key, name) in KEYS {
            if let Some(text) = cost.get(key).and_then(Node::number) {
                let place = Place {
                    service_tier: service_tier.to_owned(),
                    over,
                };
                found.put(place, name, text, 0);
            }
        }
    };
    rates(None, cost);
    // xAI alone says "200,000 and more".
    let over = |size: u64| match seller {
        "xai" => size.saturating_sub(1),
        _ => size,
    };
    let mut has_tiers = false;
    for tier in cost.get("tiers").into_iter().flat_map(Node::items) {
        let size = tier
            .get("tier")
            .and_then(|tier| tier.get("size"))
            .and_then(Node::whole);
        if let Some(size) = size {
            has_tiers = true;
            rates(Some(over(size)), tier);
        }
    }
    // The older form, which stands beside the newer one with another threshold.
    if let Some(tier) = cost.get("context_over_200k").filter(|_| !has_tiers) {
        rates(Some(over(200_000)), tier);
    }
}
