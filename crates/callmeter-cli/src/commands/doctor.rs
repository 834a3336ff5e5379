//! `callmeter doctor`: checks settings, home, spools and store, and says what to do.
//!
//! Changes nothing. Exit code 1 when something needs a hand.

use std::process::ExitCode;

use callmeter::settings::{Compat, PromptHash, Resolved};
use callmeter::{Home, HomeStanding, Switch};
use callmeter_core::DropReason;
use callmeter_flight::{FlightBuffer, Options};
use callmeter_store::{Filter, StoreError};

use crate::args::GlobalArgs;
use crate::commands::{config, status, switch};
use crate::context::Context;
use crate::doubles::Doubles;
use crate::failure;
use crate::print;
use crate::traffic::files::{self, Room};

/// The settings whose defaults `compat` chooses.
const COMPAT_HABITS: [&str; 5] = [
    "store.layout",
    "privacy.prompt_hash",
    "privacy.errors",
    "prices.book",
    "log.style",
];

/// Other homes of the machine that are named.
const HOMES_SHOWN: usize = 5;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Note,
    Trouble,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Trouble => "trouble",
        }
    }
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    says: String,
    hint: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, verdict: Verdict, says: impl Into<String>) {
        self.0.push(Finding {
            what,
            verdict,
            says: says.into(),
            hint: None,
        });
    }

    fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.0.last_mut() {
            last.hint = Some(hint.into());
        }
    }
}

pub(crate) fn run(global: &GlobalArgs) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    let (resolved, failures) = config::resolve_what_can_be(global);
    match failures {
        None => findings.add("settings", Verdict::Fine, "can be used"),
        Some((failures, concerns_recording)) => {
            let shown = failure::shown(&failures.into());
            findings.add("settings", Verdict::Trouble, shown.trim_end().to_owned());
            findings.hint(if concerns_recording {
                "calls wait in the spool until every setting can be used"
            } else {
                "processes record all the same: these settings are those of `callmeter run` and `serve`"
            });
        }
    }
    look_at_compat(&resolved, &mut findings);
    let context = Context::with(resolved.settings, global);
    look_at_switches(&context, &mut findings);
    look_at_home(&context, &mut findings);
    look_at_store(&context, &mut findings);
    look_at_room(&context, &mut findings);
    let has_trouble = findings
        .0
        .iter()
        .any(|finding| finding.verdict == Verdict::Trouble);
    tell(&context, &findings)?;
    Ok(if has_trouble {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Under `compat`: which habits of the replaced module are in force, and which were set otherwise.
fn look_at_compat(resolved: &Resolved, findings: &mut Findings) {
    if resolved.settings.compat == Compat::Off {
        return;
    }
    let named = |key: &str| resolved.origins.iter().find(|origin| origin.key == key);
    let by = named("compat").map_or("", |origin| origin.origin.as_str());
    let habits = COMPAT_HABITS.iter().filter_map(|key| named(key));
    let habits: Vec<String> = habits
        .map(|origin| format!("{} = {} ({})", origin.key, origin.value, origin.origin))
        .collect();
    let says = format!(
        "stands in for ai_call_logger, from {by}\n{}",
        habits.join("\n")
    );
    let is_guessable = resolved.settings.privacy.prompt_hash == PromptHash::Sha256_12;
    let verdict = if is_guessable {
        Verdict::Note
    } else {
        Verdict::Fine
    };
    findings.add("compat", verdict, says);
    if is_guessable {
        findings.hint("short prompts can be guessed from sha256-12: privacy.prompt_hash = \"keyed\", once nothing compares them with old rows");
    }
}

/// Calls are recorded while environment and home both say so; the third, `set_enabled`, is the host's own.
fn look_at_switches(context: &Context, findings: &mut Findings) {
    let home = context.home.switch(context.now);
    if context.settings.enabled && matches!(home, Ok(Switch::On)) {
        findings.add("switch", Verdict::Fine, "calls are recorded");
        return;
    }
    if !context.settings.enabled {
        findings.add(
            "switch",
            Verdict::Note,
            "recording is off for processes with this environment",
        );
        findings.hint("unset AI_CALL_LOGGING_ENABLED and CALLMETER_ENABLED, or set both to true");
    }
    match home {
        Ok(Switch::On) => {}
        Ok(off) => {
            let says = format!("recording is {} for this home", switch::in_words(off));
            findings.add("switch", Verdict::Note, says);
            findings.hint("callmeter on");
        }
        Err(error) => {
            let says = format!("the home's file `switch` cannot be read: {error}");
            findings.add("switch", Verdict::Trouble, says);
            findings.hint("its processes go on as they did before");
        }
    }
}

fn look_at_home(context: &Context, findings: &mut Findings) {
    let home = &context.home;
    let path = home.path().display();
    match std::fs::metadata(home.path()) {
        Ok(metadata) if metadata.is_dir() => {
            let is_open = is_open_to_others(home, &metadata);
            if is_open {
                findings.add(
                    "home",
                    Verdict::Trouble,
                    format!("{path} is open to other users"),
                );
                let mode = if home.is_shared() { "2770" } else { "700" };
                findings.hint(format!("chmod {mode} {path}"));
            } else {
                findings.add("home", Verdict::Fine, path.to_string());
            }
        }
        Ok(_) => {
            findings.add("home", Verdict::Trouble, format!("{path} is no directory"));
            findings.hint("name another in CALLMETER_HOME");
            return;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.add(
                "home",
                Verdict::Note,
                format!("{path} is made with the first call"),
            );
            return;
        }
        Err(error) => {
            findings.add(
                "home",
                Verdict::Trouble,
                format!("{path} cannot be read: {error}"),
            );
            findings.hint("check its rights, or name another in CALLMETER_HOME");
            return;
        }
    }
    look_at_flight(context, findings);
    let standing = match home.standing() {
        Ok(standing) => standing,
        Err(error) => {
            findings.add(
                "spools",
                Verdict::Trouble,
                format!("cannot be read: {error}"),
            );
            return;
        }
    };
    let calls = standing.conservation;
    if let Some(kind) = home.network_file_system() {
        let says = format!("{path} lies on {kind}: spools are refused there, calls wait in memory");
        findings.add("spools", Verdict::Trouble, says);
        findings.hint("name a home on a local disk in CALLMETER_HOME");
    }
    findings.add(
        "spools",
        Verdict::Fine,
        format!(
            "{} with {} on their way",
            print::plural(standing.spools, "spool"),
            print::calls(calls.spooled)
        ),
    );
    look_at_files(&standing, findings);
    for reason in DropReason::ALL {
        let count = calls.dropped_for(*reason);
        if count > 0 {
            findings.add(
                "dropped",
                Verdict::Trouble,
                format!("{}: {reason}", print::calls(count)),
            );
            findings.hint(match reason {
                DropReason::Ceiling => "raise spool.max_bytes, or see why the store takes no calls",
                DropReason::DiskFull => "make room on the disk of the home",
                _ => "see docs/concepts/promises.md for what the reason means",
            });
        }
    }
    if calls.rejected > 0 {
        let says = format!(
            "{} calls that no store took are kept in the spools",
            print::count(calls.rejected)
        );
        findings.add("rejected", Verdict::Trouble, says);
        findings.hint("the table `rejected` of each spool names the reason");
    }
    let verdict = if calls.holds() {
        Verdict::Fine
    } else {
        Verdict::Note
    };
    findings.add(
        "complete",
        verdict,
        status::complete_line(&calls).replacen("complete: ", "", 1),
    );
}

/// Where the flight buffer of a process of this home would lie, tried with the smallest one there is, and
/// the other homes of this machine.
fn look_at_flight(context: &Context, findings: &mut Findings) {
    let mut options = Options::default();
    options.slots = 16;
    options.names_bytes = 4_096;
    options.group_access = context.settings.spool.group_access;
    match FlightBuffer::for_home(context.home.path(), &options) {
        Ok((buffer, passed_over)) => {
            let place = buffer.place();
            let verdict = match (place.kind().is_crash_safe(), passed_over.is_empty()) {
                (false, _) => Verdict::Trouble,
                (true, false) => Verdict::Note,
                (true, true) => Verdict::Fine,
            };
            let mut says = format!(
                "{place}: from the moment that its guard returned a call survives {}",
                place.kind().survives()
            );
            for error in &passed_over {
                says.push_str(&format!("\npassed over: {error}"));
            }
            findings.add("flight", verdict, says);
            findings.hint(
                "once it is in the spool, a call survives a loss of power after about a second",
            );
        }
        Err(error) => findings.add("flight", Verdict::Trouble, error.to_string()),
    }
    let others = callmeter::homes();
    let others: Vec<String> = others
        .iter()
        .filter(|card| card.path != context.home.path())
        .map(|card| format!("{} ({})", card.path.display(), card.service))
        .collect();
    if !others.is_empty() {
        let shown = others.iter().take(HOMES_SHOWN).cloned();
        let mut says = format!("also here: {}", shown.collect::<Vec<_>>().join(", "));
        if others.len() > HOMES_SHOWN {
            says.push_str(&format!(" and {} more", others.len() - HOMES_SHOWN));
        }
        findings.add("homes", Verdict::Fine, says);
    }
}

#[cfg(unix)]
fn is_open_to_others(home: &Home, metadata: &std::fs::Metadata) -> bool {
    let others = if home.is_shared() { 0o007 } else { 0o077 };
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & others != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Home, _: &std::fs::Metadata) -> bool {
    false
}

/// Files that are not what they should be, and processes that died and were not adopted yet.
fn look_at_files(standing: &HomeStanding, findings: &mut Findings) {
    for (path, why) in &standing.unreadable {
        let what = if path.extension().is_some_and(|ending| ending == "flight") {
            "flight"
        } else {
            "spool"
        };
        let says = if why.contains(&*path.to_string_lossy()) {
            why.clone()
        } else {
            format!("{} cannot be read: {why}", path.display())
        };
        findings.add(what, Verdict::Trouble, says);
        findings.hint("it is left as it is; a newer callmeter may read it");
    }
    for path in &standing.set_aside {
        let says = format!("{} was damaged and is set aside", path.display());
        findings.add("damaged", Verdict::Trouble, says);
        findings.hint("what is in it was not stored; remove it when nobody needs it any more");
    }
    let dead = standing
        .processes
        .iter()
        .filter(|process| !process.is_alive);
    let (count, calls) = dead.fold((0_u64, 0_u64), |(count, calls), process| {
        (count + 1, calls + process.buffered + process.in_flight)
    });
    if count > 0 {
        let says = format!("{count} died with {} not adopted yet", print::calls(calls));
        findings.add("processes", Verdict::Note, says);
        findings.hint("the next process of this home, or callmeter ship, adopts them");
    }
}

fn look_at_store(context: &Context, findings: &mut Findings) {
    let url = &context.url;
    let opened = context.existing_store().and_then(|mut store| {
        let doubles = Doubles::of(context, &mut store, &Filter::default())?;
        Ok((store.facts()?, doubles))
    });
    let (facts, doubles) = match opened {
        Ok(read) => read,
        Err(StoreError::NotFound(_)) => {
            findings.add(
                "store",
                Verdict::Note,
                format!("{url} is made with the first call"),
            );
            return;
        }
        Err(error) => {
            findings.add("store", Verdict::Trouble, format!("{url}: {error}"));
            if let Some(hint) = error.hint() {
                findings.hint(hint);
            }
            return;
        }
    };
    let says = format!(
        "{url}, {} calls, {}",
        print::count(facts.calls),
        print::size(facts.size_bytes)
    );
    findings.add("store", Verdict::Fine, says);
    let book = format!(
        "{} {}, revision {}",
        facts.book.name, facts.book.version, facts.book.number
    );
    findings.add("prices", Verdict::Fine, book);
    #[cfg(feature = "postgres")]
    if context.settings.store.layout == callmeter_store::StoreLayout::AiCalls {
        look_at_table(context, findings);
    } else {
        look_at_partitions(context, findings);
    }
    let wanted = &context.settings.store.accounting_zone;
    if *wanted != facts.accounting_zone {
        let says = format!(
            "the store counts days of {}, the settings say {wanted}",
            facts.accounting_zone
        );
        findings.add("zone", Verdict::Note, says);
        findings.hint("a store keeps the zone that it was made with");
    }
    if let Some(doubles) = doubles.in_words() {
        findings.add(
            "doubles",
            Verdict::Note,
            format!("possible doubles: {doubles}"),
        );
        findings.hint(
            "these are guards under `callmeter run` of providers that it did not lead; give the guard the name of the \
             provider that its call went to, or take the guard away",
        );
    }
    if facts.rejected > 0 {
        let says = format!(
            "{} records were beyond the horizon or too far ahead",
            print::count(facts.rejected)
        );
        findings.add("expired", Verdict::Note, says);
        findings
            .hint("check the clocks of the hosts; the records are in the store's table `rejected`");
    }
}

/// Whether the limit of open files that processes have from here is enough for the proxy.
fn look_at_room(context: &Context, findings: &mut Findings) {
    let room = Room::for_connections(context.settings.proxy.max_connections);
    if room.is_short() {
        let says = format!("of `callmeter serve` {}", room.in_words());
        findings.add("files", Verdict::Note, says);
        findings.hint(files::HINT);
    }
}

/// Whether the table `ai_calls` can be written: reading it asks for less.
#[cfg(feature = "postgres")]
fn look_at_table(context: &Context, findings: &mut Findings) {
    match crate::commands::adopt::check(context) {
        None => {}
        Some(Ok(notes)) => {
            findings.add(
                "table",
                Verdict::Fine,
                "ai_calls can be written as it is".to_owned(),
            );
            for note in notes {
                findings.add("table", Verdict::Note, note);
            }
        }
        Some(Err(error)) => {
            findings.add("table", Verdict::Trouble, error.to_string());
            if let Some(hint) = error.hint() {
                findings.hint(hint);
            }
        }
    }
}

#[cfg(feature = "postgres")]
fn look_at_partitions(context: &Context, findings: &mut Findings) {
    use crate::commands::migrate::FEW_MONTHS;
    let clock = std::sync::Arc::new(callmeter_core::SystemClock);
    let Some(url) = context.url.postgres() else {
        return;
    };
    let schema = callmeter_store::PostgresSchema::new(url, clock);
    let status = match schema.and_then(|mut schema| schema.status()) {
        Ok(status) => status,
        Err(error) => {
            findings.add("months", Verdict::Trouble, error.to_string());
            return;
        }
    };
    let is_short = status.months_ahead < FEW_MONTHS || status.rows_in_default > 0;
    let verdict = if is_short {
        Verdict::Trouble
    } else {
        Verdict::Fine
    };
    let says = format!(
        "partitions for {} months from now on, {} rows in none",
        status.months_ahead,
        print::count(status.rows_in_default)
    );
    findings.add("months", verdict, says);
    if is_short {
        findings.hint("run `callmeter migrate`");
    }
}

fn tell(context: &Context, findings: &Findings) -> anyhow::Result<()> {
    if context.json {
        let all: Vec<serde_json::Value> = findings
            .0
            .iter()
            .map(|finding| {
                serde_json::json!({
                    "what": finding.what, "verdict": finding.verdict.word(),
                    "says": finding.says, "hint": finding.hint,
                })
            })
            .collect();
        print::out(&format!(
            "{}\n",
            serde_json::json!({ "v": 1, "findings": all })
        ))?;
        return Ok(());
    }
    let mut text = String::new();
    for finding in &findings.0 {
        let verdict = match finding.verdict {
            Verdict::Fine => finding.verdict.word().to_owned(),
            other => print::bold(other.word(), context.color),
        };
        let says = finding.says.replace('\n', "\n                     ");
        text.push_str(&format!("{:<9} {verdict:<8}  {says}\n", finding.what));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:<20} hint: {hint}\n", ""));
        }
    }
    print::out(&text)?;
    Ok(())
}
