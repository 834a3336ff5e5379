//! What a call is told after its opening: straight into its slot.
//!
//! An open slot is its call's alone, and whoever reads it looks at the opening only. So what the guard learns
//! meanwhile lies where the result will be from the start, and the guard itself is two words that travel in
//! registers: nothing is gathered, nothing is copied, and [`FlightBuffer::finish`] has only to seal it.
//!
//! ```text
//! PRESENT · SMALL · ANSWERED   as in the result; cleared at the opening
//! TEXT                         bytes of text so far
//! RESULT_CHECKSUM              until the end: which fields stand in the text, a bit each
//! ```
//! Promises that an aborted row is what was known at the opening, whatever was told. A forked child tells its
//! parent's calls nothing. Leaves to the guard what finds no room here ([`Refused::NoRoom`]).

use callmeter_core::{CallId, Field};

use crate::buffer::FlightBuffer;
use crate::fields::{
    HTTP_STATUS_SHIFT, Place, STATUSES, TRUTHS_AT, Value, listed_status, place_of,
};
use crate::layout::slot;
use crate::record::{FlightSlot, Refused};
use crate::slots::{Slot, SlotText};
use crate::sync::Ordering;
use crate::tape::{Entries, take_entry};
use crate::thread::ThreadHome;

/// The word that says, while a call is open, which fields stand in its text.
const IN_TEXT: usize = slot::RESULT_CHECKSUM;

/// Makes a slot ready to be told.
#[inline]
pub(crate) fn clear(slot: &Slot) {
    for at in [
        slot::PRESENT,
        slot::SMALL,
        slot::TEXT,
        IN_TEXT,
        slot::ANSWERED,
    ] {
        put(slot, at, 0);
    }
}

#[inline]
fn get(slot: &Slot, at: usize) -> u64 {
    slot.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
}

#[inline]
fn put(slot: &Slot, at: usize, word: u64) {
    if let Some(to) = slot.get(at) {
        to.store(word, Ordering::Relaxed);
    }
}

/// A field's bit among those in the text; fields beyond the sixty-fourth would share one.
#[inline]
const fn bit(tag: u32) -> u64 {
    1_u64.rotate_left(tag)
}

/// Where a field lies in a word: the word, the shift and the mask, if it has a place of its own.
#[inline]
const fn part_of(place: Place) -> Option<(usize, u32, u64)> {
    match place {
        Place::Number(at) => Some((slot::PRESENT, at, 1)),
        Place::Status => Some((slot::SMALL, 0, 0xff)),
        Place::Small(at) => Some((slot::SMALL, at.wrapping_mul(8), 0xff)),
        Place::Truth(at) => {
            let shift = TRUTHS_AT.wrapping_mul(8).wrapping_add(at.wrapping_mul(2));
            Some((slot::SMALL, shift, 3))
        }
        Place::HttpStatus => Some((slot::SMALL, HTTP_STATUS_SHIFT, 0xffff)),
        Place::Answered(at) => Some((slot::ANSWERED, at.wrapping_mul(32), 0xffff_ffff)),
        Place::Recurring | Place::Text => None,
    }
}

/// Puts a part of a word in its place.
#[inline]
fn put_part(slot: &Slot, (word, shift, mask): (usize, u32, u64), part: u64) {
    put(
        slot,
        word,
        get(slot, word) & !(mask << shift) | part << shift,
    );
}

/// What of a value goes into a place of its own: `None` when it is to be a text.
#[inline]
fn coded(place: Place, value: Value<'_>) -> Option<u64> {
    match (place, value) {
        (Place::Number(_), Value::Int(_)) => Some(1),
        (Place::Small(_), Value::Int(code @ 1..=0xff)) => Some(code),
        (Place::Truth(_), Value::Int(truth @ 0..=1)) => Some(truth.wrapping_add(1)),
        (Place::HttpStatus, Value::Int(status @ 0..=0xfffe)) => Some(status.wrapping_add(1)),
        (Place::Status, Value::Text(word)) => listed_status(word),
        _ => None,
    }
}

/// Takes a field's entry out of the text, so that a value told over and over takes its room once.
#[cold]
#[inline(never)]
fn remove_entry(slot: &Slot, tag: u32) {
    let mut bytes = [0; slot::TEXT_BYTES];
    let written = SlotText::resume(slot, get(slot, slot::TEXT) as usize);
    let mut rest = written.copied_to(&mut bytes);
    let mut kept = SlotText::resume(slot, 0);
    while !rest.is_empty() {
        let from = rest;
        let Some((its_tag, _)) = take_entry(&mut rest) else {
            break;
        };
        let size = from.len().saturating_sub(rest.len());
        if its_tag != tag {
            kept.append(from.get(..size).unwrap_or_default());
        }
    }
    put(slot, slot::TEXT, kept.len() as u64);
    put(slot, IN_TEXT, get(slot, IN_TEXT) & !bit(tag));
}

/// An open call's slot, to be told something: of this process, and this call's alone.
#[derive(Clone, Copy, Debug)]
pub struct OpenSlot<'a> {
    buffer: &'a FlightBuffer,
    slot: &'a Slot,
}

impl FlightBuffer {
    /// An open call's slot, to be told something.
    ///
    /// # Errors
    /// [`Refused::Forked`] when the slot is not of this buffer, or this is a forked child.
    ///
    /// # Examples
    /// ```
    /// # use callmeter_core::{CallId, Field, Layer, Timestamp};
    /// # use callmeter_flight::{FlightBuffer, Opening, Options, Place, Refused, Value};
    /// # fn main() -> Result<(), Refused> {
    /// # let buffer = FlightBuffer::create(&Place::memory(), &Options::default()).unwrap();
    /// # let id = CallId::new(Timestamp::from_micros(1_774_310_400_000_000), 7);
    /// let slot = buffer.open(&Opening::new(id, Layer::Guard, 0))?;
    /// buffer.open_slot(&slot)?.tell(Field::Model, Value::from("gpt-5-mini-2026-01-01"))?;
    /// buffer.finish(slot, &())?;
    /// assert_eq!(buffer.standing().finished, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn open_slot<'a>(&'a self, call: &'a FlightSlot) -> Result<OpenSlot<'a>, Refused> {
        Ok(OpenSlot::new(self, self.slot_of(call)?))
    }
}

impl<'a> OpenSlot<'a> {
    #[inline(always)]
    pub(crate) const fn new(buffer: &'a FlightBuffer, slot: &'a Slot) -> Self {
        Self { buffer, slot }
    }
}

impl OpenSlot<'_> {
    /// Tells the call a value, in place of the field's earlier one.
    ///
    /// # Errors
    /// [`Refused::NoRoom`] when the slot's text has no room for it: the earlier value is gone, and this one is
    /// to be handed to [`finish`](FlightBuffer::finish).
    #[inline(always)]
    pub fn tell(self, field: Field, value: Value<'_>) -> Result<(), Refused> {
        if self.tell_in_place(field, value) {
            Ok(())
        } else {
            self.tell_anywhere(field, value)
        }
    }

    /// Tells the call a value whose field has a place of its own, if none of it stands in the text; else nothing
    /// happened, and [`tell`](Self::tell) does it.
    // Always: a field that is known while compiling then costs its stores.
    #[inline(always)]
    pub fn tell_in_place(self, field: Field, value: Value<'_>) -> bool {
        let slot = self.slot;
        let place = place_of(field.tag());
        let Some(part) = part_of(place) else {
            return false;
        };
        if get(slot, IN_TEXT) & bit(field.tag()) != 0 {
            return false;
        }
        let code = match (place, value) {
            (Place::Answered(_), Value::Text(name)) => {
                let name = self.place_of(field.tag(), name);
                (name != 0).then_some(u64::from(name))
            }
            _ => coded(place, value),
        };
        let Some(code) = code else {
            return false;
        };
        if let (Place::Number(at), Value::Int(number)) = (place, value) {
            put(slot, slot::NUMBERS.wrapping_add(at as usize), number);
        }
        put_part(slot, part, code);
        true
    }

    /// Tells the call a value that belongs into the text, or of which an earlier one stands there.
    #[inline(never)]
    fn tell_anywhere(self, field: Field, value: Value<'_>) -> Result<(), Refused> {
        let slot = self.slot;
        let tag = field.tag();
        if get(slot, IN_TEXT) & bit(tag) != 0 {
            remove_entry(slot, tag);
            if self.tell_in_place(field, value) {
                return Ok(());
            }
        }
        let place = place_of(tag);
        if let Some(part) = part_of(place) {
            // It is a text now.
            put_part(slot, part, 0);
        }
        let name = match (place, value) {
            (Place::Recurring, Value::Text(name)) => self.place_of(tag, name),
            _ => 0,
        };
        self.tell_text(tag, name, value)
    }

    /// The place of a name in the buffer's table; 0 is none.
    #[inline(never)]
    fn place_of(self, tag: u32, name: &str) -> u32 {
        ThreadHome::with(|home| self.buffer.placer(home)?.of_field(tag, name)).unwrap_or(0)
    }

    /// Tells the call what has no place of its own.
    #[inline(never)]
    fn tell_text(self, tag: u32, name: u32, value: Value<'_>) -> Result<(), Refused> {
        let slot = self.slot;
        let mut text = SlotText::resume(slot, get(slot, slot::TEXT) as usize);
        match value {
            _ if name != 0 => text.put_name(tag, name),
            Value::Int(number) => text.put_int(tag, number),
            Value::Id(id) => text.put_whole(tag, &id.to_bytes()),
            Value::Whole(bytes) => text.put_whole(tag, bytes),
            Value::Text(word) => text.put_whole(tag, word.as_bytes()),
        }
        if text.is_short() {
            return Err(Refused::NoRoom);
        }
        put(slot, slot::TEXT, text.len() as u64);
        put(slot, IN_TEXT, get(slot, IN_TEXT) | bit(tag));
        Ok(())
    }

    /// Takes a field's value away.
    pub fn untell(self, field: Field) {
        if let Some(part) = part_of(place_of(field.tag())) {
            put_part(self.slot, part, 0);
        }
        if get(self.slot, IN_TEXT) & bit(field.tag()) != 0 {
            remove_entry(self.slot, field.tag());
        }
    }

    /// Whether the call was told a value of a field.
    #[inline(always)]
    pub fn has(self, field: Field) -> bool {
        let part = part_of(place_of(field.tag()));
        part.is_some_and(|(word, shift, mask)| get(self.slot, word) >> shift & mask != 0)
            || get(self.slot, IN_TEXT) & bit(field.tag()) != 0
    }

    /// The number that a field was told whose place is a byte; `None` where it was told none.
    pub fn code(self, field: Field) -> Option<u64> {
        let place = place_of(field.tag());
        let (word, shift, mask) = part_of(place).filter(|_| matches!(place, Place::Small(_)))?;
        Some(get(self.slot, word) >> shift & mask).filter(|code| *code != 0)
    }

    /// The call's id.
    pub fn call_id(self) -> Option<CallId> {
        let halves = [slot::ID_HI, slot::ID_LO].map(|at| get(self.slot, at).cast_signed());
        CallId::from_halves(halves[0], halves[1])
    }

    /// When the call was opened, as its opening said.
    #[inline]
    pub fn opened_ns(self) -> u64 {
        get(self.slot, slot::OPENED_NS)
    }
}

const _: () = assert!(STATUSES.len() < 0xff, "a status is a byte");
