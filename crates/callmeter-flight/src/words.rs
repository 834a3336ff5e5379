//! A flight file as words, wherever they lie: mapped and alive, or a copy of a file's bytes.
//!
//! Everything that reads a file is written once, over this trait. A word outside reads as 0, so that
//! no content of a file leads a reader anywhere.

use crate::layout::WORD_BYTES;
use crate::sync::{AtomicU64, Ordering};

/// Words that can be read one by one.
pub(crate) trait Words {
    fn word(&self, at: usize) -> u64;

    /// `len` bytes from the word `at` on.
    fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (at..at.saturating_add(len.div_ceil(WORD_BYTES)))
            .flat_map(|at| self.word(at).to_le_bytes())
            .collect();
        bytes.truncate(len);
        bytes
    }
}

impl Words for [AtomicU64] {
    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// A copy of a file.
#[derive(Clone, Debug)]
pub(crate) struct Image(Vec<u64>);

impl Image {
    /// The whole words of `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|chunk| u64::from_ne_bytes(*chunk))
                .collect(),
        )
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Words for Image {
    fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }
}
