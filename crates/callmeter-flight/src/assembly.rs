//! A result on its way into a slot: every field at the place that the slot has for it.

use callmeter_core::Flags;

use crate::fields::{
    FLAGS_AT, Fields, HTTP_STATUS_SHIFT, Place, TRUTHS_AT, Value, listed_status, place_of,
};
use crate::layout::slot;
use crate::slots::Slot;
use crate::sync::Ordering;
use crate::tape::Entries;

/// What a slot's result will say. Numbers go to their words at once: the slot is its call's alone.
#[derive(Debug)]
pub(crate) struct Assembly<'a, T> {
    slot: &'a Slot,
    pub(crate) present: u64,
    pub(crate) small: u64,
    pub(crate) answered: u64,
    pub(crate) text: T,
}

impl<'a, T: Entries> Assembly<'a, T> {
    /// Begins with what the call was told while it was in flight.
    #[inline(always)]
    pub(crate) fn new(slot: &'a Slot, text: T) -> Self {
        let word = |at: usize| slot.get(at).map_or(0, |word| word.load(Ordering::Relaxed));
        Self {
            slot,
            present: word(slot::PRESENT),
            small: word(slot::SMALL),
            answered: word(slot::ANSWERED),
            text,
        }
    }

    /// Puts fields in their places; `names` gives a recurring name its place in the table.
    #[inline(always)]
    pub(crate) fn take(&mut self, fields: &impl Fields, names: impl Fn(u32, &str) -> Option<u32>) {
        fields.each(
            #[inline(always)]
            |tag, value| self.put(tag, value, &names),
        );
    }

    #[inline(always)]
    fn put(&mut self, tag: u32, value: Value<'_>, names: &impl Fn(u32, &str) -> Option<u32>) {
        match (place_of(tag), value) {
            (Place::Number(at), Value::Int(number)) => {
                self.set_number(at as usize, number);
            }
            (Place::Small(at), Value::Int(code @ 1..=0xff)) => self.set_small(at, code),
            (Place::Truth(at), Value::Int(truth @ 0..=1)) => {
                let shift = TRUTHS_AT.wrapping_mul(8).wrapping_add(at.wrapping_mul(2));
                self.small |= truth.wrapping_add(1) << shift;
            }
            (Place::HttpStatus, Value::Int(status @ 0..=0xfffe)) => {
                self.small |= status.wrapping_add(1) << HTTP_STATUS_SHIFT;
            }
            (Place::Status, Value::Text(word)) => match listed_status(word) {
                Some(code) => self.set_small(0, code),
                None => self.text.put_text(tag, word),
            },
            (Place::Answered(at), Value::Text(name)) => match names(tag, name) {
                Some(place) => self.answered |= u64::from(place) << at.wrapping_mul(32),
                None => self.text.put_text(tag, name),
            },
            (_, value) => put_entry(&mut self.text, tag, value, names),
        }
    }

    #[inline(always)]
    fn set_small(&mut self, at: u32, code: u64) {
        self.small |= code << at.wrapping_mul(8);
    }

    #[inline(always)]
    fn set_number(&mut self, at: usize, number: u64) {
        if let Some(word) = self.slot.get(slot::NUMBERS.wrapping_add(at)) {
            word.store(number, Ordering::Relaxed);
            self.present |= 1 << at;
        }
    }

    /// Marks the call as cut.
    pub(crate) fn mark_cut(&mut self) {
        let marks = self.slot.get(slot::NUMBERS.wrapping_add(FLAGS_AT));
        let marks = marks.filter(|_| self.present >> FLAGS_AT & 1 == 1);
        let marks = marks.map_or(0, |marks| marks.load(Ordering::Relaxed));
        self.set_number(FLAGS_AT, marks | Flags::CUT.bits());
    }
}

/// Puts a value into the text, by its name's place where it recurs.
#[inline]
pub(crate) fn put_entry(
    text: &mut impl Entries,
    tag: u32,
    value: Value<'_>,
    names: &impl Fn(u32, &str) -> Option<u32>,
) {
    match value {
        Value::Int(number) => text.put_int(tag, number),
        Value::Id(id) => text.put_whole(tag, &id.to_bytes()),
        Value::Whole(bytes) => text.put_whole(tag, bytes),
        Value::Text(word) => {
            let recurs = matches!(place_of(tag), Place::Recurring | Place::Answered(_));
            match recurs.then(|| names(tag, word)).flatten() {
                Some(place) => text.put_name(tag, place),
                None => text.put_text(tag, word),
            }
        }
    }
}
