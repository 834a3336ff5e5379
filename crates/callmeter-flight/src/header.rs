//! The file's first page: who owns it, and what every reader checks before it believes a word.

use std::path::Path;

use callmeter_core::{RECORD_FORMAT, Timestamp, clean_text};

use crate::checksum::{Checksum, words_of};
use crate::error::FlightError;
use crate::layout::{
    BLOCK_SLOTS, FORMAT, Geometry, MAGIC, MIN_READER, MIN_WRITER, SLOT_BYTES, WORD_BYTES, header,
};
use crate::sync::{AtomicU64, Ordering};
use crate::tape::head_of;
use crate::words::Words;

/// What a header says once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) geometry: Geometry,
    pub(crate) key: u64,
    pub(crate) boot: [u64; 2],
    pub(crate) pid: u32,
    pub(crate) process_start: u64,
    pub(crate) made_at: Timestamp,
}

/// The halves of a word.
const fn halves(low: u64, high: u64) -> u64 {
    low & 0xffff_ffff | high << 32
}

impl Header {
    fn fixed_words(&self) -> [u64; header::CHECKSUM] {
        let mut words = [0; header::CHECKSUM];
        words[header::MAGIC] = MAGIC;
        words[header::FORMAT] = halves(FORMAT.into(), MIN_READER.into());
        words[header::WRITER] = halves(MIN_WRITER.into(), RECORD_FORMAT.into());
        words[header::SLOTS] = halves(SLOT_BYTES as u64, self.geometry.slots as u64);
        let names_bytes = self.geometry.names_words.saturating_mul(WORD_BYTES);
        words[header::BLOCKS] = halves(BLOCK_SLOTS as u64, names_bytes as u64);
        words[header::KEY] = self.key;
        [words[header::BOOT], words[header::BOOT + 1]] = self.boot;
        words[header::PID] = self.pid.into();
        words[header::PROCESS_START] = self.process_start;
        words[header::MADE_AT] = self.made_at.as_micros().cast_unsigned();
        words
    }

    /// Writes the header into a fresh file.
    pub(crate) fn write(&self, words: &[AtomicU64], owner: [&str; 3]) {
        let put = |at: usize, word: u64| {
            if let Some(to) = words.get(at) {
                to.store(word, Ordering::Relaxed);
            }
        };
        for ((at, room), text) in OWNER.into_iter().zip(owner) {
            let room = room.saturating_sub(1).saturating_mul(WORD_BYTES);
            let text = head_of(text, room);
            put(at, text.len() as u64);
            for (word, to) in words_of(text.as_bytes()).zip(at.saturating_add(1)..) {
                put(to, word);
            }
        }
        put(header::HEARTBEAT, self.made_at.as_micros().cast_unsigned());
        let fixed = self.fixed_words();
        for (at, word) in fixed.into_iter().enumerate() {
            put(at, word);
        }
        put(header::CHECKSUM, Checksum::of_words(MAGIC, fixed));
    }

    /// Reads the header of a file of `len` words.
    ///
    /// # Errors
    /// When it is none of ours, or one of a newer format.
    pub(crate) fn read(words: &impl Words, len: usize, path: &Path) -> Result<Self, FlightError> {
        let foreign = || FlightError::NotAFlightFile {
            path: path.to_owned(),
        };
        if words.word(header::MAGIC) != MAGIC {
            return Err(foreign());
        }
        // Before the checksum: a newer format may have another.
        let (format, min_reader) = (
            words.word(header::FORMAT) as u32,
            words.word(header::FORMAT) >> 32,
        );
        if min_reader > FORMAT.into() {
            return Err(FlightError::NewerFormat {
                path: path.to_owned(),
                format,
            });
        }
        let fixed = (0..header::CHECKSUM).map(|at| words.word(at));
        if words.word(header::CHECKSUM) != Checksum::of_words(MAGIC, fixed) {
            return Err(foreign());
        }
        let slots = (words.word(header::SLOTS) >> 32) as usize;
        let names_bytes = (words.word(header::BLOCKS) >> 32) as usize;
        let geometry = Geometry::new(slots, names_bytes).ok_or_else(foreign)?;
        if words.word(header::SLOTS) as u32 as usize != SLOT_BYTES
            || words.word(header::BLOCKS) as u32 as usize != BLOCK_SLOTS
            || geometry.words() > len
        {
            return Err(foreign());
        }
        Ok(Self {
            geometry,
            key: words.word(header::KEY),
            boot: [words.word(header::BOOT), words.word(header::BOOT + 1)],
            pid: words.word(header::PID) as u32,
            process_start: words.word(header::PROCESS_START),
            made_at: Timestamp::from_micros(words.word(header::MADE_AT).cast_signed()),
        })
    }
}

/// The oldest writer that a file allows to set its switch.
pub(crate) fn min_writer(words: &impl Words) -> u32 {
    words.word(header::WRITER) as u32
}

/// Where the texts about the owner lie, and in how many words: service, home, store.
const OWNER: [(usize, usize); 3] = [
    (header::SERVICE, header::SERVICE_WORDS),
    (header::HOME, header::HOME_WORDS),
    (header::STORE, header::STORE_WORDS),
];

/// The service, the home and the store that a file names.
pub(crate) fn read_owner(words: &impl Words) -> [String; 3] {
    OWNER.map(|(at, room)| {
        let room = room.saturating_sub(1).saturating_mul(WORD_BYTES);
        let len = usize::try_from(words.word(at))
            .unwrap_or(usize::MAX)
            .min(room);
        let bytes = words.bytes(at.saturating_add(1), len);
        clean_text(&String::from_utf8_lossy(&bytes), room)
            .0
            .into_owned()
    })
}
