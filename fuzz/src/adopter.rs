//! What the target of the flight adopter runs: any bytes, and a sound file with any bytes laid over it.
//!
//! No panic, and no finished call that was not in the sound file, byte for byte. The stable tests of
//! `callmeter-flight` include this file and run it over the corpus.

use std::sync::LazyLock;

use callmeter_flight::{AdoptedCalls, Adopter};

const SOUND: &[u8] = include_bytes!("../../crates/callmeter-flight/tests/golden/flight-v1.bin");

static KNOWN: LazyLock<AdoptedCalls> =
    LazyLock::new(|| Adopter::read(SOUND).expect("the golden file is sound"));

/// The first two bytes say where the others are laid over the sound file.
pub fn adopt(bytes: &[u8]) {
    let _ = Adopter::read(bytes);
    let Some((at, over)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let at = usize::from(u16::from_le_bytes(*at)) % SOUND.len();
    let mut damaged = SOUND.to_vec();
    for (to, from) in damaged.iter_mut().skip(at).zip(over) {
        *to = *from;
    }
    if let Ok(found) = Adopter::read(&damaged) {
        for call in &found.finished {
            assert!(KNOWN.finished.contains(call), "an invented call: {call:?}");
        }
        for call in &found.aborted {
            let known = KNOWN.finished.iter().chain(&KNOWN.aborted);
            assert!(known.into_iter().any(|known| known.call_id == call.call_id));
        }
    }
}
