//! AWS event streams: binary frames with headers, a payload and two checksums.
//!
//! ```text
//! u32 total │ u32 headers │ u32 crc of these 8 │ headers │ payload │ u32 crc of all before
//! header: u8 name length, name, u8 type, value; type 7 is a text with a u16 length
//! ```
//!
//! All numbers are big endian. A frame whose prelude does not check ends the reading, because where
//! the next begins is not known; one whose message does not check is handed on as torn.
//! Source: the AWS event stream encoding as botocore decodes it.

use super::crc32::Crc32;
use super::{Frames, Kind};
use crate::text::Text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Prelude,
    NameLength,
    Name,
    Type,
    ValueLength,
    Value,
    Payload,
    Checksum,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    MessageType,
    EventType,
    ExceptionType,
    Other,
}

const NAME: usize = 24;

/// See the module.
pub(crate) struct EventStream {
    at: At,
    word: [u8; 12],
    word_len: usize,
    headers_left: u32,
    payload_left: u32,
    /// Bytes left of the name or value being read.
    left: u32,
    name: [u8; NAME],
    name_len: usize,
    header: Header,
    text: bool,
    value: Text,
    event: Text,
    failed: bool,
    crc: Crc32,
}

impl EventStream {
    pub(crate) const fn new() -> Self {
        Self {
            at: At::Prelude,
            word: [0; 12],
            word_len: 0,
            headers_left: 0,
            payload_left: 0,
            left: 0,
            name: [0; NAME],
            name_len: 0,
            header: Header::Other,
            text: false,
            value: Text::EMPTY,
            event: Text::EMPTY,
            failed: false,
            crc: Crc32::new(),
        }
    }

    /// Whether a frame was begun and not ended, or the bytes are no event stream.
    pub(crate) fn is_torn(&self) -> bool {
        self.at != At::Prelude || self.word_len > 0
    }

    /// Reads on.
    pub(crate) fn feed<F: Frames>(&mut self, mut bytes: &[u8], frames: &mut F) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.at {
                At::Broken => return,
                At::Payload => {
                    let wanted = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                    let (payload, tail) = bytes
                        .split_at_checked(wanted.min(bytes.len()))
                        .unwrap_or((bytes, &[]));
                    self.crc.update(payload);
                    frames.payload(payload);
                    let read = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    self.payload_left = self.payload_left.saturating_sub(read);
                    bytes = tail;
                    if self.payload_left == 0 {
                        self.at = At::Checksum;
                    }
                }
                At::Prelude => {
                    bytes = rest;
                    if self.word_byte(byte, 12) {
                        self.end_prelude();
                    }
                }
                At::Checksum => {
                    bytes = rest;
                    if self.word_byte(byte, 4) {
                        self.end_frame(frames);
                    }
                }
                At::Name | At::Value => {
                    let wanted = self.left.min(self.headers_left);
                    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
                    let (span, tail) = bytes
                        .split_at_checked(wanted.min(bytes.len()))
                        .unwrap_or((bytes, &[]));
                    self.header_span(span);
                    bytes = tail;
                }
                _ => {
                    bytes = rest;
                    self.header_byte(byte);
                }
            }
        }
    }

    /// Collects a number of `len` bytes; true when it is whole.
    fn word_byte(&mut self, byte: u8, len: usize) -> bool {
        if let Some(slot) = self.word.get_mut(self.word_len) {
            *slot = byte;
        }
        self.word_len = self.word_len.saturating_add(1);
        self.word_len >= len
    }

    fn end_prelude(&mut self) {
        let [t0, t1, t2, t3, h0, h1, h2, h3, c0, c1, c2, c3] = self.word;
        let total = u32::from_be_bytes([t0, t1, t2, t3]);
        let headers = u32::from_be_bytes([h0, h1, h2, h3]);
        self.word_len = 0;
        self.crc = Crc32::new();
        self.crc.update(&[t0, t1, t2, t3, h0, h1, h2, h3]);
        let checked = self.crc.value() == u32::from_be_bytes([c0, c1, c2, c3]);
        let payload = total
            .checked_sub(16)
            .and_then(|left| left.checked_sub(headers));
        let Some(payload) = payload.filter(|_| checked) else {
            self.at = At::Broken;
            return;
        };
        self.crc.update(&[c0, c1, c2, c3]);
        self.headers_left = headers;
        self.payload_left = payload;
        self.event.clear();
        self.failed = false;
        self.at = At::NameLength;
        self.after_headers();
    }

    fn after_headers(&mut self) {
        if self.headers_left == 0 {
            self.at = if self.payload_left == 0 {
                At::Checksum
            } else {
                At::Payload
            };
            self.word_len = 0;
        }
    }

    /// Bytes of a header's name or value, none of which lies behind its end.
    fn header_span(&mut self, span: &[u8]) {
        self.crc.update(span);
        let read = u32::try_from(span.len()).unwrap_or(u32::MAX);
        self.headers_left = self.headers_left.saturating_sub(read);
        self.left = self.left.saturating_sub(read);
        if self.at == At::Name {
            let free = self.name.iter_mut().skip(self.name_len);
            for (slot, byte) in free.zip(span) {
                *slot = *byte;
            }
            self.name_len = self.name_len.saturating_add(span.len());
            if self.left == 0 {
                self.header = match self.name.get(..self.name_len) {
                    Some(b":message-type") => Header::MessageType,
                    Some(b":event-type") => Header::EventType,
                    Some(b":exception-type" | b":error-code") => Header::ExceptionType,
                    _ => Header::Other,
                };
                self.at = At::Type;
            }
        } else {
            if self.text && self.header != Header::Other {
                self.value.extend(span);
            }
            if self.left == 0 {
                self.end_header();
                self.at = At::NameLength;
            }
        }
        // Headers that end early are cut off here, whatever they claimed.
        self.after_headers();
    }

    fn header_byte(&mut self, byte: u8) {
        self.crc.update(&[byte]);
        self.headers_left = self.headers_left.saturating_sub(1);
        match self.at {
            At::NameLength => {
                self.left = u32::from(byte);
                self.name_len = 0;
                self.at = if byte == 0 { At::Type } else { At::Name };
            }
            At::Type => {
                self.value.clear();
                self.text = byte == 7;
                self.word_len = 0;
                self.left = match byte {
                    2 => 1,
                    3 => 2,
                    4 => 4,
                    5 | 8 => 8,
                    9 => 16,
                    _ => 0,
                };
                self.at = match byte {
                    6 | 7 => At::ValueLength,
                    2..=5 | 8 | 9 => At::Value,
                    _ => At::NameLength,
                };
            }
            At::ValueLength => self.length_byte(byte),
            _ => {}
        }
        // Headers that end early are cut off here, whatever they claimed.
        self.after_headers();
    }

    fn length_byte(&mut self, byte: u8) {
        if self.word_byte(byte, 2) {
            let [high, low, ..] = self.word;
            self.left = u32::from(u16::from_be_bytes([high, low]));
            self.word_len = 0;
            self.at = if self.left == 0 {
                At::NameLength
            } else {
                At::Value
            };
        }
    }

    fn end_header(&mut self) {
        match self.header {
            Header::MessageType => {
                self.failed |= matches!(self.value.as_str(), "exception" | "error");
            }
            Header::EventType | Header::ExceptionType => self.event = self.value,
            Header::Other => {}
        }
    }

    fn end_frame<F: Frames>(&mut self, frames: &mut F) {
        let [c0, c1, c2, c3, ..] = self.word;
        let kind = if self.crc.value() != u32::from_be_bytes([c0, c1, c2, c3]) {
            Kind::Torn
        } else if self.failed {
            Kind::Error
        } else {
            Kind::Event
        };
        frames.end(self.event.as_str(), kind);
        self.word_len = 0;
        self.at = At::Prelude;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::tests_support::{Log, frame};

    fn read(body: &[u8], chunk: usize) -> (Vec<String>, bool) {
        let mut log = Log::default();
        let mut stream = EventStream::new();
        for piece in body.chunks(chunk) {
            stream.feed(piece, &mut log);
        }
        (log.events, stream.is_torn())
    }

    #[test]
    fn frames_are_read_at_every_cut() {
        let mut body = frame(
            &[(":message-type", "event"), (":event-type", "metadata")],
            b"{}",
        );
        body.extend(frame(
            &[
                (":message-type", "exception"),
                (":exception-type", "throttlingException"),
            ],
            b"{\"message\":\"slow\"}",
        ));
        body.extend(frame(&[], b""));
        let expected = [
            "metadata|Event|{}",
            "throttlingException|Error|{\"message\":\"slow\"}",
            "|Event|",
        ];
        for chunk in 1..body.len() {
            let (events, torn) = read(&body, chunk);
            assert_eq!(
                (events.as_slice(), torn),
                (&expected.map(String::from)[..], false)
            );
        }
        assert!(read(&body[..body.len() - 1], 7).1);
    }

    #[test]
    fn a_wrong_checksum_tears_the_frame_and_a_wrong_prelude_ends_the_reading() {
        let mut body = frame(&[(":event-type", "metadata")], b"{}");
        let last = body.len() - 1;
        body[last] ^= 1;
        assert_eq!(read(&body, 5).0, ["metadata|Torn|{}"]);
        let mut body = frame(&[(":event-type", "metadata")], b"{}");
        body[2] ^= 1;
        assert_eq!(read(&body, 5), (Vec::new(), true));
    }
}
