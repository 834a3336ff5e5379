//! What one document of a response says, gathered while the scanner walks it.
//!
//! Counts inside a usage object wait until that object is closed, so that a body that is cut inside it
//! yields none of them: half a usage object would be a wrong figure. Of an error's message only its
//! [`Hint`] is taken; the text is never stored.

use callmeter_core::PicoUsd;

use super::error::Hint;
use crate::json::{
    CostKey, Counts, Key, Node, ReadCount, Scalar, Slot, Visit, milli_from_decimal, read_count,
};
use crate::text::Text;

/// Passes that Anthropic ran beside the one that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passes {
    /// Of the same model and outside the counts at the top: compaction.
    pub(crate) beside_input: u64,
    pub(crate) beside_output: u64,
    pub(crate) beside_read: u64,
    pub(crate) beside_write: u64,
    /// Of another model, priced apart: an advisor.
    pub(crate) advisor_input: u64,
    pub(crate) advisor_output: u64,
    pub(crate) beside: bool,
    pub(crate) advisor: bool,
}

/// The amounts of money in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Costs {
    pub(crate) cost: Option<PicoUsd>,
    pub(crate) upstream: Option<PicoUsd>,
    pub(crate) byok: Option<bool>,
}

/// See the module.
pub(crate) struct Draft {
    pub(crate) counts: Counts,
    waiting: Counts,
    groups: u32,
    slots: [Text; Slot::COUNT],
    /// Which slots hold a text; the others hold what an earlier document left.
    filled: u64,
    pub(crate) costs: Costs,
    pub(crate) passes: Option<Passes>,
    pub(crate) hint: Hint,
    pub(crate) code: Option<u16>,
    pub(crate) failed: bool,
    /// A usage object stands in the document, even an empty one.
    pub(crate) usage_seen: bool,
    /// It stood where no known dialect has it.
    pub(crate) guessed: bool,
    /// A Gemini usage object replaces the one before it as a whole.
    pub(crate) gemini_whole: bool,
    pub(crate) content: bool,
    pub(crate) implausible: bool,
    pub(crate) output_calls: [u64; 4],
    element: Option<u64>,
    pass: Counts,
    choice_taken: bool,
    depth: u32,
}

impl Draft {
    pub(crate) const fn new() -> Self {
        Self {
            counts: Counts::NONE,
            waiting: Counts::NONE,
            groups: 0,
            slots: [Text::EMPTY; Slot::COUNT],
            filled: 0,
            costs: Costs {
                cost: None,
                upstream: None,
                byok: None,
            },
            passes: None,
            hint: Hint::None,
            code: None,
            failed: false,
            usage_seen: false,
            guessed: false,
            gemini_whole: false,
            content: false,
            implausible: false,
            output_calls: [0; 4],
            element: None,
            pass: Counts::NONE,
            choice_taken: false,
            depth: 0,
        }
    }

    /// Stands before the next document.
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.waiting.clear();
        self.pass.clear();
        self.filled = 0;
        self.groups = 0;
        self.costs = Costs::default();
        self.passes = None;
        self.hint = Hint::None;
        self.code = None;
        self.failed = false;
        self.usage_seen = false;
        self.guessed = false;
        self.gemini_whole = false;
        self.content = false;
        self.implausible = false;
        self.output_calls = [0; 4];
        self.element = None;
        self.choice_taken = false;
        self.depth = 0;
    }

    pub(crate) fn text(&self, slot: Slot) -> &[u8] {
        let filled = self.filled & bit(slot) != 0;
        let place = self.slots.get(slot as usize).filter(|_| filled);
        place.map_or(b"", Text::as_bytes)
    }

    pub(crate) fn is_empty(&self, slot: Slot) -> bool {
        self.text(slot).is_empty()
    }

    fn set(&mut self, slot: Slot, text: &[u8]) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            place.set(text);
            self.filled |= bit(slot);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.filled &= !bit(slot);
    }

    /// The name of a failure that the framing marked.
    pub(crate) fn exception(&mut self, name: &str) {
        if !name.is_empty() {
            self.set(Slot::ErrorType, name.as_bytes());
        }
    }

    fn count(&mut self, key: Key, text: &[u8]) {
        let read = if key == Key::SecondsMilli {
            milli_from_decimal(text)
        } else {
            read_count(text)
        };
        let count = match read {
            ReadCount::Count(count) => count,
            ReadCount::Implausible => {
                self.implausible = true;
                return;
            }
            ReadCount::Nothing => return,
        };
        match key {
            Key::ElementCount => self.element = Some(count),
            Key::PassInput | Key::PassOutput | Key::PassRead | Key::PassWrite => {
                self.pass.set(key, count);
            }
            _ if self.groups > 0 => self.waiting.set(key, count),
            _ => self.counts.set(key, count),
        }
    }

    fn cost(&mut self, key: CostKey, text: &[u8]) {
        if key == CostKey::Ticks {
            // A tick is 10⁻¹⁰ USD.
            if let ReadCount::Count(ticks) = read_count(text) {
                let pico = i64::try_from(ticks.saturating_mul(100)).unwrap_or(i64::MAX);
                self.costs.cost = Some(PicoUsd::from_pico(pico));
            }
            return;
        }
        let Some(amount) = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse::<PicoUsd>().ok())
        else {
            return;
        };
        if amount < PicoUsd::ZERO {
            self.implausible = true;
        } else if key == CostKey::Upstream {
            self.costs.upstream = Some(amount);
        } else {
            self.costs.cost = Some(amount);
        }
    }

    fn error_text(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.hint = self.hint.or(Hint::of(text));
        }
    }

    fn end_choice(&mut self) {
        let index = self.text(Slot::ChoiceIndex);
        let first = index.is_empty() || read_count(index) == ReadCount::Count(0);
        if first && !self.choice_taken && !self.is_empty(Slot::ChoiceFinish) {
            self.choice_taken = true;
            let finish = self.slots.get(Slot::ChoiceFinish as usize).copied();
            self.set(Slot::Finish, finish.unwrap_or_default().as_bytes());
        }
        self.forget(Slot::ChoiceFinish);
        self.forget(Slot::ChoiceIndex);
    }

    fn end_pass(&mut self) {
        let passes = self.passes.get_or_insert_default();
        let of = |key| self.pass.get(key).unwrap_or(0);
        let input = of(Key::PassInput)
            .saturating_add(of(Key::PassRead))
            .saturating_add(of(Key::PassWrite));
        let filled = self.filled & bit(Slot::PassType) != 0;
        let kind = self.slots.get(Slot::PassType as usize);
        match kind.filter(|_| filled).map_or(&b""[..], Text::as_bytes) {
            b"compaction" => {
                passes.beside = true;
                passes.beside_input = passes.beside_input.saturating_add(input);
                passes.beside_output = passes.beside_output.saturating_add(of(Key::PassOutput));
                passes.beside_read = passes.beside_read.saturating_add(of(Key::PassRead));
                passes.beside_write = passes.beside_write.saturating_add(of(Key::PassWrite));
            }
            b"advisor_message" => {
                passes.advisor = true;
                passes.advisor_input = passes.advisor_input.saturating_add(input);
                passes.advisor_output = passes.advisor_output.saturating_add(of(Key::PassOutput));
            }
            _ => {}
        }
        self.pass.clear();
        self.forget(Slot::PassType);
    }

    fn end_modality(&mut self, node: Node) {
        let kind = self.text(Slot::Modality);
        // Enums may come as numbers: 1 text, 2 image, 3 video, 4 audio, 5 document.
        let is = |word: &[u8], number: u64| {
            kind.eq_ignore_ascii_case(word) || read_count(kind) == ReadCount::Count(number)
        };
        let (audio, image, video) = (is(b"AUDIO", 4), is(b"IMAGE", 2), is(b"VIDEO", 3));
        let key = match node {
            Node::ModalityInOne if audio => Some(Key::GeminiAudioIn),
            Node::ModalityInOne if image => Some(Key::GeminiImageIn),
            Node::ModalityInOne if video => Some(Key::GeminiVideoIn),
            Node::ModalityOutOne if audio => Some(Key::GeminiAudioOut),
            Node::ModalityOutOne if image => Some(Key::GeminiImageOut),
            Node::InteractionModality if audio => Some(Key::InteractionAudioIn),
            Node::InteractionModality if image => Some(Key::GeminiImageIn),
            Node::InteractionModality if video => Some(Key::GeminiVideoIn),
            _ => None,
        };
        if let (Some(key), Some(count)) = (key, self.element) {
            self.waiting.add(key, count);
        }
        self.forget(Slot::Modality);
    }

    fn end_item(&mut self) {
        let at = match self.text(Slot::OutputType) {
            b"web_search_call" => 0,
            b"file_search_call" => 1,
            b"code_interpreter_call" => 2,
            b"image_generation_call" => 3,
            _ => usize::MAX,
        };
        if let Some(calls) = self.output_calls.get_mut(at) {
            *calls = calls.saturating_add(1);
        }
        self.forget(Slot::OutputType);
    }
}

const fn bit(slot: Slot) -> u64 {
    1 << (slot as u32)
}

const _: () = assert!(Slot::COUNT <= 64, "the filled bits are one word");

fn is_group(node: Node) -> bool {
    matches!(
        node,
        Node::Usage
            | Node::WildUsage
            | Node::WildGeminiUsage
            | Node::GeminiUsage
            | Node::Metrics
            | Node::Timings
            | Node::Meta
            | Node::Stats
            | Node::TgiDetails
    )
}

impl Visit<Node> for Draft {
    fn scalar(&mut self, node: Node, value: Scalar<'_>) {
        let (text, is_text) = match value {
            Scalar::Text(text) => (text, true),
            Scalar::Number(text) => (text, false),
            Scalar::Bool(true) => (&b"true"[..], false),
            Scalar::Bool(false) => (&b"false"[..], false),
            Scalar::Present => {
                self.content = true;
                return;
            }
            Scalar::Null => return,
        };
        match node {
            Node::Count(key) => self.count(key, text),
            Node::Cost(key) => self.cost(key, text),
            Node::CostObject => self.cost(CostKey::Cost, text),
            // `error: "…"`, `message: "…"`, `details: "…"`.
            Node::Error | Node::ErrorLine if is_text && !text.is_empty() => {
                self.failed = true;
                self.error_text(text);
            }
            Node::Message | Node::ErrorDetail if is_text => self.error_text(text),
            Node::Text(Slot::ErrorText | Slot::TopMessage) => {
                if node == Node::Text(Slot::ErrorText) && !text.is_empty() {
                    self.failed = true;
                }
                self.error_text(text);
            }
            Node::Text(Slot::ByokFlag) => self.costs.byok = Some(text == b"true"),
            Node::Text(slot @ (Slot::ErrorCode | Slot::ErrorStatus)) => {
                self.failed = true;
                if let Some(code) = status_code(text) {
                    self.code = self.code.or(Some(code));
                } else {
                    self.set(slot, text);
                }
            }
            Node::Text(slot @ (Slot::ErrorType | Slot::ErrorReason | Slot::ErrorInner)) => {
                self.failed = true;
                self.set(slot, text);
            }
            // A number at `status` or `type` is none of the words they stand for.
            Node::Text(Slot::Status | Slot::Type | Slot::Id | Slot::Model) if !is_text => {}
            Node::Text(slot) => self.set(slot, text),
            _ => {}
        }
    }

    fn open(&mut self, node: Node) {
        self.depth = self.depth.saturating_add(1);
        match node {
            Node::Content => self.content = true,
            Node::GeminiUsage | Node::WildGeminiUsage => self.gemini_whole = true,
            Node::Choice | Node::Candidate | Node::Generation => {
                self.forget(Slot::ChoiceFinish);
                self.forget(Slot::ChoiceIndex);
            }
            _ => {}
        }
        if is_group(node) {
            self.usage_seen |= !matches!(node, Node::Stats);
            self.guessed |= matches!(node, Node::WildUsage | Node::WildGeminiUsage);
            self.groups = self.groups.saturating_add(1);
        }
        self.element = None;
    }

    fn close(&mut self, node: Node) {
        self.depth = self.depth.saturating_sub(1);
        match node {
            Node::Choice | Node::Candidate => self.end_choice(),
            Node::Generation => {
                if let Some(count) = self.element {
                    self.counts.add(Key::PlainOutput, count);
                }
                self.end_choice();
            }
            Node::Item => self.end_item(),
            Node::Pass => self.end_pass(),
            Node::ModalityInOne | Node::ModalityOutOne | Node::InteractionModality => {
                self.end_modality(node);
            }
            Node::CacheDetail => {
                let key = match self.text(Slot::Lifetime) {
                    b"5m" => Some(Key::Converse5m),
                    b"1h" => Some(Key::Converse1h),
                    _ => None,
                };
                if let (Some(key), Some(count)) = (key, self.element) {
                    self.waiting.add(key, count);
                }
                self.forget(Slot::Lifetime);
            }
            Node::Statistics => {
                if let Some(count) = self.element {
                    self.counts.add(Key::PlainInput, count);
                }
            }
            _ => {}
        }
        if is_group(node) {
            self.groups = self.groups.saturating_sub(1);
            if self.groups == 0 {
                let waiting = self.waiting;
                self.counts.overlay(&waiting);
                self.waiting.clear();
            }
        }
        if node != Node::Generation {
            self.element = None;
        }
    }

    fn bytes(&mut self, _: Node, _: &[u8]) {}

    fn document(&mut self) {}
}

/// A number from 400 to 599 as an HTTP status.
pub(super) fn status_code(text: &[u8]) -> Option<u16> {
    match read_count(text) {
        ReadCount::Count(code @ 400..600) => u16::try_from(code).ok(),
        _ => None,
    }
}
