//! The way from value to value, and in and out of containers.

use super::capture::CAPTURE;
use super::find::{looked_at, quote_or_backslash};
use super::{Allow, DEPTH, Frame, Scalar, Scanner, State, Use, Visit, Want, is_of_number};

impl<N: Allow> Scanner<N> {
    /// Walks from value to value; answers with what is left when another state takes over.
    pub(super) fn walk<'a, V: Visit<N>>(&mut self, mut bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        while let Some((&byte, rest)) = bytes.split_first() {
            looked_at(0);
            if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                bytes = rest;
                continue;
            }
            bytes = match (self.state, byte) {
                (State::Key, b'"') => self.key(rest),
                (State::Colon, b':') => {
                    self.state = State::Value;
                    rest
                }
                (State::Value, b'"') => self.text(rest, visit),
                (State::Value, b'-' | b'0'..=b'9') => self.number(bytes, visit),
                (State::Value, b't' | b'f' | b'n') => {
                    self.capture.begin();
                    self.state = State::Word;
                    return bytes;
                }
                (State::Value, b'{') => {
                    self.open(false, visit);
                    rest
                }
                (State::Value, b'[') => {
                    self.open(true, visit);
                    rest
                }
                // `[]`, and leniently `[1,]`.
                (State::Value, b']') if self.is_in(true) => {
                    self.pop(visit);
                    rest
                }
                (State::After, b',') => {
                    match self.top() {
                        Some(frame) if frame.array => {
                            self.node = self.element_of(frame);
                            self.state = State::Value;
                        }
                        Some(_) => self.state = State::Key,
                        None => self.state = State::Broken,
                    }
                    rest
                }
                (State::After | State::Key, b'}') if self.is_in(false) => {
                    self.pop(visit);
                    rest
                }
                (State::After, b']') if self.is_in(true) => {
                    self.pop(visit);
                    rest
                }
                (State::Value | State::Key | State::Colon | State::After, _) => {
                    self.state = State::Broken;
                    return rest;
                }
                _ => return bytes,
            };
            if !matches!(
                self.state,
                State::Value | State::Key | State::Colon | State::After
            ) {
                // A blank that comes next belongs to the text that begins.
                return bytes;
            }
        }
        bytes
    }

    /// A key whose quote was read.
    fn key<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match whole_text(bytes) {
            Some((key, rest)) => {
                self.end_key(key);
                rest
            }
            None => {
                self.capture.begin();
                self.state = State::Text(Use::Key);
                bytes
            }
        }
    }

    fn end_key(&mut self, key: &[u8]) {
        let parent = self.top().map_or(N::SKIP, |frame| frame.node);
        self.node = parent.child(key);
        self.state = State::Colon;
    }

    /// A text at a value whose quote was read.
    fn text<'a, V: Visit<N>>(&mut self, bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        let want = self.node.want();
        match whole_text(bytes) {
            Some((text, rest)) => {
                match want {
                    Want::Nothing => {}
                    Want::Value => {
                        let kept = text.get(..CAPTURE).unwrap_or(text);
                        visit.scalar(self.node, Scalar::Text(kept));
                    }
                    Want::Presence if text.is_empty() => {}
                    Want::Presence => visit.scalar(self.node, Scalar::Present),
                    Want::Bytes => visit.bytes(self.node, text),
                }
                self.end_value(false, visit);
                rest
            }
            None => {
                self.capture.begin();
                self.escaped = false;
                self.some = false;
                self.state = State::Text(match want {
                    Want::Nothing => Use::Drop,
                    Want::Value => Use::Keep,
                    Want::Presence => Use::Presence,
                    Want::Bytes => Use::Pass,
                });
                bytes
            }
        }
    }

    /// A number at a value, from its first byte on.
    fn number<'a, V: Visit<N>>(&mut self, bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        let keep = self.node.want() == Want::Value;
        let at = bytes.iter().position(|byte| !is_of_number(*byte));
        looked_at(at.unwrap_or(bytes.len()));
        match at.and_then(|at| bytes.split_at_checked(at)) {
            Some((text, rest)) => {
                if keep && text.len() <= CAPTURE {
                    visit.scalar(self.node, Scalar::Number(text));
                }
                self.end_value(false, visit);
                rest
            }
            None => {
                self.capture.begin();
                self.state = State::Number(keep);
                bytes
            }
        }
    }

    pub(super) fn end_value<V: Visit<N>>(&mut self, container: bool, visit: &mut V) {
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
            self.skip_depth = 1;
            self.some = false;
            self.state = State::Skip;
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

    pub(super) fn top(&self) -> Option<Frame<N>> {
        self.stack.get(self.depth.checked_sub(1)?).copied()
    }

    fn is_in(&self, array: bool) -> bool {
        self.top().is_some_and(|frame| frame.array == array)
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
}

/// A text that ends in these bytes without an escape, and what follows its quote.
fn whole_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = quote_or_backslash(bytes)?;
    let (text, tail) = bytes.split_at_checked(at)?;
    match tail.split_first() {
        Some((b'"', rest)) => Some((text, rest)),
        _ => None,
    }
}
