//! The legacy book gives the replaced module's figures row for row. The golden table was computed by
//! Python: `round((in * a + out * b) / 1e6, 6)`, at most 9999.999999.

use callmeter_core::{CallId, CallRecord, Layer, PicoUsd, Timestamp, Usage};
use callmeter_price::{Book, Priced, ProviderKinds};

fn price(model: &str, input: u64, output: u64) -> Priced {
    let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
    record.model = Some(model.to_owned());
    record.usage = Usage::of(input, output);
    Book::legacy().price(&record, &ProviderKinds::default())
}

#[test]
fn every_row_of_the_golden_table_costs_what_python_computed() {
    let mut rows = 0;
    for line in include_str!("../golden/legacy.csv").lines().skip(1) {
        let [model, input, output, cost] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!()
        };
        let priced = price(model, input.parse().unwrap(), output.parse().unwrap());
        assert_eq!(
            priced.cost.cost,
            Some(cost.parse::<PicoUsd>().unwrap()),
            "{line}"
        );
        rows += 1;
    }
    assert!(rows > 600);
}

#[test]
fn an_unknown_model_is_free_with_a_warning_and_a_free_quota_is_free_without() {
    assert!(price("gpt-nonesuch", 5, 5).is_unknown_to_legacy);
    for model in [
        "deepseek-chat",
        "meta/anything",
        "nvidia/x",
        "claude-opus-4-7",
    ] {
        assert!(!price(model, 5, 5).is_unknown_to_legacy, "{model}");
    }
    assert_eq!(price("gpt-nonesuch", 5, 5).cost.cost, Some(PicoUsd::ZERO));
}

#[test]
fn a_figure_that_the_host_gave_stands_and_one_of_the_wire_does_not() {
    let mut record = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Import, 0);
    record.model = Some("claude-opus-4-7".to_owned());
    record.usage = Usage::of(1_000, 1_000);
    record.reported_cost = Some(PicoUsd::from_pico(7));
    let price = |record: &CallRecord| Book::legacy().price(record, &ProviderKinds::default());
    assert_eq!(price(&record).cost.cost, Some(PicoUsd::from_pico(7)));
    record.layer = Layer::Guard;
    assert_eq!(price(&record).cost.cost, Some(PicoUsd::from_pico(7)));
    for layer in [Layer::Proxy, Layer::Sdk, Layer::Span] {
        record.layer = layer;
        assert_eq!(price(&record).cost.cost, Some("0.09".parse().unwrap()));
    }
}

/// Models of the old table and those that its prefix rules call free, with who sells them.
const SOLD: &[(&str, &str)] = &[
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-2.0-flash"),
    ("gemini", "gemini-1.5-flash"),
    ("anthropic", "claude-opus-4-7"),
    ("anthropic", "claude-sonnet-4-6"),
    ("anthropic", "claude-haiku-4-5"),
    ("deepseek", "deepseek-v4-flash"),
    ("deepseek", "deepseek-v4-pro"),
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("nvidia_nim", "meta/llama-3.3-70b-instruct"),
    ("ollama", "llama3.1:8b"),
];

/// What is compared: a name, input, of it from the cache, output.
const CALLS: [(&str, u64, u64, u64); 3] = [
    ("100,000 in, 20,000 out", 100_000, 0, 20_000),
    (
        "the same, 80,000 of them from the cache",
        100_000,
        80_000,
        20_000,
    ),
    ("300,000 in, 20,000 out", 300_000, 0, 20_000),
];

fn page() -> String {
    let mut page = include_str!("legacy_head.txt").to_owned();
    for (title, input, cached, output) in CALLS {
        page.push_str(&format!(
            "\n## {title}\n\n| model | legacy | list price | list price / legacy |\n| --- | --- | --- | --- |\n"
        ));
        for (provider, model) in SOLD {
            let at = "2026-11-20T12:00:00Z".parse().unwrap();
            let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
            record.provider = Some((*provider).to_owned());
            record.model = Some((*model).to_owned());
            record.usage = Usage::of(input, output);
            record.usage.cache_read_tokens = Some(cached);
            let cost = |book: &Book| book.price(&record, &ProviderKinds::default()).cost.cost;
            let legacy = cost(&Book::legacy()).unwrap();
            let list = cost(&Book::market());
            let shown = list.map_or("–".to_owned(), |list| format!("${list}"));
            let factor = match list.map(|list| (list.as_pico(), legacy.as_pico())) {
                None => "no price",
                Some((0, 0)) => "1",
                Some((_, 0)) => "infinite",
                Some((list, legacy)) => &format!("{:.2}", list as f64 / legacy as f64),
            };
            page.push_str(&format!("| `{model}` | ${legacy} | {shown} | {factor} |\n"));
        }
    }
    page
}

#[test]
fn the_page_of_how_far_the_old_figures_are_from_list_prices_is_up_to_date() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/guides/legacy-prices.md"
    );
    if std::env::var_os("CALLMETER_BLESS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == page(),
        "run CALLMETER_BLESS=1 cargo test -p callmeter-price legacy"
    );
}

#[test]
fn the_old_table_s_errors_are_those_that_are_known() {
    let factor = |provider: &str, model: &str| {
        let at = "2026-11-20T12:00:00Z".parse().unwrap();
        let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
        record.provider = Some(provider.to_owned());
        record.model = Some(model.to_owned());
        record.usage = Usage::of(100_000, 0);
        let cost = |book: &Book| {
            let cost = book.price(&record, &ProviderKinds::default()).cost.cost;
            cost.unwrap().as_pico() as f64
        };
        cost(&Book::market()) / cost(&Book::legacy())
    };
    let near = |factor: f64, known: f64| assert!((factor - known).abs() < 0.01, "{factor}");
    near(factor("gemini", "gemini-2.5-flash"), 4.0);
    near(factor("anthropic", "claude-opus-4-7"), 1.0 / 3.0);
    near(factor("anthropic", "claude-sonnet-4-6"), 1.0);
    near(factor("anthropic", "claude-haiku-4-5"), 1.25);
    near(factor("gemini", "gemini-2.0-flash"), 4.0 / 3.0);
}
