//! Words into and out of a slot: openings, results, continuations, and their checksums.
//!
//! Each checksum is computed by one function over the words as they lie, for the writer as for the
//! reader. The order of the stores is the caller's business ([`slot`](crate::slot)).

use callmeter_core::CallId;

use crate::assembly::Assembly;
use crate::checksum::{Checksum, words_of};
use crate::fields::NUMBERS;
use crate::layout::{SLOT_WORDS, WORD_BYTES, slot, tail};
use crate::sync::{AtomicU64, Ordering};
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
    put(slot, at, u64::from(low) | u64::from(high) << 32);
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
    let lengths = (text.len() as u64) << 32;
    put(
        slot,
        slot::OPENING,
        u64::from(scope) | lengths | u64::from(layer) << 48 | marks << 56,
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

/// Writes all of a result but the state. `text` is what of its text lies in this slot, `tails` the
/// slots of the rest.
#[inline]
pub(crate) fn write_result<const N: usize>(
    slot: &Slot,
    key: u64,
    result: &Assembly<'_, N>,
    text: &[u8],
    tails: &[u16],
) {
    put(slot, slot::PRESENT, result.present);
    put(slot, slot::SMALL, result.small);
    put(slot, slot::ANSWERED, result.answered);
    let first = tails
        .first()
        .map_or(0, |first| u64::from(*first).saturating_add(1));
    let lengths = result.tape.len() as u64 | first << 16 | (tails.len() as u64) << 32;
    put(slot, slot::TEXT, lengths);
    if !text.is_empty() {
        let opening = slot[slot::OPENING].load(Ordering::Relaxed);
        put_bytes(slot, result_text_at(opening), text);
    }
    let sum = result_checksum(slot.as_slice(), 0, key);
    put(slot, slot::RESULT_CHECKSUM, sum);
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

#[inline]
pub(crate) fn result_checksum(words: &(impl Words + ?Sized), at: usize, key: u64) -> u64 {
    let word = |place: usize| words.word(at.wrapping_add(place));
    let mut sum = Checksum::new(!key);
    sum.pair(word(slot::ID_HI), word(slot::ID_LO));
    let (present, lengths) = (word(slot::PRESENT), word(slot::TEXT));
    sum.pair(present, word(slot::SMALL));
    sum.pair(lengths, word(slot::ANSWERED));
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
