//! litellm's `model_prices_and_context_window.json`: USD for one token, a key for every kind, length and tier.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Found, Place, common_factor};
use super::node::Node;
use super::{ImportFormat, Imported};
use crate::amount::Decimal;
use crate::canonical_provider;
use crate::compile::time_of_day;
use crate::format::{ModelText, WindowText};

/// litellm's key, without length and tier → our rate, and the power of ten between them.
const KEYS: &[(&str, &str, i32)] = &[
    ("input_cost_per_token", "input", 6),
    ("output_cost_per_token", "output", 6),
    ("cache_read_input_token_cost", "cache_read", 6),
    ("cache_creation_input_token_cost", "cache_write_5m", 6),
    (
        "cache_creation_input_token_cost_above_1hr",
        "cache_write_1h",
        6,
    ),
    (
        "cache_creation_input_token_cost_above_12hr",
        "cache_write_24h",
        6,
    ),
    ("output_cost_per_reasoning_token", "reasoning", 6),
    ("input_cost_per_audio_token", "audio_in", 6),
    ("output_cost_per_audio_token", "audio_out", 6),
    ("cache_read_input_audio_token_cost", "cache_read_audio", 6),
    ("input_cost_per_image_token", "image_in", 6),
    ("output_cost_per_image_token", "image_out", 6),
    ("cache_read_input_image_token_cost", "cache_read_image", 6),
    ("input_cost_per_video_token", "video_in", 6),
    ("output_cost_per_video_token", "video_out", 6),
    ("citation_cost_per_token", "citation", 6),
    ("input_cost_per_query", "per_query", 0),
    ("input_cost_per_second", "per_second_in", 0),
    ("output_cost_per_second", "per_second_out", 0),
    ("input_cost_per_image", "per_image_each_in", 0),
    ("output_cost_per_image", "per_image_each_out", 0),
    ("input_cost_per_character", "per_char_in", 0),
    ("output_cost_per_character", "per_char_out", 0),
    ("ocr_cost_per_page", "per_page", 0),
    ("annotation_cost_per_page", "per_page_annotated", 0),
    (
        "google_maps_grounding_cost_per_query",
        "per_maps_grounding",
        0,
    ),
    ("file_search_cost_per_1k_calls", "file_search_1k", 0),
];

const TIERS: &[(&str, &str)] = &[
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
];

pub(super) fn read(file: &Node) -> Imported {
    let mut imported = Imported::new(ImportFormat::LiteLlm);
    for (key, entry) in file.members() {
        let provider = entry.get("litellm_provider").and_then(Node::text);
        let Some(provider) = provider.filter(|_| key != "sample_spec") else {
            continue;
        };
        let provider = seller(provider);
        // The key begins with the provider where that is not the default one.
        let model = match key.split_once('/') {
            Some((head, rest)) if canonical_provider(head) == provider => rest,
            _ => key,
        };
        one(&mut imported, provider, model, entry);
    }
    imported
}

fn seller(provider: &str) -> &str {
    // `vertex_ai-anthropic_models` and its like.
    let head = provider.split("-models").next().unwrap_or(provider);
    if head.starts_with("vertex_ai-") {
        return "vertex_ai";
    }
    canonical_provider(match provider {
        "azure_text" => "azure",
        other => other,
    })
}

fn one(imported: &mut Imported, provider: &str, model: &str, entry: &Node) {
    let mut found = Found::default();
    let mut writes_are_free = false;
    for (key, value) in entry.members() {
        let Some((place, name, shift)) = meaning(key, provider) else {
            continue;
        };
        let Some(text) = value.number() else { continue };
        let is_zero = Decimal::parse(text).is_some_and(|number| !number.is_above(0));
        if name.starts_with("cache_write") && is_zero {
            // No fee for writing: it costs as input does.
            writes_are_free = true;
            continue;
        }
        found.put(place, name, text, shift);
    }
    let searches = entry.get("search_context_cost_per_query");
    if let Some(text) = searches
        .and_then(|costs| costs.get("search_context_size_medium"))
        .and_then(Node::number)
    {
        found.put(Place::default(), "web_search_1k", text, 3);
    }
    let windows = match entry.get("off_peak_pricing") {
        Some(off_peak) => match peak_windows(&mut found, off_peak) {
            Some(windows) => windows,
            None => {
                found
                    .notes
                    .push("off_peak_pricing has no common factor: left out".to_owned());
                Vec::new()
            }
        },
        None => Vec::new(),
    };
    let Some(mut period) = imported.period(provider, model, found) else {
        return;
    };
    period.windows = windows;
    imported.models.push(ModelText {
        provider: provider.to_owned(),
        model: model.to_owned(),
        cache_writes: writes_are_free.then(|| "input".to_owned()),
        regions: regions(entry),
        periods: vec![period],
        ..ModelText::default()
    });
}

/// What a key prices, where, and the power of ten to our unit.
fn meaning(key: &str, provider: &str) -> Option<(Place, &'static str, i32)> {
    let mut place = Place::default();
    let mut rest = key;
    for (end, tier) in TIERS {
        if let Some(head) = rest.strip_suffix(end) {
            (rest, place.service_tier) = (head, (*tier).to_owned());
        }
    }
    if let Some((head, length)) = rest
        .strip_suffix("k_tokens")
        .and_then(|head| head.rsplit_once("_above_"))
    {
        let over = length.parse::<u64>().ok()?.checked_mul(1_000)?;
        // xAI alone says "200,000 and more".
        let over = if provider == "xai" {
            over.checked_sub(1)?
        } else {
            over
        };
        (rest, place.over) = (head, Some(over));
    }
    let (_, name, shift) = KEYS.iter().find(|(known, _, _)| *known == rest)?;
    Some((place, name, *shift))
}

fn regions(entry: &Node) -> BTreeMap<String, String> {
    let mut regions = BTreeMap::new();
    for region in ["us", "eu"] {
        let own = entry
            .get("provider_specific_entry")
            .and_then(|own| own.get(region));
        let uplift = entry.get(&format!("regional_processing_uplift_multiplier_{region}"));
        if let Some(factor) = own.or(uplift).and_then(Node::number) {
            regions.insert(region.to_owned(), factor.to_owned());
        }
    }
    regions
}

/// The file's plain price is the one of peak hours: the price becomes the one outside of them, and peak hours
/// become windows.
fn peak_windows(found: &mut Found, off_peak: &Node) -> Option<Vec<WindowText>> {
    let mut cheap = Found::default();
    for (key, value) in off_peak.members() {
        if let (Some((place, name, shift)), Some(text)) = (meaning(key, ""), value.number()) {
            cheap.put(place, name, text, shift);
        }
    }
    let names = ["input", "output", "cache_read"];
    let of = |found: &Found| -> Vec<(&'static str, String)> {
        let rates = names.iter();
        rates
            .filter_map(|name| Some((*name, found.plain(name)?.to_owned())))
            .collect()
    };
    let (below, dear) = (of(&cheap), of(found));
    let factor = common_factor(&borrowed(&below), &borrowed(&dear))?;
    let mut windows = Vec::new();
    for window in off_peak.get("windows")?.items() {
        let mut hours = Vec::new();
        match window.get("hours_utc")? {
            Node::Text(text) => hours.push(span(text)?),
            list => {
                for text in list.items() {
                    hours.push(span(text.text()?)?);
                }
            }
        }
        let weekdays: Option<BTreeSet<u8>> = window.get("weekdays").map(|days| {
            let days = days.items().filter_map(Node::whole);
            days.filter_map(|day| u8::try_from(day).ok()).collect()
        });
        for (start, end) in rest_of_day(hours) {
            windows.push(WindowText {
                utc: (clock(start), clock(end)),
                weekdays: weekdays.clone(),
                from: None,
                until: None,
                factor: factor.clone(),
            });
        }
    }
    for (name, text) in below {
        found.put(Place::default(), name, &text, 0);
    }
    Some(windows)
}

fn borrowed<'a>(rates: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    rates
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect()
}

const DAY: i64 = 24 * 60;

/// Minutes of a span such as `10:00-00:00`; midnight at the end is the end of the day.
fn span(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (time_of_day(start).ok()?, time_of_day(end).ok()?);
    Some((start, if end == 0 { DAY } else { end }))
}

/// What of a day some spans leave.
fn rest_of_day(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let mut rest = Vec::new();
    let mut from = 0;
    for (start, end) in spans {
        if start > from {
            rest.push((from, start));
        }
        from = from.max(end);
    }
    if from < DAY {
        rest.push((from, DAY));
    }
    rest
}

fn clock(minute: i64) -> String {
    let minute = minute.rem_euclid(DAY);
    format!("{:02}:{:02}", minute.div_euclid(60), minute.rem_euclid(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_kind_length_and_tier() {
        let (place, name, _) = meaning(
            "cache_creation_input_token_cost_above_12hr_above_272k_tokens_flex",
            "openai",
        )
        .unwrap();
        assert_eq!(
            (place.over, place.service_tier.as_str()),
            (Some(272_000), "flex")
        );
        assert_eq!(name, "cache_write_24h");
        let (place, ..) = meaning("input_cost_per_token_above_200k_tokens", "xai").unwrap();
        assert_eq!(place.over, Some(199_999));
        assert!(meaning("max_tokens", "openai").is_none());
    }

    #[test]
    fn peak_hours_are_what_off_peak_hours_leave() {
        let hours = vec![(0, 60), (240, 360), (600, DAY)];
        assert_eq!(rest_of_day(hours), [(60, 240), (360, 600)]);
        assert!(rest_of_day(vec![(0, DAY)]).is_empty());
    }
}
