//! The demo: its totals are those of the trace, its killed worker's calls come to light, and it touches
//! nothing that is not its own.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

use crate::support::Place;

/// Number, input and output tokens of the first `count` requests of the trace; `None` where the demo lets
/// a request fail without usage.
fn trace(count: usize) -> Vec<Option<(u64, u64)>> {
    let file = std::fs::File::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/azure2023_conv.csv.gz"
    ));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file.unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .skip(1)
        .take(count)
        .enumerate()
        .map(|(number, line)| {
            let fields: Vec<u64> = line
                .split(',')
                .map(|field| field.parse().unwrap())
                .collect();
            (number % 50 != 49).then(|| (fields[1], fields[2]))
        })
        .collect()
}

/// An amount of at most twelve decimal places in pico-USD.
fn pico(text: &str) -> i128 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{rest:0<12}").parse().unwrap()
}

#[test]
fn the_demo_s_totals_are_those_of_the_trace() {
    let place = Place::new();
    let demo = place.path().join("demo");
    let demo = demo.to_str().unwrap();
    let output = place.run(&[
        "demo",
        "--json",
        "--calls",
        "3000",
        "--seconds",
        "2",
        "--dir",
        demo,
    ]);
    assert!(output.status.success(), "{}", place.shown(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (killed, report) = (&told["killed"], &told["report"]);
    let number = |value: &Value| value.as_u64().unwrap();
    assert!(number(&killed["finished"]) > 100, "{killed}");
    assert_eq!(
        number(&killed["finished"]) - number(&killed["stored"]),
        number(&killed["lost"])
    );
    assert_eq!(number(&killed["lost"]), 0, "{killed}");

    // Every call of the store, once, by its number in the trace.
    let home = told["home"].as_str().unwrap();
    let output = place
        .command(&["calls", "--json", "--limit", "100000"])
        .env("CALLMETER_HOME", home)
        .output()
        .unwrap();
    let mut calls: BTreeMap<usize, Value> = BTreeMap::new();
    let mut aborted = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        if call["status"] == "aborted" {
            // In flight when its process was killed; it knows no request id yet, and was made again.
            aborted += 1;
            continue;
        }
        let number = call["request_id"]
            .as_str()
            .unwrap()
            .strip_prefix("azure-")
            .unwrap();
        let number = number.parse().unwrap();
        assert!(
            calls.insert(number, call).is_none(),
            "{number} is there twice"
        );
    }
    let trace = trace(3_000);
    let missing = (0..trace.len()).filter(|number| !calls.contains_key(number));
    assert_eq!(missing.clone().count() as u64, number(&killed["lost"]));
    assert!(
        missing.clone().all(|number| number % 4 == 1),
        "only the killed worker's may be missing"
    );

    let made = calls.keys().filter_map(|number| trace[*number]);
    let totals = &report["totals"];
    assert_eq!(number(&totals["calls"]), calls.len() as u64 + aborted);
    assert_eq!(
        number(&totals["input_tokens"]),
        made.clone().map(|(input, _)| input).sum::<u64>()
    );
    assert_eq!(
        number(&totals["output_tokens"]),
        made.map(|(_, output)| output).sum::<u64>()
    );
    // What a token costs, read and written, in pico-USD: the makers' prices in USD a million tokens, times 10⁶.
    let prices: BTreeMap<&str, (u64, u64)> = BTreeMap::from([
        ("claude-haiku-4-5", (1_000_000, 5_000_000)),
        ("claude-sonnet-4-6", (3_000_000, 15_000_000)),
        ("gemini-2.5-flash", (300_000, 2_500_000)),
        ("gpt-4o", (2_500_000, 10_000_000)),
        ("gpt-5-mini", (250_000, 2_000_000)),
        ("hermes3:latest", (0, 0)),
    ]);
    let cost: i128 = calls
        .iter()
        .filter_map(|(number, call)| {
            let (input, output) = trace[*number]?;
            let (read, written) = prices.get(call["model_requested"].as_str()?)?;
            Some(i128::from(input * read + output * written))
        })
        .sum();
    assert_eq!(pico(totals["cost_usd"].as_str().unwrap()), cost);
    let complete = &report["complete"];
    assert_eq!(
        (&complete["holds"], number(&complete["pending"])),
        (&Value::Bool(true), 0)
    );
    // The user's own home was not touched.
    assert!(!place.home().exists());
}

#[test]
fn the_demo_leaves_a_directory_alone_that_is_not_its_own() {
    let place = Place::new();
    place.write("precious.txt", "mine");
    let output = place.run(&["demo", "--dir", place.work().to_str().unwrap()]);
    insta::assert_snapshot!(place.shown(&output));
    assert!(place.work().join("precious.txt").exists());
}

#[test]
fn the_readme_shows_the_figures_of_the_trace() {
    let readme = include_str!("../../../../README.md");
    let shown = readme.split("<!-- demo -->").nth(1).unwrap();
    let line = |start: &str| {
        let found = shown.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("the README's demo has no line '{start}…'"))
    };
    let counts: Vec<(u64, u64)> = trace(12_000).into_iter().flatten().collect();
    let millions = |sum: u64| format!("{}.{}M", sum / 1_000_000, sum % 1_000_000 / 100_000);
    let total: Vec<&str> = line("total").split_whitespace().collect();
    let expected = [
        millions(counts.iter().map(|(input, _)| input).sum()),
        millions(counts.iter().map(|(_, output)| output).sum()),
    ];
    assert_eq!(
        [total[4], total[5]],
        expected.each_ref().map(String::as_str)
    );
    // Calls that were in flight when their process was killed are rows too, without tokens.
    let made: u64 = total[1].replace(',', "").parse().unwrap();
    assert!(made >= 12_000 && line("complete:").contains(&format!("{} stored", total[1])));
}
