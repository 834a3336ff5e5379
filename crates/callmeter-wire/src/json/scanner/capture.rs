//! A text, number or word that is kept while it arrives, its escapes undone.
//!
//! Holds at most [`CAPTURE`] bytes; what is longer is cut and says so. Nothing of a value is left behind
//! by [`wipe`](Capture::wipe).

use super::find::quote_or_backslash;

/// The longest value kept; an error's message is looked at up to here and then forgotten.
pub(super) const CAPTURE: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    Unicode { digits: u8, code: u16 },
}

/// See the module.
pub(super) struct Capture {
    kept: [u8; CAPTURE],
    len: usize,
    overflow: bool,
    escape: Escape,
    high_surrogate: u16,
}

impl Capture {
    pub(super) const fn new() -> Self {
        Self {
            kept: [0; CAPTURE],
            len: 0,
            overflow: false,
            escape: Escape::None,
            high_surrogate: 0,
        }
    }

    /// Stands before a value.
    pub(super) const fn begin(&mut self) {
        self.len = 0;
        self.overflow = false;
        self.escape = Escape::None;
        self.high_surrogate = 0;
    }

    /// What was kept.
    pub(super) fn bytes(&self) -> &[u8] {
        self.kept.get(..self.len).unwrap_or_default()
    }

    /// Whether the value was longer than what is kept.
    pub(super) const fn is_cut(&self) -> bool {
        self.overflow
    }

    /// Leaves nothing of a value that was read.
    pub(super) fn wipe(&mut self) {
        let len = self.len;
        self.kept.iter_mut().take(len).for_each(|byte| *byte = 0);
        self.len = 0;
    }

    pub(super) fn push(&mut self, byte: u8) {
        match self.kept.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len = self.len.saturating_add(1);
            }
            None => self.overflow = true,
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let free = self.kept.get_mut(self.len..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        for (slot, byte) in free.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.len = self.len.saturating_add(taken);
        self.overflow |= taken < bytes.len();
    }

    /// Takes a text up to its closing quote; answers with what follows and whether the text ended.
    pub(super) fn text<'a>(&mut self, mut bytes: &'a [u8]) -> (&'a [u8], bool) {
        loop {
            if self.escape == Escape::None {
                let at = quote_or_backslash(bytes).unwrap_or(bytes.len());
                let (plain, tail) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
                self.extend(plain);
                let Some((&found, tail)) = tail.split_first() else {
                    return (&[], false);
                };
                bytes = tail;
                if found == b'"' {
                    return (bytes, true);
                }
                self.escape = Escape::Backslash;
            }
            let Some((&byte, tail)) = bytes.split_first() else {
                return (&[], false);
            };
            bytes = tail;
            self.escaped(byte);
        }
    }

    /// Takes a byte of an escape.
    fn escaped(&mut self, byte: u8) {
        match self.escape {
            Escape::None => self.push(byte),
            Escape::Backslash => {
                self.escape = Escape::None;
                match byte {
                    b'n' => self.push(b'\n'),
                    b't' => self.push(b'\t'),
                    b'r' => self.push(b'\r'),
                    b'b' => self.push(8),
                    b'f' => self.push(12),
                    b'u' => self.escape = Escape::Unicode { digits: 0, code: 0 },
                    other => self.push(other),
                }
            }
            Escape::Unicode { digits, code } => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                let code = (code << 4) | u16::try_from(digit).unwrap_or(0);
                if digits < 3 {
                    let digits = digits.saturating_add(1);
                    self.escape = Escape::Unicode { digits, code };
                } else {
                    self.escape = Escape::None;
                    self.unicode(code);
                }
            }
        }
    }

    fn unicode(&mut self, code: u16) {
        match code {
            0xd800..=0xdbff => self.high_surrogate = code,
            0xdc00..=0xdfff if self.high_surrogate != 0 => {
                let high = u32::from(self.high_surrogate & 0x3ff) << 10;
                let low = u32::from(code & 0x3ff);
                self.high_surrogate = 0;
                self.push_char((high | low).saturating_add(0x1_0000));
            }
            _ => self.push_char(u32::from(code)),
        }
    }

    fn push_char(&mut self, code: u32) {
        let mut utf8 = [0; 4];
        let text = char::from_u32(code)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .encode_utf8(&mut utf8);
        for byte in text.bytes() {
            self.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, cut: usize) -> (String, bool) {
        let mut capture = Capture::new();
        capture.begin();
        let (head, tail) = text.as_bytes().split_at(cut);
        let (rest, ended) = capture.text(head);
        let rest_len = if ended {
            rest.len() + tail.len()
        } else {
            let (rest, ended) = capture.text(tail);
            assert!(ended, "{text} at {cut}");
            rest.len()
        };
        let kept = String::from_utf8(capture.bytes().to_vec()).unwrap();
        (kept, rest_len == 1)
    }

    #[test]
    fn escapes_are_undone_at_every_cut() {
        let text = r#"a\"\\\/\n\u00e9\ud83d\ude00z","#;
        for cut in 0..=text.len() - 2 {
            assert_eq!(
                read(text, cut),
                ("a\"\\/\n\u{e9}\u{1f600}z".to_owned(), true),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_long_text_is_cut_and_nothing_of_it_stays() {
        let mut capture = Capture::new();
        capture.begin();
        capture.text(&[b'x'; 600]);
        assert!(capture.is_cut());
        assert_eq!(capture.bytes().len(), CAPTURE);
        capture.wipe();
        assert!(capture.kept.iter().all(|byte| *byte == 0));
    }
}
