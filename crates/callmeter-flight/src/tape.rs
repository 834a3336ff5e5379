//! Tag-length-value text: on the stack, before it is copied into a slot, or in the slot itself.
//!
//! ```text
//! key   varint: tag << 2 | kind     kind 0: a varint · 1: length varint and bytes · 2: varint, a
//!                                   place in the name table
//! ```
//! Tag 0 is the record's revision within its layer. A later entry of a tag replaces an earlier one. The
//! tape never grows: what does not fit is cut at a character, or left out when it is of use only
//! whole, and the tape says so; [`wanted`](Tape::wanted) is what it would have taken.

use crate::fields::take_varint;

pub(crate) const KIND_INT: u64 = 0;
pub(crate) const KIND_BYTES: u64 = 1;
pub(crate) const KIND_NAME: u64 = 2;
/// The tag of the record's revision.
pub(crate) const REV_TAG: u32 = 0;
/// A cut text is worth keeping from this many bytes on.
const WORTH_KEEPING: usize = 8;

/// A tape with room for `N` bytes, of which `limit` may be used.
#[derive(Debug)]
pub(crate) struct Tape<const N: usize> {
    bytes: [u8; N],
    len: usize,
    limit: usize,
    wanted: usize,
}

/// The bytes of a varint, on the stack.
#[derive(Clone, Copy)]
struct Varint {
    bytes: [u8; 10],
    len: usize,
}

impl Varint {
    #[inline]
    fn new(mut value: u64) -> Self {
        let mut varint = Self {
            bytes: [0; 10],
            len: 0,
        };
        for byte in &mut varint.bytes {
            varint.len = varint.len.saturating_add(1);
            *byte = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                break;
            }
            *byte |= 0x80;
        }
        varint
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Where entries go: a tape on the stack, or a slot's own text.
pub(crate) trait Entries {
    /// How many bytes were put.
    fn len(&self) -> usize;

    /// How many more there is room for.
    fn room(&self) -> usize;

    /// How many bytes all that was put takes.
    fn wanted(&self) -> usize;

    /// Sets how many bytes all that was put takes.
    fn set_wanted(&mut self, wanted: usize);

    /// Puts bytes, which fit.
    fn append(&mut self, bytes: &[u8]);

    /// Whether something was cut or left out.
    fn is_short(&self) -> bool {
        self.wanted() > self.len()
    }

    fn put_int(&mut self, tag: u32, value: u64) {
        self.put_numbers(u64::from(tag) << 2 | KIND_INT, value);
    }

    fn put_name(&mut self, tag: u32, place: u32) {
        self.put_numbers(u64::from(tag) << 2 | KIND_NAME, u64::from(place));
    }

    fn put_numbers(&mut self, key: u64, value: u64) {
        let (key, value) = (Varint::new(key), Varint::new(value));
        self.want(key.len.saturating_add(value.len));
        if key.len.saturating_add(value.len) <= self.room() {
            self.append(key.as_slice());
            self.append(value.as_slice());
        }
    }

    /// Puts bytes that are of use only whole.
    fn put_whole(&mut self, tag: u32, bytes: &[u8]) {
        let key = Varint::new(u64::from(tag) << 2 | KIND_BYTES);
        let length = Varint::new(bytes.len() as u64);
        let size = key
            .len
            .saturating_add(length.len)
            .saturating_add(bytes.len());
        self.want(size);
        if size <= self.room() {
            self.append(key.as_slice());
            self.append(length.as_slice());
            self.append(bytes);
        }
    }

    /// Puts a text, cut at a character where the room ends.
    fn put_text(&mut self, tag: u32, text: &str) {
        let before = self.len();
        self.put_whole(tag, text.as_bytes());
        // Five bytes are more than any key and length that fits a tape.
        let room = self.room().saturating_sub(5);
        if self.len() > before || room < WORTH_KEEPING {
            return;
        }
        let wanted = self.wanted();
        self.put_whole(tag, head_of(text, room).as_bytes());
        self.set_wanted(wanted);
    }

    fn want(&mut self, size: usize) {
        self.set_wanted(self.wanted().saturating_add(size));
    }
}

impl<const N: usize> Tape<N> {
    #[inline]
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: [0; N],
            len: 0,
            limit: limit.min(N),
            wanted: 0,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Entries for Tape<N> {
    fn len(&self) -> usize {
        self.len
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    fn wanted(&self) -> usize {
        self.wanted
    }

    fn set_wanted(&mut self, wanted: usize) {
        self.wanted = wanted;
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

/// The head of a text, at most so many bytes, cut at a character.
pub(crate) fn head_of(text: &str, bytes: usize) -> &str {
    let ends = (0..=bytes.min(text.len())).rev();
    ends.into_iter()
        .find_map(|end| text.get(..end))
        .unwrap_or_default()
}

/// An entry of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Name(u32),
}

/// Takes the next entry off a tape's bytes; `None` at the end and where they make no sense.
pub(crate) fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(u32, Entry<'a>)> {
    let key = take_varint(rest)?;
    let tag = u32::try_from(key >> 2).ok()?;
    let number = take_varint(rest)?;
    let entry = match key & 3 {
        KIND_INT => Entry::Int(number),
        KIND_BYTES => {
            let (bytes, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            *rest = after;
            Entry::Bytes(bytes)
        }
        KIND_NAME => Entry::Name(u32::try_from(number).ok()?),
        _ => return None,
    };
    Some((tag, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fits_is_read_back_and_what_does_not_is_said(
            texts in proptest::collection::vec((1_u32..200, "\\PC{0,30}", any::<u64>()), 0..12),
            limit in 0_usize..300,
        ) {
            let mut tape = Tape::<256>::new(limit);
            let mut wide = Tape::<2_000>::new(2_000);
            for (tag, text, number) in &texts {
                tape.put_text(*tag, text);
                tape.put_int(*tag, *number);
                wide.put_text(*tag, text);
                wide.put_int(*tag, *number);
            }
            prop_assert!(tape.len() <= limit.min(256));
            prop_assert_eq!(tape.wanted(), wide.len());
            prop_assert_eq!(tape.is_short(), wide.len() > tape.len());
            let mut rest = tape.as_bytes();
            while let Some((_, entry)) = take_entry(&mut rest) {
                if let Entry::Bytes(bytes) = entry {
                    prop_assert!(std::str::from_utf8(bytes).is_ok());
                }
            }
            prop_assert!(rest.is_empty());
            let mut rest = wide.as_bytes();
            for (tag, text, number) in &texts {
                prop_assert_eq!(take_entry(&mut rest), Some((*tag, Entry::Bytes(text.as_bytes()))));
                prop_assert_eq!(take_entry(&mut rest), Some((*tag, Entry::Int(*number))));
            }
        }
    }
}
