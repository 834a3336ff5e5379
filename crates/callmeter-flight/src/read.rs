//! A slot read back into a record, from living memory or from the copy of a file.
//!
//! Promises that no bytes make it panic, and that a record comes out only where checksums, call id,
//! names and encoding all agree; anything else is torn. Fields meet in this order, the later one wins:
//! scope, opening, result.

use std::collections::BTreeMap;

use callmeter_core::{CallId, CallRecord, Field, Flags, Layer, RECORD_FORMAT};

use crate::fields::{
    ANSWERED, FLAGS_AT, HTTP_STATUS_SHIFT, NUMBERS, SMALL, STATUSES, TRUTHS, TRUTHS_AT,
};
use crate::layout::{Geometry, SLOT_WORDS, slot, tail};
use crate::names::name_at;
use crate::slot::State;
use crate::slots::{
    opening_checksum, opening_text, read_lengths, read_link, result_checksum, result_room,
    result_text_at, tail_checksum,
};
use crate::tape::{Entry, REV_TAG, take_entry};
use crate::words::Words;

/// What a slot held.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing of its own: free, or a continuation.
    Nothing,
    /// A call in flight, and when it was opened on its process's monotonic clock.
    Open(Box<CallRecord>, u64),
    /// A finished call and the slots of its long texts.
    Finished(Box<CallRecord>, Vec<u16>),
    /// Something that is no call.
    Torn,
}

/// A flight file to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a, W: ?Sized> {
    pub(crate) words: &'a W,
    pub(crate) geometry: Geometry,
    pub(crate) key: u64,
    /// Words of the name table in use.
    pub(crate) names_used: usize,
}

/// A field's value as the core's encoding has it.
#[derive(Clone, Debug)]
enum Raw {
    Int(u64),
    Bytes(Vec<u8>),
}

struct Call {
    id: CallId,
    layer: Layer,
    opened_ns: u64,
    fields: BTreeMap<u32, Raw>,
}

impl<W: Words + ?Sized> Reader<'_, W> {
    /// Reads a slot by its state.
    pub(crate) fn slot(&self, index: usize) -> Found {
        let at = self.at(index);
        let found = match State::of_word(self.words.word(at.saturating_add(slot::STATE))) {
            State::Free | State::Tail => return Found::Nothing,
            State::Unknown => None,
            State::Open => self.open(index),
            State::Finished => self.finished(index),
        };
        found.unwrap_or(Found::Torn)
    }

    fn at(&self, index: usize) -> usize {
        self.geometry
            .slots_at()
            .saturating_add(index.saturating_mul(SLOT_WORDS))
    }

    fn open(&self, index: usize) -> Option<Found> {
        let call = self.opening(self.at(index))?;
        let opened_ns = call.opened_ns;
        Some(Found::Open(Box::new(call.into_record()?), opened_ns))
    }

    /// Reads a finished call, also of a slot that is just being drained.
    pub(crate) fn finished(&self, index: usize) -> Option<Found> {
        let at = self.at(index);
        let mut call = self.opening(at)?;
        let tails = self.result(at, &mut call.fields)?;
        Some(Found::Finished(Box::new(call.into_record()?), tails))
    }

    fn opening(&self, at: usize) -> Option<Call> {
        let word = |place: usize| self.words.word(at.saturating_add(place));
        let opening = word(slot::OPENING);
        if opening_text(opening) > slot::TEXT_BYTES
            || opening_checksum(self.words, at, self.key) != word(slot::OPENING_CHECKSUM)
        {
            return None;
        }
        let id = CallId::from_halves(
            word(slot::ID_HI).cast_signed(),
            word(slot::ID_LO).cast_signed(),
        );
        let mut call = Call {
            id: id?,
            layer: Layer::from_code((opening >> 48 & 0xff) as u8)?,
            opened_ns: word(slot::OPENED_NS),
            fields: BTreeMap::new(),
        };
        if let Some(scope) = self.name(opening)? {
            self.take_text(&scope, &mut call.fields)?;
        }
        for (word, fields) in [
            (word(slot::WHO), [Field::Caller, Field::Provider]),
            (word(slot::WHAT), [Field::ModelRequested, Field::CallSite]),
        ] {
            self.take_names(word, fields, &mut call.fields)?;
        }
        let text = self
            .words
            .bytes(at.saturating_add(slot::TEXTS), opening_text(opening));
        self.take_text(&text, &mut call.fields)?;
        if opening >> 56 & slot::MARK_CUT != 0 {
            call.fields
                .insert(Field::Flags.tag(), Raw::Int(Flags::CUT.bits()));
        }
        Some(call)
    }

    fn result(&self, at: usize, fields: &mut BTreeMap<u32, Raw>) -> Option<Vec<u16>> {
        let word = |place: usize| self.words.word(at.saturating_add(place));
        if result_checksum(self.words, at, self.key) != word(slot::RESULT_CHECKSUM) {
            return None;
        }
        let present = word(slot::PRESENT);
        for (number, field) in NUMBERS.iter().enumerate() {
            if present >> number & 1 == 1 {
                let value = word(slot::NUMBERS.saturating_add(number));
                match fields.get_mut(&field.tag()) {
                    // Marks of the opening stay.
                    Some(Raw::Int(marks)) if number == FLAGS_AT => *marks |= value,
                    _ => {
                        fields.insert(field.tag(), Raw::Int(value));
                    }
                }
            }
        }
        small_values(word(slot::SMALL), fields);
        self.take_names(word(slot::ANSWERED), ANSWERED, fields)?;
        let (text, tails) = self.result_text(at)?;
        self.take_text(&text, fields)?;
        Some(tails)
    }

    /// The whole text of a result, and the slots that it goes on in.
    fn result_text(&self, at: usize) -> Option<(Vec<u8>, Vec<u16>)> {
        let word = |place: usize| self.words.word(at.saturating_add(place));
        let opening = word(slot::OPENING);
        let (total, mut next, count) = read_lengths(word(slot::TEXT));
        let here = total.min(result_room(opening));
        let mut text = self
            .words
            .bytes(at.saturating_add(result_text_at(opening)), here);
        let mut tails = Vec::new();
        while let Some(index) = next {
            let number = tails.len();
            if number >= tail::MAX || usize::from(index) >= self.geometry.slots {
                return None;
            }
            let tail_at = self.at(usize::from(index));
            let tail_word = |place: usize| self.words.word(tail_at.saturating_add(place));
            let (its_number, bytes, after) = read_link(tail_word(tail::LINK));
            let is_ours = tail_word(slot::ID_HI) == word(slot::ID_HI)
                && tail_word(slot::ID_LO) == word(slot::ID_LO)
                && its_number == number
                && bytes <= tail::CAPACITY
                && State::of_word(tail_word(slot::STATE)) == State::Tail
                && tail_checksum(self.words, tail_at, self.key) == tail_word(tail::CHECKSUM);
            if !is_ours {
                return None;
            }
            text.extend(self.words.bytes(tail_at.saturating_add(tail::BYTES), bytes));
            tails.push(index);
            next = after;
        }
        (text.len() == total && tails.len() == count).then_some((text, tails))
    }

    /// The name at the place in a word's low half: `Some(None)` when it names none.
    fn name(&self, word: u64) -> Option<Option<Vec<u8>>> {
        match word as u32 {
            0 => Some(None),
            place => {
                let table = self.geometry.names_at();
                name_at(self.words, table, self.names_used, self.key, place).map(Some)
            }
        }
    }

    fn take_names(
        &self,
        word: u64,
        names: [Field; 2],
        fields: &mut BTreeMap<u32, Raw>,
    ) -> Option<()> {
        for (field, word) in names.into_iter().zip([word, word >> 32]) {
            if let Some(name) = self.name(word)? {
                fields.insert(field.tag(), Raw::Bytes(name));
            }
        }
        Some(())
    }

    fn take_text(&self, text: &[u8], fields: &mut BTreeMap<u32, Raw>) -> Option<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (tag, entry) = take_entry(&mut rest)?;
            let raw = match entry {
                Entry::Int(number) => Raw::Int(number),
                Entry::Bytes(bytes) => Raw::Bytes(bytes.to_vec()),
                Entry::Name(0) => return None,
                Entry::Name(place) => Raw::Bytes(self.name(u64::from(place))??),
            };
            fields.insert(tag, raw);
        }
        Some(())
    }
}

/// The fields that are a byte or less.
fn small_values(small: u64, fields: &mut BTreeMap<u32, Raw>) {
    let [status, kinds @ .., truths, _, _] = small.to_le_bytes();
    if let Some(word) = STATUSES.get(usize::from(status).wrapping_sub(1)) {
        fields.insert(Field::Status.tag(), Raw::Bytes(word.as_bytes().to_vec()));
    }
    for (field, code) in SMALL.iter().zip(kinds) {
        if code != 0 {
            fields.insert(field.tag(), Raw::Int(u64::from(code)));
        }
    }
    debug_assert_eq!(TRUTHS_AT, 5, "the pattern above says where the truths are");
    for (field, shift) in TRUTHS.iter().zip([0, 2, 4, 6]) {
        if let 1 | 2 = truths >> shift & 3 {
            fields.insert(field.tag(), Raw::Int(u64::from(truths >> shift & 3 == 2)));
        }
    }
    if let Some(status) = (small >> HTTP_STATUS_SHIFT).checked_sub(1) {
        fields.insert(Field::HttpStatus.tag(), Raw::Int(status));
    }
}

impl Call {
    /// The record, within its limits, by way of the core's encoding.
    fn into_record(mut self) -> Option<CallRecord> {
        let rev = match self.fields.remove(&REV_TAG) {
            None => 0,
            Some(Raw::Int(rev)) => u32::try_from(rev).ok()?,
            Some(Raw::Bytes(_)) => return None,
        };
        let mut bytes = vec![RECORD_FORMAT];
        bytes.extend(self.id.to_bytes());
        bytes.push(self.layer.code());
        put_varint(&mut bytes, u64::from(rev));
        for (tag, raw) in self.fields {
            match raw {
                Raw::Int(number) => {
                    put_varint(&mut bytes, u64::from(tag) << 1);
                    put_varint(&mut bytes, number);
                }
                Raw::Bytes(value) => {
                    put_varint(&mut bytes, u64::from(tag) << 1 | 1);
                    put_varint(&mut bytes, value.len() as u64);
                    bytes.extend(value);
                }
            }
        }
        let mut record = CallRecord::decode(&bytes).ok()?;
        record.bound();
        Some(record)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
