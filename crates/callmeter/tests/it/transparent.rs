//! Promise CM-1: whatever is done with a guard, and however the call ends, the host's value comes back unchanged
//! and exactly one row within its limits is made.

use callmeter::{
    Billing, CallGuard, ErrorClass, ErrorKind, ErrorReport, MetaValue, Operation, ReportsUsage,
    Usage,
};
use callmeter_core::{Field, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::host::{Host, Later, block_on, panic_with, panics, poll_once};

/// One thing that a host can do with a guard.
#[derive(Clone, Debug)]
enum Step {
    Text(usize, String),
    Pair(String, String),
    Tokens(i128, Option<u64>),
    Usage(Vec<Option<u64>>, String, u64),
    Flag(usize, bool),
    Kind(ErrorKind),
    Operation(Operation),
    Billing(Billing),
    Number(u16),
    Retry(u32),
    Meta(String, Meta),
    FirstToken,
    Pass(u32),
    Jump(i64),
    Enable(bool),
}

#[derive(Clone, Debug)]
enum Meta {
    Text(String),
    Float(f64),
    Int(u64),
    List(Vec<String>),
    Deep(String, String),
}

/// How a call ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Finish,
    Fail,
    FailClassified,
    Drop,
    Panic,
    RunOk,
    RunErr,
    RunDropped,
    RunBlocking,
    RunPanics,
    Observed,
}

/// Any text, short or far beyond every limit, with what no row may hold.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[a-z_:/.-]{1,20}",
        (r"\PC{1,4}", 1..900_usize).prop_map(|(part, times)| part.repeat(times)),
        "[\0\u{1}\n\r\u{7f}\u{85}\u{202e}\u{feff}ü𝔘]{1,30}",
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let meta = prop_oneof![
        texts().prop_map(Meta::Text),
        any::<f64>().prop_map(Meta::Float),
        any::<u64>().prop_map(Meta::Int),
        vec(texts(), 0..20).prop_map(Meta::List),
        (texts(), texts()).prop_map(|(key, value)| Meta::Deep(key, value)),
    ];
    prop_oneof![
        (0..20_usize, texts()).prop_map(|(at, text)| Step::Text(at, text)),
        (texts(), texts()).prop_map(|(a, b)| Step::Pair(a, b)),
        (any::<i128>(), any::<Option<u64>>()).prop_map(|(a, b)| Step::Tokens(a, b)),
        (vec(any::<Option<u64>>(), 13), texts(), any::<u64>())
            .prop_map(|(counts, name, count)| Step::Usage(counts, name, count)),
        (0..4_usize, any::<bool>()).prop_map(|(at, flag)| Step::Flag(at, flag)),
        select(ErrorKind::ALL).prop_map(Step::Kind),
        select(Operation::ALL).prop_map(Step::Operation),
        select(Billing::ALL).prop_map(Step::Billing),
        any::<u16>().prop_map(Step::Number),
        any::<u32>().prop_map(Step::Retry),
        (texts(), meta).prop_map(|(key, value)| Step::Meta(key, value)),
        Just(Step::FirstToken),
        any::<u32>().prop_map(Step::Pass),
        any::<i64>().prop_map(Step::Jump),
        any::<bool>().prop_map(Step::Enable),
    ]
}

fn ends() -> impl Strategy<Value = End> {
    select(
        &[
            End::Finish,
            End::Fail,
            End::FailClassified,
            End::Drop,
            End::Panic,
            End::RunOk,
            End::RunErr,
            End::RunDropped,
            End::RunBlocking,
            End::RunPanics,
            End::Observed,
        ][..],
    )
}

fn take(host: &Host, call: &mut CallGuard, step: &Step) {
    match step {
        Step::Text(at, text) => {
            let setters: [fn(&mut CallGuard, &str); 19] = [
                |call, text| {
                    call.provider(text);
                },
                |call, text| {
                    call.model(text);
                },
                |call, text| {
                    call.response_id(text);
                },
                |call, text| {
                    call.provider_request_id(text);
                },
                |call, text| {
                    call.host(text);
                },
                |call, text| {
                    call.region(text);
                },
                |call, text| {
                    call.service_tier(text);
                },
                |call, text| {
                    call.finish_reason(text);
                },
                |call, text| {
                    call.project(text);
                },
                |call, text| {
                    call.team(text);
                },
                |call, text| {
                    call.cost_center(text);
                },
                |call, text| {
                    call.environment(text);
                },
                |call, text| {
                    call.fallback_to(text);
                },
                |call, text| {
                    call.error(text);
                },
                |call, text| {
                    call.status(text);
                },
                |call, text| {
                    call.session(text);
                },
                |call, text| {
                    call.user(text);
                },
                |call, text| {
                    call.prompt_hash(text);
                },
                |call, text| {
                    call.reported_cost(text);
                },
            ];
            setters[at % setters.len()](call, text);
        }
        Step::Pair(trace, span) => {
            call.trace(trace, span);
        }
        Step::Tokens(input, output) => {
            call.tokens(*input, *output);
        }
        Step::Usage(counts, name, count) => {
            call.usage(usage_of(counts, name, *count));
        }
        Step::Flag(at, flag) => {
            let setters = [
                CallGuard::cache_hit,
                CallGuard::rag_hit,
                CallGuard::streaming,
                CallGuard::stream_complete,
            ];
            setters[at % setters.len()](call, *flag);
        }
        Step::Kind(kind) => {
            call.error_kind(*kind);
        }
        Step::Operation(operation) => {
            call.operation(*operation);
        }
        Step::Billing(billing) => {
            call.billing(*billing);
        }
        Step::Number(status) => {
            call.http_status(*status);
        }
        Step::Retry(attempt) => {
            let id = call.id();
            call.parent(id).retry_of(id, *attempt);
        }
        Step::Meta(key, value) => {
            let value = match value {
                Meta::Text(text) => MetaValue::from(text.as_str()),
                Meta::Float(number) => (*number).into(),
                Meta::Int(number) => (*number).into(),
                Meta::List(texts) => texts.clone().into(),
                Meta::Deep(inner, text) => MetaValue::Map(
                    [(inner.clone(), MetaValue::from(vec![vec![text.as_str()]]))].into(),
                ),
            };
            call.meta(key, value);
        }
        Step::FirstToken => {
            call.first_token();
        }
        Step::Pass(micros) => host.clock.pass(*micros),
        Step::Jump(micros) => host
            .clock
            .jump_to(callmeter_core::Timestamp::from_micros(*micros)),
        // A guard that was opened while on finishes as it was opened.
        Step::Enable(on) => host.callmeter.set_enabled(*on),
    }
}

fn usage_of(counts: &[Option<u64>], name: &str, count: u64) -> Usage {
    let mut usage = Usage::of(counts[0], counts[1]);
    usage.input_tokens = counts[0];
    usage.cache_read_tokens = counts[2];
    usage.cache_write_tokens = counts[3];
    usage.cache_write_1h_tokens = counts[4];
    usage.reasoning_tokens = counts[5];
    usage.audio_output_tokens = counts[6];
    usage.video_input_tokens = counts[7];
    usage.usage_rule = Some(name.to_owned());
    usage.usage_extra = Some([(name.to_owned(), count)].into());
    usage
}

struct Classified;

impl ErrorClass for Classified {
    fn error_report(&self) -> ErrorReport {
        ErrorReport::of_http_status(429).code("rate_limit_exceeded")
    }
}

/// Ends a call, and says by which word and kind a row must tell it where the host said nothing.
fn end(call: CallGuard, end: End) -> Option<(&'static str, &'static str)> {
    let value = vec![1_u8, 2, 3];
    match end {
        End::Finish => {
            call.finish();
            None
        }
        End::Fail => {
            call.fail(&std::fmt::Error);
            Some(("error", "other"))
        }
        End::FailClassified => {
            call.fail_classified(&Classified);
            Some(("error", "rate_limit"))
        }
        End::Drop => {
            drop(call);
            Some(("error", "unfinished"))
        }
        End::Panic => {
            panics(move || {
                let _call = call;
                panic_with("a payload");
            });
            Some(("error", "panic"))
        }
        End::RunOk => {
            let reply = block_on(call.run(async {
                Later::default().await;
                Ok::<_, ()>(value.clone())
            }));
            assert_eq!(reply, Ok(value));
            None
        }
        End::RunErr => {
            let reply = block_on(call.run(async { Err::<(), _>(value.clone()) }));
            assert_eq!(reply, Err(value));
            Some(("error", "other"))
        }
        End::RunDropped => {
            let mut call = Box::pin(call.run_value(Later::default()));
            assert!(poll_once(&mut call).is_pending());
            drop(call);
            Some(("cancelled", "cancelled"))
        }
        End::RunBlocking => {
            assert_eq!(call.run_blocking_value(|| value.clone()), value);
            None
        }
        End::RunPanics => {
            panics(move || {
                let _: Result<(), ()> = call.run_blocking(|| panic_with("a payload"));
            });
            Some(("error", "panic"))
        }
        End::Observed => {
            let observed = call.observe(|_: &Vec<u8>| panic_with("an observer that panics"));
            let reply: Result<Vec<u8>, ()> = observed.run_blocking(|| Ok(value.clone()));
            assert_eq!(reply, Ok(value));
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sequence_of_steps_makes_one_row_within_its_limits(
        calls in vec((texts(), texts(), vec(steps(), 0..12), ends()), 1..40)
    ) {
        let host = Host::new();
        let mut expected = std::collections::BTreeMap::new();
        for (provider, model, steps, how) in &calls {
            host.callmeter.set_enabled(true);
            let mut call = host.callmeter.call("any", provider, model);
            let id = call.id().unwrap();
            let said = steps.iter().any(|step| matches!(step, Step::Kind(_) | Step::Text(..)));
            for step in steps {
                take(&host, &mut call, step);
            }
            expected.insert(id, (end(call, *how), said));
        }
        host.at_rest();
        let rows = host.sink.calls();
        prop_assert_eq!(rows.len(), calls.len());
        for row in rows {
            let mut bounded = row.clone();
            bounded.bound();
            prop_assert_eq!(&bounded, &row, "beyond a limit");
            prop_assert!(row.meta.as_ref().is_none_or(|meta| meta.to_json_text().len() <= 4_200));
            prop_assert!(!row.to_json(None).chars().any(char::is_control));
            prop_assert!(row.error.as_ref().is_none_or(|error| error.len() <= Field::Error.limit()));
            let (ending, said) = expected[&row.call_id];
            if let Some((status, kind)) = ending {
                prop_assert_eq!(row.status_or_ok().as_str(), status);
                if !said {
                    prop_assert_eq!(row.error_kind.map(ErrorKind::as_str), Some(kind));
                }
            } else if !said {
                prop_assert_eq!(row.status, Some(Status::Ok));
            }
        }
    }
}

#[test]
fn a_guard_goes_from_thread_to_thread_and_across_an_await() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let host = Host::new();
    let mut call = is_send(host.call("moved"));
    let work = is_send(async move {
        Later::default().await;
        call.tokens(1, 2);
        call.finish();
    });
    std::thread::scope(|scope| {
        scope.spawn(|| block_on(work));
    });
    assert_eq!(host.row().usage.output_tokens, Some(2));
}

#[test]
fn a_call_within_a_call_is_a_row_of_its_own() {
    let host = Host::new();
    let reply: Result<u32, std::io::Error> = host.call("outer").run_blocking(|| {
        let mut inner = host.call("inner");
        inner.tokens(1, 1);
        let inner: Result<u32, std::io::Error> = inner.run_blocking(|| Ok(41));
        Ok(inner? + 1)
    });
    assert_eq!(reply.unwrap(), 42);
    assert_eq!(host.rows().len(), 2);
}

#[test]
fn an_early_return_is_a_row_that_says_so() {
    fn ask(host: &Host) -> Result<u32, std::num::ParseIntError> {
        let mut call = host.call("early");
        let tokens: u32 = "twelve".parse()?;
        call.tokens(tokens, 0);
        call.finish();
        Ok(tokens)
    }
    let host = Host::new();
    assert!(ask(&host).is_err());
    assert_eq!(host.row().error_kind, Some(ErrorKind::Unfinished));
}

#[test]
fn a_future_that_was_never_polled_was_given_up() {
    let host = Host::new();
    drop(host.call("never").run(async { Ok::<(), ()>(()) }));
    assert_eq!(host.row().status, Some(Status::Cancelled));
}

#[test]
fn a_panic_in_a_future_is_a_panic_for_the_host_and_in_the_row() {
    let host = Host::new();
    let mut call = Box::pin(host.call("future").run_value(async {
        Later::default().await;
        panic_with("a payload")
    }));
    assert!(poll_once::<std::pin::Pin<Box<_>>>(&mut call).is_pending());
    panics(|| {
        let _: std::task::Poll<()> = poll_once(&mut call);
    });
    drop(call);
    let row = host.row();
    assert_eq!(
        (row.status, row.error_kind),
        (Some(Status::Error), Some(ErrorKind::Panic))
    );
}

#[test]
fn usage_is_read_from_the_value_and_a_reader_that_panics_changes_nothing() {
    struct Reply(u32);
    impl ReportsUsage for Reply {
        fn usage(&self) -> Usage {
            Usage::of(self.0, self.0 * 2)
        }
    }
    struct Broken;
    impl ErrorClass for Broken {
        fn error_report(&self) -> ErrorReport {
            panic_with("a class that panics")
        }
    }
    let host = Host::new();
    let reply: Result<Reply, ()> = block_on(
        host.call("observed")
            .observe(Reply::usage)
            .run(async { Ok(Reply(7)) }),
    );
    assert_eq!(reply.unwrap().0, 7);
    host.call("broken class").fail_classified(&Broken);
    let rows = host.rows();
    let usage = &rows["observed"].usage;
    assert_eq!(
        (usage.input_tokens, usage.output_tokens),
        (Some(7), Some(14))
    );
    assert_eq!(rows["broken class"].error_kind, Some(ErrorKind::Other));
    assert_eq!(rows["broken class"].error.as_deref(), Some("Broken"));
}

#[test]
fn while_off_a_call_is_made_as_ever_and_leaves_nothing() {
    let host = Host::new();
    host.callmeter.set_enabled(false);
    assert!(!host.callmeter.is_enabled());
    let mut call = host.call("off");
    assert_eq!(call.id(), None);
    call.tokens(1, 2).meta("n", 1).error("a text");
    assert_eq!(call.error_text(), None);
    call.finish();
    let reply: Result<u8, _> = host.call("off").run_blocking(|| "x".parse::<u8>());
    assert!(reply.is_err());
    host.callmeter.set_enabled(true);
    host.call("on").finish();
    assert_eq!(host.row().caller_or_unknown(), "on");
    assert_eq!(host.callmeter.stats().conservation.finished, 1);
}
