//! A result on the stack: every field at the place that the slot has for it.

use callmeter_core::Flags;

use crate::fields::{
    FLAGS_AT, Fields, HTTP_STATUS_BIT, HTTP_STATUS_SHIFT, NUMBERS, Place, STATUSES, TRUTHS_AT,
    Value, place_of,
};
use crate::tape::Tape;

/// What a slot's result will say.
#[derive(Debug)]
pub(crate) struct Assembly<const N: usize> {
    pub(crate) present: u64,
    pub(crate) small: u64,
    pub(crate) answered: u64,
    pub(crate) numbers: [u64; NUMBERS.len()],
    pub(crate) tape: Tape<N>,
}

impl<const N: usize> Assembly<N> {
    /// Puts all fields in their places; `names` gives a recurring name its place in the table.
    #[inline]
    pub(crate) fn of(
        fields: &impl Fields,
        limit: usize,
        names: impl Fn(&str) -> Option<u32>,
    ) -> Self {
        let mut assembly = Self {
            present: 0,
            small: 0,
            answered: 0,
            numbers: [0; NUMBERS.len()],
            tape: Tape::new(limit),
        };
        fields.each(|tag, value| assembly.put(tag, value, &names));
        assembly
    }

    #[inline]
    fn put(&mut self, tag: u32, value: Value<'_>, names: &impl Fn(&str) -> Option<u32>) {
        match (place_of(tag), value) {
            (Place::Number(at), Value::Int(number)) => {
                if let Some(word) = self.numbers.get_mut(at as usize) {
                    *word = number;
                    self.present |= 1 << at;
                }
            }
            (Place::Small(at), Value::Int(code @ 1..=0xff)) => self.set_small(at, code),
            (Place::Truth(at), Value::Int(truth @ 0..=1)) => {
                let shift = TRUTHS_AT.wrapping_mul(8).wrapping_add(at.wrapping_mul(2));
                self.small |= truth.wrapping_add(1) << shift;
            }
            (Place::HttpStatus, Value::Int(status @ 0..=0xffff)) => {
                self.small |= status << HTTP_STATUS_SHIFT;
                self.present |= 1 << HTTP_STATUS_BIT;
            }
            (Place::Status, Value::Text(word)) => {
                match STATUSES.iter().position(|status| *status == word) {
                    Some(at) => self.set_small(0, (at as u64).saturating_add(1)),
                    None => self.tape.put_text(tag, word),
                }
            }
            (Place::Answered(at), Value::Text(name)) => match names(name) {
                Some(place) => self.answered |= u64::from(place) << at.wrapping_mul(32),
                None => self.tape.put_text(tag, name),
            },
            (_, value) => put_entry(&mut self.tape, tag, value, names),
        }
    }

    fn set_small(&mut self, at: u32, code: u64) {
        self.small |= code << at.wrapping_mul(8);
    }

    /// Marks the call as cut.
    pub(crate) fn mark_cut(&mut self) {
        if let Some(flags) = self.numbers.get_mut(FLAGS_AT) {
            *flags |= Flags::CUT.bits();
            self.present |= 1 << FLAGS_AT;
        }
    }
}

/// Puts a value into the text, by its name's place where it recurs.
#[inline]
pub(crate) fn put_entry<const N: usize>(
    tape: &mut Tape<N>,
    tag: u32,
    value: Value<'_>,
    names: &impl Fn(&str) -> Option<u32>,
) {
    match value {
        Value::Int(number) => tape.put_int(tag, number),
        Value::Id(id) => tape.put_whole(tag, &id.to_bytes()),
        Value::Whole(bytes) => tape.put_whole(tag, bytes),
        Value::Text(text) => {
            let recurs = matches!(place_of(tag), Place::Recurring | Place::Answered(_));
            match recurs.then(|| names(text)).flatten() {
                Some(place) => tape.put_name(tag, place),
                None => tape.put_text(tag, text),
            }
        }
    }
}
