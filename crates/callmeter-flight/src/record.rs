//! Opening and finishing a call: the hot path.
//!
//! No allocation, no lock, no system call, no panic (promises CM-1, CM-2); `tests/allocations.rs` and
//! `benches/open_finish.rs` guard it. What a call leaves in its slot, and in which order, is in
//! [`slot`](crate::slot).

use std::num::NonZeroU64;

use callmeter_core::{CallId, Field, Layer};

use crate::assembly::{Assembly, put_entry};
use crate::block::Purpose;
use crate::buffer::FlightBuffer;
use crate::fields::Fields;
use crate::layout::{BLOCK_SLOTS, header, slot, tail};
use crate::slot::{State, set_state};
use crate::slots::{
    Slot, SlotText, opening_word, result_room, two_names, write_fixed_opening, write_names,
    write_opening, write_result, write_tail, write_text,
};
use crate::sync::Ordering;
use crate::tape::{Entries, REV_TAG, Tape};
use crate::thread::{Placer, ThreadHome};
use crate::told::{self, OpenSlot};
use crate::words::Words;

/// The most text of an opening; the rest of the slot's text is the result's.
const OPENING_TEXT: usize = 192;
/// The most text of a result that goes on in other slots.
const LONG_TEXT: usize = slot::TEXT_BYTES + tail::MAX * tail::CAPACITY;

/// A name in a buffer's table: it need not be looked up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRef {
    buffer: u64,
    place: u32,
}

impl NameRef {
    /// The [id](FlightBuffer::id) of the buffer that it is of.
    #[inline]
    pub const fn buffer_id(self) -> u64 {
        self.buffer
    }
}

/// A recurring name of an opening.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Name<'a> {
    /// Not known.
    None,
    /// Looked up in the buffer's table, and put there the first time.
    Text(&'a str),
    /// Looked up before, by [`FlightBuffer::name`]; of another buffer it is as `None`.
    Known(NameRef),
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        if text.is_empty() {
            Self::None
        } else {
            Self::Text(text)
        }
    }
}

/// What is known of a call when it is opened, and all that its row has should the process die.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a, F = ()> {
    /// The call; its time is the start.
    pub call_id: CallId,
    /// Which way in records it.
    pub layer: Layer,
    /// The record's number within its layer.
    pub rev: u32,
    /// The start on the monotonic clock that [`FlightBuffer::beat`] is given, in nanoseconds.
    pub opened_ns: u64,
    /// Who calls.
    pub caller: Name<'a>,
    /// Who is asked.
    pub provider: Name<'a>,
    /// Which model is asked for.
    pub model_requested: Name<'a>,
    /// File and line of the call.
    pub call_site: Name<'a>,
    /// Fields that many calls have in common, by [`FlightBuffer::scope`].
    pub scope: Option<NameRef>,
    /// All else that is known.
    pub more: F,
}

impl<'a> Opening<'a> {
    /// An opening of which nothing but its identity is known.
    pub fn new(call_id: CallId, layer: Layer, opened_ns: u64) -> Self {
        Opening {
            call_id,
            layer,
            rev: 0,
            opened_ns,
            caller: Name::None,
            provider: Name::None,
            model_requested: Name::None,
            call_site: Name::None,
            scope: None,
            more: (),
        }
    }

    /// The same opening with `more` fields.
    pub fn with<F: Fields>(self, more: F) -> Opening<'a, F> {
        Opening {
            call_id: self.call_id,
            layer: self.layer,
            rev: self.rev,
            opened_ns: self.opened_ns,
            caller: self.caller,
            provider: self.provider,
            model_requested: self.model_requested,
            call_site: self.call_site,
            scope: self.scope,
            more,
        }
    }
}

/// What of an opening is the same for many calls, looked up once: names, scope, layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    buffer: u64,
    /// The slot's words.
    who: u64,
    what: u64,
    fixed: u64,
}

/// Why no slot was opened or finished.
// As wide as a slot's word: a result of either is then two registers, and never copied in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u64)]
pub enum Refused {
    /// Recording is off.
    Off,
    /// No slot is free; counted as `flight_full`.
    Full,
    /// The buffer, or the slot, is another process's: of the parent of this one.
    Forked,
    /// The text of the slot has no room for a value.
    NoRoom,
}

/// An open call's slot: one word. It may travel to any thread; it must be given back by
/// [`FlightBuffer::finish`], else its call stays in flight until the process ends and is then aborted.
#[must_use = "a slot that is not finished stays in flight"]
#[derive(Debug)]
pub struct FlightSlot {
    /// The holder's mark, the buffer's id, and below it 16 bits of the slot's number: one word, so that a guard
    /// that carries it moves in registers.
    word: NonZeroU64,
}

/// The holder's mark in a slot's word.
const MARK: u64 = 1 << 63;

impl FlightSlot {
    /// No buffer's id is 0, so the word never is.
    fn new(buffer: u64, index: usize) -> Option<Self> {
        let word = NonZeroU64::new(buffer << 16 | index as u64 & 0xffff)?;
        Some(Self { word })
    }

    /// The [id](FlightBuffer::id) of the buffer that it is of.
    #[inline]
    pub const fn buffer_id(&self) -> u64 {
        (self.word.get() & !MARK) >> 16
    }

    /// Whether its holder marked it; what that means is the holder's business.
    #[inline]
    pub const fn is_marked(&self) -> bool {
        self.word.get() & MARK != 0
    }

    /// Marks it, or takes the mark away.
    pub fn set_marked(&mut self, marked: bool) {
        let mark = if marked { MARK } else { 0 };
        if let Some(word) = NonZeroU64::new(self.word.get() & !MARK | mark) {
            self.word = word;
        }
    }

    const fn index(&self) -> usize {
        (self.word.get() & 0xffff) as usize
    }
}

impl FlightBuffer {
    /// Gives a name its place in the buffer's table; `None` when the table is full.
    pub fn name(&self, text: &str) -> Option<NameRef> {
        if !self.is_ours() {
            return None;
        }
        self.place_of(text.as_bytes()).map(|place| NameRef {
            buffer: self.id,
            place,
        })
    }

    /// Gives fields that many calls have in common (project, team, service, …) one place in the name
    /// table; `None` when they do not fit, and then they go into each opening's `more`.
    pub fn scope(&self, fields: &impl Fields) -> Option<NameRef> {
        if !self.is_ours() {
            return None;
        }
        let mut tape = Tape::<{ crate::names::MAX_NAME }>::new(crate::names::MAX_NAME);
        fields.each(|tag, value| put_entry(&mut tape, tag, value, &|_, _| None));
        if tape.is_short() {
            return None;
        }
        self.place_of(tape.as_bytes()).map(|place| NameRef {
            buffer: self.id,
            place,
        })
    }

    /// Opens a call: takes a slot and writes who, what and when.
    ///
    /// # Errors
    /// When recording is off, no slot is free, or this is a forked child of the buffer's process.
    ///
    /// # Examples
    /// ```
    /// # use callmeter_core::{CallId, Field, Layer, Timestamp};
    /// # use callmeter_flight::{FlightBuffer, Opening, Options, Place, Value};
    /// # let buffer = FlightBuffer::create(&Place::memory(), &Options::default())?;
    /// # let id = CallId::new(Timestamp::from_micros(1_774_310_400_000_000), 7);
    /// let mut opening = Opening::new(id, Layer::Guard, 0);
    /// opening.caller = "sales_copy".into();
    /// if let Ok(slot) = buffer.open(&opening) {
    ///     // … the call …
    ///     let _ = buffer.finish(slot, &[(Field::DurationUs, Value::from(1_200_u64))]);
    /// }
    /// assert_eq!(buffer.standing().finished, 1);
    /// # Ok::<(), callmeter_flight::FlightError>(())
    /// ```
    #[inline]
    pub fn open<F: Fields>(&self, opening: &Opening<'_, F>) -> Result<FlightSlot, Refused> {
        if !self.is_ours() {
            return Err(Refused::Forked);
        }
        if !self.is_on() {
            return Err(Refused::Off);
        }
        ThreadHome::with(|home| self.open_from(home, opening))
    }

    #[inline(always)]
    fn open_from<F: Fields>(
        &self,
        home: &ThreadHome,
        opening: &Opening<'_, F>,
    ) -> Result<FlightSlot, Refused> {
        let claimed = self.claim(home, Purpose::Call);
        let Some((index, slot)) = claimed.and_then(|index| Some((index, self.slot(index)?))) else {
            self.count_full();
            return Err(Refused::Full);
        };
        let placer = self.placer(home).ok_or(Refused::Full)?;
        let mut all_placed = true;
        let mut place = |field: Field, name: Name<'_>| match name {
            Name::Text(text) => placer.of_field(field.tag(), text).unwrap_or_else(|| {
                all_placed = false;
                0
            }),
            Name::Known(known) => self.known(known),
            Name::None => 0,
        };
        // Each word goes to its place at once: gathered on the stack first, the compiler reads them back
        // in pairs, and that waits for every store that still waits for its line.
        let caller = place(Field::Caller, opening.caller);
        write_names(
            slot,
            slot::WHO,
            caller,
            place(Field::Provider, opening.provider),
        );
        let model = place(Field::ModelRequested, opening.model_requested);
        write_names(
            slot,
            slot::WHAT,
            model,
            place(Field::CallSite, opening.call_site),
        );
        let scope = opening.scope.map_or(0, |scope| self.known(scope));
        let (id, opened_ns) = (opening.call_id, opening.opened_ns);
        if all_placed && opening.rev == 0 && size_of::<F>() == 0 {
            let fixed = (scope, opening.layer.code(), 0);
            write_opening(slot, self.key, id, opened_ns, fixed, &[]);
        } else {
            let tape = self.opening_text(&placer, slot, opening);
            let marks = if tape.is_short() { slot::MARK_CUT } else { 0 };
            let fixed = (scope, opening.layer.code(), marks);
            write_opening(slot, self.key, id, opened_ns, fixed, tape.as_bytes());
        }
        told::clear(slot);
        set_state(&slot[slot::STATE], State::Open);
        FlightSlot::new(self.id, index).ok_or(Refused::Full)
    }

    /// Looks an opening's names up once, for [`open_prepared`](Self::open_prepared). `None` when one of them
    /// finds no place in the buffer's table, or the opening has a revision.
    pub fn prepare(&self, opening: &Opening<'_>) -> Option<Prepared> {
        if !self.is_ours() || opening.rev != 0 {
            return None;
        }
        let place = |field: Field, name: Name<'_>| match name {
            Name::Text(text) => {
                ThreadHome::with(|home| self.placer(home)?.of_field(field.tag(), text))
            }
            Name::Known(known) => Some(self.known(known)),
            Name::None => Some(0),
        };
        let caller = place(Field::Caller, opening.caller)?;
        let provider = place(Field::Provider, opening.provider)?;
        let model = place(Field::ModelRequested, opening.model_requested)?;
        let call_site = place(Field::CallSite, opening.call_site)?;
        let scope = opening.scope.map_or(0, |scope| self.known(scope));
        Some(Prepared {
            buffer: self.id,
            who: two_names(caller, provider),
            what: two_names(model, call_site),
            fixed: opening_word(scope, 0, opening.layer.code(), 0),
        })
    }

    /// Opens a call whose names were [looked up](Self::prepare) before. `benches/guard.rs` watches it.
    ///
    /// # Errors
    /// As [`open`](Self::open); also [`Refused::Forked`] when it was prepared for another buffer.
    #[inline]
    pub fn open_prepared(
        &self,
        prepared: &Prepared,
        call_id: CallId,
        opened_ns: u64,
    ) -> Result<FlightSlot, Refused> {
        if !self.is_ours() || prepared.buffer != self.id {
            return Err(Refused::Forked);
        }
        if !self.is_on() {
            return Err(Refused::Off);
        }
        let claimed = ThreadHome::with(|home| self.claim(home, Purpose::Call));
        let Some((index, slot)) = claimed.and_then(|index| Some((index, self.slot(index)?))) else {
            self.count_full();
            return Err(Refused::Full);
        };
        write_fixed_opening(
            slot,
            self.key,
            [
                call_id.hi().cast_unsigned(),
                call_id.lo().cast_unsigned(),
                opened_ns,
                prepared.who,
                prepared.what,
                prepared.fixed,
            ],
        );
        told::clear(slot);
        set_state(&slot[slot::STATE], State::Open);
        FlightSlot::new(self.id, index).ok_or(Refused::Full)
    }

    /// What of an opening has no place of its own.
    #[inline(never)]
    fn opening_text<F: Fields>(
        &self,
        placer: &Placer<'_>,
        slot: &Slot,
        opening: &Opening<'_, F>,
    ) -> Tape<OPENING_TEXT> {
        let mut tape = Tape::new(OPENING_TEXT);
        // What the slot says decides: asked again, the table may have a place for a name that found it
        // locked before.
        let names = |at: usize| slot.get(at).map_or(0, |word| word.load(Ordering::Relaxed));
        let (who, what) = (names(slot::WHO), names(slot::WHAT));
        for (field, name, place) in [
            (Field::Caller, opening.caller, who as u32),
            (Field::Provider, opening.provider, (who >> 32) as u32),
            (Field::ModelRequested, opening.model_requested, what as u32),
            (Field::CallSite, opening.call_site, (what >> 32) as u32),
        ] {
            if let Name::Text(text) = name
                && place == 0
            {
                tape.put_text(field.tag(), text);
            }
        }
        if opening.rev != 0 {
            tape.put_int(REV_TAG, u64::from(opening.rev));
        }
        let names = |tag: u32, text: &str| placer.of_field(tag, text);
        opening
            .more
            .each(|tag, value| put_entry(&mut tape, tag, value, &names));
        if tape.is_short() {
            self.count_cut();
        }
        tape
    }

    /// Finishes a call: from the moment this returns, its row survives the process (promise CM-4). It says what
    /// the call was [told](crate::OpenSlot::tell) while it was in flight, and `more`: fields that it was not told.
    ///
    /// # Errors
    /// [`Refused::Forked`] when the slot is not of this buffer or this is a forked child: the call
    /// belongs to the parent, and nothing was written.
    #[inline]
    pub fn finish(&self, call: FlightSlot, more: &impl Fields) -> Result<(), Refused> {
        let slot = self.slot_of(&call)?;
        let told = slot[slot::TEXT].load(Ordering::Relaxed) as usize;
        let mut result = Assembly::new(slot, SlotText::resume(slot, told));
        let mut is_long = false;
        ThreadHome::with(|home| {
            let Some(placer) = self.placer(home) else {
                return;
            };
            result.take(more, |tag, text| placer.of_field(tag, text));
            is_long = result.text.is_short();
            if is_long {
                self.finish_long(home, &placer, slot, more, (told, result.text.wanted()));
            }
        });
        if !is_long {
            let words = [result.present, result.small, result.answered];
            write_result(slot, self.key, words, result.text.len(), &[]);
        }
        self.close(&call, slot);
        Ok(())
    }

    /// Finishes a call that is [told](OpenSlot::tell) its last by `tell` and nothing beside: the shortest way.
    /// `benches/guard.rs` watches it.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    #[inline]
    pub fn finish_told<T>(
        &self,
        call: FlightSlot,
        tell: impl FnOnce(OpenSlot<'_>) -> T,
    ) -> Result<T, Refused> {
        let slot = self.slot_of(&call)?;
        let told = tell(OpenSlot::new(self, slot));
        let word = |at: usize| slot.as_slice().word(at);
        let words = [slot::PRESENT, slot::SMALL, slot::ANSWERED].map(word);
        write_result(slot, self.key, words, word(slot::TEXT) as usize, &[]);
        self.close(&call, slot);
        Ok(told)
    }

    /// The last of a call: its state, then its block's hint.
    #[inline(always)]
    fn close(&self, call: &FlightSlot, slot: &Slot) {
        set_state(&slot[slot::STATE], State::Finished);
        if let Some(block) = self.block(call.index() / BLOCK_SLOTS) {
            block.raise();
        }
    }

    /// The slot of an open call of this buffer, in the process that made it.
    #[inline]
    pub(crate) fn slot_of(&self, call: &FlightSlot) -> Result<&Slot, Refused> {
        if !self.is_ours() || call.buffer_id() != self.id {
            return Err(Refused::Forked);
        }
        self.slot(call.index()).ok_or(Refused::Forked)
    }

    /// Writes a result whose text goes on in other slots, as far as there are any.
    #[cold]
    #[inline(never)]
    fn finish_long(
        &self,
        home: &ThreadHome,
        placer: &Placer<'_>,
        slot: &Slot,
        more: &impl Fields,
        (told, wanted): (usize, usize),
    ) {
        let room = result_room(slot[slot::OPENING].load(Ordering::Relaxed));
        let mut tails = [0_u16; tail::MAX];
        let count = wanted
            .saturating_sub(room)
            .div_ceil(tail::CAPACITY)
            .min(tail::MAX);
        let mut claimed = 0_usize;
        for place in tails.iter_mut().take(count) {
            let Some(index) = self.claim(home, Purpose::Continuation) else {
                break;
            };
            *place = index as u16;
            claimed = claimed.saturating_add(1);
        }
        let tails = tails.get(..claimed).unwrap_or_default();
        let limit = room.saturating_add(claimed.saturating_mul(tail::CAPACITY));
        let mut tape = Tape::<LONG_TEXT>::new(limit);
        let mut before = [0; slot::TEXT_BYTES];
        let before = SlotText::resume(slot, told).copied_to(&mut before);
        tape.want(before.len());
        tape.append(before);
        let mut result = Assembly::new(slot, tape);
        result.take(more, |tag, text| placer.of_field(tag, text));
        if result.text.is_short() {
            result.mark_cut();
            self.count_cut();
        }
        let id = [slot::ID_HI, slot::ID_LO].map(|at| slot.as_slice().word(at));
        let text = result.text.as_bytes();
        let (here, mut rest) = text.split_at(room.min(text.len()));
        let mut used = 0_usize;
        for (number, index) in tails.iter().enumerate() {
            let Some(to) = self.slot(usize::from(*index)) else {
                break;
            };
            let (part, after) = rest.split_at(rest.len().min(tail::CAPACITY));
            // A text cut at a character, or a value left out whole, may need fewer slots than it
            // seemed: what is left over is an empty continuation, freed with the others.
            let next = tails.get(number.saturating_add(1)).copied();
            write_tail(to, self.key, id, number, part, next);
            set_state(&to[slot::STATE], State::Tail);
            rest = after;
            used = used.saturating_add(1);
        }
        write_text(slot, here);
        let words = [result.present, result.small, result.answered];
        let tails = tails.get(..used).unwrap_or_default();
        write_result(slot, self.key, words, text.len(), tails);
    }

    fn place_of(&self, name: &[u8]) -> Option<u32> {
        ThreadHome::with(|home| self.placer(home)?.of_bytes(name))
    }

    fn known(&self, name: NameRef) -> u32 {
        if name.buffer == self.id {
            name.place
        } else {
            0
        }
    }

    #[cold]
    fn count_cut(&self) {
        if let Some(cut) = self.header(header::CUT) {
            cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}
