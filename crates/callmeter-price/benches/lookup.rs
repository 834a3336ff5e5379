//! How long a price look-up takes, by the step that hits, beside exact hash look-ups for scale; how long a book of layers
//! takes; and how long the built-in book takes to be there.

use std::collections::HashMap;
use std::hint::black_box;

use callmeter_core::{CallId, CallRecord, Layer, Timestamp, Usage};
use callmeter_price::{Book, ProviderKinds};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const OWN: &str = "name = \"acme\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-9\"\n\
                   periods = [{ rates = { input = \"1\", output = \"2\" } }]\n\
                   [[discounts]]\nprovider = \"anthropic\"\nfactor = \"0.85\"\n";

fn call(provider: &str, model: &str) -> CallRecord {
    let at: Timestamp = Timestamp::from_micros(1_793_000_000_000_000);
    let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
    record.provider = Some(provider.to_owned());
    record.model = Some(model.to_owned());
    record.usage = Usage::of(1_200, 340);
    record
}

fn lookup(c: &mut Criterion) {
    let book = Book::market();
    let kinds = ProviderKinds::default();
    let mut group = c.benchmark_group("price");
    group.throughput(Throughput::Elements(1));
    let map: HashMap<String, usize> = (0..4_000)
        .map(|n| (format!("provider/model-{n}"), n))
        .collect();
    group.bench_function("baseline: one hash look-up", |b| {
        b.iter(|| map.get(black_box("provider/model-2000")));
    });
    for (name, provider, model) in [
        ("exact", "openai", "gpt-5-mini"),
        ("alias", "openai", "gpt-5-mini-2025-08-07"),
        ("normalised", "gemini", "models/gemini-2.5-pro"),
        ("snapshot", "anthropic", "claude-sonnet-4-6-20260101"),
        ("another tool's provider", "gcp.vertex_ai", "gemini-2.5-pro"),
        ("self-hosted", "ollama", "llama3.1:8b"),
        ("miss", "openai", "gpt-nonesuch"),
    ] {
        let record = call(provider, model);
        group.bench_function(name, |b| b.iter(|| book.price(black_box(&record), &kinds)));
    }
    let mut parts = call("anthropic", "claude-sonnet-4-6");
    parts.usage.cache_read_tokens = Some(800);
    parts.usage.cache_write_1h_tokens = Some(100);
    parts.usage.reasoning_tokens = Some(200);
    parts.service_tier = Some("batch".to_owned());
    parts.region = Some("us".to_owned());
    group.bench_function("parts, tier and region", |b| {
        b.iter(|| book.price(black_box(&parts), &kinds));
    });
    let Ok(own) = Book::parse(OWN) else { return };
    for (name, provider, model) in [
        ("layers: the lower one's", "openai", "gpt-5-mini"),
        ("layers: the upper one's", "openai", "gpt-9"),
        ("layers: a discount", "anthropic", "claude-sonnet-4-6"),
    ] {
        let record = call(provider, model);
        group.bench_function(name, |b| b.iter(|| own.price(black_box(&record), &kinds)));
    }
    group.finish();
}

/// The first look-up of a process waits for this, and for inflating the text.
fn load(c: &mut Criterion) {
    let text = Book::market().to_text();
    let mut group = c.benchmark_group("book");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("inflate", |b| b.iter(|| Book::market().to_text()));
    group.bench_function("read", |b| b.iter(|| Book::parse(black_box(&text))));
    group.finish();
}

criterion_group!(benches, lookup, load);
criterion_main!(benches);
