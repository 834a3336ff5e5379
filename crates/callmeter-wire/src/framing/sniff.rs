//! Which framing a body has: by its first bytes, then by its content type.
//!
//! Content types lie: event streams come as `application/json` or `application/octet-stream`, and a JSON
//! error as `text/event-stream`. At most eight bytes are held back until it is clear.

/// The framing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON value, an array of answers, or values that follow one another.
    Json,
    /// Server-sent events.
    Events,
    /// AWS event stream.
    EventStream,
    /// Nothing that has counts: audio, images, plain text, HTML.
    Opaque,
}

const HELD: usize = 8;

/// Looks at the first bytes of a body.
#[derive(Clone, Debug)]
pub(crate) struct Sniffer {
    declared: Declared,
    held: [u8; HELD],
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Events,
    EventStream,
    Media,
    Other,
}

impl Sniffer {
    pub(crate) fn new(content_type: &str) -> Self {
        let has = |part: &str| {
            content_type
                .get(..part.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(part))
        };
        let declared = if has("text/event-stream") {
            Declared::Events
        } else if has("application/vnd.amazon.eventstream") {
            Declared::EventStream
        } else if has("audio/") || has("image/") || has("video/") {
            Declared::Media
        } else {
            Declared::Other
        };
        Self {
            declared,
            held: [0; HELD],
            len: 0,
        }
    }

    /// The bytes that were held back.
    pub(crate) fn held(&self) -> ([u8; HELD], usize) {
        (self.held, self.len)
    }

    /// Takes bytes until the framing is clear; answers with it and how many bytes it took.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> (usize, Option<Framing>) {
        for (at, byte) in bytes.iter().enumerate() {
            let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            if self.len == 0 && space && self.declared != Declared::EventStream {
                continue;
            }
            if let Some(slot) = self.held.get_mut(self.len) {
                *slot = *byte;
                self.len = self.len.saturating_add(1);
            }
            if let Some(framing) = self.verdict(false) {
                return (at.saturating_add(1), Some(framing));
            }
        }
        (bytes.len(), None)
    }

    /// What a body is that ended before it was clear.
    pub(crate) fn finish(&self) -> Framing {
        self.verdict(true).unwrap_or(Framing::Opaque)
    }

    fn verdict(&self, ended: bool) -> Option<Framing> {
        let head = self.held.get(..self.len).unwrap_or_default();
        // A byte order mark is no content.
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        match self.declared {
            Declared::Media => return Some(Framing::Opaque),
            Declared::EventStream => {
                let first = head.first()?;
                return Some(if *first == b'{' {
                    Framing::Json
                } else {
                    Framing::EventStream
                });
            }
            Declared::Events | Declared::Other => {}
        }
        match text.first() {
            None => return None,
            Some(b'{' | b'[') => return Some(Framing::Json),
            Some(0) if self.declared == Declared::Other => return Some(Framing::EventStream),
            Some(b':') => return Some(Framing::Events),
            Some(0xef) if text.len() < 3 && !ended => return None,
            _ => {}
        }
        if self.declared == Declared::Events {
            return Some(Framing::Events);
        }
        const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b"error:"];
        if FIELDS.iter().any(|field| text.starts_with(field)) {
            return Some(Framing::Events);
        }
        let may_become = FIELDS.iter().any(|field| field.starts_with(text));
        (ended || !may_become).then_some(Framing::Opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(content_type: &str, body: &[u8]) -> Framing {
        let mut whole = Sniffer::new(content_type);
        let verdict = whole.feed(body).1.unwrap_or_else(|| whole.finish());
        let mut cut = Sniffer::new(content_type);
        let bytewise = body
            .iter()
            .find_map(|byte| cut.feed(&[*byte]).1)
            .unwrap_or_else(|| cut.finish());
        assert_eq!(verdict, bytewise, "{content_type}");
        verdict
    }

    #[test]
    fn the_first_bytes_win_over_a_content_type_that_lies() {
        assert_eq!(sniff("application/json", b"data: {}\n\n"), Framing::Events);
        assert_eq!(sniff("text/event-stream", b" {\"error\":1}"), Framing::Json);
        assert_eq!(sniff("text/plain", b"{\"error\":1}"), Framing::Json);
        assert_eq!(sniff("", b"\n\nevent: x"), Framing::Events);
        assert_eq!(sniff("", b"\xef\xbb\xbf{}"), Framing::Json);
        assert_eq!(sniff("", b"\0\0\0\x80"), Framing::EventStream);
        assert_eq!(
            sniff("application/vnd.amazon.eventstream", b"\0\0\0"),
            Framing::EventStream
        );
    }

    #[test]
    fn what_has_no_counts_is_opaque() {
        assert_eq!(sniff("audio/mpeg", b"{ID3"), Framing::Opaque);
        assert_eq!(sniff("text/html", b"<html>data:"), Framing::Opaque);
        assert_eq!(sniff("text/plain", b"database"), Framing::Opaque);
        assert_eq!(sniff("", b""), Framing::Opaque);
        assert_eq!(sniff("", b"da"), Framing::Opaque);
    }
}
