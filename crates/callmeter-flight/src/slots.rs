//! Words into and out of a slot: openings, results, continuations, and their checksums.
//!
//! Each checksum is computed by one function over the words as they lie, for the writer as for the
//! reader. The order of the stores is the caller's business ([`slot`](crate::slot)).

use callmeter_core::CallId;

use crate::checksum::{Checksum, words_of};
use crate::fields::NUMBERS;
use crate::layout::{SLOT_WORDS, WORD_BYTES, slot, tail};
use crate::sync::{AtomicU64, Ordering};
use crate::tape::Entries;
use crate::words::Words;

/// A slot as it lies in memory.
pub(crate) type Slot = [AtomicU64; SLOT_WORDS];

/// The numbers that a slot has room for, as presence bits.
const KNOWN_NUMBERS: u64 = (1 << NUMBERS.len()) - 1;

#[inline]
fn put(slot: &Slot, at: usize, word: u64) {
    if let Some(to) = slot.get(at) {
        to.store(word, Ordering::Relaxed);
    }
}

#[inline]
fn put_bytes(slot: &Slot, at: usize, bytes: &[u8]) {
    let places = slot.get(at..).unwrap_or_default();
    for (to, word) in places.iter().zip(words_of(bytes)) {
        to.store(word, Ordering::Relaxed);
    }
}

/// Writes two places of the name table into one word.
#[inline]
pub(crate) fn write_names(slot: &Slot, at: usize, low: u32, high: u32) {
    put(slot, at, two_names(low, high));
}

/// Two places of the name table as one word.
#[inline]
pub(crate) const fn two_names(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The word of an opening's scope, length of text, layer and marks.
#[inline]
pub(crate) const fn opening_word(scope: u32, text_len: usize, layer: u8, marks: u64) -> u64 {
    scope as u64 | (text_len as u64) << 32 | (layer as u64) << 48 | marks << 56
}

/// Writes an opening without a text: the words from the id on, sealed, all but the state.
#[inline]
pub(crate) fn write_fixed_opening(slot: &Slot, key: u64, words: [u64; 6]) {
    for (to, word) in slot.iter().skip(slot::ID_HI).zip(words) {
        to.store(word, Ordering::Relaxed);
    }
    // Over the words in hand: read back, each would wait for its store.
    let [hi, lo, opened_ns, who, what, fixed] = words;
    let mut sum = Checksum::new(key);
    sum.pair(hi, lo);
    sum.pair(opened_ns, who);
    sum.pair(what, fixed);
    put(slot, slot::OPENING_CHECKSUM, sum.end());
}

/// Writes what of an opening is no name, and seals it: all is there but the state.
#[inline]
pub(crate) fn write_opening(
    slot: &Slot,
    key: u64,
    call_id: CallId,
    opened_ns: u64,
    (scope, layer, marks): (u32, u8, u64),
    text: &[u8],
) {
    put(slot, slot::ID_HI, call_id.hi().cast_unsigned());
    put(slot, slot::ID_LO, call_id.lo().cast_unsigned());
    put(slot, slot::OPENED_NS, opened_ns);
    put(
        slot,
        slot::OPENING,
        opening_word(scope, text.len(), layer, marks),
    );
    put_bytes(slot, slot::TEXTS, text);
    put(
        slot,
        slot::OPENING_CHECKSUM,
        opening_checksum(slot.as_slice(), 0, key),
    );
}

/// How many bytes of text the opening has, by its word.
pub(crate) const fn opening_text(opening: u64) -> usize {
    (opening >> 32 & 0xffff) as usize
}

/// The word where the result's text begins.
pub(crate) const fn result_text_at(opening: u64) -> usize {
    slot::TEXTS.saturating_add(opening_text(opening).div_ceil(WORD_BYTES))
}

/// How many bytes of a result's text the slot itself takes.
pub(crate) const fn result_room(opening: u64) -> usize {
    SLOT_WORDS
        .saturating_sub(result_text_at(opening))
        .saturating_mul(WORD_BYTES)
}

/// Writes all of a result but the state and its text, which lies in the slot already, and seals it. `words`
/// are what is present, the small values, the names that answered; `text_len` is the length of the whole
/// text, `tails` the slots that it goes on in.
#[inline(always)]
pub(crate) fn write_result(
    slot: &Slot,
    key: u64,
    [present, small, answered]: [u64; 3],
    text_len: usize,
    tails: &[u16],
) {
    put(slot, slot::PRESENT, present);
    put(slot, slot::SMALL, small);
    put(slot, slot::ANSWERED, answered);
    let first = tails
        .first()
        .map_or(0, |first| u64::from(*first).saturating_add(1));
    let lengths = text_len as u64 | first << 16 | (tails.len() as u64) << 32;
    put(slot, slot::TEXT, lengths);
    // Over the words in hand: read back, each would wait for its store.
    let sum = sum_of_result(slot.as_slice(), 0, key, [present, small, lengths, answered]);
    put(slot, slot::RESULT_CHECKSUM, sum);
}

/// Writes the text of a result that lies in the slot, in place of all that was there.
pub(crate) fn write_text(slot: &Slot, text: &[u8]) {
    let opening = slot[slot::OPENING].load(Ordering::Relaxed);
    put_bytes(slot, result_text_at(opening), text);
}

/// A result's text where it lies in its slot, to be written on.
#[derive(Debug)]
pub(crate) struct SlotText<'a> {
    /// The words that are for it.
    words: &'a [AtomicU64],
    len: usize,
    wanted: usize,
}

impl<'a> SlotText<'a> {
    /// Goes on after `len` bytes.
    #[inline]
    pub(crate) fn resume(slot: &'a Slot, len: usize) -> Self {
        let opening = slot[slot::OPENING].load(Ordering::Relaxed);
        Self {
            words: slot.get(result_text_at(opening)..).unwrap_or_default(),
            len,
            wanted: len,
        }
    }

    /// What is written so far, by way of `bytes`.
    pub(crate) fn copied_to<'b>(&self, bytes: &'b mut [u8; slot::TEXT_BYTES]) -> &'b [u8] {
        let (chunks, _) = bytes.as_chunks_mut();
        for (chunk, word) in chunks.iter_mut().zip(self.words) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        bytes.get(..self.len).unwrap_or_default()
    }
}

impl Entries for SlotText<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn room(&self) -> usize {
        self.words
            .len()
            .saturating_mul(WORD_BYTES)
            .saturating_sub(self.len)
    }

    #[inline]
    fn wanted(&self) -> usize {
        self.wanted
    }

    #[inline]
    fn set_wanted(&mut self, wanted: usize) {
        self.wanted = wanted;
    }

    /// Words are written whole: what of the last one is no text is 0.
    fn append(&mut self, bytes: &[u8]) {
        let (at, within) = (self.len / WORD_BYTES, self.len % WORD_BYTES);
        self.len = self.len.saturating_add(bytes.len());
        let mut words = self.words.get(at..).unwrap_or_default().iter();
        if within == 0 {
            for (to, word) in words.zip(words_of(bytes)) {
                to.store(word, Ordering::Relaxed);
            }
            return;
        }
        let shift = (within as u32).wrapping_mul(8);
        let Some(mut to) = words.next() else { return };
        let mut before = to.load(Ordering::Relaxed) & !(u64::MAX << shift);
        for word in words_of(bytes) {
            to.store(before | word << shift, Ordering::Relaxed);
            before = word >> 64_u32.wrapping_sub(shift);
            let Some(next) = words.next() else { return };
            to = next;
        }
        if self.len.div_ceil(WORD_BYTES) > at.saturating_add(bytes.len().div_ceil(WORD_BYTES)) {
            to.store(before, Ordering::Relaxed);
        }
    }
}

/// Writes all of a continuation but the state.
pub(crate) fn write_tail(
    slot: &Slot,
    key: u64,
    id: [u64; 2],
    number: usize,
    text: &[u8],
    next: Option<u16>,
) {
    put(slot, slot::ID_HI, id[0]);
    put(slot, slot::ID_LO, id[1]);
    let next = next.map_or(0, |next| u64::from(next).saturating_add(1));
    put(
        slot,
        tail::LINK,
        number as u64 & 0xff | (text.len() as u64) << 8 | next << 24,
    );
    put_bytes(slot, tail::BYTES, text);
    let sum = tail_checksum(slot.as_slice(), 0, key);
    put(slot, tail::CHECKSUM, sum);
}

/// The number, the bytes and the next slot of a continuation, by its link.
pub(crate) fn read_link(link: u64) -> (usize, usize, Option<u16>) {
    let next = (link >> 24 & 0xffff) as u16;
    (
        (link & 0xff) as usize,
        (link >> 8 & 0xffff) as usize,
        next.checked_sub(1),
    )
}

/// The length of a result's text, its first continuation, and how many there are, by its word.
pub(crate) fn read_lengths(lengths: u64) -> (usize, Option<u16>, usize) {
    let first = (lengths >> 16 & 0xffff) as u16;
    (
        (lengths & 0xffff) as usize,
        first.checked_sub(1),
        (lengths >> 32 & 0xff) as usize,
    )
}

#[inline]
pub(crate) fn opening_checksum(words: &(impl Words + ?Sized), at: usize, key: u64) -> u64 {
    let word = |place: usize| words.word(at.wrapping_add(place));
    let opening = word(slot::OPENING);
    let mut sum = Checksum::new(key);
    sum.pair(word(slot::ID_HI), word(slot::ID_LO));
    sum.pair(word(slot::OPENED_NS), word(slot::WHO));
    sum.pair(word(slot::WHAT), opening);
    sum.words((slot::TEXTS..result_text_at(opening).min(SLOT_WORDS)).map(word));
    sum.end()
}

/// The checksum of a result by the words as they lie.
pub(crate) fn result_checksum(words: &(impl Words + ?Sized), at: usize, key: u64) -> u64 {
    let head = [slot::PRESENT, slot::SMALL, slot::TEXT, slot::ANSWERED];
    let head = head.map(|place| words.word(at.wrapping_add(place)));
    sum_of_result(words, at, key, head)
}

#[inline(always)]
fn sum_of_result(
    words: &(impl Words + ?Sized),
    at: usize,
    key: u64,
    [present, small, lengths, answered]: [u64; 4],
) -> u64 {
    let word = |place: usize| words.word(at.wrapping_add(place));
    let mut sum = Checksum::new(!key);
    sum.pair(word(slot::ID_HI), word(slot::ID_LO));
    sum.pair(present, small);
    sum.pair(lengths, answered);
    let mut bits = present & KNOWN_NUMBERS;
    while bits != 0 {
        let number = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        sum.pair(number as u64, word(slot::NUMBERS.wrapping_add(number)));
    }
    let opening = word(slot::OPENING);
    let here = read_lengths(lengths)
        .0
        .min(result_room(opening))
        .div_ceil(WORD_BYTES);
    let text_at = result_text_at(opening);
    sum.words((text_at..text_at.wrapping_add(here)).map(word));
    sum.end()
}

pub(crate) fn tail_checksum(words: &(impl Words + ?Sized), at: usize, key: u64) -> u64 {
    let word = |place: usize| words.word(at.wrapping_add(place));
    let link = word(tail::LINK);
    let bytes = read_link(link).1.min(tail::CAPACITY).div_ceil(WORD_BYTES);
    let head = [word(slot::ID_HI), word(slot::ID_LO), link, bytes as u64];
    let text = (tail::BYTES..tail::BYTES.wrapping_add(bytes)).map(word);
    Checksum::of_words(key.rotate_left(17), head.into_iter().chain(text))
}
