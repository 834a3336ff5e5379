//! One record of the merged lists as lines of the packed book.
//!
//! Left out: records and periods on which the sources disagree without a majority, and prices that are none. Taken
//! back: what floating-point arithmetic left of a printed price. Added, because the lists leave it out and the
//! provider prints it: Gemini's price of text is that of images and video; the search fees of Anthropic, OpenAI
//! and Gemini 2; Vertex AI's regional endpoints for newer Claude models.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use callmeter_price::import::printed;
use serde_json::Value;

use super::text_of;

/// The lines of a record; `None` when nothing of it is certain.
pub(crate) fn lines<'a>(
    provider: &str,
    record: &'a Value,
    names: &mut BTreeSet<&'a str>,
) -> Option<String> {
    let has_disputed_period =
        items(record, "periods").any(|period| period.get("disputed").is_some());
    if record.get("disputed").is_some() && !has_disputed_period {
        return None;
    }
    let model = text_of(record, "model");
    let of = Seller {
        provider,
        model,
        mode: text_of(record, "mode"),
    };
    let periods: Vec<String> = items(record, "periods")
        .filter(|period| period.get("disputed").is_none())
        .filter_map(|period| of.period(period))
        .collect();
    if periods.is_empty() {
        return None;
    }
    let mut lines = format!("M\t{model}\t{}\n", of.letters(record));
    for id in items(record, "ids").filter_map(Value::as_str) {
        if !id.starts_with("models/") && names.insert(id) {
            let _ = writeln!(lines, "A\t{id}");
        }
    }
    for (region, factor) in of.regions(record) {
        let _ = writeln!(lines, "G\t{region}\t{factor}");
    }
    lines.push_str(&periods.concat());
    Some(lines)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whose model it is.
struct Seller<'a> {
    provider: &'a str,
    model: &'a str,
    mode: &'a str,
}

impl Seller<'_> {
    /// How snapshots are dated, and whether cache writes cost as input.
    fn letters(&self, record: &Value) -> String {
        let is_claude = self.model.contains("claude");
        let dated = match self.provider {
            "openai" | "azure" | "azure_ai" => "d",
            "anthropic" | "xai" => "c",
            "vertex" if is_claude => "@",
            "bedrock" if is_claude => "b",
            _ => "",
        };
        let has_fee = items(record, "periods").any(|period| {
            let prices = period.get("prices").and_then(Value::as_object);
            prices.is_some_and(|prices| prices.keys().any(|name| name.starts_with("cache_write")))
        });
        let writes = match self.provider {
            "openai" | "azure" | "azure_ai" => !is_claude && !charges_for_writing(self.model),
            "google" | "vertex" => self.model.contains("gemini"),
            "deepseek" | "xai" => true,
            _ => false,
        };
        format!("{dated}{}", if writes && !has_fee { "w" } else { "" })
    }

    fn period(&self, source: &Value) -> Option<String> {
        let prices = source.get("prices")?;
        // Gemini's price of text is that of images and video, unless the price says otherwise.
        let fills = matches!(self.provider, "google" | "vertex")
            && self.model.starts_with("gemini")
            && self.mode.is_empty()
            && prices.get("image_in").is_none();
        let mut base = Self::rates(prices, fills);
        if base.is_empty() {
            return None;
        }
        self.add_fees(&mut base);
        let mut lines = format!(
            "T\t{}\t{}\t{}\n",
            text_of(source, "from"),
            text_of(source, "until"),
            text_of(source, "agree")
        );
        lines.push_str(&line_of("R", &base));
        lines.push_str(&Self::tiers(source, fills));
        let variants = source.get("variants").and_then(Value::as_object);
        for (name, variant) in variants.into_iter().flatten() {
            // "thinking" is a mode of answering, not a tier that a request asks for.
            if name == "thinking" {
                continue;
            }
            let _ = writeln!(lines, "V\t{name}");
            let rates = Self::rates(variant.get("prices").unwrap_or(&Value::Null), fills);
            if !rates.is_empty() {
                lines.push_str(&line_of("R", &rates));
            }
            lines.push_str(&Self::tiers(variant, fills));
        }
        let day = source.get("time_of_day").unwrap_or(&Value::Null);
        for window in items(day, "windows") {
            let at = |index: usize| window["utc"][index].as_str().unwrap_or_default();
            let weekdays: String = items(window, "weekdays").map(Value::to_string).collect();
            let _ = writeln!(
                lines,
                "W\t{}\t{}\t{weekdays}\t{}\t{}\t{}",
                at(0),
                at(1),
                text_of(window, "factor"),
                text_of(day, "from"),
                text_of(day, "until")
            );
        }
        Some(lines)
    }

    fn tiers(source: &Value, fills: bool) -> String {
        let tiers: BTreeMap<u64, String> = items(source, "tiers")
            .filter_map(|tier| {
                let over = tier.get("over_input_tokens")?.as_u64()?;
                let rates = Self::rates(tier.get("prices")?, fills);
                (!rates.is_empty()).then(|| (over, line_of(&format!("K\t{over}"), &rates)))
            })
            .collect();
        tiers.into_values().collect()
    }

    /// The rates, as printed. A cached read above the input price is another thing's price.
    fn rates(source: &Value, fills: bool) -> BTreeMap<String, String> {
        let mut rates: BTreeMap<String, String> = source
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, amount)| Some((name.clone(), printed(amount.as_str()?)?)))
            .collect();
        let number = |text: &str| {
            let (amount, by) = text.split_once('/').unwrap_or((text, "1"));
            Some(amount.parse::<f64>().ok()? / by.parse::<f64>().ok()?)
        };
        for (part, whole) in [("cache_read", "input"), ("cache_read_audio", "audio_in")] {
            if let (Some(read), Some(input)) = (rates.get(part), rates.get(whole))
                && number(read) > number(input)
            {
                rates.remove(part);
            }
        }
        if fills && let Some(input) = rates.get("input").cloned() {
            for media in ["image_in", "video_in"] {
                rates
                    .entry(media.to_owned())
                    .or_insert_with(|| input.clone());
            }
        }
        rates
    }

    /// Fees that hold for all models of a provider and that lists give for some.
    fn add_fees(&self, rates: &mut BTreeMap<String, String>) {
        let is_chat =
            self.mode.is_empty() && rates.contains_key("input") && rates.contains_key("output");
        let fees: &[(&str, &str)] = match self.provider {
            "anthropic" => &[("web_search_1k", "10")],
            "openai" => &[("web_search_1k", "10"), ("file_search_1k", "2.5")],
            "google" if self.model.starts_with("gemini-2") => {
                &[("web_search_1k", "35"), ("per_maps_grounding", "0.025")]
            }
            _ => &[],
        };
        for (name, amount) in fees.iter().filter(|_| is_chat) {
            rates
                .entry((*name).to_owned())
                .or_insert_with(|| (*amount).to_owned());
        }
    }

    fn regions(&self, record: &Value) -> BTreeMap<String, String> {
        let mut regions = BTreeMap::new();
        let extra = record.get("extra").unwrap_or(&Value::Null);
        for region in ["us", "eu"] {
            let own = &extra["provider_specific_entry"][region];
            let uplift = &extra[format!("regional_processing_uplift_multiplier_{region}")];
            for factor in [own, uplift] {
                if factor.is_number() {
                    regions.insert(region.to_owned(), factor.to_string());
                }
            }
        }
        if self.provider == "vertex" && is_newer_claude(self.model) {
            regions.insert("global".to_owned(), "1".to_owned());
            regions.insert("*".to_owned(), "1.1".to_owned());
        }
        regions
    }
}

/// OpenAI charges for cache writes since GPT-5.6: without a rate they have no price.
fn charges_for_writing(model: &str) -> bool {
    let Some((_, rest)) = model.split_once("gpt-") else {
        return false;
    };
    let version: String = rest
        .chars()
        .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
        .collect();
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (5, 6)
}

/// Claude models since 4.5, whose regional endpoints cost more.
fn is_newer_claude(model: &str) -> bool {
    let Some(rest) = model.strip_prefix("claude-") else {
        return false;
    };
    let rest = rest.split('@').next().unwrap_or(rest);
    let mut parts = rest.split('-');
    let is_family = parts
        .next()
        .is_some_and(|family| family.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let mut number = || {
        let part = parts.next()?;
        part.parse::<u32>().ok().filter(|number| *number < 100)
    };
    is_family && (number().unwrap_or(0), number().unwrap_or(0)) >= (4, 5)
}

fn line_of(head: &str, rates: &BTreeMap<String, String>) -> String {
    let mut line = head.to_owned();
    for (name, amount) in rates {
        let _ = write!(line, "\t{name}\t{amount}");
    }
    line.push('\n');
    line
}
