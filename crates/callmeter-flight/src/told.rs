//! What a call is told after its opening: numbers and small words beside the guard, texts in the slot at once.
//!
//! Owns [`Told`], which a guard carries in a line of memory: the usual numbers, the small words, and how far
//! the slot's text is written. A name that recurs becomes its place in the name table at once; other texts
//! and seldom numbers go to the slot, which is their call's alone while it is open, where they stay until
//! [`FlightBuffer::finish_told`] seals them. So nothing is copied twice, and a guard stays small.
//!
//! Promises that an open call's row is what it was at the opening: nothing told counts before the state is
//! FINISHED (readers of an OPEN slot look at the opening alone). A forked child tells its parent's calls
//! nothing.
//!
//! Leaves to the guard what finds no room here ([`Refused::NoRoom`]).

use callmeter_core::{Billing, ErrorKind, Field, Operation, Status, UsageSource};

use crate::buffer::FlightBuffer;
use crate::fields::{HTTP_STATUS_SHIFT, NUMBERS, Place, SMALL, TRUTHS_AT, Value, place_of};
use crate::layout::slot;
use crate::record::{FlightSlot, Refused};
use crate::slots::{Slot, SlotText, two_names};
use crate::sync::Ordering;
use crate::tape::{Entries, take_entry};
use crate::thread::ThreadHome;

/// How many numbers lie beside the guard: duration, input and output tokens, time to the first token.
pub(crate) const TOLD_NUMBERS: usize = 4;

/// What an open call has been told. Belongs to one call, from its opening to its end.
///
/// ```
/// # use callmeter_core::{CallId, Field, Layer, Timestamp, UsageSource};
/// # use callmeter_flight::{FlightBuffer, Opening, Options, Place, Told, Value};
/// # let buffer = FlightBuffer::create(&Place::memory(), &Options::default())?;
/// # let id = CallId::new(Timestamp::from_micros(1_774_310_400_000_000), 7);
/// let slot = buffer.open(&Opening::new(id, Layer::Guard, 0)).map_err(|_| "refused")?;
/// let mut told = Told::default();
/// told.input_tokens(26).output_tokens(112).usage_source(UsageSource::Caller);
/// let _ = buffer.tell(&slot, &mut told, Field::Model, Value::from("gpt-5-mini-2026-01-01"));
/// let _ = buffer.finish_told(slot, told.duration_us(1_204_000), &());
/// assert_eq!(buffer.standing().finished, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Told {
    /// The first of the slot's numbers.
    pub(crate) numbers: [u64; TOLD_NUMBERS],
    /// Fields whose value stands in the slot's text, a bit each.
    in_text: u64,
    /// The halves of the slot's word.
    answered: [u32; 2],
    /// Which numbers in the slot itself are there, a bit each as the slot has them.
    in_slot: u32,
    /// Bytes of the slot's text that are written.
    pub(crate) text_len: u16,
    /// The HTTP status plus 1.
    http_status: u16,
    // Bytes of their own: written as parts of a word and read back as a whole, they would wait for their stores.
    /// Which of `numbers` are there, a bit each.
    present: u8,
    truths: u8,
    /// The status, and then the fields of [`SMALL`].
    small: [u8; 5],
}

impl Told {
    #[inline]
    fn number(&mut self, at: usize, number: u64) -> &mut Self {
        if let Some(place) = self.numbers.get_mut(at) {
            *place = number;
            self.present |= 1 << at;
        }
        self
    }

    #[inline]
    fn byte<const AT: usize>(&mut self, code: u8) -> &mut Self {
        self.small[AT] = code;
        self
    }

    /// How long the call took.
    #[inline]
    pub fn duration_us(&mut self, duration_us: u64) -> &mut Self {
        self.number(0, duration_us)
    }

    /// All that the model read.
    #[inline]
    pub fn input_tokens(&mut self, count: u64) -> &mut Self {
        self.number(1, count)
    }

    /// All that the model wrote.
    #[inline]
    pub fn output_tokens(&mut self, count: u64) -> &mut Self {
        self.number(2, count)
    }

    /// The time to the first token.
    #[inline]
    pub fn ttft_us(&mut self, ttft_us: u64) -> &mut Self {
        self.number(3, ttft_us)
    }

    /// One of the listed words. The caller's own is [told](FlightBuffer::tell) as a text; a listed word
    /// takes its place only once that is [untold](FlightBuffer::untell).
    #[inline]
    pub fn status(&mut self, status: &Status) -> &mut Self {
        let code = match status {
            Status::Ok => 1,
            Status::Error => 2,
            Status::Fallback => 3,
            Status::Cancelled => 4,
            Status::Aborted => 5,
            _ => 0,
        };
        self.byte::<0>(code)
    }

    /// Why it failed.
    #[inline]
    pub fn error_kind(&mut self, kind: ErrorKind) -> &mut Self {
        self.byte::<1>(kind.code())
    }

    /// Where the figures come from.
    #[inline]
    pub fn usage_source(&mut self, source: UsageSource) -> &mut Self {
        self.byte::<2>(source.code())
    }

    /// What was asked for.
    #[inline]
    pub fn operation(&mut self, operation: Operation) -> &mut Self {
        self.byte::<3>(operation.code())
    }

    /// How it is paid for.
    #[inline]
    pub fn billing(&mut self, billing: Billing) -> &mut Self {
        self.byte::<4>(billing.code())
    }

    /// One of the four truths: streaming, its end, a cache hit, documents used. Any other field is left out.
    #[inline]
    pub fn truth(&mut self, field: Field, truth: bool) -> &mut Self {
        if let Place::Truth(at) = place_of(field.tag()) {
            let shift = at.wrapping_mul(2);
            let code = u8::from(truth).wrapping_add(1);
            self.truths = self.truths & !(3 << shift) | code << shift;
        }
        self
    }

    /// The HTTP status; 65,535 is none.
    #[inline]
    pub fn http_status(&mut self, status: u16) -> &mut Self {
        if status < u16::MAX {
            self.http_status = status.saturating_add(1);
        }
        self
    }

    /// The slot's word of the numbers that are there.
    #[inline]
    pub(crate) fn present(&self) -> u64 {
        u64::from(self.present) | u64::from(self.in_slot)
    }

    /// The slot's word of small values.
    #[inline]
    pub(crate) fn small(&self) -> u64 {
        let bytes = self.small.iter().zip([0, 8, 16, 24, 32]);
        let small = bytes.fold(0, |word, (byte, shift)| word | u64::from(*byte) << shift);
        small
            | u64::from(self.truths) << TRUTHS_AT.wrapping_mul(8)
            | u64::from(self.http_status) << HTTP_STATUS_SHIFT
    }

    /// The slot's word of the names that answered.
    #[inline]
    pub(crate) fn answered(&self) -> u64 {
        two_names(self.answered[0], self.answered[1])
    }

    /// Whether a value of a field was told and stands.
    #[inline]
    pub fn has(&self, field: Field) -> bool {
        let tag = field.tag();
        let in_place = match place_of(tag) {
            Place::Number(at) => self.present() >> at & 1 != 0,
            Place::Status => self.small[0] != 0,
            Place::Small(at) => self.small.get(at as usize).is_some_and(|code| *code != 0),
            Place::Truth(at) => self.truths >> at.wrapping_mul(2) & 3 != 0,
            Place::HttpStatus => self.http_status != 0,
            Place::Answered(at) => self.answered.get(at as usize).is_some_and(|at| *at != 0),
            Place::Recurring | Place::Text => false,
        };
        in_place || self.in_text & bit(tag) != 0
    }

    /// Takes a value away that lies in a place of its own.
    #[inline]
    fn clear(&mut self, place: Place) {
        match place {
            Place::Number(at) => {
                self.present &= !(1_u32.wrapping_shl(at) as u8);
                self.in_slot &= !1_u32.wrapping_shl(at);
            }
            Place::Status => self.small[0] = 0,
            Place::Small(at) => {
                if let Some(code) = self.small.get_mut(at as usize) {
                    *code = 0;
                }
            }
            Place::Truth(at) => self.truths &= !(3 << at.wrapping_mul(2)),
            Place::HttpStatus => self.http_status = 0,
            Place::Answered(at) => {
                if let Some(name) = self.answered.get_mut(at as usize) {
                    *name = 0;
                }
            }
            Place::Recurring | Place::Text => {}
        }
    }

    /// Takes a field's entry out of the slot's text, so that a value told over and over takes its room once.
    #[cold]
    fn remove_entry(&mut self, slot: &Slot, tag: u32) {
        let mut bytes = [0; slot::TEXT_BYTES];
        let written = SlotText::resume(slot, self.text_len.into());
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
        self.text_len = kept.len() as u16;
        self.in_text &= !bit(tag);
    }
}

/// A field's bit; fields beyond the sixty-fourth share one with another, and are then only looked for in vain.
const fn bit(tag: u32) -> u64 {
    1_u64.rotate_left(tag)
}

impl FlightBuffer {
    /// Tells an open call a value, in place of the field's earlier one.
    ///
    /// # Errors
    /// [`Refused::NoRoom`] when the slot's text has no room for it: the earlier value is gone, and this one is
    /// to be handed to [`finish_told`](Self::finish_told). [`Refused::Forked`] when the slot is not of this
    /// buffer or this is a forked child: nothing was written.
    pub fn tell(
        &self,
        call: &FlightSlot,
        told: &mut Told,
        field: Field,
        value: Value<'_>,
    ) -> Result<(), Refused> {
        let slot = self.slot_of(call)?;
        let tag = field.tag();
        if told.in_text & bit(tag) != 0 {
            told.remove_entry(slot, tag);
        }
        let place = place_of(tag);
        if let (Place::Number(at), Value::Int(number)) = (place, value) {
            if (at as usize) < TOLD_NUMBERS {
                told.number(at as usize, number);
            } else if let Some(word) = slot.get(slot::NUMBERS.wrapping_add(at as usize)) {
                word.store(number, Ordering::Relaxed);
                told.in_slot |= 1_u32.wrapping_shl(at);
            }
            return Ok(());
        }
        told.clear(place);
        let name = match (place, value) {
            (Place::Answered(_) | Place::Recurring, Value::Text(name)) => ThreadHome::with(
                #[inline(always)]
                |home| self.placer(home)?.of_field(tag, name),
            ),
            _ => None,
        };
        if let (Place::Answered(at), Some(name)) = (place, name) {
            if let Some(answered) = told.answered.get_mut(at as usize) {
                *answered = name;
            }
            return Ok(());
        }
        let mut text = SlotText::resume(slot, told.text_len.into());
        match (value, name) {
            (_, Some(name)) => text.put_name(tag, name),
            (Value::Int(number), _) => text.put_int(tag, number),
            (Value::Id(id), _) => text.put_whole(tag, &id.to_bytes()),
            (Value::Whole(bytes), _) => text.put_whole(tag, bytes),
            (Value::Text(word), _) => text.put_whole(tag, word.as_bytes()),
        }
        if text.is_short() {
            return Err(Refused::NoRoom);
        }
        told.text_len = text.len() as u16;
        told.in_text |= bit(tag);
        Ok(())
    }

    /// Takes a field's value away from an open call; in a forked child nothing happens.
    pub fn untell(&self, call: &FlightSlot, told: &mut Told, field: Field) {
        if let Ok(slot) = self.slot_of(call) {
            told.clear(place_of(field.tag()));
            if told.in_text & bit(field.tag()) != 0 {
                told.remove_entry(slot, field.tag());
            }
        }
    }
}

const _: () = assert!(
    NUMBERS.len() <= 32 && SMALL.len() == 4,
    "the numbers have a bit each, the small values a byte"
);
