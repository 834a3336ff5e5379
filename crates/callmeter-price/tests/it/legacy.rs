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
