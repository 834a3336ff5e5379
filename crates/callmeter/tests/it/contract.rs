//! The contract of the module that callmeter replaces, line by line, as far as it speaks of the row, the state's
//! methods, cost and the kill switch; and the faults of that module that must not come back.
//!
//! | the contract says | test |
//! | --- | --- |
//! | the LLM call never waits for telemetry | `calls_go_on_while_the_store_holds_a_batch` |
//! | whatever goes wrong in telemetry, the host's errors pass unchanged | `an_error_passes_unchanged_when_nothing_can_be_written`; [`transparent`](crate::transparent) |
//! | no prompt is stored, at most its hash | `of_a_prompt_only_a_hash_is_kept`; `tests/privacy.rs` |
//! | the words of the kill switch | `the_kill_switch_knows_its_words`; what it does: `tests/switch.rs` |
//! | degraded after 10 failures in a row, one ERROR line, a success resets | [`outage`](crate::outage), [`shipping`](crate::shipping) |
//! | normally, no status set: `ok` | `a_call_that_ends_normally_is_ok` |
//! | normally, status set by a method: as set | `a_status_that_was_set_stays` |
//! | by an exception: `error`, also where a fallback was set; `error` kept if set, else the type | `an_error_wins_over_a_fallback_and_keeps_what_was_said` |
//! | the duration is that of a monotonic clock | `the_duration_is_that_of_the_monotonic_clock` |
//! | `meta` is copied | `meta_is_the_row_s_own` |
//! | `set_tokens`: integers; none, or no number, is no count; never raises | `tokens_take_any_integer_and_never_raise` |
//! | `set_provider`, `set_model`: who really answered, cut, empty ignored | `who_really_answered_is_named_cut_and_never_emptied` |
//! | `set_cache_hit`, `set_rag_hit` | `hits_are_booleans_and_absent_when_nobody_said` |
//! | `fallback_to_caller`: cut at 64, status `fallback`; the target records its own call | `a_fallback_names_its_target_which_records_its_own_call` |
//! | `set_error`: cut at 2,000, status `error` | `an_error_in_the_caller_s_words_is_an_error` |
//! | `set_status`: cut at 16 | `a_status_is_cut_at_sixteen` |
//! | `set_prompt_hash`: 12 hex digits of SHA-256, an empty prompt is ignored | `of_a_prompt_only_a_hash_is_kept` |
//! | `add_meta`: an empty key is ignored | `a_key_without_a_name_is_ignored` |
//! | the decorator's model extractor and tokens from the result | `tests/logged.rs` |
//! | unknown caller: a warning, recorded all the same; strict: an error | [`recorders`](crate::recorders) |
//! | a missing registry is no failure | `tests/processes.rs` |
//! | caller ≤ 64, provider ≤ 32, model ≤ 128, else `unknown`; status else `ok` | `names_have_their_limits_and_absent_ones_a_word` |
//! | meta: non-ASCII kept, what JSON cannot hold becomes text | `meta_keeps_letters_and_turns_what_json_cannot_hold_into_text` |
//! | cost: the table, six decimals, unknown 0 with a warning, free quota 0 without | `the_legacy_book_costs_a_row_as_the_table_says`; row for row: `callmeter-price` |
//!
//! | fault not to copy | test |
//! | --- | --- |
//! | a thread and a session for each call | `tests/threads.rs` |
//! | rows lost at exit | `dropping_the_recorder_brings_the_last_rows_home` |
//! | a database that is down loses rows; once degraded never recovers | [`outage`](crate::outage) |
//! | unknown model = 0 USD; rounding loses small calls | `an_unknown_model_has_no_cost_and_small_costs_are_not_lost` |
//! | an async function measured without its await | `an_async_call_lasts_until_its_end` |
//! | interruptions recorded as `ok` | `a_future_that_is_dropped_and_a_panic_are_no_success` |
//! | error text and free meta hold prompts and keys | `tests/privacy.rs` |
//! | an unsalted hash of a short prompt can be guessed | `of_a_prompt_only_a_hash_is_kept` |
//! | no call id, so that a retried write doubles a row | `a_batch_that_is_sent_again_doubles_nothing` |
//! | no time of the call, only of the write | `a_row_has_the_time_of_its_call` |

use std::sync::{Arc, Condvar, Mutex};

use callmeter::settings::{PromptHash, Settings, Sources};
use callmeter::{ErrorReport, MetaValue};
use callmeter_core::{
    Ack, CallRecord, ErrorKind, Field, Flags, HashKey, PicoUsd, Sink, SinkError, Status,
    UnpricedReason, UsageSource,
};
use callmeter_store::SqliteReader;
use callmeter_testkit::sink::Fault;

use crate::host::{Host, Later, NOON, PATIENCE, block_on, panic_with, panics, poll_once};
use crate::logs;

/// A store that holds the first batch until it is let go.
struct Holding {
    gate: Arc<(Mutex<bool>, Condvar)>,
    inner: callmeter_testkit::sink::MemorySink,
}

impl Sink for Holding {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let (open, changed) = &*self.gate;
        let guard = open.lock().unwrap();
        drop(changed.wait_while(guard, |open| !*open).unwrap());
        self.inner.write(batch)
    }
}

#[test]
fn calls_go_on_while_the_store_holds_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let inner = callmeter_testkit::sink::MemorySink::default();
    let (held, seen) = (Arc::clone(&gate), inner.clone());
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(directory.path())
        .sink("holding", move || {
            Ok(Box::new(Holding {
                gate: Arc::clone(&held),
                inner: inner.clone(),
            }))
        })
        .open()
        .unwrap();
    // Were a call to wait for the store, this loop would never end: nobody lets the store go before.
    for _ in 0..500 {
        callmeter.call("waiting", "openai", "gpt-5-mini").finish();
    }
    assert!(callmeter.stats().conservation.finished == 500 && seen.calls().is_empty());
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert!(callmeter.flush(PATIENCE).is_complete());
    assert_eq!(seen.calls().len(), 500);
}

#[test]
fn an_error_passes_unchanged_when_nothing_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    // A home that is a file: neither spool nor store can be made.
    let home = directory.path().join("home");
    std::fs::write(&home, "in the way").unwrap();
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(&home)
        .open()
        .unwrap();
    let result: Result<u8, std::num::ParseIntError> = callmeter
        .call("fail_safe", "openai", "gpt-5-mini")
        .run_blocking(|| "many".parse());
    assert_eq!(result, "many".parse::<u8>());
    assert_eq!(std::fs::read_to_string(&home).unwrap(), "in the way");
}

#[test]
fn of_a_prompt_only_a_hash_is_kept() {
    let keyed = Host::with(|settings| settings.privacy.hash_key = Some(HashKey::new(b"a key")));
    let mut call = keyed.call("keyed");
    call.prompt_hash("abc");
    call.finish();
    let mut call = keyed.call("empty");
    call.prompt_hash("");
    call.finish();
    let rows = keyed.rows();
    let hash = HashKey::new(b"a key").hash("abc").unwrap();
    let meta = rows["keyed"].meta.as_ref().unwrap();
    assert_eq!(meta.get("prompt_hash"), Some(&MetaValue::Text(hash)));
    assert_eq!(rows["empty"].meta, None);

    let legacy = Host::with(|settings| settings.privacy.prompt_hash = PromptHash::Sha256_12);
    let mut call = legacy.call("legacy");
    call.prompt_hash("abc");
    call.finish();
    let meta = legacy.row().meta.unwrap();
    assert_eq!(
        meta.get("prompt_hash"),
        Some(&MetaValue::from("ba7816bf8f01"))
    );

    let none = Host::with(|settings| settings.privacy.prompt_hash = PromptHash::None);
    let mut call = none.call("none");
    call.prompt_hash("abc");
    call.finish();
    assert_eq!(none.row().meta, None);
}

#[test]
fn the_kill_switch_knows_its_words() {
    let enabled = |name: &str, value: Option<&str>| {
        let mut sources = Sources::default();
        if let Some(value) = value {
            sources.environment.insert(name.to_owned(), value.into());
        }
        Settings::resolve(&sources).unwrap().settings.enabled
    };
    for name in ["AI_CALL_LOGGING_ENABLED", "CALLMETER_ENABLED"] {
        for off in ["false", "0", "no", "off", " OFF ", "False", "\tNo\n"] {
            assert!(!enabled(name, Some(off)), "{name}={off:?}");
        }
        for on in ["true", "1", "yes", "on", "", "never", "00"] {
            assert!(enabled(name, Some(on)), "{name}={on:?}");
        }
        assert!(enabled(name, None));
    }
}

#[test]
fn a_call_that_ends_normally_is_ok() {
    let host = Host::new();
    host.call("plain").finish();
    let row = host.row();
    assert_eq!(row.status, Some(Status::Ok));
    assert_eq!((row.error_kind, &row.error), (None, &None));
    // What nobody said is absent, not zero and not false.
    assert_eq!((row.usage.input_tokens, row.cache_hit), (None, None));
}

#[test]
fn a_status_that_was_set_stays() {
    let host = Host::new();
    let mut call = host.call("own word");
    call.status("partial");
    call.finish();
    let mut call = host.call("empty word");
    call.status("partial").status("");
    call.finish();
    let rows = host.rows();
    assert_eq!(rows["own word"].status_or_ok().as_str(), "partial");
    assert_eq!(rows["empty word"].status_or_ok().as_str(), "partial");
}

#[test]
fn an_error_wins_over_a_fallback_and_keeps_what_was_said() {
    let host = Host::new();
    let error = std::io::Error::other("a text");
    let mut call = host.call("fallback");
    call.fallback_to("gemini");
    call.fail(&error);
    let mut call = host.call("kind");
    call.error_kind(ErrorKind::RateLimit).http_status(429);
    call.fail(&error);
    let mut call = host.call("words");
    call.error("the caller's words");
    call.fail_as(&error, ErrorReport::of_http_status(503));
    let rows = host.rows();
    let row = &rows["fallback"];
    assert_eq!(row.status, Some(Status::Error));
    assert_eq!(row.fallback_to.as_deref(), Some("gemini"));
    assert_eq!(row.error_kind, Some(ErrorKind::Other));
    // The type of the error stands for its text.
    assert_eq!(row.error.as_deref(), Some("Error"));
    assert_eq!(
        (rows["kind"].error_kind, rows["kind"].http_status),
        (Some(ErrorKind::RateLimit), Some(429))
    );
    assert_eq!(
        (rows["words"].error_kind, rows["words"].http_status),
        (Some(ErrorKind::Caller), Some(503))
    );
}

#[test]
fn the_duration_is_that_of_the_monotonic_clock() {
    let host = Host::new();
    let mut call = host.call("timed");
    host.clock.pass(1_500);
    call.first_token();
    host.clock.pass(500);
    call.first_token();
    // The wall clock jumps back an hour: no duration knows of it.
    host.clock
        .jump_to(NOON.saturating_add_micros(-3_600_000_000));
    call.finish();
    let row = host.row();
    assert_eq!(
        (row.duration_us, row.ttft_us, row.started_at()),
        (Some(2_000), Some(1_500), NOON)
    );
}

#[test]
fn meta_is_the_row_s_own() {
    let host = Host::new();
    let mut tags = vec!["a".to_owned()];
    let mut call = host.call("meta");
    call.meta("tags", tags.clone()).meta("n", 1).meta("n", 2);
    tags.push("b".to_owned());
    call.finish();
    let meta = host.row().meta.unwrap();
    assert_eq!(meta.to_json_text(), r#"{"n":2,"tags":["a"]}"#);
}

#[test]
fn tokens_take_any_integer_and_never_raise() {
    let host = Host::new();
    let mut call = host.call("known");
    call.tokens(7_u8, Some(9_i64));
    call.finish();
    let mut call = host.call("later");
    call.tokens(7, None::<u32>).tokens(None::<u32>, 9);
    call.finish();
    let mut call = host.call("absurd");
    call.tokens(-1, u128::MAX);
    call.finish();
    let rows = host.rows();
    for caller in ["known", "later"] {
        let usage = &rows[caller].usage;
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (Some(7), Some(9))
        );
        assert_eq!(usage.usage_source, Some(UsageSource::Caller));
    }
    let absurd = &rows["absurd"];
    assert_eq!(
        (absurd.usage.input_tokens, absurd.usage.output_tokens),
        (None, None)
    );
    assert!(absurd.flags.contains(Flags::USAGE_IMPLAUSIBLE));
}

#[test]
fn who_really_answered_is_named_cut_and_never_emptied() {
    let host = Host::new();
    let mut call = host.call("answered");
    call.provider("p".repeat(40))
        .provider("")
        .model("m".repeat(200))
        .model("");
    call.finish();
    let row = host.row();
    assert_eq!(row.provider.as_deref(), Some("p".repeat(32).as_str()));
    assert_eq!(row.model.as_deref(), Some("m".repeat(128).as_str()));
    // What was asked for is not forgotten.
    assert_eq!(row.model_requested.as_deref(), Some("gpt-5-mini"));
    assert!(row.flags.contains(Flags::CUT));
}

#[test]
fn hits_are_booleans_and_absent_when_nobody_said() {
    let host = Host::new();
    let mut call = host.call("hits");
    call.cache_hit(true).rag_hit(false);
    call.finish();
    host.call("silent").finish();
    let rows = host.rows();
    assert_eq!(
        (rows["hits"].cache_hit, rows["hits"].rag_hit),
        (Some(true), Some(false))
    );
    assert_eq!(
        (rows["silent"].cache_hit, rows["silent"].rag_hit),
        (None, None)
    );
}

#[test]
fn a_fallback_names_its_target_which_records_its_own_call() {
    let host = Host::new();
    let mut first = host.call("first");
    let chain = first.id();
    first.fallback_to("t".repeat(70));
    first.finish();
    let mut second = host.call("second");
    second.retry_of(chain, 2);
    second.finish();
    let rows = host.rows();
    assert_eq!(rows["first"].status, Some(Status::Fallback));
    assert_eq!(
        rows["first"].fallback_to.as_deref(),
        Some("t".repeat(64).as_str())
    );
    assert_eq!(rows["second"].status, Some(Status::Ok));
    assert_eq!(
        (rows["second"].chain_id, rows["second"].attempt),
        (Some(rows["first"].call_id), Some(2))
    );
}

#[test]
fn an_error_in_the_caller_s_words_is_an_error() {
    let host = Host::new();
    let mut call = host.call("said");
    call.error("ü".repeat(2_100));
    assert_eq!(
        call.error_text().map(|text| text.chars().count()),
        Some(2_000)
    );
    call.finish();
    let row = host.row();
    assert_eq!(
        (row.status, row.error_kind),
        (Some(Status::Error), Some(ErrorKind::Caller))
    );
    // Under the policy `class` the words stay with the host.
    assert_eq!(row.error, None);
}

#[test]
fn a_status_is_cut_at_sixteen() {
    let host = Host::new();
    let mut call = host.call("long");
    call.status("größer_als_erlaubt_ist");
    call.finish();
    assert_eq!(host.row().status_or_ok().as_str(), "größer_als_erlau");
}

#[test]
fn a_key_without_a_name_is_ignored() {
    let host = Host::new();
    let mut call = host.call("keys");
    call.meta("", 1);
    call.finish();
    assert_eq!(host.row().meta, None);
}

#[test]
fn names_have_their_limits_and_absent_ones_a_word() {
    let host = Host::new();
    let caller = "c".repeat(70);
    host.callmeter
        .call(&caller, "p".repeat(70), "m".repeat(200))
        .finish();
    host.callmeter.call("", "", "").finish();
    let rows = host.rows();
    let row = &rows["c".repeat(64).as_str()];
    assert_eq!(
        row.provider.as_ref().unwrap().len(),
        Field::Provider.limit()
    );
    assert_eq!(row.model_or_requested().len(), Field::Model.limit());
    let row = &rows["unknown"];
    assert_eq!(
        (row.provider_or_unknown(), row.model_or_requested()),
        ("unknown", "unknown")
    );
    assert_eq!(row.status_or_ok(), &Status::Ok);
}

#[test]
fn meta_keeps_letters_and_turns_what_json_cannot_hold_into_text() {
    let host = Host::new();
    let mut call = host.call("letters");
    call.meta("Größe", "groß, 大きい")
        .meta("ratio", f64::NAN)
        .meta("big", u64::MAX)
        .meta("none", None::<u8>);
    call.finish();
    let meta = host.row().meta.unwrap();
    assert_eq!(
        meta.to_json_text(),
        r#"{"Größe":"groß, 大きい","big":"18446744073709551615","none":null,"ratio":"NaN"}"#
    );
}

/// Runs calls into an embedded store and gives what it says of them.
fn stored(book: &str, calls: &[(&str, &str, u64, u64)]) -> Vec<callmeter_store::StoredCall> {
    let host = Host::with_store(|settings| settings.prices.book = book.to_owned());
    let ids: Vec<_> = calls
        .iter()
        .map(|(provider, model, input, output)| {
            host.clock.pass(1);
            let mut call = host.callmeter.call("costs", provider, model);
            call.tokens(*input, *output);
            let id = call.id().unwrap();
            call.finish();
            id
        })
        .collect();
    host.at_rest();
    let mut store = SqliteReader::open(&host.path("home/store.sqlite")).unwrap();
    ids.into_iter()
        .map(|id| store.find(id).unwrap().unwrap())
        .collect()
}

#[test]
fn the_legacy_book_costs_a_row_as_the_table_says() {
    logs::listen();
    let rows = stored(
        "legacy",
        &[
            ("gemini", "gemini-2.5-pro", 1_000_000, 100_000),
            ("anthropic", "claude-haiku-4-5", 1, 1),
            ("gcp_ollama", "hermes3:latest", 5_000, 5_000),
            ("nim", "meta/llama-new", 5_000, 5_000),
            ("openai", "no-such-model-of-the-contract", 5_000, 5_000),
            ("anthropic", "claude-opus-4-7", 999_999_999_999, 0),
        ],
    );
    let costs: Vec<String> = rows
        .iter()
        .map(|row| row.cost.cost.unwrap().to_string())
        .collect();
    assert_eq!(costs, ["2.25", "0.000005", "0", "0", "0", "9999.999999"]);
    // Zero for an unknown model comes with a warning; a free quota without.
    assert_eq!(logs::with("no-such-model-of-the-contract").len(), 1);
    assert_eq!(logs::with("meta/llama-new").len(), 0);
}

#[test]
fn an_unknown_model_has_no_cost_and_small_costs_are_not_lost() {
    let tiny = ("openai", "gpt-5-mini", 1, 0);
    let rows = stored("market", &[("openai", "no-such-model", 5_000, 5_000), tiny]);
    assert_eq!(
        (rows[0].cost.cost, rows[0].cost.unpriced_reason),
        (None, Some(UnpricedReason::UnknownModel))
    );
    // 0.25 USD a million: a single token is a quarter of a microdollar, which six decimals would lose.
    assert_eq!(rows[1].cost.cost, Some(PicoUsd::from_pico(250_000)));
    assert!(rows[1].cost.price_id.is_some() && rows[1].cost.book_rev == Some(1));
}

#[test]
fn dropping_the_recorder_brings_the_last_rows_home() {
    let Host {
        callmeter, sink, ..
    } = Host::new();
    for _ in 0..100 {
        callmeter.call("last", "openai", "gpt-5-mini").finish();
    }
    drop(callmeter);
    assert_eq!(sink.calls().len(), 100);
}

#[test]
fn an_async_call_lasts_until_its_end() {
    let host = Host::new();
    let mut call = Box::pin(host.call("async").run(async {
        Later::default().await;
        Ok::<_, std::io::Error>("reply")
    }));
    assert!(poll_once(&mut call).is_pending());
    host.clock.pass(5_000);
    assert_eq!(block_on(call).unwrap(), "reply");
    assert_eq!(host.row().duration_us, Some(5_000));
}

#[test]
fn a_future_that_is_dropped_and_a_panic_are_no_success() {
    let host = Host::new();
    let mut call = Box::pin(host.call("dropped").run_value(Later::default()));
    assert!(poll_once(&mut call).is_pending());
    drop(call);
    panics(|| {
        let _call = host.call("panicked");
        panic_with("a payload");
    });
    drop(host.call("left"));
    let rows = host.rows();
    let told = |caller: &str| {
        let row = &rows[caller];
        (row.status_or_ok().as_str().to_owned(), row.error_kind)
    };
    assert_eq!(
        told("dropped"),
        ("cancelled".to_owned(), Some(ErrorKind::Cancelled))
    );
    assert_eq!(
        told("panicked"),
        ("error".to_owned(), Some(ErrorKind::Panic))
    );
    assert_eq!(
        told("left"),
        ("error".to_owned(), Some(ErrorKind::Unfinished))
    );
}

#[test]
fn a_batch_that_is_sent_again_doubles_nothing() {
    let host = Host::new();
    host.sink
        .fail_next([Fault::AfterCommit, Fault::AfterCommit]);
    for _ in 0..20 {
        host.call("again").finish();
    }
    let stats = host.at_rest();
    assert_eq!(host.sink.calls().len(), 20);
    assert!(host.sink.batches().iter().sum::<usize>() > 20);
    assert_eq!((stats.conservation.acknowledged, stats.moving), (20, 0));
}

#[test]
fn a_row_has_the_time_of_its_call() {
    let host = Host::new();
    let call = host.call("early");
    host.clock.pass(60_000_000);
    call.finish();
    assert_eq!(host.row().started_at(), NOON);
}
