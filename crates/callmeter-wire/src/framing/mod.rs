//! How a body is cut into documents: JSON, server-sent events, AWS event streams.
//!
//! A framing hands the payload of each event on in pieces as it arrives, through [`Frames`], and keeps
//! nothing of it. Promises: memory is the struct itself, each byte is looked at once, no input panics.
//!
//! Leaves to others: what a payload says (`json`, `response`). NDJSON needs no framing of its own,
//! because the scanner takes values that follow one another.

mod base64;
mod crc32;
mod event_stream;
mod sniff;
mod sse;

pub(crate) use base64::{Base64, decode as decode_base64};
pub(crate) use event_stream::EventStream;
pub(crate) use sniff::{Framing, Sniffer};
pub(crate) use sse::EventLines;

/// What an event is called and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event.
    Event,
    /// A failure that the framing itself marks, such as an exception of an event stream.
    Error,
    /// An event whose checksum is wrong: what was read of it counts for nothing.
    Torn,
}

/// Who takes the events of a body.
pub(crate) trait Frames {
    /// Bytes of the current event's payload.
    fn payload(&mut self, bytes: &[u8]);
    /// A bare `error:` line begins: what follows is an error, not an event.
    fn error_line(&mut self);
    /// The event ended; `name` is its name, or empty.
    fn end(&mut self, name: &str, kind: Kind);
    /// The framing's own mark for the end of the stream.
    fn done(&mut self);
}

#[cfg(test)]
pub(crate) mod tests_support {
    //! A log of events, and frames made by hand.

    use super::crc32::Crc32;
    use super::{Frames, Kind};

    #[derive(Default)]
    pub(crate) struct Log {
        pub(crate) events: Vec<String>,
        payload: Vec<u8>,
    }

    impl Frames for Log {
        fn payload(&mut self, bytes: &[u8]) {
            self.payload.extend_from_slice(bytes);
        }
        fn error_line(&mut self) {
            self.events.push("error".into());
        }
        fn end(&mut self, name: &str, kind: Kind) {
            let payload = String::from_utf8(std::mem::take(&mut self.payload)).unwrap();
            self.events.push(format!("{name}|{kind:?}|{payload}"));
        }
        fn done(&mut self) {
            self.events.push("done".into());
        }
    }

    pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in headers {
            head.push(u8::try_from(name.len()).unwrap());
            head.extend_from_slice(name.as_bytes());
            head.push(7);
            head.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            head.extend_from_slice(value.as_bytes());
        }
        let total = u32::try_from(16 + head.len() + payload.len()).unwrap();
        let mut out = total.to_be_bytes().to_vec();
        out.extend_from_slice(&u32::try_from(head.len()).unwrap().to_be_bytes());
        for part in [&[][..], &[head, payload.to_vec()].concat()] {
            out.extend_from_slice(part);
            let mut crc = Crc32::new();
            crc.update(&out);
            out.extend_from_slice(&crc.value().to_be_bytes());
        }
        out
    }
}
