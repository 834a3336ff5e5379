//! The streaming JSON reader: each byte is looked at once, whatever the cut of the chunks.
//!
//! ```text
//! Between ─ value ─▶ Object ⇄ Key ⇄ Colon ⇄ value ⇄ After ─▶ end of document ─▶ Between
//!                    anything the tree does not ask for ─▶ Skip (a depth counter, no stack)
//! ```
//!
//! Promises: memory is the struct itself (under 2 KiB), also for a string of 200 MB or brackets nested a
//! million deep; a number counts only when the byte after it has been seen, so a cut body yields
//! no wrong figure; no input panics. The elements of an array at the top are documents of their
//! own, and so are values that follow one another, which covers JSON, NDJSON and Gemini's array.
//!
//! A value that lies in one chunk is handed on from there; only what a chunk's end or an escape cuts goes
//! through [`Capture`], so the states inside of a text or number are those of a cut. The bench `read` guards
//! the speed of both.
//!
//! Leaves to others: what a value means (`response`), how a body is framed (`framing`). It is no
//! validator: inside a skipped value brackets are counted, not matched.

mod allow;
mod capture;
mod cut;
mod find;
mod skip;
mod walk;

pub(crate) use allow::{Allow, Scalar, Visit, Want};

use capture::Capture;

/// The deepest path that any tree asks for.
const DEPTH: usize = 12;

#[derive(Clone, Copy)]
struct Frame<N> {
    node: N,
    array: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value is expected; in an array also its end.
    Value,
    /// A key or the object's end is expected.
    Key,
    /// A colon is expected.
    Colon,
    /// A comma or the container's end is expected.
    After,
    /// Inside a text that began before these bytes or has an escape.
    Text(Use),
    /// Inside a number that began before these bytes; kept or not.
    Number(bool),
    /// Inside `true`, `false` or `null`.
    Word,
    /// Inside a container that nobody asked for.
    Skip,
    /// Inside a text of such a container.
    SkipText,
    /// The bytes are no JSON.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Key,
    Keep,
    Presence,
    Pass,
    Drop,
}

/// See the module.
pub(crate) struct Scanner<N> {
    state: State,
    stack: [Frame<N>; DEPTH],
    depth: usize,
    /// The node of a document.
    root: N,
    /// The node of the value that is expected or being read.
    node: N,
    skip_depth: u64,
    capture: Capture,
    /// The next byte of a text that is not kept was escaped by the last one.
    escaped: bool,
    /// Whether a text or container that is not kept has anything in it.
    some: bool,
    documents: u64,
    list: bool,
}

impl<N: Allow> Scanner<N> {
    /// Stands before a document, which is read from `root` on.
    pub(crate) fn new(root: N) -> Self {
        Self {
            state: State::Value,
            stack: [Frame {
                node: N::SKIP,
                array: false,
            }; DEPTH],
            depth: 0,
            root,
            node: root,
            skip_depth: 0,
            capture: Capture::new(),
            escaped: false,
            some: false,
            documents: 0,
            list: false,
        }
    }

    /// Stands before a document of another tree; what is unfinished is forgotten.
    pub(crate) fn begin_at(&mut self, root: N) {
        self.root = root;
        self.restart();
    }

    /// Forgets an unfinished document and stands before the next.
    pub(crate) fn restart(&mut self) {
        self.capture.wipe();
        self.state = State::Value;
        self.depth = 0;
        self.skip_depth = 0;
        self.node = self.root;
        self.list = false;
    }

    /// Whether the bytes so far are no JSON.
    pub(crate) const fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Whether a document was begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        self.depth > 0 || self.skip_depth > 0 || !matches!(self.state, State::Value | State::Broken)
    }

    /// Whether the documents are elements of an array.
    pub(crate) const fn is_list(&self) -> bool {
        self.list
    }

    /// Reads on.
    pub(crate) fn feed<V: Visit<N>>(&mut self, mut bytes: &[u8], visit: &mut V) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Value | State::Key | State::Colon | State::After => self.walk(bytes, visit),
                State::Skip => self.skip(bytes, visit),
                State::SkipText => self.skip_text(bytes),
                State::Text(Use::Drop | Use::Presence) => {
                    let (rest, ended) = self.pass_over(bytes);
                    if ended {
                        self.end_text(visit);
                    }
                    rest
                }
                State::Text(Use::Key | Use::Keep) => {
                    let (rest, ended) = self.capture.text(bytes);
                    if ended {
                        self.end_text(visit);
                    }
                    rest
                }
                State::Text(Use::Pass) => self.hand_on(bytes, visit),
                State::Number(keep) => {
                    let at = bytes.iter().position(|byte| !is_of_number(*byte));
                    find::looked_at(at.unwrap_or(bytes.len()));
                    let (text, rest) = bytes
                        .split_at_checked(at.unwrap_or(bytes.len()))
                        .unwrap_or((bytes, &[]));
                    if keep {
                        text.iter().for_each(|byte| self.capture.push(*byte));
                    }
                    if at.is_some() {
                        // The byte that ends the number is looked at again by the next state.
                        self.end_number(keep, visit);
                    }
                    rest
                }
                State::Word => {
                    let at = bytes.iter().position(|byte| !byte.is_ascii_lowercase());
                    let (text, rest) = bytes
                        .split_at_checked(at.unwrap_or(bytes.len()))
                        .unwrap_or((bytes, &[]));
                    text.iter().for_each(|byte| self.capture.push(*byte));
                    if at.is_some() {
                        self.end_word(visit);
                    }
                    rest
                }
                State::Broken => {
                    // Lines that follow whole documents are documents again.
                    let line_end = memchr::memchr(b'\n', bytes).filter(|_| self.documents > 0);
                    let Some(at) = line_end else { return };
                    self.restart();
                    bytes.get(at..).unwrap_or_default()
                }
            };
        }
    }

    /// The end of the bytes: a number or word at the top that nothing follows is complete now.
    pub(crate) fn finish<V: Visit<N>>(&mut self, visit: &mut V) {
        if self.depth == 0 {
            match self.state {
                State::Number(keep) => self.end_number(keep, visit),
                State::Word => self.end_word(visit),
                _ => {}
            }
        }
    }
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E')
}

#[cfg(test)]
mod tests {
    //! Time is linear: bytes looked at are counted, not seconds.

    use super::*;
    use crate::json::Node;

    struct Nobody;

    impl Visit<Node> for Nobody {
        fn scalar(&mut self, _: Node, _: Scalar<'_>) {}
        fn open(&mut self, _: Node) {}
        fn close(&mut self, _: Node) {}
        fn bytes(&mut self, _: Node, _: &[u8]) {}
        fn document(&mut self) {}
    }

    /// How many bytes were looked at for each that was fed, in hundredths.
    fn effort(body: &[u8], chunk: usize) -> u64 {
        find::LOOKED_AT.set(0);
        let mut scanner = Scanner::new(Node::Root);
        body.chunks(chunk)
            .for_each(|piece| scanner.feed(piece, &mut Nobody));
        find::LOOKED_AT.get() * 100 / body.len() as u64
    }

    #[test]
    fn each_byte_is_looked_at_a_few_times_at_most_whatever_the_body() {
        let repeated = |head: &str, filler: &str, times: usize| {
            let mut body = head.to_owned();
            body.push_str(&filler.repeat(times));
            body.into_bytes()
        };
        for (head, filler) in [
            ("", "["),
            ("", "{\"usage\":"),
            ("", "{\"x\":"),
            ("{\"x\":[", "[],"),
            ("{\"x\":[", "\"\","),
            ("{\"x\":\"", "\\\""),
            ("{\"id\":\"", "\\u00e9"),
            ("{\"model\":\"", "y"),
            ("{\"choices\":[{\"message\":{\"content\":\"", "y\\"),
            ("{\"usage\":{\"prompt_tokens\":", "9"),
            ("{\"x\":[", "1,"),
            ("{\"x\":[", "         "),
            ("{\"", "k"),
            ("{", "\"k\\u0061\":1,"),
            ("", "{\"done\":true}\n"),
            ("{\"bytes\":\"", "AAAA\\/"),
            ("x", "\n"),
            ("{} x", "\n{} x"),
        ] {
            for chunk in [1, 7, 4_096, usize::MAX] {
                let short = effort(&repeated(head, filler, 1_000), chunk);
                let long = effort(&repeated(head, filler, 16_000), chunk);
                // Twice a byte, and one more for each step, for a body sixteen times as long as well.
                assert!(long <= 500, "{head}{filler} in {chunk}: {long}");
                assert!(
                    long <= short * 2,
                    "{head}{filler} in {chunk}: {short} {long}"
                );
            }
        }
    }
}
