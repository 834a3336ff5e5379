//! Every setting, defined once: its name, what it is for, what it takes, its default.
//!
//! The file's keys, the environment's variables, `callmeter config show` and the reference are made from
//! this table, so none of them can forget a setting. Those of the proxy stand beside its own.

use std::path::Path;
use std::time::Duration;

use callmeter_core::{Billing, ErrorPolicy, MetaPolicy};
use callmeter_store::{AccountingZone, StoreUrl};

use super::budgets;
use super::proxy;
use super::value::{self, Expected, Raw};
use super::{Compat, LogStyle, PromptHash, Settings, SpoolSync, StoreLayout, WhenFull};

/// A setting.
pub(super) struct Key {
    /// Its dotted name.
    pub(super) name: &'static str,
    /// What it is for, in a sentence.
    pub(super) purpose: &'static str,
    /// What it takes.
    pub(super) takes: &'static str,
    /// Its default, in words.
    pub(super) default: &'static str,
    /// Whether its value may hold a secret.
    pub(super) is_secret: bool,
    /// Puts a value into the settings; a relative path is taken from the directory.
    pub(super) apply: fn(&mut Settings, &Raw, &Path) -> Result<(), Expected>,
    /// The value in force, to be shown.
    pub(super) shown: fn(&Settings) -> String,
}

/// The prefix of the keys of the user's own providers: `providers.NAME.kind`.
pub(super) const PROVIDERS: &str = "providers.";
/// What such a key takes.
pub(super) const PROVIDER_KIND: &str = ".kind";

/// The prefix of the keys of budgets: `budgets.NAME.limit` and others.
pub(super) const BUDGETS: &str = "budgets.";

const DAY_LIMIT: u64 = 36_500;
const HOUR: Duration = Duration::from_secs(3_600);

fn some(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

pub(super) fn path_of(raw: &Raw, base: &Path) -> Result<std::path::PathBuf, Expected> {
    Ok(base.join(value::text(raw)?))
}

macro_rules! scope_key {
    ($name:literal, $field:ident, $purpose:literal) => {
        Key {
            name: $name,
            purpose: $purpose,
            takes: "a name of at most 64 characters",
            default: "none",
            is_secret: false,
            apply: |settings, raw, _| {
                settings.scope.$field = Some(value::name(raw)?);
                Ok(())
            },
            shown: |settings| some(&settings.scope.$field),
        }
    };
}

static KEYS: [Key; 28] = [
    Key {
        name: "home",
        purpose: "the directory of spool and embedded store",
        takes: "a path",
        default: "the platform's data directory, on Linux ~/.local/share/callmeter",
        is_secret: false,
        apply: |settings, raw, base| {
            settings.home = Some(path_of(raw, base)?);
            Ok(())
        },
        shown: |settings| settings.home().path().display().to_string(),
    },
    Key {
        name: "exit_flush",
        purpose: "the longest wait for the last rows when the process ends; 50 ms once a trial of the store has failed, in this process or in another of the home",
        takes: "a duration with its unit",
        default: "2s",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.exit_flush = value::duration(raw, Duration::from_secs(600))?;
            Ok(())
        },
        shown: |settings| format!("{:?}", settings.exit_flush),
    },
    Key {
        name: "compat",
        purpose: "whose habits the defaults of `store.layout` (on PostgreSQL), `privacy.prompt_hash`, `privacy.errors`, `prices.book` and `log.style` follow: those of the module that callmeter replaces, or its own",
        takes: "off or ai_call_logger",
        default: "off",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [
                ("off", Compat::Off),
                ("ai_call_logger", Compat::AiCallLogger),
            ];
            settings.compat = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| {
            let word = match settings.compat {
                Compat::Off => "off",
                Compat::AiCallLogger => "ai_call_logger",
            };
            word.to_owned()
        },
    },
    Key {
        name: "store.url",
        purpose: "where rows go",
        takes: "sqlite:PATH or postgres://USER@HOST/DATABASE",
        default: "the embedded store in the home",
        is_secret: true,
        apply: |settings, raw, base| {
            let text = value::text(raw)?;
            let url = StoreUrl::parse(&text).map_err(|error| {
                Expected(format!(
                    "sqlite:PATH or postgres://USER@HOST/DATABASE: {error}"
                ))
            })?;
            settings.store.url = Some(url.resolve_against(base));
            Ok(())
        },
        shown: |settings| settings.store_url(&settings.home()).to_string(),
    },
    Key {
        name: "store.accounting_zone",
        purpose: "the time zone of the accounting days of a new store; a store keeps its own",
        takes: "an IANA name",
        default: "UTC",
        is_secret: false,
        apply: |settings, raw, _| {
            let zone = value::text(raw)?;
            AccountingZone::named(&zone).map_err(|_| {
                Expected("an IANA time zone such as Europe/Berlin, or UTC".to_owned())
            })?;
            settings.store.accounting_zone = zone;
            Ok(())
        },
        shown: |settings| settings.store.accounting_zone.clone(),
    },
    Key {
        name: "store.raw_days",
        purpose: "how many days old a call may be when it arrives, and rows are kept; at least 35",
        takes: "a number of days",
        default: "400",
        is_secret: false,
        apply: |settings, raw, _| {
            let days = value::number(raw, 35, DAY_LIMIT)?;
            settings.store.raw_days = u32::try_from(days).unwrap_or(u32::MAX);
            Ok(())
        },
        shown: |settings| settings.store.raw_days.to_string(),
    },
    Key {
        name: "store.layout",
        purpose: "which tables a store on PostgreSQL has: callmeter's own, or the `ai_calls` of the module that it replaces, as it is",
        takes: "full or ai_calls",
        default: "full; ai_calls on PostgreSQL under compat",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [
                ("full", StoreLayout::Full),
                ("ai_calls", StoreLayout::AiCalls),
            ];
            settings.store.layout = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| settings.store.layout.as_str().to_owned(),
    },
    Key {
        name: "store.legacy.time_column",
        purpose: "the column of `ai_calls` that says when a call ended",
        takes: "a column's name",
        default: "the one with the default `now()`",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.store.legacy_time_column = Some(value::name(raw)?);
            Ok(())
        },
        shown: |settings| some(&settings.store.legacy_time_column),
    },
    scope_key!(
        "scope.project",
        project,
        "the project that every row is stamped with"
    ),
    scope_key!(
        "scope.team",
        team,
        "the team, where the caller registry names none"
    ),
    scope_key!(
        "scope.cost_center",
        cost_center,
        "the cost centre, where the caller registry names none"
    ),
    scope_key!(
        "scope.service",
        service,
        "the service, as OpenTelemetry's service.name"
    ),
    scope_key!(
        "scope.environment",
        environment,
        "the deployment environment, such as production"
    ),
    Key {
        name: "scope.billing",
        purpose: "how calls are paid for; plan usage is never added to money",
        takes: "metered, plan, self_hosted, free or unknown",
        default: "none",
        is_secret: false,
        apply: |settings, raw, _| {
            let words: Vec<_> = Billing::ALL
                .iter()
                .map(|word| (word.as_str(), *word))
                .collect();
            settings.scope.billing = Some(value::word(raw, &words)?);
            Ok(())
        },
        shown: |settings| {
            settings
                .scope
                .billing
                .map_or("", Billing::as_str)
                .to_owned()
        },
    },
    Key {
        name: "privacy.prompt_hash",
        purpose: "what becomes of a prompt that is given to be hashed; sha256-12 lets short prompts be guessed",
        takes: "none, keyed or sha256-12",
        default: "keyed; sha256-12 under compat",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [
                ("none", PromptHash::None),
                ("keyed", PromptHash::Keyed),
                ("sha256-12", PromptHash::Sha256_12),
            ];
            settings.privacy.prompt_hash = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| {
            let word = match settings.privacy.prompt_hash {
                PromptHash::None => "none",
                PromptHash::Keyed => "keyed",
                PromptHash::Sha256_12 => "sha256-12",
            };
            word.to_owned()
        },
    },
    Key {
        name: "privacy.errors",
        purpose: "what becomes of an error's text: nothing of it is kept but type, code and HTTP status, or of known errors also host, port, numbers and short names; see docs/reference/errors.md",
        takes: "class or scrubbed",
        default: "class; scrubbed under compat",
        is_secret: false,
        apply: |settings, raw, _| {
            let words: Vec<_> = ErrorPolicy::ALL
                .iter()
                .map(|policy| (policy.as_str(), *policy))
                .collect();
            settings.privacy.errors = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| settings.privacy.errors.as_str().to_owned(),
    },
    Key {
        name: "privacy.meta.allow",
        purpose: "keys of meta that may hold what the rules refuse by name or length",
        takes: "a list of keys",
        default: "none",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.privacy.meta = MetaPolicy::allowing(value::list(raw)?);
            Ok(())
        },
        shown: |settings| {
            settings
                .privacy
                .meta
                .allowed()
                .collect::<Vec<_>>()
                .join(", ")
        },
    },
    Key {
        name: "spool.max_bytes",
        purpose: "the ceiling of all spools of a home, without the logs of its processes",
        takes: "a size of at least 1 MiB",
        default: "1GiB",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.spool.max_bytes = value::size(raw, 1 << 20)?;
            Ok(())
        },
        shown: |settings| settings.spool.max_bytes.to_string(),
    },
    Key {
        name: "spool.when_full",
        purpose: "what is dropped, and counted, at the ceiling: new calls, or the oldest rows that wait",
        takes: "drop_newest or drop_oldest",
        default: "drop_newest",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [
                ("drop_newest", WhenFull::DropNewest),
                ("drop_oldest", WhenFull::DropOldest),
            ];
            settings.spool.when_full = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| {
            let word = match settings.spool.when_full {
                WhenFull::DropNewest => "drop_newest",
                WhenFull::DropOldest => "drop_oldest",
            };
            word.to_owned()
        },
    },
    Key {
        name: "spool.sync",
        purpose: "what the spool outlives: a loss of power but for about a second, or a crash of the process",
        takes: "power or process",
        default: "power",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [("power", SpoolSync::Power), ("process", SpoolSync::Process)];
            settings.spool.sync = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| {
            let word = match settings.spool.sync {
                SpoolSync::Power => "power",
                SpoolSync::Process => "process",
            };
            word.to_owned()
        },
    },
    Key {
        name: "spool.group_access",
        purpose: "whether the group of the home's directory shares it, as containers of several users do",
        takes: "true or false",
        default: "false",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.spool.group_access = value::boolean(raw)?;
            Ok(())
        },
        shown: |settings| settings.spool.group_access.to_string(),
    },
    Key {
        name: "shipper.batch_rows",
        purpose: "the most rows in a batch; large ones hold the store longer",
        takes: "a number from 1 to 10000",
        default: "1000",
        is_secret: false,
        apply: |settings, raw, _| {
            let rows = value::number(raw, 1, 10_000)?;
            settings.shipper.batch_rows = usize::try_from(rows).unwrap_or(10_000);
            Ok(())
        },
        shown: |settings| settings.shipper.batch_rows.to_string(),
    },
    Key {
        name: "shipper.batch_age",
        purpose: "the longest that a row waits for others",
        takes: "a duration with its unit",
        default: "1s",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.shipper.batch_age = value::duration(raw, HOUR)?;
            Ok(())
        },
        shown: |settings| format!("{:?}", settings.shipper.batch_age),
    },
    Key {
        name: "shipper.replay_rows_per_second",
        purpose: "how many rows of a backlog are sent in a second, beside fresh ones",
        takes: "a number from 1 to 1000000",
        default: "2000",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.shipper.replay_rows_per_second = value::number(raw, 1, 1_000_000)?;
            Ok(())
        },
        shown: |settings| settings.shipper.replay_rows_per_second.to_string(),
    },
    Key {
        name: "prices.book",
        purpose: "the price book of a new store; a store keeps its own",
        takes: "market, legacy, or the path of a book",
        default: "market; legacy under compat and where store.layout is ai_calls",
        is_secret: false,
        apply: |settings, raw, base| {
            let text = value::text(raw)?;
            settings.prices.book = match text.as_str() {
                "market" | "legacy" => text,
                _ => {
                    let path = base.join(&text);
                    if !path.is_file() {
                        return Err(Expected(
                            "market, legacy, or the path of a book that is there".to_owned(),
                        ));
                    }
                    path.display().to_string()
                }
            };
            Ok(())
        },
        shown: |settings| settings.prices.book.clone(),
    },
    Key {
        name: "log.style",
        purpose: "whose names and prefixes log lines have: callmeter's own, or those of the module that it replaces",
        takes: "callmeter or ai_call_logger",
        default: "callmeter; ai_call_logger under compat",
        is_secret: false,
        apply: |settings, raw, _| {
            let words = [
                ("callmeter", LogStyle::Callmeter),
                ("ai_call_logger", LogStyle::AiCallLogger),
            ];
            settings.log.style = value::word(raw, &words)?;
            Ok(())
        },
        shown: |settings| {
            let word = match settings.log.style {
                LogStyle::Callmeter => "callmeter",
                LogStyle::AiCallLogger => "ai_call_logger",
            };
            word.to_owned()
        },
    },
    Key {
        name: "prices.closed_until",
        purpose: "the last accounting day that `callmeter reprice` leaves as it is; `--reopen` passes over it",
        takes: "a day such as 2026-10-31",
        default: "none",
        is_secret: false,
        apply: |settings, raw, _| {
            settings.prices.closed_until = Some(value::day(raw)?);
            Ok(())
        },
        shown: |settings| {
            settings
                .prices
                .closed_until
                .map_or_else(String::new, value::day_text)
        },
    },
    Key {
        name: "registry.callers",
        purpose: "the file of the callers that are known, with team and cost centre",
        takes: "a path",
        default: "none",
        is_secret: false,
        apply: |settings, raw, base| {
            settings.registry = super::registry::read(&path_of(raw, base)?)?;
            Ok(())
        },
        shown: |settings| match settings.registry.entries().count() {
            0 => String::new(),
            count => format!("{count} callers"),
        },
    },
];

/// Every setting, in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(&proxy::KEYS)
}

/// The key of a name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Whether a name is that of a provider's kind; gives the provider.
pub(super) fn provider_of(name: &str) -> Option<&str> {
    let provider = name.strip_prefix(PROVIDERS)?.strip_suffix(PROVIDER_KIND)?;
    (!provider.is_empty() && !provider.contains('.')).then_some(provider)
}

/// Whether a name is of a budget; gives the budget and its field.
pub(super) fn budget_of(name: &str) -> Option<(&str, &str)> {
    let (budget, field) = name.strip_prefix(BUDGETS)?.rsplit_once('.')?;
    let is_one = !budget.is_empty() && !budget.contains('.');
    (is_one && budgets::FIELDS.iter().any(|(known, ..)| *known == field)).then_some((budget, field))
}

/// The known name that is most like `name`, if any is alike.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names = all().map(|key| key.name);
    let (distance, nearest) = names.map(|known| (distance(name, known), known)).min()?;
    (distance <= 3).then_some(nearest)
}

/// How many letters must be added, removed or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(80).enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (to, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal.saturating_add(usize::from(from != *to));
            diagonal = *above;
            left = changed
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
