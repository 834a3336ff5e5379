//! Short texts in place: what a reader keeps of a response without allocating.
//!
//! A [`Text`] holds at most 160 bytes; what is longer is cut on a character boundary and says so. Ids,
//! model names, finish reasons and error codes fit; content never gets here, because only the
//! allow-listed paths (`json::paths`) are captured at all.

use std::fmt;

const CAPACITY: usize = 160;

/// A short text, stored inline.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; CAPACITY],
    len: u8,
    cut: bool,
}

impl Text {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; CAPACITY],
        len: 0,
        cut: false,
    };

    /// Takes over `bytes`, cut to the capacity; bytes that are no UTF-8 end the text.
    pub(crate) fn set(&mut self, bytes: &[u8]) {
        let head = bytes.get(..CAPACITY).unwrap_or(bytes);
        let valid = match std::str::from_utf8(head) {
            Ok(_) => head.len(),
            Err(error) => error.valid_up_to(),
        };
        self.cut = valid < bytes.len();
        for (slot, byte) in self.bytes.iter_mut().zip(head.iter().take(valid)) {
            *slot = *byte;
        }
        self.len = u8::try_from(valid).unwrap_or(0);
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        let mut made = Self::EMPTY;
        made.set(text.as_bytes());
        made
    }

    /// Appends bytes; what does not fit is cut.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let from = usize::from(self.len);
        let free = self.bytes.get_mut(from..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        for (slot, byte) in free.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.len = u8::try_from(from.saturating_add(taken)).unwrap_or(0);
        self.cut |= taken < bytes.len();
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text, or none when it is empty.
    pub(crate) fn filled(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_on_a_character_boundary() {
        let long = "é".repeat(200);
        let text = Text::of(&long);
        assert_eq!(text.as_str(), "é".repeat(80));
        assert!(text.cut);
        assert_eq!(Text::of("gpt-5").filled(), Some("gpt-5"));
        assert_eq!(Text::of("").filled(), None);
    }

    #[test]
    fn bytes_that_are_no_text_end_it() {
        let mut text = Text::EMPTY;
        text.set(b"abc\xff\xfe");
        assert_eq!(text.as_str(), "abc");
    }
}
