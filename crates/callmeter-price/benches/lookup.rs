//! How long a price look-up takes, by the step that hits, beside an exact hash look-up for scale.

use std::collections::HashMap;
use std::hint::black_box;

use callmeter_core::{CallId, CallRecord, Layer, Timestamp, Usage};
use callmeter_price::{Book, ProviderKinds};
use criterion::{Criterion, criterion_group, criterion_main};

fn lookup(c: &mut Criterion) {
    let book = Book::market();
    let kinds = ProviderKinds::default();
    let mut group = c.benchmark_group("price");
    let map: HashMap<String, usize> = (0..4_000)
        .map(|n| (format!("provider/model-{n}"), n))
        .collect();
    group.bench_function("baseline: one hash look-up", |b| {
        b.iter(|| map.get(black_box("provider/model-2000")));
    });
    for (name, provider, model) in [
        ("exact", "openai", "gpt-5-mini"),
        ("alias", "openai", "gpt-5-mini-2025-08-07"),
        ("snapshot", "anthropic", "claude-sonnet-4-6-20260101"),
        ("self-hosted", "ollama", "llama3.1:8b"),
        ("miss", "openai", "gpt-nonesuch"),
    ] {
        let at: Timestamp = Timestamp::from_micros(1_793_000_000_000_000);
        let mut record = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
        record.provider = Some(provider.to_owned());
        record.model = Some(model.to_owned());
        record.usage = Usage::of(1_200, 340);
        group.bench_function(name, |b| b.iter(|| book.price(black_box(&record), &kinds)));
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
