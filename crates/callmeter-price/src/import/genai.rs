//! genai-prices' `data.json`, in its older and its second form: USD for a million tokens, with history and match rules.

use super::model::{Found, Place, common_factor};
use super::node::Node;
use super::{ImportFormat, Imported};
use crate::canonical_provider;
use crate::format::{ModelText, PeriodText, WindowText};

/// Its name of a price → ours.
const KEYS: &[(&str, &str)] = &[
    ("input_mtok", "input"),
    ("output_mtok", "output"),
    ("cache_read_mtok", "cache_read"),
    ("cache_write_mtok", "cache_write_5m"),
    ("cache_write_5m_mtok", "cache_write_5m"),
    ("cache_write_1h_mtok", "cache_write_1h"),
    ("output_reasoning_mtok", "reasoning"),
    ("input_audio_mtok", "audio_in"),
    ("output_audio_mtok", "audio_out"),
    ("cache_audio_read_mtok", "cache_read_audio"),
    ("input_image_mtok", "image_in"),
    ("output_image_mtok", "image_out"),
    ("cache_image_read_mtok", "cache_read_image"),
    ("input_video_mtok", "video_in"),
    ("output_video_mtok", "video_out"),
    ("requests_kcount", "request_1k"),
    ("web_searches_kcount", "web_search_1k"),
    ("file_searches_kcount", "file_search_1k"),
];

pub(super) fn read(file: &Node) -> Imported {
    let mut imported = Imported::new(ImportFormat::GenaiPrices);
    for provider in file.items() {
        let Some(id) = provider.get("id").and_then(Node::text) else {
            continue;
        };
        let seller = canonical_provider(id).to_owned();
        for model in provider.get("models").into_iter().flat_map(Node::items) {
            if let Some(id) = model.get("id").and_then(Node::text) {
                one(&mut imported, &seller, id, model);
            }
        }
    }
    imported
}

fn one(imported: &mut Imported, provider: &str, id: &str, model: &Node) {
    let mut names = Names::default();
    names.collect(model.get("match").unwrap_or(&Node::Null));
    names.exact.retain(|name| name != id);
    let Some(prices) = model.get("prices") else {
        return;
    };
    let history: Vec<&Node> = match prices {
        Node::List(items) => items.iter().collect(),
        one => vec![one],
    };
    let mut periods: Vec<PeriodText> = Vec::new();
    for item in history {
        let (constraint, prices) = match item.get("prices") {
            Some(prices) => (item.get("constraint"), prices),
            None => (None, item),
        };
        let Some(mut period) = imported.period(provider, id, found(prices)) else {
            continue;
        };
        let word = |name: &str| {
            constraint
                .and_then(|rule| rule.get(name))
                .and_then(Node::text)
        };
        if let (Some(start), Some(end)) = (word("start_time"), word("end_time")) {
            // Hours there have no first day: they belong to the newest price.
            let window = periods
                .last()
                .and_then(|last| hours(last, &period, start, end));
            match (periods.last_mut(), window) {
                (Some(last), Some(window)) => last.windows.push(window),
                _ => imported.skip(
                    provider,
                    id,
                    "prices by the hour without a common factor: left out",
                ),
            }
            continue;
        }
        if let Some(start) = word("start_date") {
            if let Some(last) = periods.last_mut() {
                last.until = Some(start.to_owned());
            }
            period.from = Some(start.to_owned());
        }
        periods.push(period);
    }
    if periods.is_empty() {
        return;
    }
    imported.models.push(ModelText {
        provider: provider.to_owned(),
        model: id.to_owned(),
        aliases: names.exact,
        dated: names.is_dated,
        periods,
        ..ModelText::default()
    });
}

fn found(prices: &Node) -> Found {
    let mut found = Found::default();
    for (key, price) in prices.members() {
        let Some((_, name)) = KEYS.iter().find(|(known, _)| known == key) else {
            if *price != Node::Null {
                found
                    .notes
                    .push(format!("{key} has no like here: left out"));
            }
            continue;
        };
        match price.get("base") {
            None => {
                if let Some(text) = price.number() {
                    found.put(Place::default(), name, text, 0);
                }
            }
            Some(base) => {
                if let Some(text) = base.number() {
                    found.put(Place::default(), name, text, 0);
                }
                for tier in price.get("tiers").into_iter().flat_map(Node::items) {
                    let over = tier.get("start").and_then(Node::whole);
                    if let (Some(_), Some(text)) = (over, tier.get("price").and_then(Node::number))
                    {
                        let place = Place {
                            over,
                            ..Place::default()
                        };
                        found.put(place, name, text, 0);
                    }
                }
            }
        }
    }
    found
}

/// Hours of the day with a price of their own, as a factor on the price of the rest.
fn hours(base: &PeriodText, dear: &PeriodText, start: &str, end: &str) -> Option<WindowText> {
    let rates = |period: &PeriodText| -> Vec<(String, String)> {
        let rates = period.rates.iter();
        rates
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect()
    };
    let (below, above) = (rates(base), rates(dear));
    let factor = common_factor(&borrowed(&below), &borrowed(&above))?;
    // `00:30:00Z` to the minute.
    let minute = |text: &str| text.get(..5).map(str::to_owned);
    Some(WindowText {
        utc: (minute(start)?, minute(end)?),
        weekdays: None,
        from: None,
        until: None,
        factor,
    })
}

fn borrowed(rates: &[(String, String)]) -> Vec<(&str, &str)> {
    rates
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect()
}

/// What a match rule says exactly: names, and whether snapshots carry a date. What begins with or contains something
/// is no name.
#[derive(Default)]
struct Names {
    exact: Vec<String>,
    is_dated: bool,
}

impl Names {
    fn collect(&mut self, rule: &Node) {
        if let Some(name) = rule.get("equals").and_then(Node::text) {
            self.exact.push(name.to_owned());
        }
        if let Some(pattern) = rule.get("regex").and_then(Node::text) {
            self.pattern(pattern);
        }
        for item in rule.get("or").into_iter().flat_map(Node::items) {
            self.collect(item);
        }
    }

    /// An anchored pattern that is a name, or a name and a date.
    fn pattern(&mut self, pattern: &str) {
        let Some(inner) = pattern
            .strip_prefix('^')
            .and_then(|inner| inner.strip_suffix('$'))
        else {
            return;
        };
        let dates = ["-\\d{4}-\\d{2}-\\d{2}", "-\\d{8}", "@\\d{8}"];
        let (head, is_dated) = dates
            .iter()
            .find_map(|date| inner.strip_suffix(date))
            .map_or((inner, false), |head| (head, true));
        let name = head.replace("\\.", ".").replace("\\-", "-");
        if name.contains(['\\', '(', '[', '*', '+', '?', '|', '{'])
            || head.replace("\\.", "").contains('.')
        {
            return;
        }
        self.is_dated |= is_dated;
        if !self.exact.contains(&name) {
            self.exact.push(name);
        }
    }
}
