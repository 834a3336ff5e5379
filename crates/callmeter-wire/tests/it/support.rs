//! Exchanges made by hand, and readers run over them.

use std::io::Read;

use callmeter_wire::{Reading, RequestFacts, ResponseReader};
use flate2::read::GzDecoder;
use serde_json::Value;

/// The recorded exchanges, one JSON line each.
pub(crate) fn exchanges() -> Vec<String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/exchanges.jsonl.gz"
    );
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A response to a request line, read in pieces of `chunk` bytes.
pub(crate) struct Exchange<'a> {
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Vec<u8>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(path: &'a str, content_type: &'a str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            path,
            host: "",
            status: 200,
            headers: vec![("content-type", content_type)],
            body: body.into(),
        }
    }

    pub(crate) fn json(path: &'a str, body: &str) -> Self {
        Self::new(path, "application/json", body)
    }

    /// Events with these payloads; `event: name|payload` names one.
    pub(crate) fn events(path: &'a str, payloads: &[&str]) -> Self {
        let mut body = String::new();
        for payload in payloads {
            match payload
                .split_once('|')
                .filter(|(name, _)| !name.contains('{'))
            {
                Some((name, data)) => body.push_str(&format!("event: {name}\ndata: {data}\n\n")),
                None => body.push_str(&format!("data: {payload}\n\n")),
            }
        }
        Self::new(path, "text/event-stream", body)
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn host(mut self, host: &'a str) -> Self {
        self.host = host;
        self
    }

    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn read(&self) -> Reading {
        self.read_in(usize::MAX)
    }

    pub(crate) fn read_in(&self, chunk: usize) -> Reading {
        let facts = RequestFacts::from_line("POST", self.path).with_host(self.host);
        let mut reader =
            ResponseReader::new(&facts, Some(self.status), self.headers.iter().copied());
        for piece in self.body.chunks(chunk.max(1)) {
            reader.push(piece);
        }
        reader.finish()
    }
}

/// Input and output tokens.
pub(crate) fn tokens(reading: &Reading) -> (Option<u64>, Option<u64>) {
    (reading.usage.input_tokens, reading.usage.output_tokens)
}

/// Another billed unit.
pub(crate) fn unit(reading: &Reading, name: &str) -> Option<u64> {
    reading.usage.usage_extra.as_ref()?.get(name).copied()
}

/// The kind of failure as a word.
pub(crate) fn failure(reading: &Reading) -> Option<&'static str> {
    reading.error_kind.map(|kind| kind.as_str())
}

/// A field of a recorded exchange.
pub(crate) fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A frame of an AWS event stream.
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
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
