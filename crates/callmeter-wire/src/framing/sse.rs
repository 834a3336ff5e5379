//! Server-sent events, as providers really send them.
//!
//! ```text
//! line start ─▶ field name ─ ':' ─▶ value ─ CR, LF, CRLF ─▶ line start; a blank line ends the event
//! ```
//!
//! Takes any line ending, data over several lines, comments, a missing blank line at the end, spaces
//! before a field, a byte order mark, and the bare `error:` lines of llama.cpp. The payload passes
//! through; only the event's name (48 bytes) and the first 8 bytes of its data are held, the latter
//! to know `[DONE]`.

use memchr::memchr2;

use super::{Frames, Kind};

const NAME: usize = 48;
const FIELD: usize = 6;
const HEAD: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the field's name, of which so many bytes were read.
    Field,
    /// After the colon: one space is no part of the value.
    Colon(Field),
    /// In a value.
    Value(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Name,
    Error,
    Other,
}

/// See the module.
pub(crate) struct EventLines {
    at: At,
    field: [u8; FIELD],
    field_len: usize,
    after_cr: bool,
    name: [u8; NAME],
    name_len: usize,
    head: [u8; HEAD],
    data_len: usize,
    data_lines: u32,
    failed: bool,
}

impl EventLines {
    pub(crate) const fn new() -> Self {
        Self {
            at: At::Field,
            field: [0; FIELD],
            field_len: 0,
            after_cr: false,
            name: [0; NAME],
            name_len: 0,
            head: [0; HEAD],
            data_len: 0,
            data_lines: 0,
            failed: false,
        }
    }

    /// Reads on.
    pub(crate) fn feed<F: Frames>(&mut self, mut bytes: &[u8], frames: &mut F) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                bytes = rest;
                continue;
            }
            match self.at {
                At::Field => {
                    bytes = rest;
                    match byte {
                        b'\r' | b'\n' => {
                            self.after_cr = byte == b'\r';
                            self.end_line(frames);
                        }
                        b':' => {
                            let field = self.named();
                            self.at = At::Colon(field);
                            self.begin_value(field, frames);
                        }
                        b' ' | 0xef | 0xbb | 0xbf if self.field_len == 0 => {}
                        _ => {
                            if let Some(slot) = self.field.get_mut(self.field_len) {
                                *slot = byte;
                            }
                            self.field_len = self.field_len.saturating_add(1);
                        }
                    }
                }
                At::Colon(field) => {
                    self.at = At::Value(field);
                    if byte == b' ' {
                        bytes = rest;
                    }
                }
                At::Value(field) => {
                    let end = memchr2(b'\r', b'\n', bytes);
                    let (value, tail) = bytes
                        .split_at_checked(end.unwrap_or(bytes.len()))
                        .unwrap_or((bytes, &[]));
                    self.value(field, value, frames);
                    bytes = tail;
                    if let Some((&ending, tail)) = tail.split_first() {
                        bytes = tail;
                        self.after_cr = ending == b'\r';
                        self.end_line(frames);
                    }
                }
            }
        }
    }

    /// The end of the bytes: an event that no blank line ended is one all the same.
    pub(crate) fn finish<F: Frames>(&mut self, frames: &mut F) {
        self.end_event(frames);
    }

    fn named(&self) -> Field {
        match self.field.get(..self.field_len) {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Name,
            Some(b"error") => Field::Error,
            _ => Field::Other,
        }
    }

    fn begin_value<F: Frames>(&mut self, field: Field, frames: &mut F) {
        match field {
            Field::Data => {
                if self.data_lines > 0 {
                    frames.payload(b"\n");
                    self.data_len = self.data_len.saturating_add(1);
                }
                self.data_lines = self.data_lines.saturating_add(1);
            }
            Field::Error => {
                self.failed = true;
                self.data_lines = self.data_lines.saturating_add(1);
                frames.error_line();
            }
            Field::Name => self.name_len = 0,
            Field::Other => {}
        }
    }

    fn value<F: Frames>(&mut self, field: Field, value: &[u8], frames: &mut F) {
        match field {
            Field::Data | Field::Error => {
                let free = self.head.iter_mut().skip(self.data_len);
                for (slot, byte) in free.zip(value) {
                    *slot = *byte;
                }
                self.data_len = self.data_len.saturating_add(value.len());
                frames.payload(value);
            }
            Field::Name => {
                for byte in value {
                    if let Some(slot) = self.name.get_mut(self.name_len) {
                        *slot = *byte;
                        self.name_len = self.name_len.saturating_add(1);
                    }
                }
            }
            Field::Other => {}
        }
    }

    fn end_line<F: Frames>(&mut self, frames: &mut F) {
        let blank = self.at == At::Field && self.field_len == 0;
        self.at = At::Field;
        self.field_len = 0;
        if blank {
            self.end_event(frames);
        }
    }

    fn end_event<F: Frames>(&mut self, frames: &mut F) {
        if self.data_lines > 0 {
            if self.head.get(..self.data_len) == Some(b"[DONE]") {
                frames.done();
            }
            let name = self.name.get(..self.name_len).unwrap_or_default();
            let kind = if self.failed {
                Kind::Error
            } else {
                Kind::Event
            };
            frames.end(std::str::from_utf8(name).unwrap_or_default(), kind);
        }
        self.name_len = 0;
        self.data_len = 0;
        self.data_lines = 0;
        self.failed = false;
        self.head = [0; HEAD];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::tests_support::Log;

    fn read(body: &[u8], chunk: usize) -> Vec<String> {
        let mut log = Log::default();
        let mut lines = EventLines::new();
        for piece in body.chunks(chunk) {
            lines.feed(piece, &mut log);
        }
        lines.finish(&mut log);
        log.events
    }

    #[test]
    fn every_line_ending_and_every_cut_gives_the_same_events() {
        let body = "\u{feff}event: a\r\ndata: 1\r\ndata:2\r\n\r\n: ping\n\nid: 7\ndata: [DONE]\n\n\
                    event: b\rdata: x\r\r data: late\nretry: 5\nerror: {\"code\":500}\n";
        let expected = [
            "a|Event|1\n2",
            "done",
            "|Event|[DONE]",
            "b|Event|x",
            "error",
            "|Error|late{\"code\":500}",
        ];
        for chunk in 1..body.len() {
            assert_eq!(read(body.as_bytes(), chunk), expected, "{chunk}");
        }
    }

    #[test]
    fn a_name_without_data_is_no_event_and_a_long_field_is_no_data() {
        assert!(read(b"event: ping\n\ndatabase: {}\n\nno colon at all\n\n", 3).is_empty());
    }
}
