//! New call ids without a lock: a generator for each thread, seeded by the operating system.
//!
//! A shared generator costs a process-wide lock; this one is a splitmix64 sequence whose start *and*
//! step are random, so that two threads never walk the same sequence. A forked child begins anew.

use std::cell::Cell;

use callmeter_core::{CallId, Timestamp};

thread_local! {
    static STATE: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// The id of a call that starts now.
#[inline]
pub(crate) fn new_call_id(started_at: Timestamp) -> CallId {
    CallId::new(started_at, next_random(started_at))
}

/// Forgets this thread's sequence: in a forked child it is the parent's as well.
pub(crate) fn begin_anew() {
    let _ = STATE.try_with(|cell| cell.set(None));
}

fn next_random(now: Timestamp) -> u64 {
    STATE
        .try_with(|cell| {
            let (state, step) = cell.get().unwrap_or_else(|| seed(now));
            let state = state.wrapping_add(step);
            cell.set(Some((state, step)));
            mix(state)
        })
        .unwrap_or_else(|_| mix(seed(now).0))
}

fn seed(now: Timestamp) -> (u64, u64) {
    let mut bytes = [0_u8; 16];
    if !crate::random::fill(&mut bytes) {
        // No randomness to be had: the time and the address of a local are what is left.
        let address = std::ptr::from_ref(&bytes).addr() as u64;
        return (mix(now.as_micros().cast_unsigned()), mix(address) | 1);
    }
    let value = u128::from_le_bytes(bytes);
    ((value >> 64) as u64, value as u64 | 1)
}

/// The finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_of_many_threads_in_one_moment_differ() {
        let at = Timestamp::from_micros(1_774_310_400_000_000);
        let make = move || (0..5_000).map(|_| new_call_id(at)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(make)).collect();
        let ids: HashSet<CallId> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        assert_eq!(ids.len(), 40_000);
        assert!(ids.iter().all(|id| id.started_at() == at));
    }
}
