//! `/metrics`, read as Prometheus reads it, and held against `report --json` and the rows of the same calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use callmeter_core::{PicoUsd, UsdTotal};
use callmeter_testkit::provider::FakeProvider;
use serde_json::{Value, json};

use crate::service::{Serve, ask, chat, closed_port, rows};
use crate::support::Place;

const PATIENCE: Duration = Duration::from_secs(60);
const DURATION: &str = "gen_ai_client_operation_duration_seconds";
const FIRST_CHUNK: &str = "gen_ai_client_operation_time_to_first_chunk_seconds";

type Labels = BTreeMap<String, String>;

/// A line with a value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: String,
}

impl Sample {
    fn number(&self) -> f64 {
        self.value.parse().unwrap()
    }
}

/// Every sample of a page, by family, each line checked against the format.
struct Page(BTreeMap<String, Vec<Sample>>);

impl Page {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut families = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let (mut help, mut family, mut kind) = (None, String::new(), "");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !words.is_empty(), "{line}");
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, word) = rest.split_once(' ').unwrap();
                assert_eq!(help.take().as_deref(), Some(name), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&word), "{line}");
                assert_eq!(name.ends_with("_total"), word == "counter", "{line}");
                (family, kind) = (name.to_owned(), word);
                let before = families.insert(family.clone(), Vec::new());
                assert!(before.is_none(), "{name} is there twice");
            } else {
                let sample = sample(line);
                let part = sample.name.strip_prefix(&family);
                let parts = match kind {
                    "histogram" => &["_bucket", "_sum", "_count"][..],
                    _ => &[""],
                };
                assert!(part.is_some_and(|part| parts.contains(&part)), "{line}");
                let key = (sample.name.clone(), sample.labels.clone());
                assert!(seen.insert(key), "{line} is there twice");
                assert!(sample.number() >= 0.0, "{line}");
                families.get_mut(&family).unwrap().push(sample);
            }
        }
        let page = Self(families);
        page.check_histograms(text);
        page
    }

    /// Bounds rise, counts do not fall, and the last bucket holds what the count says.
    fn check_histograms(&self, text: &str) {
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let histograms = kinds.filter_map(|kind| kind.strip_suffix(" histogram"));
        for family in histograms {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for bucket in self.named(family, "_bucket") {
                let mut labels = bucket.labels.clone();
                let bound = labels.remove("le").unwrap();
                let bound = bound.replace("+Inf", "inf").parse().unwrap();
                series
                    .entry(labels)
                    .or_default()
                    .push((bound, bucket.number()));
            }
            for (labels, buckets) in &series {
                assert!(
                    buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                    "{buckets:?}"
                );
                let last = buckets.last().unwrap();
                assert!(last.0.is_infinite(), "{family}");
                let of = |part| {
                    let found = self
                        .named(family, part)
                        .find(|sample| sample.labels == *labels);
                    found.unwrap().number()
                };
                assert_eq!(
                    of("_count").to_bits(),
                    last.1.to_bits(),
                    "{family} {labels:?}"
                );
                assert_eq!(of("_sum") > 0.0, last.1 > 0.0, "{family} {labels:?}");
            }
            let counts = self.named(family, "_count").count();
            assert_eq!(
                (series.len(), self.named(family, "_sum").count()),
                (counts, counts)
            );
        }
    }

    fn named<'p>(&'p self, family: &str, part: &str) -> impl Iterator<Item = &'p Sample> {
        let name = format!("{family}{part}");
        let samples = self.0.get(family).unwrap_or_else(|| panic!("no {family}"));
        samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of a family's samples, by one label.
    fn by(&self, family: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for sample in self.named(family, "") {
            let count: u64 = sample.value.parse().unwrap();
            *sums.entry(sample.labels[label].clone()).or_default() += count;
        }
        sums
    }

    /// Of all series of a histogram: the count up to each bound, and the sum.
    fn whole(&self, family: &str) -> (BTreeMap<String, u64>, f64) {
        let mut counts = BTreeMap::new();
        for bucket in self.named(family, "_bucket") {
            let count: u64 = bucket.value.parse().unwrap();
            *counts.entry(bucket.labels["le"].clone()).or_default() += count;
        }
        let sums = self.named(family, "_sum").map(Sample::number);
        (counts, sums.sum())
    }
}

fn is_name(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.chars().all(is_fine) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
}

/// Reads `name{label="value",…} number`.
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"").unwrap();
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, behind) = quoted(behind);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap().to_owned();
    value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

/// A label's value up to its closing quote, and what stands behind it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("\\{c} is no escape"),
            }),
            (_, c) => value.push(c),
        }
    }
}

/// A serve through which calls of every kind have passed: eight rows by seven requests.
fn served(place: &Place, provider: &FakeProvider) -> Serve {
    let (url, closed) = (provider.url(), closed_port());
    let serve = Serve::start(
        place,
        &format!(
            "[providers.gpu]\nkind = \"ollama\"\n[proxy.routes.gpu]\nupstreams = [\n  {{ url = \"http://127.0.0.1:{closed}\" }},\n  \
             {{ url = \"{url}\", model = \"llama3.2:small\" }},\n]\n[proxy.routes.openai]\nupstreams = [{{ url = \"{url}\" }}]\n",
        ),
    );
    let base = &serve.base;
    let body = json!({ "model": "llama3.2:big", "stream": false, "messages": [] }).to_string();
    let fell_back = ask("POST", &format!("{base}/u/gpu/api/chat"), &body);
    assert_eq!(fell_back.status, 200);
    let openai = format!("{base}/v1");
    for (model, more, status) in [
        ("gpt-4o", json!({}), 200),
        ("gpt-4o", json!({}), 200),
        ("gpt-4o-mini", json!({}), 200),
        ("gpt-4o", json!({ "stream": true }), 200),
        ("fails-429", json!({}), 429),
        ("odd\"\\model", json!({}), 200),
    ] {
        assert_eq!(chat(&openai, model, &more).status, status, "{model}");
    }
    serve
}

/// The page as soon as it says that every call of the home is stored.
fn at_rest(serve: &Serve, calls: u64) -> Page {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = Page::read(&ask("GET", &format!("{}/metrics", serve.base), "").body);
        let places = page.by("callmeter_home_calls", "place");
        if places["finished"] == calls && places["acknowledged"] == calls {
            return page;
        }
        assert!(Instant::now() < deadline, "{places:?}");
        std::thread::yield_now();
    }
}

#[test]
fn every_line_of_the_metrics_is_sound_and_says_what_the_report_says() {
    let (place, provider) = (Place::new(), FakeProvider::start().unwrap());
    let serve = served(&place, &provider);
    let page = at_rest(&serve, 8);
    let rows = rows(&place);
    let output = place.run(&["report", "--json", "--by", "provider"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let totals = &report["totals"];

    let calls = page.by("callmeter_calls_total", "status");
    assert_eq!(json!(calls), totals["by_status"]);
    let of_provider = |row: &Value| {
        let provider = row["provider"].as_str().unwrap().to_owned();
        (provider, row["calls"].as_u64().unwrap())
    };
    let providers: BTreeMap<_, _> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(of_provider)
        .collect();
    assert_eq!(page.by("callmeter_calls_total", "provider"), providers);
    for (kind, count) in page.by("callmeter_tokens_total", "type") {
        assert_eq!(totals[format!("{kind}_tokens")], count, "{kind}");
    }
    let costs = page.named("callmeter_cost_usd_total", "");
    let costs = costs.map(|sample| sample.value.parse::<PicoUsd>().unwrap());
    let mut cost = UsdTotal::default();
    costs.for_each(|amount| cost.add(amount));
    assert_eq!(totals["cost_usd"], cost.to_string());
    assert!(cost.as_pico() > 0);
    let unpriced = page.by("callmeter_unpriced_calls_total", "billing");
    assert_eq!(totals["unpriced"], unpriced.values().sum::<u64>());

    let mut kinds = BTreeMap::new();
    for kind in rows.iter().filter_map(|row| row["error_kind"].as_str()) {
        *kinds.entry(kind.to_owned()).or_insert(0_u64) += 1;
    }
    assert_eq!(page.by("callmeter_call_errors_total", "kind"), kinds);
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["network", "rate_limit"]);

    let complete = &report["complete"];
    let places = page.by("callmeter_home_calls", "place");
    let names = [
        ("finished", "made"),
        ("acknowledged", "stored"),
        ("rejected", "rejected"),
        ("dropped", "dropped"),
    ];
    for (name, told) in names {
        assert_eq!(complete[told], places[name], "{name}");
    }
    assert_eq!(complete["pending"], places["buffered"] + places["spooled"]);
    assert_eq!(page.by("callmeter_home_calls", "place").len(), 6);

    histogram_is_of(&page, DURATION, &rows, "duration_us");
    histogram_is_of(&page, FIRST_CHUNK, &rows, "ttft_us");
    let (added, _) = page.whole("callmeter_proxy_added_seconds");
    assert_eq!(added["+Inf"], 7);
    assert_eq!(serve.stop().0, Some(0));
}

/// Every row is counted once, no call as longer than its row: a row's clock begins before the proxy's and ends after it.
fn histogram_is_of(page: &Page, family: &str, rows: &[Value], field: &str) {
    let times: Vec<f64> = rows
        .iter()
        .filter_map(|row| Some(Duration::from_micros(row[field].as_u64()?).as_secs_f64()))
        .collect();
    assert!(!times.is_empty(), "{field}");
    // Rows keep whole microseconds.
    let micro = 1e-6;
    let (counts, sum) = page.whole(family);
    assert_eq!(counts["+Inf"], times.len() as u64, "{family}");
    for (bound, count) in counts {
        let bound: f64 = bound.replace("+Inf", "inf").parse().unwrap();
        let least = times.iter().filter(|time| **time <= bound - micro).count();
        assert!(
            count >= least as u64,
            "{family} {bound}: {count} of {times:?}"
        );
    }
    let most = times.iter().map(|time| time + micro).sum::<f64>();
    assert!(sum <= most, "{family}: {sum} {times:?}");
}
