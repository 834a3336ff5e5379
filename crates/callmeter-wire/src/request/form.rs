//! The model's name in a multipart form: how audio and image edits name it.
//!
//! Reads lines; what is no short line of the `model` or `stream` field is passed over without being held,
//! so that an audio file of any size costs 200 bytes.

use crate::text::Text;

const LINE: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Model,
    Stream,
    Other,
}

/// See the module.
pub(crate) struct Form {
    line: [u8; LINE],
    len: usize,
    overlong: bool,
    part: Part,
    in_head: bool,
    pub(crate) model: Text,
    pub(crate) streaming: Option<bool>,
}

impl Form {
    pub(crate) const fn new() -> Self {
        Self {
            line: [0; LINE],
            len: 0,
            overlong: false,
            part: Part::Head,
            in_head: true,
            model: Text::EMPTY,
            streaming: None,
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            self.push(line);
            self.end_line();
            rest = tail.get(1..).unwrap_or_default();
        }
        self.push(rest);
    }

    fn push(&mut self, bytes: &[u8]) {
        let free = self.line.get_mut(self.len..).unwrap_or_default();
        self.overlong |= bytes.len() > free.len();
        for (slot, byte) in free.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        self.len = self.len.saturating_add(bytes.len()).min(LINE);
    }

    fn end_line(&mut self) {
        let line = self
            .line
            .get(..self.len)
            .unwrap_or_default()
            .trim_ascii_end();
        if !self.overlong && line.starts_with(b"--") {
            self.part = Part::Head;
            self.in_head = true;
        } else if self.in_head {
            if line.is_empty() {
                self.in_head = false;
            } else if let Some(name) = field_name(line) {
                self.part = match name {
                    b"model" => Part::Model,
                    b"stream" => Part::Stream,
                    _ => Part::Other,
                };
            }
        } else if !self.overlong {
            match self.part {
                Part::Model if self.model.is_empty() => self.model.set(line),
                Part::Stream => self.streaming = Some(line == b"true" || line == b"True"),
                _ => {}
            }
        }
        self.line = [0; LINE];
        self.len = 0;
        self.overlong = false;
    }
}

fn field_name(line: &[u8]) -> Option<&[u8]> {
    let head = line.get(..20)?;
    if !head.eq_ignore_ascii_case(b"content-disposition:") {
        return None;
    }
    let at = memchr::memmem::find(line, b"name=\"")?;
    let name = line.get(at.saturating_add(6)..)?;
    name.get(..memchr::memchr(b'"', name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_beside_a_file() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nmodel\r\n--b\r\n\
                    content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
                    Content-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--b--\r\n";
        for chunk in [1, 7, body.len()] {
            let mut form = Form::new();
            body.as_bytes()
                .chunks(chunk)
                .for_each(|piece| form.feed(piece));
            assert_eq!(form.model.as_str(), "whisper-1");
            assert_eq!(form.streaming, Some(true));
        }
    }
}
