//! The door of a store: which records enter, in what order, and at what price.
//!
//! A batch is sorted by id with one record a call; what is beyond the horizon is put aside; each call is priced by
//! the newest revision of the store's book, which the caller sees to. Writing is left to the store's module.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

use callmeter_core::{Ack, CallRecord, Flags, Timestamp};
use callmeter_price::{Book, Priced, ProviderKinds};

use crate::book::Revision;

pub(crate) const MICROS_PER_DAY: i64 = 86_400_000_000;
/// How far ahead of the store's clock a call is marked, and how far it is refused.
const CLOCK_AHEAD: i64 = 600_000_000;
const TOO_FAR_AHEAD: i64 = MICROS_PER_DAY;
/// The shortest dedup horizon, in days.
pub(crate) const MIN_RAW_DAYS: u32 = 35;
/// Why a call is refused whose like was removed for its age, or soon will be.
const TOO_OLD: &str = "older than the dedup horizon";
/// How many models without a price in the `legacy` book are remembered, to warn of each once.
const WARNED: usize = 1_000;

/// What a store needs to be made, and to price what enters it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The zone of the accounting days of a new store, by its IANA name.
    pub accounting_zone: String,
    /// How many days raw rows are kept, and the dedup horizon; at least 35.
    pub raw_days: u32,
    /// Whether the group of the directory may use the file of a new store.
    pub group_access: bool,
    /// The book of a new store.
    pub book: Arc<Book>,
    /// What the user's own provider names stand for.
    pub providers: ProviderKinds,
    /// Which tables it has.
    pub layout: StoreLayout,
    /// The column of `ai_calls` that says when; `None` is the one with the default `now()`.
    pub time_column: Option<String>,
}

/// Which tables a store on PostgreSQL has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreLayout {
    /// callmeter's own.
    #[default]
    Full,
    /// The table `ai_calls` of the replaced module, as it is.
    AiCalls,
}

impl StoreLayout {
    /// Its word in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AiCalls => "ai_calls",
        }
    }
}

impl Default for StoreOptions {
    /// UTC, 400 days, the public prices.
    fn default() -> Self {
        Self {
            accounting_zone: "UTC".to_owned(),
            raw_days: 400,
            group_access: false,
            book: Book::market(),
            providers: ProviderKinds::default(),
            layout: StoreLayout::Full,
            time_column: None,
        }
    }
}

/// The prices in force at a store's door.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) revision: Revision,
    kinds: ProviderKinds,
    warned: HashSet<String>,
}

impl Door {
    pub(crate) fn new(revision: Revision, kinds: ProviderKinds) -> Self {
        Self {
            revision,
            kinds,
            warned: HashSet::new(),
        }
    }

    /// Prices a call by the store's book and puts what came to light on it.
    pub(crate) fn price<'r>(&mut self, mut call: Seen<'r>) -> (Seen<'r>, Priced) {
        let mut priced = self.revision.book.price(&call, &self.kinds);
        priced.cost.book_rev = Some(self.revision.number);
        if !call.flags.contains(priced.flags) {
            call.to_mut().flags.insert(priced.flags);
        }
        if priced.is_unknown_to_legacy && self.warned.len() < WARNED {
            let model = call.model_or_requested();
            if self.warned.insert(model.to_owned()) {
                tracing::warn!(
                    target: "callmeter",
                    model,
                    "the legacy price book does not know this model: its calls count as 0"
                );
            }
        }
        (call, priced)
    }
}

/// A record of a batch, changed or not. A changed one lies in a box, so that those as they came, nearly all,
/// travel as a reference: a record is a thousand bytes.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    Borrowed(&'a CallRecord),
    Owned(Box<CallRecord>),
}

impl Seen<'_> {
    pub(crate) fn owned(record: CallRecord) -> Self {
        Self::Owned(Box::new(record))
    }

    pub(crate) fn to_mut(&mut self) -> &mut CallRecord {
        if let Self::Borrowed(record) = self {
            *self = Self::owned(record.clone());
        }
        match self {
            Self::Owned(record) => record,
            Self::Borrowed(_) => unreachable!("it was just made an owned one"),
        }
    }
}

impl Deref for Seen<'_> {
    type Target = CallRecord;

    fn deref(&self) -> &CallRecord {
        match self {
            Self::Borrowed(record) => record,
            Self::Owned(record) => record,
        }
    }
}

/// A record that the store does not take, and why.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) record: Seen<'a>,
    pub(crate) reason: &'static str,
}

impl<'a> Refused<'a> {
    /// A call so old that whether it was here before cannot be told any more.
    pub(crate) fn for_its_age(record: Seen<'a>) -> Self {
        Self {
            record,
            reason: TOO_OLD,
        }
    }
}

/// Before when a call is too old.
pub(crate) fn horizon(now: Timestamp, raw_days: u32) -> Timestamp {
    let kept = i64::from(raw_days).saturating_mul(MICROS_PER_DAY);
    now.saturating_add_micros(kept.saturating_neg())
}

/// Sorts a batch by id, one record a call, and puts aside what is beyond the horizon.
pub(crate) fn sort_out<'a>(
    batch: &'a [CallRecord],
    now: Timestamp,
    raw_days: u32,
    ack: &mut Ack,
) -> (Vec<Seen<'a>>, Vec<Refused<'a>>) {
    let oldest = horizon(now, raw_days);
    let mut calls: Vec<Seen<'a>> = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    for record in batch {
        let ahead = record.started_at().micros_since(now);
        let reason = if ahead > TOO_FAR_AHEAD {
            Some("more than a day ahead of the store's clock")
        } else if record.started_at() < oldest {
            Some(TOO_OLD)
        } else {
            None
        };
        if let Some(reason) = reason {
            ack.expired += 1;
            refused.push(Refused {
                record: Seen::Borrowed(record),
                reason,
            });
            continue;
        }
        let mut call = Seen::Borrowed(record);
        if ahead > CLOCK_AHEAD {
            call.to_mut().flags.insert(Flags::CLOCK_AHEAD);
        }
        calls.push(call);
    }
    calls.sort_by_key(|call| call.call_id);
    calls.dedup_by(|next, kept| {
        let is_same = next.call_id == kept.call_id;
        if is_same {
            *kept = Seen::owned((**kept).clone().merge(next));
            ack.merged += 1;
        }
        is_same
    });
    (calls, refused)
}
