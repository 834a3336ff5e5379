//! The workload of the demo: a recorded trace, and who made which of its requests.
//!
//! Arrival times and token counts are as recorded (see `data/README.md`). The trace says nothing of
//! callers, models and outcomes: those are spread over it by fixed rules, the same in every run. Every
//! 50th request fails without usage; every 25th is taken over by another model; every tenth is answered from
//! the host's cache.

use std::io::Read;

use callmeter_core::ErrorKind;
use flate2::read::GzDecoder;

const TRACE: &[u8] = include_bytes!("../../data/azure2023_conv.csv.gz");

/// A request of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its number in the trace, from 0.
    pub(crate) number: u32,
    /// When it arrived, in microseconds of the trace.
    pub(crate) arrives_us: u64,
    /// How long it takes, in microseconds of the trace.
    pub(crate) takes_us: u64,
    /// When the first token comes, from its arrival on.
    pub(crate) first_token_us: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) caller: &'static Caller,
    pub(crate) outcome: Outcome,
    pub(crate) cache_hit: bool,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Failed(ErrorKind, u16),
    TakenOver,
}

/// A part of a made-up back office that calls a model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    pub(crate) team: &'static str,
    pub(crate) provider: &'static str,
    pub(crate) model: &'static str,
    pub(crate) fallback: &'static str,
    pub(crate) uses_documents: bool,
    /// How long its model takes for a token, in microseconds.
    token_us: u64,
    /// How many of a hundred requests are its own.
    share: u64,
}

const fn caller(
    name: &'static str,
    team: &'static str,
    (provider, model): (&'static str, &'static str),
    fallback: &'static str,
    uses_documents: bool,
    (token_us, share): (u64, u64),
) -> Caller {
    Caller {
        name,
        team,
        provider,
        model,
        fallback,
        uses_documents,
        token_us,
        share,
    }
}

/// Everybody who calls.
pub(crate) static CALLERS: [Caller; 9] = [
    caller(
        "support_reply",
        "support",
        ("openai", "gpt-5-mini"),
        "gemini",
        true,
        (9000, 27),
    ),
    caller(
        "product_search",
        "shop",
        ("gemini", "gemini-2.5-flash"),
        "openai",
        true,
        (5000, 21),
    ),
    caller(
        "review_summary",
        "shop",
        ("openai", "gpt-5-mini"),
        "gemini",
        false,
        (9000, 14),
    ),
    caller(
        "sales_copy",
        "marketing",
        ("anthropic", "claude-sonnet-4-6"),
        "openai",
        false,
        (14000, 12),
    ),
    caller(
        "hermes_analyst",
        "analytics",
        ("gcp_ollama", "hermes3:latest"),
        "gemini",
        true,
        (28000, 10),
    ),
    caller(
        "invoice_reader",
        "finance",
        ("openai", "gpt-4o"),
        "anthropic",
        false,
        (11000, 7),
    ),
    caller(
        "translate_listing",
        "marketing",
        ("gemini", "gemini-2.5-flash"),
        "openai",
        false,
        (5000, 5),
    ),
    caller(
        "price_watch",
        "analytics",
        ("anthropic", "claude-haiku-4-5"),
        "openai",
        false,
        (7000, 3),
    ),
    caller(
        "lab_trial",
        "analytics",
        ("acme", "acme-preview-1"),
        "openai",
        false,
        (20000, 1),
    ),
];

/// The first `count` requests of the trace.
///
/// # Errors
/// When the trace that is built in cannot be read, which a test rules out.
pub(crate) fn requests(count: u32) -> anyhow::Result<Vec<Request>> {
    let mut text = String::new();
    GzDecoder::new(TRACE).read_to_string(&mut text)?;
    text.lines()
        .skip(1)
        .take(count as usize)
        .zip(0..)
        .map(|(line, number)| request(number, line))
        .collect()
}

fn request(number: u32, line: &str) -> anyhow::Result<Request> {
    let mut fields = line.split(',').map(str::parse::<u64>);
    let mut next = || {
        fields
            .next()
            .ok_or_else(|| anyhow::anyhow!("a row of the trace is short"))
    };
    let (arrives_ms, input_tokens, output_tokens) = (next()??, next()??, next()??);
    let mix = mix(number);
    let outcome = match number {
        n if n % 50 == 49 => failure(mix),
        n if n % 25 == 12 => Outcome::TakenOver,
        _ => Outcome::Answered,
    };
    let cache_hit = number % 10 == 3;
    // A first token after 0.2 s and 0.1 ms a token read, then its model's time a token, give or take.
    let first_token_us = if cache_hit {
        2_000
    } else {
        200_000 + input_tokens * 100 + mix % 150_000
    };
    let caller = caller_of(mix);
    let per_token = if cache_hit {
        10
    } else {
        caller.token_us * (80 + mix % 60) / 100
    };
    Ok(Request {
        number,
        arrives_us: arrives_ms * 1_000,
        takes_us: first_token_us + output_tokens * per_token,
        first_token_us,
        input_tokens,
        output_tokens,
        caller,
        outcome,
        cache_hit,
    })
}

fn caller_of(mix: u64) -> &'static Caller {
    let mut place = (mix >> 17) % 100;
    for caller in &CALLERS {
        if place < caller.share {
            return caller;
        }
        place -= caller.share;
    }
    &CALLERS[0]
}

fn failure(mix: u64) -> Outcome {
    match (mix >> 40) % 4 {
        0 => Outcome::Failed(ErrorKind::RateLimit, 429),
        1 => Outcome::Failed(ErrorKind::Overloaded, 529),
        2 => Outcome::Failed(ErrorKind::Timeout, 504),
        _ => Outcome::Failed(ErrorKind::ContextLength, 400),
    }
}

/// Spreads the numbers of requests (SplitMix64).
fn mix(number: u32) -> u64 {
    let mut z = u64::from(number)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_has_twelve_thousand_requests_in_order() {
        let requests = requests(u32::MAX).unwrap();
        assert_eq!(requests.len(), 12_000);
        assert!(
            requests
                .windows(2)
                .all(|pair| pair[0].arrives_us <= pair[1].arrives_us)
        );
        assert_eq!(
            (requests[0].input_tokens, requests[0].output_tokens),
            (374, 44)
        );
    }

    #[test]
    fn every_caller_has_its_share() {
        assert_eq!(CALLERS.iter().map(|caller| caller.share).sum::<u64>(), 100);
        let requests = requests(12_000).unwrap();
        for caller in &CALLERS {
            let own = requests
                .iter()
                .filter(|request| request.caller == caller)
                .count() as u64;
            let expected = caller.share * 120;
            assert!(
                own.abs_diff(expected) < expected / 5 + 30,
                "{}: {own}",
                caller.name
            );
        }
    }
}
