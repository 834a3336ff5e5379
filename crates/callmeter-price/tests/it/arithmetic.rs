//! Amounts against exact rational arithmetic of the test's own, and what must hold for any usage.

use callmeter_core::{CallId, CallRecord, Layer, PicoUsd, Timestamp, UnpricedReason};
use callmeter_price::{Book, ProviderKinds};
use proptest::prelude::*;

/// Rates in pico-USD a token: input, output, cache read, cache write, reasoning, audio in, audio out.
const RATES: [u128; 7] = [
    1_250_000, 10_000_000, 125_003, 1_562_500, 7_000_001, 40_000_000, 80_000_000,
];

fn book() -> &'static Book {
    static BOOK: std::sync::OnceLock<Book> = std::sync::OnceLock::new();
    BOOK.get_or_init(made)
}

fn made() -> Book {
    let dollars = RATES.map(|pico| format!("{}.{:06}", pico / 1_000_000, pico % 1_000_000));
    Book::parse(&format!(
        "name = \"own\"\nversion = \"1\"\nextends = \"none\"\n[[models]]\nprovider = \"anthropic\"\nmodel = \"m\"\n\
         periods = [{{ rates = {{ input = \"{}\", output = \"{}\", cache_read = \"{}\", \
         cache_write_5m = \"{}\", reasoning = \"{}\", audio_in = \"{}\", audio_out = \"{}\" }}, \
         windows = [{{ utc = [\"00:00\", \"12:00\"], factor = \"0.3333\" }}] }}]",
        dollars[0], dollars[1], dollars[2], dollars[3], dollars[4], dollars[5], dollars[6]
    ))
    .unwrap()
}

fn record(counts: [u64; 7], at_noon: bool) -> CallRecord {
    let at = Timestamp::from_micros(if at_noon { 43_200_000_000 } else { 0 });
    let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
    record.provider = Some("anthropic".into());
    record.model = Some("m".into());
    let [plain, out, read, write, reasoning, audio_in, audio_out] = counts;
    let usage = &mut record.usage;
    usage.input_tokens = Some(plain + read + write + audio_in);
    usage.output_tokens = Some(out + reasoning + audio_out);
    usage.cache_read_tokens = Some(read);
    usage.cache_write_tokens = Some(write);
    usage.reasoning_tokens = Some(reasoning);
    usage.audio_input_tokens = Some(audio_in);
    usage.audio_output_tokens = Some(audio_out);
    record
}

fn cost(record: &CallRecord) -> Option<PicoUsd> {
    book().price(record, &ProviderKinds::default()).cost.cost
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_cost_is_the_exact_sum_rounded_once_half_to_even(
        counts in prop::array::uniform7(0..5_000_000_u64), at_noon: bool
    ) {
        // Each token is charged once, as its most special kind.
        let sum: u128 = counts.iter().zip(RATES).map(|(count, rate)| u128::from(*count) * rate).sum();
        let exact = if at_noon {
            sum
        } else {
            let (num, den) = (sum * 3_333, 10_000);
            let (floor, rest) = (num / den, num % den);
            floor + u128::from(rest * 2 > den || (rest * 2 == den && floor % 2 == 1))
        };
        prop_assert_eq!(cost(&record(counts, at_noon)).unwrap().as_pico() as u128, exact);
    }

    #[test]
    fn one_more_token_of_any_kind_never_costs_less(
        counts in prop::array::uniform7(0..5_000_000_u64), which in 0..7_usize
    ) {
        let mut more = counts;
        more[which] += 1;
        prop_assert!(cost(&record(more, true)) >= cost(&record(counts, true)));
    }

    #[test]
    fn any_counts_at_all_give_a_cost_of_at_least_nothing_or_a_reason(
        counts in prop::array::uniform7(prop::option::of(any::<u64>()))
    ) {
        let mut record = record([0; 7], true);
        let usage = &mut record.usage;
        usage.input_tokens = counts[0];
        usage.output_tokens = counts[1];
        usage.cache_read_tokens = counts[2];
        usage.cache_write_1h_tokens = counts[3];
        usage.reasoning_tokens = counts[4];
        usage.audio_input_tokens = counts[5];
        usage.audio_output_tokens = counts[6];
        let priced = book().price(&record, &ProviderKinds::default()).cost;
        prop_assert_eq!(priced.cost.is_none(), priced.unpriced_reason.is_some());
        prop_assert!(priced.cost.is_none_or(|cost| cost >= PicoUsd::ZERO));
    }
}

#[test]
fn an_amount_that_does_not_fit_is_unpriced_not_wrapped() {
    let priced = book().price(
        &record([1_000_000_000_000, 1_000_000_000_000, 0, 0, 0, 0, 0], true),
        &ProviderKinds::default(),
    );
    assert_eq!(priced.cost.unpriced_reason, Some(UnpricedReason::Overflow));
}
