//! The settings of a recorder, resolved: every value is known and valid.
//!
//! Owns one documented struct per concern and their defaults. Where values come from (builder, flag,
//! environment, file) is worked out in the files beside this one.

mod budgets;
mod error;
mod file;
mod found;
mod keys;
mod platform;
mod proxy;
mod reference;
mod registry;
mod resolve;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use callmeter_core::ErrorPolicy;
use callmeter_core::{Billing, CallerRegistry, HashKey, MetaPolicy};
pub use callmeter_store::StoreLayout;
use callmeter_store::StoreUrl;

pub use self::budgets::{BudgetPeriod, BudgetSettings};
pub use self::error::{SettingsError, SettingsErrors};
pub(crate) use self::platform::fallback_home;
pub use self::proxy::{ProxySettings, ProxyTimeouts, UpstreamSetting};
pub use self::reference::reference;
pub use self::resolve::{Origin, Resolved, Sources};

/// Everything that a recorder needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Whether calls are recorded, as the environment says.
    pub enabled: bool,
    /// The home directory; `None` where the platform names none.
    pub home: Option<PathBuf>,
    /// The longest wait for the last rows when the process ends.
    pub exit_flush: Duration,
    /// Which module's habits the defaults follow.
    pub compat: Compat,
    /// Where rows go.
    pub store: StoreSettings,
    /// What is stamped on every row.
    pub scope: ScopeSettings,
    /// What rows may keep.
    pub privacy: PrivacySettings,
    /// How the spool is bounded.
    pub spool: SpoolSettings,
    /// How rows are sent.
    pub shipper: ShipperSettings,
    /// Which prices a new store takes, and which days are closed to repricing.
    pub prices: PriceSettings,
    /// How log lines look.
    pub log: LogSettings,
    /// Known callers.
    pub registry: CallerRegistry,
    /// The user's own provider names and their kinds.
    pub providers: BTreeMap<String, String>,
    /// Budgets by their names.
    pub budgets: BTreeMap<String, BudgetSettings>,
    /// How the capture proxy passes calls on.
    pub proxy: ProxySettings,
}

/// Which module's habits the defaults follow: table shape, hash, book, errors and log lines together. Each of
/// them can be set otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compat {
    /// callmeter's own.
    #[default]
    Off,
    /// Those of the module that it replaces, `services/ai_call_logger.py`.
    AiCallLogger,
}

/// How log lines look.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LogSettings {
    /// Whose names and prefixes they have.
    pub style: LogStyle,
}

/// Whose names and prefixes log lines have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogStyle {
    /// callmeter's own: target `callmeter`.
    #[default]
    Callmeter,
    /// Those of the replaced module: target `services.ai_call_logger`, prefix `[AICallLogger]`, and a line
    /// with the prefix `[AICall|killed]` for each call while the store is degraded.
    AiCallLogger,
}

/// Where rows go.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreSettings {
    /// The store; `None` is the embedded one in the home.
    pub url: Option<StoreUrl>,
    /// The zone of accounting days of a new store, by its IANA name.
    pub accounting_zone: String,
    /// How many days raw rows are kept; at least 35.
    pub raw_days: u32,
    /// Which tables a store on PostgreSQL has.
    pub layout: StoreLayout,
    /// The column of `ai_calls` that says when; `None` is the one with the default `now()`.
    pub legacy_time_column: Option<String>,
}

/// What is stamped on every row.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScopeSettings {
    /// The project.
    pub project: Option<String>,
    /// The team.
    pub team: Option<String>,
    /// The cost centre.
    pub cost_center: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
    /// How calls are paid for.
    pub billing: Option<Billing>,
}

/// What rows may keep.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PrivacySettings {
    /// What becomes of a prompt that is given to be hashed.
    pub prompt_hash: PromptHash,
    /// What becomes of an error's text.
    pub errors: ErrorPolicy,
    /// Keys of meta that may hold what the rules refuse by name or length.
    pub meta: MetaPolicy,
    /// The key of keyed hashes; `None` is the home's own.
    pub hash_key: Option<HashKey>,
}

/// What becomes of a prompt that is given to be hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromptHash {
    /// Nothing is kept.
    None,
    /// HMAC-SHA-256 under the hash key.
    #[default]
    Keyed,
    /// The first 12 hex digits of SHA-256, as the replaced module did; a short prompt can be guessed
    /// from it.
    Sha256_12,
}

/// How the spool is bounded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SpoolSettings {
    /// The ceiling of all spools of a home, in bytes.
    pub max_bytes: u64,
    /// What is dropped, and counted, at the ceiling.
    pub when_full: WhenFull,
    /// What the spool outlives.
    pub sync: SpoolSync,
    /// Whether the group of the home's directory shares it.
    pub group_access: bool,
}

/// What is dropped when the spools of a home have reached their ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// New calls: what was spooled first is stored first.
    #[default]
    DropNewest,
    /// The oldest rows that wait: what happens now counts more.
    DropOldest,
}

/// What the spool outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpoolSync {
    /// A loss of power, but for about the last second: one commit a second reaches the disk.
    #[default]
    Power,
    /// A crash of the process. Rows reach the disk when the system writes them.
    Process,
}

/// How rows are sent.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShipperSettings {
    /// The most rows in a batch.
    pub batch_rows: usize,
    /// The longest that a row waits for others.
    pub batch_age: Duration,
    /// How many rows of a backlog are sent in a second, beside fresh ones.
    pub replay_rows_per_second: u64,
}

/// Which prices a new store takes, and which days are closed to repricing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PriceSettings {
    /// `market`, `legacy`, or the path of a book of the user's own.
    pub book: String,
    /// The last accounting day that `reprice` leaves as it is, in days from 1970-01-01.
    pub closed_until: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            home: None,
            exit_flush: Duration::from_secs(2),
            compat: Compat::Off,
            store: StoreSettings {
                url: None,
                accounting_zone: "UTC".to_owned(),
                raw_days: 400,
                layout: StoreLayout::Full,
                legacy_time_column: None,
            },
            scope: ScopeSettings::default(),
            privacy: PrivacySettings::default(),
            spool: SpoolSettings {
                max_bytes: 1 << 30,
                ..SpoolSettings::default()
            },
            shipper: ShipperSettings {
                batch_rows: 1_000,
                batch_age: Duration::from_secs(1),
                replay_rows_per_second: 2_000,
            },
            prices: PriceSettings {
                book: "market".to_owned(),
                closed_until: None,
            },
            log: LogSettings::default(),
            registry: CallerRegistry::default(),
            providers: BTreeMap::new(),
            budgets: BTreeMap::new(),
            proxy: ProxySettings::default(),
        }
    }
}
