//! The name table: recurring names are written once a file, and calls carry their places.
//!
//! ```text
//! entry   word: length (32 bits), hash (32 bits) · the name's bytes, filled up to whole words
//! place   the entry's word in the table, plus 1; 0 = none
//! ```
//! The table only grows, so a place once given stays good for the file's life; a full table answers
//! "none" and the name travels in the slot itself. Looking up takes no lock: the index is private
//! memory, and an entry is published in it after its words. Adding a name takes a lock that is never
//! waited for: whoever finds it taken goes without a place this once.

use std::sync::{Mutex, TryLockError};

use crate::checksum::{Checksum, words_of};
use crate::layout::WORD_BYTES;
use crate::sync::{AtomicU64, Ordering};
use crate::words::Words;

/// The longest name that gets a place, in bytes; scopes are the long ones.
pub(crate) const MAX_NAME: usize = 1_024;
const INDEX: usize = 16_384;
const PROBES: usize = 16;

/// The private index of a name table, and the right to add to it.
#[derive(Debug)]
pub(crate) struct Names {
    key: u64,
    index: Box<[AtomicU64]>,
    adding: Mutex<()>,
}

/// A name's hash, in parts.
#[derive(Clone, Copy)]
struct Hashed {
    first: usize,
    /// The entry's first word.
    word: u64,
}

impl Hashed {
    #[inline]
    fn new(key: u64, name: &[u8]) -> Self {
        let hash = Checksum::of_bytes(key, name);
        Self {
            first: hash as usize,
            word: (hash >> 32 << 32) | (name.len() as u64 & 0xffff_ffff),
        }
    }

    #[inline]
    /// The cells of the index where the name may be.
    fn cells(self, index: &[AtomicU64]) -> impl Iterator<Item = &AtomicU64> {
        (0..PROBES).filter_map(move |probe| index.get(self.first.wrapping_add(probe) % INDEX))
    }

    const fn cell(self, place: u32) -> u64 {
        (self.word >> 32 << 32) | place as u64
    }
}

impl Names {
    pub(crate) fn new(key: u64) -> Self {
        Self {
            key,
            index: (0..INDEX).map(|_| AtomicU64::new(0)).collect(),
            adding: Mutex::new(()),
        }
    }

    /// The place of a name, given to it now if it has none. `used` counts the table's words in use.
    #[inline]
    pub(crate) fn place(&self, table: &[AtomicU64], used: &AtomicU64, name: &[u8]) -> Option<u32> {
        let hashed = Hashed::new(self.key, name);
        for cell in hashed.cells(&self.index) {
            let found = cell.load(Ordering::Acquire);
            if found == 0 {
                break;
            }
            if found >> 32 == hashed.word >> 32 && is_at(table, found as u32, name) {
                return Some(found as u32);
            }
        }
        self.add(table, used, hashed, name)
    }

    #[cold]
    fn add(
        &self,
        table: &[AtomicU64],
        used: &AtomicU64,
        hashed: Hashed,
        name: &[u8],
    ) -> Option<u32> {
        if name.len() > MAX_NAME {
            return None;
        }
        let _adding = match self.adding.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        for cell in hashed.cells(&self.index) {
            let found = cell.load(Ordering::Acquire);
            if found == 0 {
                let at = usize::try_from(used.load(Ordering::Relaxed)).ok()?;
                let end = at
                    .checked_add(1)?
                    .checked_add(name.len().div_ceil(WORD_BYTES))?;
                let words = table.get(at..end)?;
                let entry = std::iter::once(hashed.word).chain(words_of(name));
                for (to, word) in words.iter().zip(entry) {
                    to.store(word, Ordering::Relaxed);
                }
                used.store(end as u64, Ordering::Release);
                let place = u32::try_from(at.checked_add(1)?).ok()?;
                cell.store(hashed.cell(place), Ordering::Release);
                return Some(place);
            }
            if found >> 32 == hashed.word >> 32 && is_at(table, found as u32, name) {
                return Some(found as u32);
            }
        }
        None
    }
}

/// Whether the name at a place is this one.
#[inline]
pub(crate) fn is_at(table: &[AtomicU64], place: u32, name: &[u8]) -> bool {
    let at = place as usize;
    let Some(first) = table.get(at.wrapping_sub(1)) else {
        return false;
    };
    if first.load(Ordering::Relaxed) & 0xffff_ffff != name.len() as u64 {
        return false;
    }
    let end = at.wrapping_add(name.len().div_ceil(WORD_BYTES));
    let Some(words) = table.get(at..end) else {
        return false;
    };
    words
        .iter()
        .zip(words_of(name))
        .all(|(word, ours)| word.load(Ordering::Relaxed) == ours)
}

/// Reads the name at a place of the table that begins at word `table` and has `used` words in use;
/// `None` when there is none or its hash does not fit.
pub(crate) fn name_at(
    words: &(impl Words + ?Sized),
    table: usize,
    used: usize,
    key: u64,
    place: u32,
) -> Option<Vec<u8>> {
    let at = (place as usize).checked_sub(1)?;
    let entry = words.word(table.checked_add(at)?);
    let len = usize::try_from(entry & 0xffff_ffff).ok()?;
    let end = at.checked_add(1)?.checked_add(len.div_ceil(WORD_BYTES))?;
    if len > MAX_NAME || end > used {
        return None;
    }
    let name = words.bytes(table.checked_add(at)?.checked_add(1)?, len);
    (Hashed::new(key, &name).word == entry).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(words: usize) -> (Names, Vec<AtomicU64>, AtomicU64) {
        (
            Names::new(7),
            (0..words).map(|_| AtomicU64::new(0)).collect(),
            AtomicU64::new(0),
        )
    }

    #[test]
    fn a_name_has_one_place_and_is_read_back_from_it() {
        let (names, table, used) = table(1_000);
        let place = |name: &str| names.place(&table, &used, name.as_bytes()).unwrap();
        let first: Vec<u32> = ["openai", "", "größe", "gpt-5-mini-2026"]
            .map(place)
            .to_vec();
        assert_eq!(
            ["openai", "", "größe", "gpt-5-mini-2026"]
                .map(place)
                .to_vec(),
            first
        );
        for (place, name) in first.iter().zip(["openai", "", "größe", "gpt-5-mini-2026"]) {
            let used = used.load(Ordering::Relaxed) as usize;
            assert_eq!(
                name_at(table.as_slice(), 0, used, 7, *place).unwrap(),
                name.as_bytes()
            );
        }
    }

    #[test]
    fn a_full_table_answers_none_and_keeps_what_it_has() {
        let (names, table, used) = table(64);
        let all: Vec<Option<u32>> = (0..100)
            .map(|n| names.place(&table, &used, format!("caller {n}").as_bytes()))
            .collect();
        assert!(all.iter().filter(|place| place.is_some()).count() >= 16);
        assert_eq!(all[99], None);
        assert_eq!(names.place(&table, &used, b"caller 0"), all[0]);
        assert!(names.place(&table, &used, &[b'x'; MAX_NAME + 1]).is_none());
    }

    #[test]
    fn places_that_were_never_given_name_nothing() {
        let (names, table, used) = table(64);
        names.place(&table, &used, b"caller").unwrap();
        let used = used.load(Ordering::Relaxed) as usize;
        for place in [0, 2, 3, 64, u32::MAX] {
            assert_eq!(
                name_at(table.as_slice(), 0, used, 7, place),
                None,
                "{place}"
            );
        }
        assert_eq!(
            name_at(table.as_slice(), 0, used, 8, 1),
            None,
            "another file's key"
        );
    }
}
