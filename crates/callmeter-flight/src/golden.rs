//! Format 1 to the byte: what this build writes, and that it reads what was written then.
//!
//! `tests/golden/flight-v1.bin` is never changed. Should this build write another file, then the format
//! has changed and needs a new number, a golden file of its own, and this one stays readable for ever.

use callmeter_core::{CallId, ErrorKind, Field, Layer, Status, Timestamp, UsageSource};

use crate::Adopter;
use crate::buffer::{FlightBuffer, Options};
use crate::fields::Value;
use crate::header::Header;
use crate::layout::Geometry;
use crate::place::Place;
use crate::record::Opening;
use crate::region::Region;
use crate::words::Words;

const GOLDEN: &[u8] = include_bytes!("../tests/golden/flight-v1.bin");
const START: Timestamp = Timestamp::from_micros(1_774_310_400_000_000);

/// A file with every kind of slot: finished short, finished long, in flight.
fn written_by_this_build() -> Vec<u8> {
    let geometry = Geometry::new(16, 4_096).unwrap();
    let described = Header {
        geometry,
        key: 0x1234_5678_9abc_def0,
        boot: [1, 2],
        pid: 4_711,
        process_start: 99,
        made_at: START,
    };
    let options = Options {
        service: "shop".into(),
        home: "/var/callmeter".into(),
        ..Options::default()
    };
    let region = Region::in_memory(geometry);
    let buffer = FlightBuffer::assemble(region, None, Place::memory(), &described, &options);
    let open = |n: u32, caller: &'static str| {
        let id = CallId::new(START.saturating_add_micros(n.into()), n.into());
        let scope = buffer.scope(&[
            (Field::Project, Value::from("shop")),
            (Field::Team, "web".into()),
        ]);
        let opening = Opening {
            caller: caller.into(),
            provider: "openai".into(),
            model_requested: "gpt-5-mini".into(),
            call_site: "src/sales.rs:42".into(),
            scope,
            rev: n,
            more: [(
                Field::TraceId,
                Value::from("0af7651916cd43dd8448eb211c80319c"),
            )],
            call_id: id,
            layer: Layer::Guard,
            opened_ns: 5_000_000,
        };
        buffer.open(&opening).unwrap()
    };
    let short = open(0, "sales_copy");
    let long = open(1, "größe");
    let _in_flight = open(2, "hermes_analyst");
    let numbers = [
        (Field::DurationUs, Value::from(1_204_000_u64)),
        (Field::InputTokens, 26_u64.into()),
        (Field::OutputTokens, 112_u64.into()),
        (Field::UsageSource, UsageSource::Body.into()),
        (Field::Model, "gpt-5-mini-2026-01-01".into()),
        (Field::Status, (&Status::Ok).into()),
        (Field::HttpStatus, 200_u16.into()),
        (Field::CacheHit, false.into()),
        (Field::Streaming, true.into()),
        (Field::RequestId, "req_1".into()),
    ];
    buffer.finish(short, &numbers).unwrap();
    let error = "the stream broke; ".repeat(40);
    let failed = [
        (Field::DurationUs, Value::from(9_000_u64)),
        (Field::Status, "odd".into()),
        (Field::ErrorKind, ErrorKind::Network.into()),
        (Field::Error, error.as_str().into()),
    ];
    buffer.finish(long, &failed).unwrap();
    buffer.beat(START.saturating_add_micros(3_000_000), 3_005_000_000);
    (0..geometry.words())
        .flat_map(|at| buffer.words().word(at).to_le_bytes())
        .collect()
}

#[cfg(target_endian = "little")]
#[test]
fn this_build_writes_format_1_to_the_byte() {
    let bytes = written_by_this_build();
    if std::env::var_os("CALLMETER_WRITE_GOLDEN").is_some() {
        std::fs::write("tests/golden/flight-v1.bin", &bytes).unwrap();
    }
    let differs = bytes.iter().zip(GOLDEN).position(|(new, old)| new != old);
    assert_eq!(
        (bytes.len(), differs),
        (GOLDEN.len(), None),
        "the layout of format 1 is frozen"
    );
}

#[cfg(target_endian = "little")]
#[test]
fn the_golden_file_of_format_1_is_adopted() {
    let calls = Adopter::read(GOLDEN).unwrap();
    assert_eq!(
        (calls.pid, calls.service.as_str(), calls.home.as_str()),
        (4_711, "shop", "/var/callmeter")
    );
    assert_eq!(
        (calls.finished.len(), calls.aborted.len(), calls.torn),
        (2, 1, 0)
    );
    assert_eq!((calls.standing.opened, calls.standing.moving()), (3, 0));
    let short = &calls.finished[0];
    assert_eq!(short.started_at(), START);
    assert_eq!(short.caller.as_deref(), Some("sales_copy"));
    assert_eq!(short.team.as_deref(), Some("web"));
    assert_eq!(short.call_site.as_deref(), Some("src/sales.rs:42"));
    assert_eq!(short.model.as_deref(), Some("gpt-5-mini-2026-01-01"));
    assert_eq!(
        (short.usage.input_tokens, short.usage.output_tokens),
        (Some(26), Some(112))
    );
    assert_eq!(
        (short.http_status, short.cache_hit, short.rag_hit),
        (Some(200), Some(false), None)
    );
    assert_eq!(
        (short.status.clone(), short.streaming),
        (Some(Status::Ok), Some(true))
    );
    let long = &calls.finished[1];
    assert_eq!((long.caller.as_deref(), long.rev), (Some("größe"), 1));
    assert_eq!(long.error.as_deref().map(str::len), Some(720));
    assert_eq!(long.status, Some(Status::from_word("odd")));
    assert_eq!(long.error_kind, Some(ErrorKind::Network));
    let aborted = &calls.aborted[0];
    assert_eq!(aborted.caller.as_deref(), Some("hermes_analyst"));
    assert_eq!(
        aborted.trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(
        (aborted.status.clone(), aborted.duration_us),
        (Some(Status::Aborted), Some(3_000_000))
    );
}

/// The golden file as a newer build would have written it, readable by builds of that format on.
#[cfg(target_endian = "little")]
fn of_a_newer_build(min_reader: u64) -> Vec<u8> {
    use crate::checksum::Checksum;
    use crate::layout::{MAGIC, header};
    let mut bytes = GOLDEN.to_vec();
    let mut put = |at: usize, word: u64| bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
    put(header::FORMAT, 2 | min_reader << 32);
    // Room that format 1 leaves.
    put(header::MADE_AT + 1, 0x6e65_7765_7221);
    let fixed = bytes[..header::CHECKSUM * 8].as_chunks::<8>().0;
    let sum = Checksum::of_words(MAGIC, fixed.iter().map(|word| u64::from_le_bytes(*word)));
    bytes[header::CHECKSUM * 8..][..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[cfg(target_endian = "little")]
#[test]
fn a_file_of_a_newer_build_is_adopted_where_that_says_so_and_left_where_it_does_not() {
    use crate::FlightError;
    let read = Adopter::read(&of_a_newer_build(1)).unwrap();
    assert_eq!(read, Adopter::read(GOLDEN).unwrap());
    let newer = Adopter::read(&of_a_newer_build(2));
    assert!(
        matches!(newer, Err(FlightError::NewerFormat { format: 2, .. })),
        "{newer:?}"
    );
}
