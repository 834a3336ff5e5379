//! Real cases in a table: providers' examples, tiers at the boundary, before and after a change, every form of a name.
//!
//! The amounts were computed from the printed prices beside them, in fractions, by a program that knows nothing of this
//! one.

use crate::support::line_with;

/// The table's words for counts.
const WORDS: &[(&str, &str)] = &[
    ("input", "input_tokens"),
    ("output", "output_tokens"),
    ("read", "cache_read_tokens"),
    ("write", "cache_write_tokens"),
    ("write1h", "cache_write_1h_tokens"),
    ("reasoning", "reasoning_tokens"),
    ("audio_in", "audio_input_tokens"),
    ("audio_out", "audio_output_tokens"),
    ("image_in", "image_input_tokens"),
];
const UNITS: &[(&str, &str)] = &[
    ("search", "web_search"),
    ("page", "page"),
    ("search_units", "search_units"),
    ("citation", "citation_tokens"),
];

fn usage(text: &str) -> String {
    let (mut counts, mut units) = (Vec::new(), Vec::new());
    for word in text.split(' ') {
        let (name, count) = word.split_once('=').unwrap();
        let is = |(known, _): &&(&str, &str)| *known == name;
        match (WORDS.iter().find(is), UNITS.iter().find(is)) {
            (Some((_, name)), _) => counts.push(format!("\"{name}\":{count}")),
            (_, Some((_, name))) => units.push(format!("\"{name}\":{count}")),
            _ => panic!("{name}"),
        }
    }
    if !units.is_empty() {
        counts.push(format!("\"usage_extra\":{{{}}}", units.join(",")));
    }
    counts.join(",")
}

#[test]
fn every_case_of_the_table_costs_what_it_says() {
    let table = include_str!("../golden/cases.csv");
    let mut cases = 0;
    for case in table.lines().skip(1) {
        let [provider, model, at, tier, region, counts, cost, told, _] =
            case.splitn(9, ',').collect::<Vec<_>>()[..]
        else {
            panic!("{case}")
        };
        let mut more = String::new();
        for (name, value) in [("service_tier", tier), ("region", region)] {
            if !value.is_empty() {
                more.push_str(&format!(",\"{name}\":\"{value}\""));
            }
        }
        let priced = line_with(provider, model, &usage(counts), at, &more);
        let cost = if cost.is_empty() { "null" } else { cost };
        assert_eq!(priced, (cost.to_owned(), told.to_owned()), "{case}");
        cases += 1;
    }
    assert!(cases > 60);
}
