//! Promise CM-6: content and secrets stand everywhere a host may put them, and are found nowhere afterwards.
//!
//! A binary of its own with a single test: it hears every log line of the process and searches every file that the
//! process made, in the home, in the store with its write-ahead log, and in shared memory. What the command prints of
//! such a home is searched by the tests of `callmeter-cli`.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "it/host.rs"]
mod host;
#[allow(dead_code)]
#[path = "it/logs.rs"]
mod logs;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callmeter::settings::{PromptHash, Settings, Sources};
use callmeter::{
    Callmeter, ErrorClass, ErrorKind, ErrorPolicy, ErrorReport, MetaValue, StoreUrl, Usage,
};
use callmeter_testkit::markers::{CONTENT, SECRET, found_in, realistic_errors};

use crate::host::{PATIENCE, panic_with, panics};

/// An error whose texts, of itself and of its cause, hold content and secrets.
struct Leaky {
    text: String,
    cause: Option<Box<Leaky>>,
}

impl fmt::Debug for Leaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Leaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Leaky {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl ErrorClass for Leaky {
    fn error_report(&self) -> ErrorReport {
        // A host that takes the text for the code.
        ErrorReport::new(ErrorKind::Server).code(self.to_string())
    }
}

/// Texts with content and secrets, as error, cause, panic and value.
fn texts() -> Vec<String> {
    let mut texts = realistic_errors();
    texts.push(format!("{CONTENT} {SECRET}"));
    texts
}

/// Makes calls with content and secrets wherever a host may put them.
fn record(callmeter: &Callmeter, seen: &mut String) {
    let open = || callmeter.call("leaky", "openai", "gpt-5-mini");
    for text in texts() {
        let error = || Leaky {
            text: text.clone(),
            cause: Some(Box::new(Leaky {
                text: text.clone(),
                cause: None,
            })),
        };
        open().fail(&error());
        open().fail_classified(&error());
        open().fail_as(&error(), ErrorReport::of_http_status(500));
        open().fail(&text);
        let boxed: Box<dyn std::error::Error> = Box::new(error());
        open().fail(&boxed);
        let mut call = open();
        call.error(&text);
        call.finish();
        open().fail_with("RateLimitError", &text);
        open().fail_with(&text, &text);
        let _: Result<(), Leaky> = open().run_blocking(|| Err(error()));
        panics(|| {
            let _call = open();
            panic_with(&text);
        });
        panics(|| {
            let _: Result<(), Leaky> = open().run_blocking(|| panic_with(&text));
        });
        let observed = open().observe(|_: &String| -> Usage { panic_with(&text) });
        let _: Result<String, Leaky> = observed.run_blocking(|| Ok(text.clone()));

        let mut call = open();
        let nested = |key: &str, value: MetaValue| {
            MetaValue::from(BTreeMap::from([(key.to_owned(), value)]))
        };
        let long = format!("{text} ").repeat(20);
        call.prompt_hash(&text)
            .session(&text)
            .user(&text)
            .meta("prompt", text.as_str())
            .meta("messages", vec![text.as_str()])
            .meta("lastResponse", text.as_str())
            .meta("tool_arguments", nested("query", text.as_str().into()))
            .meta("options", nested("system_prompt", text.as_str().into()))
            .meta("deep", nested("a", nested("b", text.as_str().into())))
            .meta("note", long.as_str())
            .meta("list", vec![long.as_str()])
            .meta("api_key", text.as_str())
            .meta("headers", nested("Authorization", text.as_str().into()));
        // Secrets by their looks, under names that say nothing.
        for secret in [
            format!("sk-proj-{SECRET}"),
            format!("Bearer {SECRET}"),
            format!("AIza{SECRET}"),
            format!("postgres://app:{SECRET}@db/shop"),
            format!("key=AKIA{SECRET}"),
            format!("ghp_{SECRET}"),
        ] {
            call.meta("note", secret.as_str())
                .meta("list", vec![secret.as_str()])
                .meta("map", nested("value", secret.as_str().into()));
        }
        seen.push_str(&format!("{call:?}"));
        call.finish();
    }
}

/// Every file under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Says which files hold a marker; files come and go while they are looked at.
fn leaks(directories: &[PathBuf]) -> Vec<String> {
    let mut leaks = Vec::new();
    for path in directories.iter().flat_map(|directory| files(directory)) {
        if let Some(marker) = std::fs::read(&path).ok().and_then(|bytes| found_in(&bytes)) {
            leaks.push(format!("{marker} in {}", path.display()));
        }
    }
    leaks
}

/// Settings with secrets in them: a password in a DSN, keys in the environment, and mistakes around them.
fn secret_settings(directory: &Path, seen: &mut String) -> Settings {
    let dsn = format!("postgres://app:{SECRET}@db/shop?password={SECRET}");
    let config = directory.join("callmeter.toml");
    for text in [
        format!("[store]\nurl = \"{dsn}\"\n"),
        format!("[store]\nurl = \"{dsn}\nraw_days = \"{SECRET}\"\n"),
        format!("store = {{ url = '{dsn}', ulr = '{dsn}' }}\n[prices]\nbook = 3\n"),
    ] {
        std::fs::write(&config, text).unwrap();
        let sources = Sources {
            directory: directory.to_owned(),
            ..Sources::default()
        };
        let (resolved, errors) = Settings::resolve_what_can_be(&sources);
        seen.push_str(&format!("{resolved:?} {errors:?} "));
        if let Some(errors) = errors {
            seen.push_str(&errors.to_string());
        }
    }
    std::fs::remove_file(&config).unwrap();
    for url in [dsn.as_str(), &format!("mysql://root:{SECRET}@h/x"), SECRET] {
        if let Err(error) = StoreUrl::parse(url) {
            seen.push_str(&format!("{error} {error:?}"));
        }
    }
    let mut sources = Sources {
        directory: directory.to_owned(),
        ..Sources::default()
    };
    let key = format!("{SECRET}{SECRET}{SECRET}");
    sources
        .environment
        .insert("CALLMETER_HASH_KEY".to_owned(), key.into());
    sources
        .environment
        .insert("OPENAI_API_KEY".to_owned(), format!("sk-{SECRET}").into());
    let resolved = Settings::resolve(&sources).unwrap();
    seen.push_str(&format!(
        "{resolved:?} {sources_keys:?}",
        sources_keys = sources.environment.keys()
    ));
    for origin in &resolved.origins {
        seen.push_str(&format!("{origin:?}"));
    }
    resolved.settings
}

#[test]
fn no_content_and_no_secret_is_in_anything_that_the_process_made() {
    logs::listen();
    for policy in ErrorPolicy::ALL {
        search_everything(*policy);
    }
}

fn search_everything(policy: ErrorPolicy) {
    let directory = tempfile::tempdir().unwrap();
    let mut seen = String::new();
    let mut settings = secret_settings(directory.path(), &mut seen);
    settings.privacy.prompt_hash = PromptHash::Keyed;
    settings.privacy.errors = policy;
    let home = directory.path().join("home");
    let builder = callmeter::builder().settings(settings.clone()).home(&home);
    seen.push_str(&format!("{builder:?}"));

    // A store that is held by another: calls pile up in buffer and spool, and everything is searched there.
    let store = home.join("store.sqlite");
    let callmeter = builder.open().unwrap();
    record(&callmeter, &mut seen);
    assert!(callmeter.flush(PATIENCE).is_complete());
    let other = rusqlite::Connection::open(&store).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    record(&callmeter, &mut seen);
    let flush = callmeter.flush(Duration::from_millis(200));
    assert!(!flush.is_complete());
    let places = [directory.path().to_owned(), PathBuf::from("/dev/shm")];
    assert_eq!(leaks(&places), Vec::<String>::new());
    seen.push_str(&format!("{callmeter:?} {:?}", callmeter.stats()));

    // With the store back, everything has moved on.
    other.execute_batch("ROLLBACK").unwrap();
    assert!(callmeter.flush(PATIENCE).is_complete());
    let stats = callmeter.stats();
    let calls = stats.conservation;
    assert!(calls.holds() && calls.dropped_total() == 0, "{stats:?}");
    assert!(stats.meta_refused > 0);
    seen.push_str(&format!("{stats:?} {:?}", callmeter.home().standing()));
    drop(callmeter);
    assert_eq!(leaks(&places), Vec::<String>::new());

    let mut reader = callmeter_store::SqliteReader::open(&store).unwrap();
    assert_eq!(reader.facts().unwrap().calls, calls.finished);
    let query = callmeter_store::CallsQuery {
        filter: callmeter_store::Filter::default(),
        before: None,
        limit: 1_000,
    };
    for call in reader.calls(&query).unwrap() {
        seen.push_str(&call.to_json());
        seen.push_str(&format!("{call:?}"));
    }
    // What the log was told, of refused values too.
    let lines = logs::lines();
    assert!(lines.iter().any(|line| line.contains("privacy.meta.allow")));
    seen.push_str(&lines.join("\n"));
    if let Some(marker) = found_in(seen.as_bytes()) {
        let at = seen.find(marker).unwrap_or_default();
        let around = seen.get(at.saturating_sub(200)..(at + 60).min(seen.len()));
        assert_eq!(around, None, "{marker} was told");
    }
}
