//! Strategies for records: small pools of names, times and counts, so that calls meet.

use callmeter_core::{
    CallId, CallRecord, ErrorKind, Flags, Layer, Meta, MetaPolicy, PicoUsd, Status, Timestamp,
    UsageSource,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// The start of the ten days that generated calls lie in: 2026-03-24T00:00:00Z.
pub const FIRST_MOMENT: Timestamp = Timestamp::from_micros(1_774_310_400_000_000);

/// Ids from a pool of `calls`, spread over ten days.
pub fn call_ids(calls: u64) -> impl Strategy<Value = CallId> {
    (0..calls.max(1)).prop_map(|n| {
        let micros = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (10 * 86_400 * 1_000_000);
        let offset = i64::try_from(micros).unwrap_or_default();
        CallId::new(FIRST_MOMENT.saturating_add_micros(offset), n)
    })
}

/// Any record of a call out of a pool of `calls`, within limits.
pub fn records(calls: u64) -> impl Strategy<Value = CallRecord> {
    let identity = (call_ids(calls), select(Layer::ALL), 0..3_u32);
    let names = (
        option::of(select(
            &["sales_copy", "hermes_analyst", "rag", "größe"][..],
        )),
        option::of(select(
            &["openai", "anthropic", "gemini", "ollama", "nobody"][..],
        )),
        option::of(select(
            &[
                "gpt-5-mini",
                "claude-sonnet-4-6",
                "gemini-2.5-flash",
                "llama3.1:8b",
            ][..],
        )),
        option::of(select(&["gpt-5-mini", "no-such-model"][..])),
        option::of(select(&["shop", "lab"][..])),
        option::of("[a-z0-9]{4}"),
    );
    let counts = vec(option::of(0..50_000_u64), 13);
    let outcome = (
        option::weighted(
            0.9,
            select(&["ok", "error", "fallback", "cancelled", "aborted", "odd"][..]),
        ),
        option::weighted(0.9, 0..40_000_000_u64),
        option::of(select(ErrorKind::ALL)),
        option::of(select(UsageSource::ALL)),
        option::of(any::<bool>()),
        0..8_u64,
        option::of(0..10_000_000_000_i64),
        option::of(0..5_i64),
    );
    (identity, names, counts, outcome).prop_map(|(identity, names, counts, outcome)| {
        let (call_id, layer, rev) = identity;
        let (caller, provider, model, requested, project, request_id) = names;
        let (status, duration, error_kind, source, cache_hit, flags, reported, meta) = outcome;
        let mut record = CallRecord::new(call_id, layer, rev);
        record.caller = caller.map(str::to_owned);
        record.provider = provider.map(str::to_owned);
        record.model = model.map(str::to_owned);
        record.model_requested = requested.map(str::to_owned);
        record.project = project.map(str::to_owned);
        record.request_id = request_id;
        record.status = status.map(Status::from_word);
        record.duration_us = duration;
        record.error_kind = error_kind;
        record.fallback_to =
            (record.status == Some(Status::Fallback)).then(|| "gemini_backup".to_owned());
        record.usage.usage_source = source;
        record.cache_hit = cache_hit;
        record.flags = Flags::from_bits(flags);
        record.reported_cost = reported.map(PicoUsd::from_pico);
        record.meta = meta.map(|n| {
            let mut meta = Meta::default();
            let _ = meta.insert("n", n, &MetaPolicy::default());
            meta
        });
        let usage = &mut record.usage;
        let fields = [
            &mut usage.input_tokens,
            &mut usage.output_tokens,
            &mut usage.cache_read_tokens,
            &mut usage.cache_write_tokens,
            &mut usage.cache_write_5m_tokens,
            &mut usage.cache_write_1h_tokens,
            &mut usage.cache_write_24h_tokens,
            &mut usage.reasoning_tokens,
            &mut usage.audio_input_tokens,
            &mut usage.audio_output_tokens,
            &mut usage.image_input_tokens,
            &mut usage.image_output_tokens,
            &mut usage.video_input_tokens,
        ];
        for (field, count) in fields.into_iter().zip(counts) {
            *field = count;
        }
        record
    })
}
