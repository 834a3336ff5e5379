//! `callmeter doctor`: checks settings, home, spools and store, and says what to do.
//!
//! Changes nothing. Exit code 1 when something needs a hand.

use std::process::ExitCode;

use callmeter::Switch;
use callmeter_core::DropReason;
use callmeter_flight::{FlightBuffer, Options};
use callmeter_store::StoreError;

use crate::args::GlobalArgs;
use crate::commands::{config, status, switch};
use crate::context::Context;
use crate::failure;
use crate::print;

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
    let (settings, failures) = config::resolve_what_can_be(global);
    match failures {
        None => findings.add("settings", Verdict::Fine, "can be used"),
        Some(failures) => {
            let shown = failure::shown(&failures.into());
            findings.add("settings", Verdict::Trouble, shown.trim_end().to_owned());
            findings.hint("calls wait in the spool until every setting can be used");
        }
    }
    let context = Context::with(settings, global);
    look_at_switches(&context, &mut findings);
    look_at_home(&context, &mut findings);
    look_at_store(&context, &mut findings);
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
            let is_open = is_open_to_others(&metadata);
            if is_open {
                findings.add(
                    "home",
                    Verdict::Trouble,
                    format!("{path} is open to other users"),
                );
                findings.hint(format!("chmod 700 {path}"));
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
    findings.add(
        "spools",
        Verdict::Fine,
        format!(
            "{} with {} calls on their way",
            standing.spools,
            print::count(calls.spooled)
        ),
    );
    for (spool, why) in &standing.unreadable {
        findings.add(
            "spool",
            Verdict::Trouble,
            format!("{} cannot be read: {why}", spool.display()),
        );
        findings.hint("it is left as it is; a newer callmeter may read it");
    }
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
        findings.add(
            "homes",
            Verdict::Fine,
            format!("also here: {}", others.join(", ")),
        );
    }
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

fn look_at_store(context: &Context, findings: &mut Findings) {
    let url = &context.url;
    let facts = match context.existing_store().and_then(|store| store.facts()) {
        Ok(facts) => facts,
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
    let wanted = &context.settings.store.accounting_zone;
    if *wanted != facts.accounting_zone {
        let says = format!(
            "the store counts days of {}, the settings say {wanted}",
            facts.accounting_zone
        );
        findings.add("zone", Verdict::Note, says);
        findings.hint("a store keeps the zone that it was made with");
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
