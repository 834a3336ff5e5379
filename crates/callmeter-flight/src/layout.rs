//! Where everything lies in a flight file, format 1: numbers only, no access.
//!
//! ```text
//! header   4 KiB            who owns the file, switch, heartbeat, counters
//! blocks   64 bytes each    one line for each 16 slots: free slots, hint, counters
//! names    256 KiB          recurring names, append-only
//! slots    512 bytes each   one call each
//! ```
//! Everything is a word of 64 bits in the machine's byte order; texts are packed into words, the first
//! byte lowest. All offsets here count words. Every stretch begins on a page.

/// `CMFLIGHT`, the first word of the file.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"CMFLIGHT");
/// The format that this build writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;
/// The oldest build, by its format, that reads and adopts what this one writes.
pub(crate) const MIN_READER: u32 = 1;
/// The oldest build, by its format, that may set the switch of a file this one writes.
pub(crate) const MIN_WRITER: u32 = 1;

pub(crate) const WORD_BYTES: usize = 8;
const PAGE_WORDS: usize = 512;
pub(crate) const HEADER_WORDS: usize = PAGE_WORDS;
pub(crate) const BLOCK_SLOTS: usize = 16;
pub(crate) const BLOCK_WORDS: usize = 8;
pub(crate) const SLOT_WORDS: usize = 64;
pub(crate) const SLOT_BYTES: usize = SLOT_WORDS * WORD_BYTES;
/// The most slots a file has: a link to one is 16 bits and 0 means none.
pub(crate) const MAX_SLOTS: usize = 65_520;
const MAX_NAMES_BYTES: usize = 16 << 20;

/// The words of the header. Those up to `CHECKSUM` are written once, before the file is used.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    /// Format, and above it the oldest reader.
    pub(crate) const FORMAT: usize = 1;
    /// The oldest writer, and above it the format of encoded fields.
    pub(crate) const WRITER: usize = 2;
    /// Bytes of a slot, and above it the number of slots.
    pub(crate) const SLOTS: usize = 3;
    /// Slots of a block, and above it the bytes of the name table.
    pub(crate) const BLOCKS: usize = 4;
    /// The key of every checksum in the file.
    pub(crate) const KEY: usize = 5;
    /// The boot id of the machine, two words.
    pub(crate) const BOOT: usize = 6;
    pub(crate) const PID: usize = 8;
    /// When the process started, in clock ticks since boot.
    pub(crate) const PROCESS_START: usize = 9;
    /// When the file was made, in microseconds UTC.
    pub(crate) const MADE_AT: usize = 10;
    /// Over the words before it.
    pub(crate) const CHECKSUM: usize = 15;
    /// 0: on. Else off until that moment, in microseconds UTC. On a line of its own: read by each call.
    pub(crate) const SWITCH: usize = 16;
    /// When the worker last looked, in microseconds UTC.
    pub(crate) const HEARTBEAT: usize = 24;
    /// The same moment on the owner's monotonic clock, in nanoseconds.
    pub(crate) const HEARTBEAT_NS: usize = 25;
    /// Words of the name table in use.
    pub(crate) const NAMES_USED: usize = 32;
    /// Calls lost, by the number of their `DropReason`; word 0 of the line stays 0.
    pub(crate) const DROPPED: usize = 40;
    /// Calls of which something was cut for want of room.
    pub(crate) const CUT: usize = 56;
    /// Calls that had left for the spool and were lost there, before it was on a disk; also counted at
    /// `DROPPED`. Builds from before this word leave it 0.
    pub(crate) const LOST: usize = 57;
    /// Length in bytes and text of the service's name; then the same of the home, and of the store.
    pub(crate) const SERVICE: usize = 64;
    pub(crate) const HOME: usize = 128;
    pub(crate) const STORE: usize = 384;
    pub(crate) const SERVICE_WORDS: usize = 64;
    pub(crate) const HOME_WORDS: usize = 256;
    pub(crate) const STORE_WORDS: usize = 128;
}

/// The words of a block's line.
pub(crate) mod block {
    /// Free slots in the low 16 bits, a bit each; above them how many calls were opened.
    pub(crate) const CLAIM: usize = 0;
    /// Not 0: a slot was finished since the drainer last looked.
    pub(crate) const HINT: usize = 1;
    /// Calls that left for the spool.
    pub(crate) const DRAINED: usize = 2;
    /// Calls that found no free slot.
    pub(crate) const DROPPED: usize = 3;
    /// Slots that made no sense.
    pub(crate) const TORN: usize = 4;
}

/// The words of a slot: the opening, the result, the text.
pub(crate) mod slot {
    pub(crate) const STATE: usize = 0;
    pub(crate) const ID_HI: usize = 1;
    pub(crate) const ID_LO: usize = 2;
    /// The owner's monotonic clock at the opening, in nanoseconds.
    pub(crate) const OPENED_NS: usize = 3;
    /// Caller, and above it the provider: places in the name table.
    pub(crate) const WHO: usize = 4;
    /// Model, and above it the call site.
    pub(crate) const WHAT: usize = 5;
    /// Scope (32 bits), bytes of the opening's text (16), layer (8), marks (8).
    pub(crate) const OPENING: usize = 6;
    /// Over words 1 to 6 and the opening's text.
    pub(crate) const OPENING_CHECKSUM: usize = 7;

    /// Which numbers are present, a bit each.
    pub(crate) const PRESENT: usize = 8;
    /// Small values, a byte each; see `fields.rs`.
    pub(crate) const SMALL: usize = 9;
    /// Bytes of the result's text (16 bits), the first continuation slot plus 1 (16), how many (8).
    pub(crate) const TEXT: usize = 10;
    /// Over the id, words 8 to 10, the names, the numbers present and the result's text in this slot. While the
    /// call is open: which fields stand in the text.
    pub(crate) const RESULT_CHECKSUM: usize = 11;
    /// The provider and above it the model that answered: places in the name table.
    pub(crate) const ANSWERED: usize = 12;
    /// The usual numbers lie in the same 64 bytes as the words before them.
    pub(crate) const NUMBERS: usize = 13;
    /// Texts: the opening's, then from the next word the result's.
    pub(crate) const TEXTS: usize = 32;
    pub(crate) const TEXT_BYTES: usize = 256;
    /// Bit of the opening's marks: something was cut.
    pub(crate) const MARK_CUT: u64 = 1;
}

/// The words of a continuation slot.
pub(crate) mod tail {
    /// Which of its call's continuations (8 bits), bytes (16), the next one plus 1 (16).
    pub(crate) const LINK: usize = 3;
    /// Over the id, the link and the bytes.
    pub(crate) const CHECKSUM: usize = 4;
    pub(crate) const BYTES: usize = 8;
    pub(crate) const CAPACITY: usize = 448;
    /// The most continuations of one call.
    pub(crate) const MAX: usize = 14;
}

/// How large the stretches of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) slots: usize,
    pub(crate) names_words: usize,
}

impl Geometry {
    /// The geometry of so many slots and bytes of names, if there is such a file.
    pub(crate) fn new(slots: usize, names_bytes: usize) -> Option<Self> {
        let whole = slots.is_multiple_of(BLOCK_SLOTS) && names_bytes.is_multiple_of(4_096);
        let sane = (BLOCK_SLOTS..=MAX_SLOTS).contains(&slots) && names_bytes <= MAX_NAMES_BYTES;
        (whole && sane).then_some(Self {
            slots,
            names_words: names_bytes / WORD_BYTES,
        })
    }

    pub(crate) const fn blocks(self) -> usize {
        self.slots / BLOCK_SLOTS
    }

    pub(crate) const fn names_at(self) -> usize {
        HEADER_WORDS.saturating_add(
            self.blocks()
                .saturating_mul(BLOCK_WORDS)
                .next_multiple_of(PAGE_WORDS),
        )
    }

    pub(crate) const fn slots_at(self) -> usize {
        self.names_at().saturating_add(self.names_words)
    }

    pub(crate) const fn words(self) -> usize {
        self.slots_at()
            .saturating_add(self.slots.saturating_mul(SLOT_WORDS))
    }

    pub(crate) const fn bytes(self) -> usize {
        self.words().saturating_mul(WORD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_two_megabytes_of_slots_and_what_they_need() {
        let geometry = Geometry::new(4_096, 256 << 10).unwrap();
        assert_eq!((geometry.blocks(), geometry.names_at()), (256, 512 + 2_048));
        assert_eq!(
            geometry.bytes(),
            (4 << 10) + (16 << 10) + (256 << 10) + (2 << 20)
        );
        assert!(Geometry::new(4_097, 256 << 10).is_none());
        assert!(Geometry::new(usize::MAX & !15, 4_096).is_none());
    }
}
