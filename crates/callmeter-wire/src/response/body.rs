//! The body of a response: bytes in any pieces → documents in the ledger.
//!
//! ```text
//! bytes ─▶ sniff ─▶ JSON ───────────────────────────▶ scanner ─▶ draft ─▶ ledger
//!                 ├▶ events ─▶ payloads ────────────▶    │
//!                 └▶ frames ─▶ payloads ─(base64)──▶    │
//! ```

use super::draft::Draft;
use super::error::Hint;
use super::ledger::Ledger;
use crate::framing::{Base64, EventLines, EventStream, Frames, Framing, Kind, Sniffer};
use crate::json::{Node, Scalar, Scanner, Visit};

/// See the module.
pub(crate) struct Body {
    sniffer: Sniffer,
    framing: Option<Framing>,
    events: EventLines,
    frames: EventStream,
    documents: Documents,
}

const _: () = assert!(size_of::<Body>() <= 13 * 1024, "each open answer has one");

/// The scanners and what they fill.
struct Documents {
    root: Node,
    outer: Scanner<Node>,
    draft: Draft,
    /// Made with the first of them: few dialects have any.
    inner: Option<Box<Inner>>,
    inside: bool,
    ledger: Ledger,
}

/// A document inside a document's base64: Bedrock's chunks.
struct Inner {
    base64: Base64,
    scanner: Scanner<Node>,
    draft: Draft,
}

impl Inner {
    fn new(root: Node) -> Self {
        Self {
            base64: Base64::default(),
            scanner: Scanner::new(root),
            draft: Draft::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let (scanner, draft) = (&mut self.scanner, &mut self.draft);
        self.base64.feed(bytes, |bytes| scanner.feed(bytes, draft));
    }

    /// The document's end: the next one may begin.
    fn end(&mut self) {
        let (scanner, draft) = (&mut self.scanner, &mut self.draft);
        self.base64.finish(|bytes| scanner.feed(bytes, draft));
        self.scanner.restart();
    }
}

impl Body {
    /// Begins; `wild` also looks for usage objects where no known dialect has them.
    pub(crate) fn new(content_type: &str, wild: bool) -> Self {
        let root = if wild { Node::WildRoot } else { Node::Root };
        Self {
            sniffer: Sniffer::new(content_type),
            framing: None,
            events: EventLines::new(),
            frames: EventStream::new(),
            documents: Documents {
                root,
                outer: Scanner::new(root),
                draft: Draft::new(),
                inner: None,
                inside: false,
                ledger: Ledger::new(),
            },
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Some(framing) = self.framing else {
            let (taken, found) = self.sniffer.feed(bytes);
            if let Some(framing) = found {
                self.framing = Some(framing);
                let (held, len) = self.sniffer.held();
                self.framed(framing, held.get(..len).unwrap_or_default());
                self.framed(framing, bytes.get(taken..).unwrap_or_default());
            }
            return;
        };
        self.framed(framing, bytes);
    }

    fn framed(&mut self, framing: Framing, bytes: &[u8]) {
        // A byte order mark is no JSON.
        let bytes = match framing {
            Framing::Json => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
            _ => bytes,
        };
        match framing {
            Framing::Json => self.documents.json(bytes),
            Framing::Events => self.events.feed(bytes, &mut self.documents),
            Framing::EventStream => self.frames.feed(bytes, &mut self.documents),
            Framing::Opaque => {}
        }
    }

    /// Whether a part of the answer has arrived.
    pub(crate) fn has_content(&self) -> bool {
        let documents = &self.documents;
        let inner = documents.inner.as_ref();
        documents.ledger.content
            || documents.draft.content
            || inner.is_some_and(|inner| inner.draft.content)
    }

    /// The end of the bytes; answers with the framing and whether the body was cut.
    pub(crate) fn finish(mut self: Box<Self>) -> (Ledger, Framing, bool, Listing) {
        if self.framing.is_none() {
            let framing = self.sniffer.finish();
            self.framing = Some(framing);
            let (held, len) = self.sniffer.held();
            self.framed(framing, held.get(..len).unwrap_or_default());
        }
        let framing = self.framing.unwrap_or(Framing::Opaque);
        let listing = Listing {
            list: self.documents.outer.is_list(),
            documents: self.documents.ledger.documents,
        };
        let cut = match framing {
            Framing::Json => self.documents.end_json(),
            Framing::Events => {
                self.events.finish(&mut self.documents);
                false
            }
            Framing::EventStream => self.frames.is_torn(),
            Framing::Opaque => false,
        };
        (self.documents.ledger, framing, cut, listing)
    }
}

/// How a JSON body was laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    /// An array of answers.
    pub(crate) list: bool,
    /// How many values or elements.
    pub(crate) documents: u64,
}

impl Documents {
    fn json(&mut self, bytes: &[u8]) {
        let mut posting = Posting {
            draft: &mut self.draft,
            ledger: &mut self.ledger,
        };
        self.outer.feed(bytes, &mut posting);
    }

    /// Whether the last document was cut; what it said in full counts all the same.
    fn end_json(&mut self) -> bool {
        let mut posting = Posting {
            draft: &mut self.draft,
            ledger: &mut self.ledger,
        };
        self.outer.finish(&mut posting);
        let cut = self.outer.is_inside() || self.outer.is_broken();
        if cut {
            self.ledger.post(&self.draft, "");
            self.draft.clear();
        }
        cut
    }
}

/// Posts each document of a JSON body as it ends.
struct Posting<'a> {
    draft: &'a mut Draft,
    ledger: &'a mut Ledger,
}

impl Visit<Node> for Posting<'_> {
    fn scalar(&mut self, node: Node, value: Scalar<'_>) {
        self.draft.scalar(node, value);
    }
    fn open(&mut self, node: Node) {
        self.draft.open(node);
    }
    fn close(&mut self, node: Node) {
        self.draft.close(node);
    }
    fn bytes(&mut self, _: Node, _: &[u8]) {}
    fn document(&mut self) {
        self.ledger.post(self.draft, "");
        self.draft.clear();
    }
}

/// Gathers an event's document, and the one inside its base64.
struct Gathering<'a> {
    draft: &'a mut Draft,
    root: Node,
    inner: &'a mut Option<Box<Inner>>,
    inside: &'a mut bool,
}

impl Visit<Node> for Gathering<'_> {
    fn scalar(&mut self, node: Node, value: Scalar<'_>) {
        self.draft.scalar(node, value);
    }
    fn open(&mut self, node: Node) {
        self.draft.open(node);
    }
    fn close(&mut self, node: Node) {
        self.draft.close(node);
    }
    fn bytes(&mut self, _: Node, bytes: &[u8]) {
        *self.inside = true;
        let root = self.root;
        let inner = self.inner.get_or_insert_with(|| Box::new(Inner::new(root)));
        inner.feed(bytes);
    }
    fn document(&mut self) {}
}

impl Frames for Documents {
    fn payload(&mut self, bytes: &[u8]) {
        let mut gathering = Gathering {
            draft: &mut self.draft,
            root: self.root,
            inner: &mut self.inner,
            inside: &mut self.inside,
        };
        self.outer.feed(bytes, &mut gathering);
    }

    fn error_line(&mut self) {
        self.outer.begin_at(Node::ErrorLine);
    }

    fn end(&mut self, name: &str, kind: Kind) {
        let broken = self.outer.is_broken() || self.outer.is_inside();
        let inside = std::mem::take(&mut self.inside);
        let mut inner = self.inner.as_mut().filter(|_| inside);
        if let Some(inner) = &mut inner {
            inner.end();
        }
        if kind != Kind::Torn {
            if kind == Kind::Error {
                self.draft.failed = true;
                self.draft.exception(name);
            }
            if name == "error" && broken && !self.draft.failed {
                // An error in plain text: that it is one is all there is to know.
                self.draft.failed = true;
                self.draft.hint = Hint::None;
            }
            self.ledger.post(&self.draft, name);
            if let Some(inner) = &inner {
                self.ledger.post(&inner.draft, "");
            }
        }
        self.draft.clear();
        if let Some(inner) = inner {
            inner.draft.clear();
        }
        self.outer.begin_at(self.root);
    }

    fn done(&mut self) {
        self.ledger.ended = true;
    }
}
