//! A call as a row of `ai_calls`: the columns, cut and counted as the replaced module did.

use callmeter_core::{CallRecord, Cost, PicoUsd, Status, Timestamp, clean_text};

use super::{DURATION_MARK, INPUT_MARK, OUTPUT_MARK, STATUS_MARK, UNPRICED_MARK};

const UNKNOWN: &str = "unknown";
/// The most decimal places that an amount has.
const PICO_PLACES: u32 = 12;
/// `{` and `}`.
const EMPTY_OBJECT: &str = "{}";
/// The most that an `INTEGER` holds.
const INTEGER: u64 = i32::MAX.unsigned_abs() as u64;

/// How wide the columns are: those of the contract, or of a table that differs without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyWidths {
    /// Characters of `caller`.
    pub caller: usize,
    /// Characters of `provider`.
    pub provider: usize,
    /// Characters of `model`.
    pub model: usize,
    /// Characters of `status`.
    pub status: usize,
    /// Characters of `fallback_to`.
    pub fallback_to: usize,
    /// Characters of `request_id`.
    pub request_id: usize,
    /// Characters of `error`.
    pub error: usize,
    /// The most that `input_tokens` holds.
    pub input_tokens: u64,
    /// The most that `output_tokens` holds.
    pub output_tokens: u64,
    /// The most milliseconds that `duration_ms` holds.
    pub duration_ms: u64,
    /// Digits of `cost_usd` before and behind the point.
    pub cost_digits: (u32, u32),
    /// Whether `cost_usd` may be null.
    pub null_cost: bool,
}

impl Default for LegacyWidths {
    /// `VARCHAR(64)`, `VARCHAR(32)`, `VARCHAR(128)`, `VARCHAR(16)`, `VARCHAR(64)`, `TEXT`, 2,000 characters of
    /// an error, `INTEGER` for counts, `NUMERIC(10,6) NOT NULL`.
    fn default() -> Self {
        Self {
            caller: 64,
            provider: 32,
            model: 128,
            status: 16,
            fallback_to: 64,
            request_id: usize::MAX,
            error: 2_000,
            input_tokens: INTEGER,
            output_tokens: INTEGER,
            duration_ms: INTEGER,
            cost_digits: (4, 6),
            null_cost: false,
        }
    }
}

/// A row of `ai_calls`, but for what the database sets itself.
///
/// # Examples
/// ```
/// use callmeter_core::{CallId, CallRecord, Layer, Status, Timestamp, Usage};
/// use callmeter_price::{Book, ProviderKinds};
/// use callmeter_store::{LegacyRow, LegacyWidths};
///
/// let mut call = CallRecord::new(CallId::new(Timestamp::EPOCH, 1), Layer::Guard, 0);
/// call.model = Some("claude-haiku-4-5".to_owned());
/// call.usage = Usage::of(1_000, 500);
/// call.status = Some(Status::Cancelled);
/// let cost = Book::legacy().price(&call, &ProviderKinds::default()).cost;
/// let row = LegacyRow::of(&call, &cost, &LegacyWidths::default());
/// assert_eq!((row.caller.as_str(), row.status.as_str()), ("unknown", "error"));
/// assert_eq!(row.cost_usd.map(|usd| usd.to_string()).as_deref(), Some("0.0028"));
/// assert_eq!(row.meta, r#"{"callmeter.status":"cancelled"}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyRow {
    /// Who called; `unknown` where nobody said.
    pub caller: String,
    /// Who answered; `unknown` where nobody said.
    pub provider: String,
    /// The model that answered, else the one asked for, else `unknown`.
    pub model: String,
    /// Input tokens; 0 where unknown.
    pub input_tokens: u64,
    /// Output tokens; 0 where unknown.
    pub output_tokens: u64,
    /// Whole milliseconds; 0 where unknown.
    pub duration_ms: u64,
    /// `ok`, `error`, `fallback`, or the caller's own word.
    pub status: String,
    /// Who took over.
    pub fallback_to: Option<String>,
    /// The cost, in as many decimals as the column has.
    pub cost_usd: Option<PicoUsd>,
    /// Whether the host answered from its cache.
    pub cache_hit: bool,
    /// Whether retrieved documents were used.
    pub rag_hit: bool,
    /// The host's own request id.
    pub request_id: Option<String>,
    /// The error, as far as the error policy let it through; else its kind, code and HTTP status.
    pub error: Option<String>,
    /// The host's own keys and callmeter's marks, as JSON.
    pub meta: String,
    /// When the call ended: the time of the row.
    pub ended_at: Timestamp,
}

impl LegacyRow {
    /// The row of a call that costs `cost`.
    pub fn of(record: &CallRecord, cost: &Cost, widths: &LegacyWidths) -> Self {
        let status = record.status_or_ok();
        let word = match status {
            // So that ok + error + fallback are still all calls.
            Status::Cancelled | Status::Aborted => Status::Error.as_str(),
            other => non_empty(other.as_str()).unwrap_or(Status::Ok.as_str()),
        };
        let mut row = Self {
            caller: name(record.caller.as_deref(), widths.caller),
            provider: name(record.provider.as_deref(), widths.provider),
            model: name(Some(record.model_or_requested()), widths.model),
            input_tokens: record.usage.input_tokens.unwrap_or(0),
            output_tokens: record.usage.output_tokens.unwrap_or(0),
            duration_ms: record.duration_us.unwrap_or(0) / 1_000,
            status: cut(word, widths.status),
            fallback_to: text(record.fallback_to.as_deref(), widths.fallback_to),
            cost_usd: cost.cost.map(|cost| fitting(cost, widths.cost_digits)),
            cache_hit: record.cache_hit == Some(true),
            rag_hit: record.rag_hit == Some(true),
            request_id: text(record.request_id.as_deref(), widths.request_id),
            error: error_of(record).map(|words| cut(&words, widths.error)),
            meta: record.meta.as_ref().map_or_else(
                || EMPTY_OBJECT.to_owned(),
                callmeter_core::Meta::to_json_text,
            ),
            ended_at: record.finished_at(),
        };
        if word != status.as_str() {
            row.mark(STATUS_MARK, status.as_str());
        }
        row.input_tokens = row.held(INPUT_MARK, row.input_tokens, widths.input_tokens);
        row.output_tokens = row.held(OUTPUT_MARK, row.output_tokens, widths.output_tokens);
        row.duration_ms = row.held(DURATION_MARK, row.duration_ms, widths.duration_ms);
        if let Some(reason) = cost.unpriced_reason {
            row.mark(UNPRICED_MARK, reason.as_str());
            if !widths.null_cost {
                row.cost_usd = Some(PicoUsd::ZERO);
            }
        }
        row
    }

    /// Puts another word in place of a status that the table does not take; `meta` keeps the one that was.
    pub fn replace_status(&mut self, taken: &str) {
        let was = std::mem::replace(&mut self.status, taken.to_owned());
        // Where there is a mark already, the word that goes was itself a substitute.
        if !self.meta.contains(STATUS_MARK) {
            self.mark(STATUS_MARK, &was);
        }
    }

    /// A number as its column holds it; `meta` has the one that is beyond.
    fn held(&mut self, key: &str, number: u64, most: u64) -> u64 {
        if number > most {
            self.add(key, &number.to_string());
        }
        number.min(most)
    }

    /// Adds a word to `meta`.
    fn mark(&mut self, key: &str, word: &str) {
        self.add(key, &quoted(word));
    }

    /// Adds a key to `meta`, with a value in JSON.
    fn add(&mut self, key: &str, value: &str) {
        let Some(rest) = self.meta.strip_suffix('}') else {
            return;
        };
        let comma = if rest == "{" { "" } else { "," };
        self.meta = format!("{rest}{comma}\"{key}\":{value}}}");
    }
}

fn name(given: Option<&str>, width: usize) -> String {
    text(given, width).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn text(given: Option<&str>, width: usize) -> Option<String> {
    given.and_then(non_empty).map(|text| cut(text, width))
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn cut(text: &str, width: usize) -> String {
    clean_text(text, width).0.into_owned()
}

/// The error's text; where the policy kept none, what is known of it without one.
fn error_of(record: &CallRecord) -> Option<String> {
    if let Some(text) = record.error.as_deref().and_then(non_empty) {
        return Some(text.to_owned());
    }
    let mut words = record.error_kind?.as_str().to_owned();
    if let Some(detail) = record.error_detail.as_deref().and_then(non_empty) {
        words.push_str(&format!(": {detail}"));
    }
    if let Some(status) = record.http_status {
        words.push_str(&format!(" (HTTP {status})"));
    }
    Some(words)
}

/// The amount in `places` decimals, half away from zero as PostgreSQL rounds, and no more than the digits hold.
fn fitting(cost: PicoUsd, (digits, places): (u32, u32)) -> PicoUsd {
    let unit = 10_i64
        .checked_pow(PICO_PLACES.saturating_sub(places))
        .unwrap_or(1);
    let pico = cost.as_pico();
    let half = (unit / 2).saturating_mul(pico.signum());
    let units = pico.saturating_add(half).checked_div(unit).unwrap_or(0);
    let most = 10_i64
        .checked_pow(digits.saturating_add(places))
        .unwrap_or(i64::MAX)
        .saturating_sub(1);
    PicoUsd::from_pico(units.min(most).saturating_mul(unit))
}

/// A JSON string of a word that holds no control characters.
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
