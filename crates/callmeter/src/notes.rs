//! A small tape inside a guard: short texts, numbers and ids by their field, without allocation.
//!
//! ```text
//! entry   field's number (0 = removed) · kind · length · bytes
//! ```
//! A field stands on it at most once. What finds no room is for the guard's box.

use callmeter_core::{CallId, Field};
use callmeter_flight::Value;

const ROOM: usize = 128;
const HEAD: usize = 3;

const TEXT: u8 = 1;
const INT: u8 = 2;
const ID: u8 = 3;

/// Values that were told, in the order in which they were.
pub(crate) struct Notes {
    len: u8,
    bytes: [u8; ROOM],
}

/// A value to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note<'a> {
    Text(&'a str),
    Int(u64),
    Id(CallId),
}

impl Default for Notes {
    #[inline]
    fn default() -> Self {
        Self {
            len: 0,
            bytes: [0; ROOM],
        }
    }
}

impl Notes {
    /// Keeps a value in place of the field's earlier one; says `false` where there is no room, and then
    /// the earlier one is gone as well.
    #[inline]
    pub(crate) fn put(&mut self, field: Field, note: Note<'_>) -> bool {
        self.remove(field);
        match note {
            Note::Text(text) => self.append(field, TEXT, text.as_bytes()),
            Note::Int(value) => self.append(field, INT, &value.to_le_bytes()),
            Note::Id(id) => self.append(field, ID, &id.to_bytes()),
        }
    }

    #[inline]
    fn append(&mut self, field: Field, kind: u8, bytes: &[u8]) -> bool {
        let at = usize::from(self.len);
        let start = at.saturating_add(HEAD);
        let end = start.saturating_add(bytes.len());
        let (Ok(tag), Ok(length), Ok(len)) = (
            u8::try_from(field.tag()),
            u8::try_from(bytes.len()),
            u8::try_from(end),
        ) else {
            return false;
        };
        if end > ROOM {
            return false;
        }
        if let Some(head) = self.bytes.get_mut(at..start) {
            head.copy_from_slice(&[tag, kind, length]);
        }
        if let Some(place) = self.bytes.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        self.len = len;
        true
    }

    /// Takes a field's value away.
    #[inline]
    pub(crate) fn remove(&mut self, field: Field) {
        let mut at = 0_usize;
        while at < usize::from(self.len) {
            let Some([tag, _, length]) = self.head_mut(at) else {
                return;
            };
            let next = at.saturating_add(HEAD).saturating_add(usize::from(*length));
            if u32::from(*tag) == field.tag() {
                *tag = 0;
                // The last one gives its room back, so that a value told over and over takes it once.
                if next == usize::from(self.len) {
                    self.len = at as u8;
                }
                return;
            }
            at = next;
        }
    }

    fn head_mut(&mut self, at: usize) -> Option<&mut [u8; HEAD]> {
        self.bytes.get_mut(at..)?.first_chunk_mut()
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        let mut found = false;
        self.each(|tag, _| found |= tag == field.tag());
        found
    }

    /// Hands each value out with its field's number.
    #[inline]
    pub(crate) fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        let mut rest = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        while let Some(([tag, kind, length], after)) = rest.split_first_chunk::<HEAD>() {
            let Some((bytes, after)) = after.split_at_checked(usize::from(*length)) else {
                return;
            };
            rest = after;
            if *tag == 0 {
                continue;
            }
            let value = match *kind {
                TEXT => std::str::from_utf8(bytes).ok().map(Value::Text),
                INT => bytes
                    .try_into()
                    .ok()
                    .map(|int| Value::Int(u64::from_le_bytes(int))),
                _ => bytes
                    .try_into()
                    .ok()
                    .and_then(CallId::from_bytes)
                    .map(Value::Id),
            };
            if let Some(value) = value {
                put(u32::from(*tag), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(notes: &Notes) -> Vec<String> {
        let mut told = Vec::new();
        notes.each(|tag, value| told.push(format!("{tag} {value:?}")));
        told
    }

    #[test]
    fn a_field_stands_once_with_what_was_told_last() {
        let mut notes = Notes::default();
        for text in ["gpt-4o", "gpt-5", "gpt-5-mini"] {
            assert!(notes.put(Field::Model, Note::Text(text)));
            assert!(notes.put(Field::Attempt, Note::Int(2)));
        }
        assert_eq!(told(&notes), ["30 Text(\"gpt-5-mini\")", "4 Int(2)"],);
        notes.remove(Field::Model);
        assert!(!notes.has(Field::Model) && notes.has(Field::Attempt));
    }

    #[test]
    fn what_finds_no_room_is_refused_and_the_rest_stays() {
        let mut notes = Notes::default();
        assert!(notes.put(Field::RequestId, Note::Text(&"r".repeat(100))));
        assert!(!notes.put(Field::TraceId, Note::Text(&"t".repeat(64))));
        assert!(!notes.put(Field::Host, Note::Text(&"h".repeat(300))));
        assert_eq!(told(&notes).len(), 1);
        // Told over and over, a value takes its room once.
        for n in 0..1_000 {
            assert!(notes.put(Field::Attempt, Note::Int(n)));
        }
    }
}
