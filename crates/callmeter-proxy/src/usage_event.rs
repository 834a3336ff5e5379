//! Hides the one event of an OpenAI chat stream that answers a question which the client did not ask.
//!
//! ```text
//! data: {…,"choices":[{…}],…}      passes; from `"choices":[{` on without being held
//! data: {…,"choices":[],"usage":{…}}   is hidden
//! data: [DONE]                     passes
//! ```
//! An event is held until it is known which it is: at most until its end, and never more than 16 KiB of it. A client
//! acts on whole events only, so that none learns anything later than it would have.

use hyper::body::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most that is held; the event in question is far smaller.
const MAX_HELD: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct UsageEventFilter {
    /// An event that began and is not decided yet.
    held: Vec<u8>,
    /// The event is decided: it passes up to its end.
    is_passing: bool,
    /// How the bytes that passed of it ended: line ends in a row.
    ends: LineEnds,
    /// How many were hidden.
    hidden: u32,
}

/// Counts line ends in a row: two are the end of an event.
#[derive(Clone, Copy, Debug, Default)]
struct LineEnds {
    in_row: u8,
    after_cr: bool,
}

impl LineEnds {
    /// Says whether the byte ended an event.
    fn see(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' if self.after_cr => self.after_cr = false,
            b'\n' | b'\r' => {
                self.after_cr = byte == b'\r';
                self.in_row = self.in_row.saturating_add(1);
            }
            _ => *self = Self::default(),
        }
        // The second half of a CRLF belongs to the event that it ends.
        self.in_row >= 2 && !self.after_cr
    }
}

impl UsageEventFilter {
    /// What of `bytes`, and of what was held before them, passes now.
    pub(crate) fn feed(&mut self, bytes: Bytes) -> Bytes {
        let mut out = Vec::new();
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if self.ends.see(*byte) {
                let end = at.saturating_add(1);
                self.take(bytes.get(from..end).unwrap_or_default(), &mut out);
                from = end;
                self.end(&mut out);
            }
        }
        if from == 0 && self.is_passing && self.held.is_empty() {
            return bytes;
        }
        self.take(bytes.get(from..).unwrap_or_default(), &mut out);
        Bytes::from(out)
    }

    /// What is left at the end of the stream.
    pub(crate) fn finish(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held))
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_passing {
            out.extend_from_slice(bytes);
            return;
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() > MAX_HELD || is_known(&self.held) {
            out.append(&mut self.held);
            self.is_passing = true;
        }
    }

    /// The event came to its end.
    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.is_passing {
            if is_answer(&self.held) {
                self.hidden = self.hidden.saturating_add(1);
                self.held.clear();
            } else {
                out.append(&mut self.held);
            }
        }
        self.is_passing = false;
        self.ends = LineEnds::default();
    }
}

/// Whether the beginning of an event tells that it is another one.
fn is_known(event: &[u8]) -> bool {
    let after =
        memmem::find(event, b"\"choices\"").and_then(|at| event.get(at.saturating_add(9)..));
    let mut marks = after
        .into_iter()
        .flatten()
        .filter(|byte| !byte.is_ascii_whitespace());
    marks.next() == Some(&b':')
        && marks.next() == Some(&b'[')
        && marks.next().is_some_and(|byte| *byte != b']')
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<IgnoredAny>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(rename = "prompt_tokens")]
    _prompt_tokens: IgnoredAny,
}

/// Whether a whole event is the answer: no choices, and usage.
fn is_answer(event: &[u8]) -> bool {
    let mut data = Vec::new();
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = line.strip_prefix(b"data:") {
            data.extend_from_slice(value);
        } else if !line.is_empty() {
            // An id or a name: the client may count them.
            return false;
        }
    }
    serde_json::from_slice::<Chunk>(&data).is_ok_and(|chunk| {
        let Usage { .. } = chunk.usage;
        chunk.choices.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Hi\\n\\n\"}}],\"usage\":null}\n\n";
    const ANSWER: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn through(stream: &str, piece: usize) -> String {
        let mut filter = UsageEventFilter::default();
        let mut out = Vec::new();
        for bytes in stream.as_bytes().chunks(piece) {
            out.extend_from_slice(&filter.feed(Bytes::copy_from_slice(bytes)));
        }
        out.extend_from_slice(&filter.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_answer_is_hidden_however_the_stream_is_cut() {
        let azure = "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n";
        let comment = ": keep-alive\n\n";
        let stream = format!("{comment}{azure}{TEXT}{TEXT}{ANSWER}{DONE}");
        let shown = format!("{comment}{azure}{TEXT}{TEXT}{DONE}");
        for piece in 1..stream.len() {
            assert_eq!(through(&stream, piece), shown, "{piece}");
        }
        let (stream, shown) = (stream.replace('\n', "\r\n"), shown.replace('\n', "\r\n"));
        for piece in 1..stream.len() {
            assert_eq!(through(&stream, piece), shown, "{piece}");
        }
    }

    #[test]
    fn other_streams_pass_as_they_are() {
        let long = format!("data: {{\"x\":\"{}\"}}\n\n", "y".repeat(3 * MAX_HELD));
        for stream in [
            "data: {\"choices\":[],\"usage\":null}\n\n",
            "data: {\"choices\":[],\"usage\":{}}\n\n",
            "id: 7\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}",
            "no events at all",
            "\n\n\n\n",
            "",
            &long,
        ] {
            for piece in [1, 2, 7, 4_096] {
                assert_eq!(through(stream, piece), stream);
            }
        }
    }

    #[test]
    fn an_event_passes_from_where_it_is_known_on() {
        let mut filter = UsageEventFilter::default();
        let mut feed = |text: &'static str| filter.feed(Bytes::from_static(text.as_bytes()));
        assert_eq!(feed("data: {\"id\":\"c\",\"choi"), "");
        assert_eq!(
            feed("ces\":[{\"delta\":"),
            "data: {\"id\":\"c\",\"choices\":[{\"delta\":"
        );
        assert_eq!(feed("{\"content\":\"H"), "{\"content\":\"H");
        assert_eq!(feed("i\"}}]}\n\n"), "i\"}}]}\n\n");
    }

    proptest! {
        #[test]
        fn what_is_no_answer_passes_as_it_is(
            parts in prop::collection::vec("(data: |\"choices\": ?\\[|\\]|\n|\r\n|\n\n|:|[a-z{}]{1,8})", 0..40),
            piece in 1_usize..20,
        ) {
            let stream = parts.concat();
            prop_assert_eq!(through(&stream, piece), stream);
        }
    }
}
