//! Figures that outlive a killed process: words in a file that parent and child both have mapped.
//!
//! A child that tells its parent of a call through a pipe makes a system call and may wait there, so that most kills
//! meet it in the kernel. A store to shared memory takes no time: a kill meets the child wherever it is.
#![allow(
    unsafe_code,
    reason = "memory that is shared with another process is a raw pointer"
)]

use std::fs::OpenOptions;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

const WORDS: usize = 512;
const BYTES: usize = WORDS * size_of::<AtomicU64>();

/// 512 words in a file, all 0 at first, seen by every process that opened it.
#[derive(Debug)]
pub struct SharedTally {
    start: NonNull<AtomicU64>,
}

// SAFETY: the memory is reached by shared references to atomics alone, and unmapped by the last owner.
unsafe impl Send for SharedTally {}
// SAFETY: as above.
unsafe impl Sync for SharedTally {}

impl SharedTally {
    /// Opens the file, or makes it.
    ///
    /// # Panics
    /// When the file cannot be made or mapped.
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).expect("a file for the tally");
        file.set_len(BYTES as u64).expect("room for the tally");
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the system chooses touches no memory of ours.
        let mapped = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                access,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let start = NonNull::new(mapped.expect("a mapping").cast()).expect("no mapping lies at 0");
        Self { start }
    }

    /// The word number `at`, of 512.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < WORDS, "a tally has {WORDS} words");
        // SAFETY: within the mapping, by the assertion.
        let word = unsafe { self.start.add(at) };
        // SAFETY: aligned, as a mapping begins at a page; alive as long as `self`; written by atomics alone, in
        // other processes too.
        unsafe { word.as_ref() }
    }

    /// What the word says.
    pub fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::SeqCst)
    }

    /// Says it.
    pub fn set(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::SeqCst);
    }
}

impl Drop for SharedTally {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length; no reference outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), BYTES) };
    }
}
