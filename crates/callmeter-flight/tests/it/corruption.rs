//! Any bytes in the file: no panic, and no call that nobody made.

use std::collections::BTreeMap;

use callmeter_core::{CallId, CallRecord, Field};
use callmeter_flight::{Adopter, FlightError, Value};
use proptest::prelude::*;

use crate::support::{in_file, open};

/// The bytes of a file with short, long and open calls.
fn written() -> Vec<u8> {
    let (_dir, buffer) = in_file(64);
    let error = "it broke. ".repeat(100);
    let mut in_flight = Vec::new();
    for n in 0..30 {
        let slot = open(&buffer, n).unwrap();
        match n % 3 {
            0 => buffer
                .finish(slot, &[(Field::InputTokens, Value::from(n))])
                .unwrap(),
            1 => buffer
                .finish(slot, &[(Field::Error, Value::from(error.as_str()))])
                .unwrap(),
            _ => in_flight.push(slot),
        }
    }
    std::fs::read(buffer.path().unwrap()).unwrap()
}

fn by_id(calls: &[CallRecord]) -> BTreeMap<CallId, CallRecord> {
    calls
        .iter()
        .map(|call| (call.call_id, call.clone()))
        .collect()
}

/// A change of the bytes: somewhere, by something.
#[derive(Clone, Debug)]
enum Damage {
    Bytes(usize, Vec<u8>),
    Zeros(usize, usize),
    /// As when pages of different times reached the disk.
    Copy(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let anywhere = 0..40_000_usize;
    prop_oneof![
        (anywhere.clone(), prop::collection::vec(any::<u8>(), 1..64))
            .prop_map(|(at, bytes)| Damage::Bytes(at, bytes)),
        (anywhere.clone(), 1..5_000_usize).prop_map(|(at, len)| Damage::Zeros(at, len)),
        (anywhere.clone(), anywhere, 1..1_024_usize).prop_map(|(from, to, len)| Damage::Copy(
            from & !511,
            to & !511,
            len
        )),
    ]
}

fn apply(bytes: &mut [u8], damage: &Damage) {
    let len = bytes.len();
    match damage {
        Damage::Bytes(at, new) => {
            let end = (at + new.len()).min(len);
            let at = (*at).min(end);
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        Damage::Zeros(at, count) => bytes[(*at).min(len)..(at + count).min(len)].fill(0),
        Damage::Copy(from, to, count) => {
            let count = (*count)
                .min(len.saturating_sub(*from))
                .min(len.saturating_sub(*to));
            bytes.copy_within(*from..from + count, *to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_damage_to_a_file_makes_the_adopter_panic_or_invent_a_call(
        damages in prop::collection::vec(damage(), 1..6), cut in prop::option::of(0..50_000_usize),
    ) {
        thread_local!(static WRITTEN: Vec<u8> = written());
        let original = WRITTEN.with(Clone::clone);
        let calls = Adopter::read(&original).unwrap();
        let (finished, aborted) = (by_id(&calls.finished), by_id(&calls.aborted));
        let mut bytes = original;
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        bytes.truncate(cut.unwrap_or(usize::MAX));
        match Adopter::read(&bytes) {
            Ok(found) => {
                for call in &found.finished {
                    prop_assert_eq!(finished.get(&call.call_id), Some(call));
                }
                for call in &found.aborted {
                    // A state that was set back makes an open call of a finished one; how long it
                    // lasted is the heartbeat's word.
                    let known = finished.get(&call.call_id).or(aborted.get(&call.call_id));
                    prop_assert!(known.is_some_and(|known| known.caller == call.caller));
                }
            }
            Err(FlightError::NotAFlightFile { .. } | FlightError::NewerFormat { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_bytes_behind_a_sound_header_are_no_calls(noise in prop::collection::vec(any::<u8>(), 0..30_000)) {
        thread_local!(static WRITTEN: Vec<u8> = written());
        let mut bytes = WRITTEN.with(Clone::clone);
        let end = (4_096 + noise.len()).min(bytes.len());
        bytes[4_096..].fill(0);
        bytes[4_096..end].copy_from_slice(&noise[..end - 4_096]);
        let found = Adopter::read(&bytes).unwrap();
        prop_assert!(found.finished.is_empty() && found.aborted.is_empty());
    }
}

#[test]
fn a_page_that_did_not_reach_the_disk_costs_its_calls_and_they_are_counted_as_torn() {
    let mut bytes = written();
    let whole = Adopter::read(&bytes).unwrap();
    assert_eq!(
        (whole.finished.len(), whole.aborted.len(), whole.torn),
        (20, 10, 0)
    );
    // The second half of the slots' last page but three: states are there, results are not.
    let at = bytes.len() - 4 * 4_096;
    for slot in bytes[at..at + 4_096].chunks_mut(512) {
        slot[64..].fill(0);
    }
    let torn = Adopter::read(&bytes).unwrap();
    assert!(torn.torn > 0, "{torn:?}");
    assert!(torn.finished.len() + torn.aborted.len() + torn.torn as usize <= 30);
}

#[test]
fn a_file_of_a_newer_format_is_named_and_left_alone() {
    let mut bytes = written();
    // Format 3, for readers of format 2 on.
    bytes[8..16].copy_from_slice(&[3, 0, 0, 0, 2, 0, 0, 0]);
    assert!(matches!(
        Adopter::read(&bytes),
        Err(FlightError::NewerFormat { format: 3, .. })
    ));
}
