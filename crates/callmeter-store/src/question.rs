//! What is asked of a store, and what it answers: words, moments and sums, no numbers of dictionaries.
//!
//! Owns the vocabulary that every store shares, so that a report reads the same whatever keeps the rows.

use std::collections::BTreeMap;

use callmeter_core::{Billing, CallId, CostSource, Status, Timestamp, UsdTotal};

use crate::{BookRevision, Histogram};

/// Which calls are meant. An empty filter means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Of this caller.
    pub caller: Option<String>,
    /// Of this provider.
    pub provider: Option<String>,
    /// Answered by this model, or asked for it where none answered.
    pub model: Option<String>,
    /// Of this status.
    pub status: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// Of this team.
    pub team: Option<String>,
    /// Whose figure of the cost counts. A report by it is summed from the rows.
    pub cost_source: Option<CostSource>,
}

/// A page of calls, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallsQuery {
    /// Which calls.
    pub filter: Filter,
    /// Only calls older than this one: the last of the page before.
    pub before: Option<CallId>,
    /// How many at most.
    pub limit: usize,
}

/// What a report is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// The project.
    Project,
    /// The team.
    Team,
    /// The cost centre.
    CostCenter,
    /// The service.
    Service,
    /// The environment.
    Environment,
    /// How calls are paid for.
    Billing,
    /// The caller.
    Caller,
    /// The provider.
    Provider,
    /// The model.
    Model,
    /// The status.
    Status,
    /// Who took over.
    FallbackTo,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: &'static [Self] = &[
        Self::Project,
        Self::Team,
        Self::CostCenter,
        Self::Service,
        Self::Environment,
        Self::Billing,
        Self::Caller,
        Self::Provider,
        Self::Model,
        Self::Status,
        Self::FallbackTo,
    ];

    /// Its name, that of the record's field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Team => "team",
            Self::CostCenter => "cost_center",
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Billing => "billing",
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Status => "status",
            Self::FallbackTo => "fallback_to",
        }
    }

    /// The dimension of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|dimension| dimension.name() == name)
    }
}

/// Into which stretches of time a report is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Period {
    /// One stretch.
    #[default]
    Whole,
    /// Days.
    Day,
    /// Weeks, from Monday on.
    Week,
    /// Calendar months.
    Month,
}

impl Period {
    /// The first day of the stretch that `day` belongs to; days count from 1970-01-01, a Thursday.
    pub fn start_of(self, day: i64) -> Option<i64> {
        match self {
            Self::Whole => None,
            Self::Day => Some(day),
            Self::Week => Some(day.saturating_sub(day.saturating_add(3).rem_euclid(7))),
            Self::Month => {
                let (_, _, day_of_month) = Timestamp::civil_from_day(day);
                Some(day.saturating_sub(i64::from(day_of_month).saturating_sub(1)))
            }
        }
    }
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportQuery {
    /// Which calls.
    pub filter: Filter,
    /// Into which stretches of time it is cut.
    pub period: Period,
    /// What each row is of, in this order.
    pub by: Vec<Dimension>,
    /// The zone of its days, where that is not the store's own. Such a report is summed from the rows.
    pub zone: Option<String>,
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReportRow {
    /// The first day of its stretch of time, from 1970-01-01.
    pub period_start: Option<i64>,
    /// What it is of: a word for each dimension that was asked for, `None` where calls give none.
    pub key: Vec<Option<String>>,
    /// Its sums.
    pub totals: Totals,
}

/// Sums over calls. They are derived from the rows and say what they leave unpriced (promise CM-7).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls.
    pub calls: u64,
    /// Calls that reported input or output tokens.
    pub with_usage: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Input tokens read from a provider's cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to a provider's cache.
    pub cache_write_tokens: u64,
    /// Output tokens that were reasoning.
    pub reasoning_tokens: u64,
    /// What priced calls cost, those under a plan left out.
    pub cost: UsdTotal,
    /// What calls under a plan would cost by the token. No money: never added to `cost`.
    pub plan_value: UsdTotal,
    /// Calls without a price.
    pub unpriced: u64,
    /// Calls that the host answered from its cache.
    pub cache_hits: u64,
    /// Calls that used retrieved documents.
    pub rag_hits: u64,
    /// Calls by status.
    pub by_status: BTreeMap<String, u64>,
    /// Durations.
    pub durations: Histogram,
}

impl Totals {
    /// Calls of one status.
    pub fn of_status(&self, status: &Status) -> u64 {
        self.by_status.get(status.as_str()).copied().unwrap_or(0)
    }

    /// Failed and aborted calls among those that were not given up, in thousandths: the error rate.
    /// `None` without any.
    pub fn error_per_mille(&self) -> Option<u64> {
        let failed = self
            .of_status(&Status::Error)
            .saturating_add(self.of_status(&Status::Aborted));
        let counted = self
            .calls
            .saturating_sub(self.of_status(&Status::Cancelled));
        failed.saturating_mul(1_000).checked_div(counted)
    }

    /// Adds calls of another group.
    pub fn add(&mut self, other: &Self) {
        for (sum, share) in [
            (&mut self.calls, other.calls),
            (&mut self.with_usage, other.with_usage),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.unpriced, other.unpriced),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.rag_hits, other.rag_hits),
        ] {
            *sum = sum.saturating_add(share);
        }
        self.cost = self.cost.plus(other.cost);
        self.plan_value = self.plan_value.plus(other.plan_value);
        for (status, calls) in &other.by_status {
            let sum = self.by_status.entry(status.clone()).or_default();
            *sum = sum.saturating_add(*calls);
        }
        self.durations.merge(&other.durations);
    }
}

/// Calls that have no price for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpriced {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// The reason, a word of pricing rule R-6.
    pub reason: String,
    /// How many calls.
    pub calls: u64,
}

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFacts {
    /// The version of its schema.
    pub format: i64,
    /// The zone of its accounting days.
    pub accounting_zone: String,
    /// The price book in force.
    pub book: BookRevision,
    /// How many calls it ever counted: raw rows that were removed for their age are in the rollups still.
    pub calls: u64,
    /// When its newest call started.
    pub newest: Option<Timestamp>,
    /// How many records it refused.
    pub rejected: u64,
    /// Its size in bytes: of the file without the write-ahead log, or of its tables and indexes.
    pub size_bytes: u64,
}

/// The word of a billing kind in a report.
pub(crate) fn billing_word(billing: Option<Billing>) -> Option<String> {
    billing.map(|billing| billing.as_str().to_owned())
}
