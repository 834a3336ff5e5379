//! Containers that nobody asked for: brackets are counted, texts passed over.

use super::find::{looked_at, quote_or_bracket};
use super::{Allow, Scalar, Scanner, State, Visit, Want};

impl<N: Allow> Scanner<N> {
    /// Skips inside a container nobody asked for; answers with what is left.
    pub(super) fn skip<'a, V: Visit<N>>(&mut self, mut bytes: &'a [u8], visit: &mut V) -> &'a [u8] {
        if !self.some {
            let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            let at = bytes.iter().position(|byte| !space(byte));
            looked_at(at.unwrap_or(bytes.len()));
            let first = at.and_then(|at| bytes.get(at));
            self.some = first.is_some_and(|byte| !matches!(byte, b'}' | b']'));
        }
        while let Some(at) = quote_or_bracket(bytes) {
            let found = bytes.get(at).copied().unwrap_or(b'"');
            bytes = bytes.get(at.saturating_add(1)..).unwrap_or_default();
            match found {
                b'"' => {
                    self.escaped = false;
                    self.state = State::SkipText;
                    bytes = self.skip_text(bytes);
                    if self.state == State::SkipText {
                        return bytes;
                    }
                }
                b'{' | b'[' => self.skip_depth = self.skip_depth.saturating_add(1),
                _ => {
                    self.skip_depth = self.skip_depth.saturating_sub(1);
                    if self.skip_depth == 0 {
                        if self.some && self.node.want() == Want::Presence {
                            visit.scalar(self.node, Scalar::Present);
                        }
                        self.end_value(false, visit);
                        return bytes;
                    }
                }
            }
        }
        &[]
    }

    pub(super) fn skip_text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (rest, ended) = self.pass_over(bytes);
        self.some = true;
        if ended {
            self.state = State::Skip;
        }
        rest
    }
}
