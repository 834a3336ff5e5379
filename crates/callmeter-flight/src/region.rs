//! The memory of a buffer: a mapped file, or plain memory where no file is to be had.
//!
//! Owns the mapping. Promises that its words are there: the file was reserved before it was mapped, so
//! a full disk is an error here and not a SIGBUS later. Shrinking the file of a living process by its own
//! user is outside the promise.
#![allow(unsafe_code, reason = "a mapping is reached through a pointer")]

use std::ptr::NonNull;

use crate::layout::Geometry;
use crate::sync::AtomicU64;

/// Words shared by all threads, and with other processes where they lie in a file.
#[derive(Debug)]
pub(crate) struct Region {
    words: NonNull<[AtomicU64]>,
    keep: Keep,
}

#[derive(Debug)]
enum Keep {
    /// Freed with the region.
    Memory,
    /// Unmapped with the region.
    #[cfg(unix)]
    Mapping,
}

// SAFETY: the words are atomics that live as long as the region; it may move to another thread.
unsafe impl Send for Region {}
// SAFETY: all access through a shared region is to atomics.
unsafe impl Sync for Region {}

impl Region {
    /// Plain memory, all zero.
    pub(crate) fn in_memory(geometry: Geometry) -> Self {
        let words: Box<[AtomicU64]> = (0..geometry.words()).map(|_| AtomicU64::new(0)).collect();
        Self {
            words: NonNull::from(Box::leak(words)),
            keep: Keep::Memory,
        }
    }

    /// Maps a file that was reserved in full, readable and writable, shared.
    #[cfg(unix)]
    pub(crate) fn map(file: &std::fs::File, geometry: Geometry) -> std::io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let len = geometry.bytes();
        let access = ProtFlags::READ.union(ProtFlags::WRITE);
        let no_address = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { mmap(no_address, len, access, MapFlags::SHARED, file, 0) }?;
        #[cfg(target_os = "linux")]
        {
            use rustix::mm::{Advice, madvise};
            // Names of callers are no business of a core dump, and pages touched here do not fault
            // in a caller's thread. Both are advice: where the kernel knows them not, nothing is lost.
            // SAFETY: the range is the mapping made above; the advice changes no content.
            let _ = unsafe { madvise(start, len, Advice::LinuxDontDump) };
            // SAFETY: as above.
            let _ = unsafe { madvise(start, len, Advice::LinuxPopulateWrite) };
        }
        let start = NonNull::new(start.cast::<AtomicU64>())
            .ok_or_else(|| std::io::Error::other("a mapping at address 0"))?;
        let words = NonNull::slice_from_raw_parts(start, geometry.words());
        Ok(Self {
            words,
            keep: Keep::Mapping,
        })
    }

    /// All words.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: aligned (the start of a page or of a boxed slice), as long as the allocation,
        // initialised (zero or a file's bytes, and any bits are an AtomicU64), alive until `drop`, and
        // reached by everybody, other processes included, only as atomics or through the kernel.
        unsafe { self.words.as_ref() }
    }
}

/// Asks the processor to fetch the line of a word that will be written soon: slots come back from the
/// drainer's core, and a store that waits for its line holds up the next read-modify-write.
#[inline]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        let word = std::ptr::from_ref(word).cast();
        // SAFETY: a prefetch reads and writes nothing, and is allowed at any address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(word) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.keep {
            // SAFETY: leaked from such a box in `in_memory` and given back only here.
            Keep::Memory => drop(unsafe { Box::from_raw(self.words.as_ptr()) }),
            #[cfg(unix)]
            Keep::Mapping => {
                let len = self.words.len().saturating_mul(size_of::<AtomicU64>());
                // SAFETY: the mapping made in `map`, whole; no reference to it outlives the region.
                let _ = unsafe { rustix::mm::munmap(self.words.as_ptr().cast(), len) };
            }
        }
    }
}
