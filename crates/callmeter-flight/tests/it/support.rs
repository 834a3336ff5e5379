//! Buffers, calls and places that the tests share.

use std::sync::Arc;

use callmeter_core::{CallId, Field, Layer, Timestamp};
use callmeter_flight::{FlightBuffer, FlightSlot, Opening, Options, Place, Refused, Value};

pub(crate) const START: Timestamp = Timestamp::from_micros(1_774_310_400_000_000);

/// Options of a small buffer.
pub(crate) fn small(slots: usize) -> Options {
    let mut options = Options::default();
    options.slots = slots;
    options.names_bytes = 4_096;
    options.service = "shop".to_owned();
    options
}

pub(crate) fn in_memory(slots: usize) -> Arc<FlightBuffer> {
    Arc::new(FlightBuffer::create(&Place::memory(), &small(slots)).unwrap())
}

/// A buffer in a file, in a directory that goes with the test.
pub(crate) fn in_file(slots: usize) -> (tempfile::TempDir, Arc<FlightBuffer>) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::directory(dir.path().join("flight"));
    (
        dir,
        Arc::new(FlightBuffer::create(&place, &small(slots)).unwrap()),
    )
}

pub(crate) fn id(n: u64) -> CallId {
    CallId::new(START, n)
}

/// Opens call number `n`.
pub(crate) fn open(buffer: &FlightBuffer, n: u64) -> Result<FlightSlot, Refused> {
    let mut opening = Opening::new(id(n), Layer::Guard, 1_000);
    opening.caller = "sales_copy".into();
    opening.provider = "openai".into();
    buffer.open(&opening)
}

/// Opens and finishes call number `n`.
pub(crate) fn call(buffer: &FlightBuffer, n: u64) -> Result<(), Refused> {
    buffer.finish(open(buffer, n)?, &[(Field::InputTokens, Value::from(n))])
}

/// What a drainer hands out, freed at once: the numbers of the calls.
pub(crate) fn drained(drainer: &mut callmeter_flight::Drainer) -> Vec<u64> {
    let mut numbers = Vec::new();
    drainer.drain(usize::MAX, |record| {
        numbers.push(record.call_id.lo().cast_unsigned());
    });
    drainer.committed();
    numbers.sort_unstable();
    numbers
}
