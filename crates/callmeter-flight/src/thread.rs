//! What a thread remembers of the buffer that it used last: the block it prefers, and where the names of
//! its last call are.
//!
//! Plain memory without a destructor: a thread has nothing to give back, and may record while its other
//! thread-locals are being destroyed. The key is the buffer's id, which a forked child's own buffer does
//! not share, so nothing of it outlives a fork.

use std::cell::Cell;

use crate::names::{Names, is_at};
use crate::sync::AtomicU64;

/// One for each field number: each field remembers its own last name.
const LAST_PLACES: usize = 64;

pub(crate) struct ThreadHome {
    /// The buffer that all this is about; 0 is none.
    pub(crate) buffer: Cell<u64>,
    /// The block that the thread begins with.
    pub(crate) first: Cell<usize>,
    /// The block that it took its last slot from.
    pub(crate) block: Cell<usize>,
    /// How often slots had become free when it turned to that block.
    pub(crate) freed: Cell<u64>,
    pub(crate) places: [Cell<u32>; LAST_PLACES],
}

thread_local! {
    static HOME: ThreadHome = const {
        ThreadHome {
            buffer: Cell::new(0),
            first: Cell::new(0),
            block: Cell::new(0),
            freed: Cell::new(0),
            places: [const { Cell::new(0) }; LAST_PLACES],
        }
    };
}

impl ThreadHome {
    /// Does something with this thread's memory.
    #[inline]
    pub(crate) fn with<T>(action: impl FnOnce(&Self) -> T) -> T {
        HOME.with(action)
    }

    /// Turns to another buffer.
    pub(crate) fn settle(&self, buffer: u64, first: usize, freed: u64) {
        self.buffer.set(buffer);
        self.first.set(first);
        self.block.set(first);
        self.freed.set(freed);
        self.places.iter().for_each(|place| place.set(0));
    }
}

/// A buffer's name table as a thread sees it.
pub(crate) struct Placer<'a> {
    pub(crate) names: &'a Names,
    pub(crate) table: &'a [AtomicU64],
    /// The table's words in use.
    pub(crate) used: &'a AtomicU64,
    /// Where the thread's last names are; none when it used another buffer last.
    pub(crate) last: Option<&'a [Cell<u32>; LAST_PLACES]>,
}

impl Placer<'_> {
    /// The place of a field's name: that of the thread's last call if it is the same name, else
    /// looked up. `None` when the table is full.
    #[inline]
    pub(crate) fn of_field(&self, tag: u32, name: &str) -> Option<u32> {
        let last = self.last.and_then(|last| last.get(tag as usize));
        if let Some(place) = last.map(Cell::get)
            && place != 0
            && is_at(self.table, place, name.as_bytes())
        {
            return Some(place);
        }
        let place = self.of_bytes(name.as_bytes());
        if let (Some(last), Some(place)) = (last, place) {
            last.set(place);
        }
        place
    }

    /// The place of a name.
    #[inline(never)]
    pub(crate) fn of_bytes(&self, name: &[u8]) -> Option<u32> {
        self.names.place(self.table, self.used, name)
    }
}
