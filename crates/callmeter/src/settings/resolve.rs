//! From what was written, where, to settings: flag over environment over file over default.
//!
//! Every mistake is found, not only the first. What it took and from where is kept for `config show`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use callmeter_core::{EnvVar, HashKey};
use callmeter_store::StoreUrl;

use super::budgets;
use super::error::{SettingsError, SettingsErrors};
use super::file;
use super::found;
use super::keys::{self, BUDGETS, PROVIDERS};
use super::proxy::{self, PROXY, ROUTES};
use super::value::{self, Expected, Raw};
use super::{Compat, Settings, StoreLayout, platform};

const PREFIX: &str = "CALLMETER_";
const FILE_SUFFIX: &str = "_FILE";
const BOOK: &str = "prices.book";
const LAYOUT: &str = "store.layout";
/// What the setting `compat` stands for, besides the table's shape.
const COMPAT_DEFAULTS: [(&str, &str); 4] = [
    ("privacy.prompt_hash", "sha256-12"),
    ("privacy.errors", "scrubbed"),
    (BOOK, "legacy"),
    ("log.style", "ai_call_logger"),
];
/// The fewest bytes of a key that cannot be guessed.
const SHORTEST_KEY: usize = 16;

/// Where settings may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values of flags: the setting's name, the value, the flag.
    pub flags: Vec<(&'static str, String, &'static str)>,
    /// What the host's own situation suggests, where nothing else says: the setting's name, the value, and
    /// where it was found.
    pub suggested: Vec<(&'static str, String, &'static str)>,
    /// The environment.
    pub environment: BTreeMap<String, OsString>,
    /// The configuration file that a flag names.
    pub config: Option<PathBuf>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Sources {
    /// Those of this process, without flags.
    pub fn of_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self {
            environment,
            directory: std::env::current_dir().unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Settings and where each came from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Every setting's value and origin, in the order of the reference.
    pub origins: Vec<Origin>,
}

/// A setting as `callmeter config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The setting's name.
    pub key: String,
    /// Its value; secrets are not in it.
    pub value: String,
    /// Where it comes from: `default`, a flag, a variable, or `callmeter.toml:7`.
    pub origin: String,
}

/// A value on its way: what it is of, and where it was found.
struct Given {
    name: String,
    raw: Raw,
    origin: String,
    /// Where relative paths begin.
    base: PathBuf,
    /// Whether it stands in a file that nobody named.
    is_found: bool,
}

impl Settings {
    /// Works settings out.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn resolve(sources: &Sources) -> Result<Resolved, SettingsErrors> {
        match Self::resolve_what_can_be(sources) {
            (resolved, None) => Ok(resolved),
            (_, Some(errors)) => Err(errors),
        }
    }

    /// Works out what can be, and says what cannot: in place of a setting that cannot be used stands its
    /// default. For hosts, which must go on, and for `callmeter doctor`.
    pub fn resolve_what_can_be(sources: &Sources) -> (Resolved, Option<SettingsErrors>) {
        let mut errors = Vec::new();
        let suggested = sources.suggested.iter();
        let mut given: Vec<Given> = suggested
            .map(|(name, value, place)| Given {
                name: (*name).to_owned(),
                raw: Raw::Text(value.clone()),
                origin: (*place).to_owned(),
                base: sources.directory.clone(),
                is_found: false,
            })
            .collect();
        if let Some((path, is_found)) = config_file(sources) {
            let base = path.parent().unwrap_or(&sources.directory);
            match file::entries(&path) {
                Ok(entries) => given.extend(entries.into_iter().map(|(name, raw, line)| Given {
                    name,
                    raw,
                    origin: format!("{}:{line}", shown_path(&path, &sources.directory)),
                    base: base.to_owned(),
                    is_found,
                })),
                Err(error) => errors.push(error),
            }
        }
        from_environment(sources, &mut given, &mut errors);
        given.extend(sources.flags.iter().map(|(name, value, flag)| Given {
            name: (*name).to_owned(),
            raw: Raw::Text(value.clone()),
            origin: format!("flag {flag}"),
            base: sources.directory.clone(),
            is_found: false,
        }));

        let mut settings = Settings {
            home: platform::data_directory(&sources.environment),
            enabled: crate::builder::enabled_by_env(|name| text_of(sources, name)),
            ..Settings::default()
        };
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        let by_the_user: BTreeSet<String> = named(&given);
        for given in given {
            if given.is_found && by_the_user.contains(&given.name) {
                continue;
            }
            match take(&mut settings, &given) {
                Ok(()) => {
                    origins.insert(given.name, given.origin);
                }
                Err(error) => errors.push(error),
            }
        }
        if settings.compat == Compat::AiCallLogger {
            follow_the_replaced_module(&mut settings, &mut origins);
        }
        for name in budgets::without_limit(&mut settings) {
            let prefix = format!("{BUDGETS}{name}.");
            let place = origins.iter().find(|(key, _)| key.starts_with(&prefix));
            let place = place.map_or("budgets", |(_, origin)| origin);
            errors.push(
                SettingsError::new(format!("{prefix}limit is missing"))
                    .in_place(place)
                    .with_hint("write the budget in USD: limit = 250"),
            );
        }
        // Rows of that table have that book's figures, until somebody chooses others.
        if settings.store.layout == StoreLayout::AiCalls && !origins.contains_key(BOOK) {
            "legacy".clone_into(&mut settings.prices.book);
            origins.insert(BOOK.to_owned(), "default of store.layout".to_owned());
        }
        match hash_key(sources) {
            Ok(key) => settings.privacy.hash_key = key,
            Err(error) => errors.push(error),
        }
        let origins = shown(&settings, &origins);
        let errors = (!errors.is_empty()).then_some(SettingsErrors(errors));
        (Resolved { settings, origins }, errors)
    }
}

/// What `compat` stands for, where nobody said otherwise. The table's shape is one of PostgreSQL.
fn follow_the_replaced_module(settings: &mut Settings, origins: &mut BTreeMap<String, String>) {
    let url = settings.store.url.as_ref();
    let is_server = url.is_some_and(|url| url.path().is_none());
    let layout = is_server.then_some((LAYOUT, StoreLayout::AiCalls.as_str()));
    for (name, value) in COMPAT_DEFAULTS.into_iter().chain(layout) {
        if origins.contains_key(name) {
            continue;
        }
        let given = Given {
            name: name.to_owned(),
            raw: Raw::Text(value.to_owned()),
            origin: "default of compat".to_owned(),
            base: PathBuf::new(),
            is_found: false,
        };
        if take(settings, &given).is_ok() {
            origins.insert(given.name, given.origin);
        }
    }
}

/// What flags and variables say: a found file's word does not count beside it, and is no mistake either.
fn named(given: &[Given]) -> BTreeSet<String> {
    let from_file = given.iter().rposition(|given| given.is_found);
    let later = from_file.map_or(given.len(), |last| last.saturating_add(1));
    let later = given.iter().skip(later);
    later.map(|given| given.name.clone()).collect()
}

/// The file that a flag or a variable names, else the one that is found; and whether it was merely found. The
/// user's own file was not: no repository writes it.
fn config_file(sources: &Sources) -> Option<(PathBuf, bool)> {
    let named = sources
        .config
        .clone()
        .or_else(|| text_of(sources, EnvVar::Config.name()).map(PathBuf::from));
    if let Some(path) = named {
        return Some((sources.directory.join(path), false));
    }
    let user = platform::config_directory(&sources.environment);
    let user = user.map(|directory| file::of_user(&directory));
    let found = file::find(&sources.directory).filter(|path| Some(path) != user.as_ref());
    found
        .map(|path| (path, true))
        .or_else(|| Some((user.filter(|path| path.is_file())?, false)))
}

/// A variable's text; `None` when it is not set or empty.
fn text_of(sources: &Sources, name: &str) -> Option<String> {
    let value = sources.environment.get(name)?.to_str()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// Values of `CALLMETER_…`, two underscores for each dot; `…_FILE` names a file that holds the value.
fn from_environment(sources: &Sources, given: &mut Vec<Given>, errors: &mut Vec<SettingsError>) {
    for (variable, value) in &sources.environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if value.is_empty() || is_no_setting(variable) {
            continue;
        }
        let (rest, in_file) = match rest.strip_suffix(FILE_SUFFIX) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let Some(name) = name_of(rest) else {
            // A variable without two underscores may be anybody's.
            if rest.contains("__") {
                errors.push(unknown(&dotted(rest), variable.clone()));
            }
            continue;
        };
        let Some(text) = value.to_str() else {
            errors.push(SettingsError::new("the value is not UTF-8").in_place(variable.clone()));
            continue;
        };
        let text = if in_file {
            match file::read_text(&sources.directory.join(text)) {
                Ok(text) => text.trim_end_matches(['\n', '\r']).to_owned(),
                Err(why) => {
                    errors.push(
                        SettingsError::new(format!("the file of the value cannot be read: {why}"))
                            .in_place(variable.clone())
                            .with_hint("the variable names a file that holds the value alone"),
                    );
                    continue;
                }
            }
        } else {
            text.to_owned()
        };
        given.push(Given {
            name,
            raw: Raw::Text(text),
            origin: variable.clone(),
            base: sources.directory.clone(),
            is_found: false,
        });
    }
}

/// Variables of callmeter that are no settings of the table.
fn is_no_setting(variable: &str) -> bool {
    [EnvVar::Enabled, EnvVar::Config, EnvVar::HashKey]
        .iter()
        .any(|known| variable.strip_suffix(FILE_SUFFIX).unwrap_or(variable) == known.name())
}

/// `STORE__URL` as `store.url`, if that is a setting; `STORE_URL` too, as it is declared.
fn name_of(rest: &str) -> Option<String> {
    if EnvVar::StoreUrl.name().strip_prefix(PREFIX) == Some(rest) {
        return Some("store.url".to_owned());
    }
    let name = dotted(rest);
    let is_known = keys::find(&name).is_some()
        || keys::provider_of(&name).is_some()
        || keys::budget_of(&name).is_some()
        || proxy::route_of(&name).is_some();
    is_known.then_some(name)
}

fn dotted(rest: &str) -> String {
    rest.to_ascii_lowercase().replace("__", ".")
}

/// Puts a value into the settings. What is wrong with one of the proxy's keeps nobody from recording.
fn take(settings: &mut Settings, given: &Given) -> Result<(), SettingsError> {
    let is_of_proxy = given.name.starts_with(PROXY);
    put(settings, given).map_err(|error| if is_of_proxy { error.of_proxy() } else { error })
}

fn put(settings: &mut Settings, given: &Given) -> Result<(), SettingsError> {
    let wrong = |expected: Expected, found: Option<String>| {
        let found = found.map_or_else(String::new, |found| format!(", not {found}"));
        SettingsError::new(format!("{} takes {}{found}", given.name, expected.0))
            .in_place(given.origin.clone())
    };
    let refusal = given
        .is_found
        .then(|| found::refusal(&given.name))
        .flatten();
    if let Some(provider) = keys::provider_of(&given.name) {
        let kind = value::name(&given.raw).map_err(|expected| wrong(expected, None))?;
        settings.providers.insert(provider.to_owned(), kind);
        return Ok(());
    }
    if let Some((budget, field)) = keys::budget_of(&given.name) {
        let found = given.raw.shown();
        return budgets::take(settings, budget, field, &given.raw)
            .map_err(|expected| wrong(expected, Some(found)));
    }
    if let Some(route) = proxy::route_of(&given.name) {
        let upstreams =
            proxy::upstreams(&given.raw).map_err(|expected| wrong(expected, None).of_proxy())?;
        if let Some(why) = refusal {
            return Err(refused(given, why));
        }
        settings.proxy.routes.insert(route.to_owned(), upstreams);
        return Ok(());
    }
    let Some(key) = keys::find(&given.name) else {
        return Err(unknown(&given.name, given.origin.clone()));
    };
    if let Some(why) = refusal {
        return Err(refused(given, why));
    }
    (key.apply)(settings, &given.raw, &given.base)
        .map_err(|expected| wrong(expected, (!key.is_secret).then(|| given.raw.shown())))?;
    if given.is_found && key.name == "store.url" {
        settings.store.url = settings.store.url.take().map(StoreUrl::of_found_file);
    }
    Ok(())
}

/// A file that somebody else may have written says more than it may.
fn refused(given: &Given, why: &str) -> SettingsError {
    let (name, origin) = (&given.name, &given.origin);
    let file = origin.rsplit_once(':').map_or(&**origin, |(file, _)| file);
    let error = SettingsError::new(format!(
        "{name} may not stand in a file that was merely found: {why}"
    ))
    .in_place(origin.clone())
    .with_hint(format!(
        "if you trust it, name it: --config {file}, or CALLMETER_CONFIG={file}"
    ));
    if name.starts_with("proxy.") {
        error.of_proxy()
    } else {
        error
    }
}

fn unknown(name: &str, origin: String) -> SettingsError {
    let (shown, _) = callmeter_core::clean_text(name, 60);
    let error = SettingsError::new(format!("there is no setting '{shown}'")).in_place(origin);
    let error = if name.starts_with(PROXY) {
        error.of_proxy()
    } else {
        error
    };
    if name.starts_with(PROVIDERS) {
        return error
            .with_hint("of a provider there is only its kind: [providers.NAME] kind = \"ollama\"");
    }
    if name.starts_with(BUDGETS) {
        let fields: Vec<&str> = budgets::FIELDS.iter().map(|(field, ..)| *field).collect();
        return error.with_hint(format!("of a budget there are {}", fields.join(", ")));
    }
    if name.starts_with(ROUTES) {
        return error.with_hint(
            "of a route there are only its upstreams: [proxy.routes.NAME] upstreams = [{ url = \"http://…\" }]; \
             its name is of a-z, 0-9, _ and -",
        );
    }
    match keys::nearest(name) {
        Some(nearest) => error.with_hint(format!("did you mean '{nearest}'?")),
        None => error.with_hint("docs/reference/settings.md lists every setting"),
    }
}

fn hash_key(sources: &Sources) -> Result<Option<HashKey>, SettingsError> {
    let name = EnvVar::HashKey.name();
    let file = format!("{name}{FILE_SUFFIX}");
    let (text, place) = match (text_of(sources, name), text_of(sources, &file)) {
        (Some(text), _) => (text, name.to_owned()),
        (None, Some(path)) => {
            let text = file::read_text(&sources.directory.join(path)).map_err(|why| {
                SettingsError::new(format!("the file of the key cannot be read: {why}"))
                    .in_place(file.clone())
            })?;
            (text.trim_end_matches(['\n', '\r']).to_owned(), file)
        }
        (None, None) => return Ok(None),
    };
    if text.len() < SHORTEST_KEY {
        return Err(
            SettingsError::new(format!("the key has fewer than {SHORTEST_KEY} bytes"))
                .in_place(place)
                .with_hint("make one with `openssl rand -hex 32`"),
        );
    }
    Ok(Some(HashKey::new(text.as_bytes())))
}

/// Every setting with its origin, in the order of the table.
fn shown(settings: &Settings, origins: &BTreeMap<String, String>) -> Vec<Origin> {
    let origin_of = |name: &str| {
        origins
            .get(name)
            .cloned()
            .unwrap_or_else(|| "default".to_owned())
    };
    let mut shown: Vec<Origin> = keys::all()
        .map(|key| Origin {
            key: key.name.to_owned(),
            value: (key.shown)(settings),
            origin: origin_of(key.name),
        })
        .collect();
    for (provider, kind) in &settings.providers {
        let key = format!("{PROVIDERS}{provider}{}", keys::PROVIDER_KIND);
        shown.push(Origin {
            value: kind.clone(),
            origin: origin_of(&key),
            key,
        });
    }
    for (budget, field, value) in budgets::shown(settings) {
        let key = format!("{BUDGETS}{budget}.{field}");
        shown.push(Origin {
            value,
            origin: origin_of(&key),
            key,
        });
    }
    for (route, upstreams) in &settings.proxy.routes {
        let key = format!("{ROUTES}{route}{}", proxy::UPSTREAMS);
        shown.push(Origin {
            value: proxy::shown(upstreams),
            origin: origin_of(&key),
            key,
        });
    }
    shown
}

/// A path as short as it is clear: from the working directory on where it lies in it.
fn shown_path(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}
