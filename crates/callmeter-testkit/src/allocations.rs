//! An allocator that counts, for tests of what something allocates and how much it holds at most.
//!
//! ```
//! use callmeter_testkit::allocations::{Counting, measured};
//! #[global_allocator]
//! static COUNTING: Counting = Counting;
//! let (text, measure) = measured(|| vec![0_u8; 4_096]);
//! assert_eq!((text.len(), measure.allocations), (4_096, 1));
//! assert!(measure.peak_bytes >= 4_096);
//! ```
//!
//! It counts by thread, so that tests beside each other do not disturb one another; a test that uses it stands
//! in a binary whose global allocator it is.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes held, less what was freed here and taken elsewhere.
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what this thread asks of it.
#[derive(Debug)]
pub struct Counting;

fn took(size: usize) {
    // While a thread ends there is nothing to count with.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    let _ = HELD.try_with(|held| {
        let now = held.get() + i64::try_from(size).unwrap_or(i64::MAX);
        held.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

fn gave(size: usize) {
    let _ = HELD.try_with(|held| held.set(held.get() - i64::try_from(size).unwrap_or(i64::MAX)));
}

// SAFETY: hands everything on to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What an action asked of the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// How often it allocated.
    pub allocations: u64,
    /// The most bytes that it held at once, above what was held before.
    pub peak_bytes: u64,
}

/// Runs an action on this thread and says what it allocated.
pub fn measured<T>(action: impl FnOnce() -> T) -> (T, Measure) {
    let (count, held) = (ALLOCATIONS.get(), HELD.get());
    PEAK.set(held);
    let value = action();
    let measure = Measure {
        allocations: ALLOCATIONS.get() - count,
        peak_bytes: u64::try_from(PEAK.get() - held).unwrap_or(0),
    };
    (value, measure)
}
