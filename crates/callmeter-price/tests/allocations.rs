//! A look-up allocates nothing, by whichever step it hits or misses. A binary of its own: the allocator counts for the
//! whole process.
#![allow(clippy::unwrap_used)]

use callmeter_core::{CallId, CallRecord, Layer, Usage};
use callmeter_price::{Book, ProviderKinds};
use callmeter_testkit::allocations::{Counting, measured};

#[global_allocator]
static COUNTING: Counting = Counting;

const OWN: &str = "name = \"acme\"\nversion = \"1\"\n[[discounts]]\nprovider = \"openai\"\nfactor = \"0.9\"\n\
                   [[names]]\nprovider = \"azure\"\nmodel = \"gpt-4o\"\nnames = [\"prod\"]\n";

#[test]
fn a_look_up_allocates_nothing() {
    let kinds = ProviderKinds::new([("gcp_ollama".to_owned(), "ollama".to_owned())]);
    let own = Book::parse(OWN).unwrap();
    for (provider, model) in [
        ("openai", "gpt-5-mini"),
        ("openai", "gpt-5-mini-2025-08-07"),
        ("openai", "GPT-5-MINI"),
        ("google", "models/gemini-2.5-pro"),
        ("anthropic", "claude-sonnet-4-6-20260101"),
        ("aws_bedrock", "anthropic.claude-sonnet-4-6-20260101-v1:0"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme:x:abc"),
        ("azure", "prod"),
        ("gcp_ollama", "llama3.1:8b"),
        ("deepseek", "deepseek-v4-pro"),
        ("openai", "gpt-nonesuch"),
        ("nobody", "x"),
    ] {
        let at = "2026-11-20T02:00:00Z".parse().unwrap();
        let mut call = CallRecord::new(CallId::new(at, 1), Layer::Guard, 0);
        call.provider = Some(provider.to_owned());
        call.model = Some(model.to_owned());
        call.usage = Usage::of(250_001, 340);
        call.usage.cache_read_tokens = Some(1_000);
        call.region = Some("us".to_owned());
        for tier in [None, Some("batch".to_owned()), Some("platinum".to_owned())] {
            call.service_tier = tier;
            for book in [&*Book::market(), &own] {
                let price = || std::hint::black_box(book.price(&call, &kinds));
                let first = price();
                let (second, measure) = measured(price);
                assert_eq!(first, second);
                assert_eq!(measure.allocations, 0, "{provider}/{model}");
            }
        }
    }
}
