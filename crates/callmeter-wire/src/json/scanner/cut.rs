//! Texts, numbers and words that began before these bytes or have an escape.

use super::find::quote_or_backslash;
use super::{Allow, Scalar, Scanner, State, Use, Visit, Want};

impl<N: Allow> Scanner<N> {
    /// Passes over a text that is not kept; answers with what follows and whether it ended.
    pub(super) fn pass_over<'a>(&mut self, mut bytes: &'a [u8]) -> (&'a [u8], bool) {
        loop {
            if std::mem::take(&mut self.escaped) {
                // The digits of \u need no look.
                bytes = bytes.get(1..).unwrap_or_default();
            }
            let Some(at) = quote_or_backslash(bytes) else {
                self.some |= !bytes.is_empty();
                return (&[], false);
            };
            self.some |= at > 0;
            let found = bytes.get(at).copied().unwrap_or(b'"');
            bytes = bytes.get(at.saturating_add(1)..).unwrap_or_default();
            if found == b'"' {
                return (bytes, true);
            }
            self.some = true;
            self.escaped = true;
            if bytes.is_empty() {
                return (bytes, false);
            }
        }
    }

    /// Hands the bytes of a text on as they are.
    pub(super) fn hand_on<'a, V: Visit<N>>(&mut self, bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        if std::mem::take(&mut self.escaped) {
            // Base64 needs one escape only, `\/`.
            let (escaped, rest) = bytes.split_at_checked(1).unwrap_or((bytes, &[]));
            visit.bytes(self.node, escaped);
            return rest;
        }
        let at = quote_or_backslash(bytes).unwrap_or(bytes.len());
        let (plain, tail) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
        visit.bytes(self.node, plain);
        match tail.split_first() {
            Some((b'\\', rest)) => {
                self.escaped = true;
                rest
            }
            Some((_, rest)) => {
                self.end_text(visit);
                rest
            }
            None => &[],
        }
    }

    pub(super) fn end_text<V: Visit<N>>(&mut self, visit: &mut V) {
        match self.state {
            State::Text(Use::Key) => {
                let parent = self.top().map_or(N::SKIP, |frame| frame.node);
                self.node = if self.capture.is_cut() {
                    N::SKIP
                } else {
                    parent.child(self.capture.bytes())
                };
                self.capture.wipe();
                self.state = State::Colon;
                return;
            }
            State::Text(Use::Keep) => {
                visit.scalar(self.node, Scalar::Text(self.capture.bytes()));
            }
            State::Text(Use::Presence) if self.some => visit.scalar(self.node, Scalar::Present),
            _ => {}
        }
        self.capture.wipe();
        self.end_value(false, visit);
    }

    pub(super) fn end_number<V: Visit<N>>(&mut self, keep: bool, visit: &mut V) {
        if keep && !self.capture.is_cut() {
            visit.scalar(self.node, Scalar::Number(self.capture.bytes()));
        }
        self.capture.wipe();
        self.end_value(false, visit);
    }

    pub(super) fn end_word<V: Visit<N>>(&mut self, visit: &mut V) {
        let scalar = match self.capture.bytes() {
            b"true" => Scalar::Bool(true),
            b"false" => Scalar::Bool(false),
            b"null" => Scalar::Null,
            _ => {
                self.capture.wipe();
                self.state = State::Broken;
                return;
            }
        };
        if self.node.want() == Want::Value {
            visit.scalar(self.node, scalar);
        }
        self.capture.wipe();
        self.end_value(false, visit);
    }
}
