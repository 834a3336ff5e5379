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
//! Leaves to others: what a value means (`collect`), how a body is framed (`framing`). It is no
//! validator: inside a skipped value brackets are counted, not matched.

use memchr::memchr2;

/// The deepest path that any tree asks for.
const DEPTH: usize = 12;
/// The longest value kept; an error's message is looked at up to here and then forgotten.
const CAPTURE: usize = 512;

/// A tree of paths that are worth reading.
pub(crate) trait Allow: Copy + PartialEq {
    /// The node of everything that nobody asked for.
    const SKIP: Self;
    /// The node of a key's value in an object at this node.
    fn child(self, key: &[u8]) -> Self;
    /// The node of an element of an array at this node.
    fn element(self) -> Self;
    /// What is wanted of a value at this node that is no container.
    fn want(self) -> Want;
}

/// What is wanted of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing.
    Nothing,
    /// The value.
    Value,
    /// Whether there is a text that is not empty, never the text.
    Presence,
    /// The bytes of a text as they come, for a format inside the format.
    Bytes,
}

/// A value at a wanted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// A text, at most its first 512 bytes.
    Text(&'a [u8]),
    /// A number as it was written.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// A text that is not empty and was not kept.
    Present,
}

/// Who takes the values.
pub(crate) trait Visit<N> {
    /// A scalar at a wanted path.
    fn scalar(&mut self, node: N, value: Scalar<'_>);
    /// A container at a path of the tree begins.
    fn open(&mut self, node: N);
    /// It ends.
    fn close(&mut self, node: N);
    /// Bytes of a text at a path that wants [`Want::Bytes`].
    fn bytes(&mut self, node: N, bytes: &[u8]);
    /// A document ended.
    fn document(&mut self);
}

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
    /// Inside a text.
    Text(Use),
    /// Inside a number; kept or not.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Backslash,
    Unicode { digits: u8, code: u16 },
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
    escape: Escape,
    high_surrogate: u16,
    kept: [u8; CAPTURE],
    len: usize,
    overflow: bool,
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
            escape: Escape::None,
            high_surrogate: 0,
            kept: [0; CAPTURE],
            len: 0,
            overflow: false,
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
        self.wipe();
        self.state = State::Value;
        self.depth = 0;
        self.skip_depth = 0;
        self.node = self.root;
        self.escape = Escape::None;
        self.len = 0;
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
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::SkipText | State::Text(Use::Drop | Use::Presence)
                    if self.escape == Escape::None =>
                {
                    let Some(at) = memchr2(b'"', b'\\', bytes) else {
                        self.some = true;
                        return;
                    };
                    self.some |= at > 0;
                    let found = bytes.get(at).copied().unwrap_or(b'"');
                    bytes = bytes.get(at.saturating_add(1)..).unwrap_or_default();
                    if found == b'\\' {
                        self.some = true;
                        self.escape = Escape::Backslash;
                    } else {
                        self.end_text(visit);
                    }
                }
                State::SkipText | State::Text(Use::Drop | Use::Presence) => {
                    // The byte after a backslash; the digits of \u need no look.
                    self.escape = Escape::None;
                    bytes = rest;
                }
                State::Text(Use::Pass) if self.escape == Escape::None => {
                    let at = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                    let (plain, tail) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
                    visit.bytes(self.node, plain);
                    bytes = tail;
                    if let Some((&found, tail)) = tail.split_first() {
                        bytes = tail;
                        if found == b'\\' {
                            self.escape = Escape::Backslash;
                        } else {
                            self.end_text(visit);
                        }
                    }
                }
                State::Text(Use::Pass) => {
                    // Base64 needs one escape only, `\/`.
                    self.escape = Escape::None;
                    visit.bytes(self.node, &[byte]);
                    bytes = rest;
                }
                State::Text(Use::Key | Use::Keep) => {
                    bytes = rest;
                    if self.keep_byte(byte) {
                        self.end_text(visit);
                    }
                }
                State::Skip => bytes = self.skip(bytes, visit),
                State::Number(keep) => {
                    if matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E') {
                        if keep {
                            self.push(byte);
                        }
                        bytes = rest;
                    } else {
                        // The byte that ends the number is looked at again by the next state.
                        self.end_number(keep, visit);
                    }
                }
                State::Word => {
                    if byte.is_ascii_lowercase() {
                        self.push(byte);
                        bytes = rest;
                    } else {
                        self.end_word(visit);
                    }
                }
                State::Value | State::Key | State::Colon | State::After => {
                    bytes = rest;
                    self.step(byte, visit);
                }
                State::Broken => {
                    // Lines that follow whole documents are documents again.
                    if self.documents == 0 {
                        return;
                    }
                    match memchr::memchr(b'\n', bytes) {
                        Some(at) => {
                            bytes = bytes.get(at..).unwrap_or_default();
                            self.restart();
                        }
                        None => return,
                    }
                }
            }
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

    fn step<V: Visit<N>>(&mut self, byte: u8, visit: &mut V) {
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return;
        }
        match (self.state, byte) {
            (State::Value, b'"') => {
                self.state = State::Text(match self.node.want() {
                    Want::Nothing => Use::Drop,
                    Want::Value => Use::Keep,
                    Want::Presence => Use::Presence,
                    Want::Bytes => Use::Pass,
                });
                self.begin();
            }
            (State::Value, b'{') => self.open(false, visit),
            (State::Value, b'[') => self.open(true, visit),
            (State::Value, b'-' | b'0'..=b'9') => {
                let keep = self.node.want() == Want::Value;
                self.begin();
                self.push(byte);
                self.state = State::Number(keep);
            }
            (State::Value, b't' | b'f' | b'n') => {
                self.begin();
                self.push(byte);
                self.state = State::Word;
            }
            // `[]`, and leniently `[1,]`.
            (State::Value, b']') if self.top().is_some_and(|frame| frame.array) => {
                self.pop(visit);
            }
            (State::Key, b'"') => {
                self.state = State::Text(Use::Key);
                self.begin();
            }
            (State::Key, b'}') => self.pop(visit),
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => match self.top() {
                Some(frame) if frame.array => {
                    self.node = self.element_of(frame);
                    self.state = State::Value;
                }
                Some(_) => self.state = State::Key,
                None => self.state = State::Broken,
            },
            (State::After, b'}') if self.top().is_some_and(|frame| !frame.array) => {
                self.pop(visit);
            }
            (State::After, b']') if self.top().is_some_and(|frame| frame.array) => {
                self.pop(visit);
            }
            _ => self.state = State::Broken,
        }
    }

    /// Leaves nothing of a value that was read.
    fn wipe(&mut self) {
        let len = self.len;
        self.kept.iter_mut().take(len).for_each(|byte| *byte = 0);
        self.len = 0;
    }

    fn begin(&mut self) {
        self.len = 0;
        self.overflow = false;
        self.some = false;
        self.escape = Escape::None;
        self.high_surrogate = 0;
    }

    fn push(&mut self, byte: u8) {
        match self.kept.get_mut(self.len) {
            Some(slot) => {
                *slot = byte;
                self.len = self.len.saturating_add(1);
            }
            None => self.overflow = true,
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

    /// Takes a byte of a kept text; true at its end.
    fn keep_byte(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::None => match byte {
                b'"' => return true,
                b'\\' => self.escape = Escape::Backslash,
                _ => self.push(byte),
            },
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
        false
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

    fn end_text<V: Visit<N>>(&mut self, visit: &mut V) {
        match self.state {
            State::SkipText => {
                self.state = State::Skip;
                return;
            }
            State::Text(Use::Key) => {
                let parent = self.top().map_or(N::SKIP, |frame| frame.node);
                self.node = if self.overflow {
                    N::SKIP
                } else {
                    parent.child(self.kept.get(..self.len).unwrap_or_default())
                };
                self.wipe();
                self.state = State::Colon;
                return;
            }
            State::Text(Use::Keep) => {
                let text = self.kept.get(..self.len).unwrap_or_default();
                visit.scalar(self.node, Scalar::Text(text));
            }
            State::Text(Use::Presence) if self.some => visit.scalar(self.node, Scalar::Present),
            _ => {}
        }
        self.end_value(false, visit);
    }

    fn end_number<V: Visit<N>>(&mut self, keep: bool, visit: &mut V) {
        if keep && !self.overflow {
            let text = self.kept.get(..self.len).unwrap_or_default();
            visit.scalar(self.node, Scalar::Number(text));
        }
        self.end_value(false, visit);
    }

    fn end_word<V: Visit<N>>(&mut self, visit: &mut V) {
        let scalar = match self.kept.get(..self.len) {
            Some(b"true") => Scalar::Bool(true),
            Some(b"false") => Scalar::Bool(false),
            Some(b"null") => Scalar::Null,
            _ => {
                self.state = State::Broken;
                return;
            }
        };
        if self.node.want() == Want::Value {
            visit.scalar(self.node, scalar);
        }
        self.end_value(false, visit);
    }

    fn end_value<V: Visit<N>>(&mut self, container: bool, visit: &mut V) {
        self.wipe();
        if self.depth == 0 {
            self.state = State::Value;
            self.node = self.root;
            self.documents = self.documents.saturating_add(1);
            visit.document();
        } else {
            self.state = State::After;
            if container && self.list && self.depth == 1 {
                self.documents = self.documents.saturating_add(1);
                visit.document();
            }
        }
    }

    fn open<V: Visit<N>>(&mut self, array: bool, visit: &mut V) {
        let skip =
            self.node == N::SKIP || (array && self.depth > 0 && self.node.element() == N::SKIP);
        if skip || self.depth >= DEPTH {
            // A leaf that is a container after all is no leaf.
            self.skip_depth = 1;
            self.state = State::Skip;
            if self.node != N::SKIP && self.depth < DEPTH {
                visit.open(self.node);
                visit.close(self.node);
            }
            return;
        }
        if self.depth == 0 && array {
            self.list = true;
        }
        let frame = Frame {
            node: self.node,
            array,
        };
        if let Some(slot) = self.stack.get_mut(self.depth) {
            *slot = frame;
        }
        self.depth = self.depth.saturating_add(1);
        visit.open(self.node);
        if array {
            self.node = self.element_of(frame);
            self.state = State::Value;
        } else {
            self.state = State::Key;
        }
    }

    fn element_of(&self, frame: Frame<N>) -> N {
        if self.depth == 1 && frame.node == self.root {
            self.root
        } else {
            frame.node.element()
        }
    }

    fn top(&self) -> Option<Frame<N>> {
        self.stack.get(self.depth.checked_sub(1)?).copied()
    }

    fn pop<V: Visit<N>>(&mut self, visit: &mut V) {
        let Some(frame) = self.top() else {
            self.state = State::Broken;
            return;
        };
        visit.close(frame.node);
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 && self.list {
            // The elements were the documents.
            self.state = State::Value;
            self.node = self.root;
            self.documents = self.documents.max(1);
        } else {
            self.end_value(true, visit);
        }
    }

    /// Skips inside a container nobody asked for; answers with what is left.
    fn skip<'a, V: Visit<N>>(&mut self, bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = State::SkipText;
                    self.escape = Escape::None;
                    return bytes.get(at.saturating_add(1)..).unwrap_or_default();
                }
                b'{' | b'[' => self.skip_depth = self.skip_depth.saturating_add(1),
                b'}' | b']' => {
                    self.skip_depth = self.skip_depth.saturating_sub(1);
                    if self.skip_depth == 0 {
                        self.end_value(false, visit);
                        return bytes.get(at.saturating_add(1)..).unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
        &[]
    }
}
