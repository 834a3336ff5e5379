//! `callmeter doctor`: checks settings, home, spools and store, and says what to do.
//!
//! Changes nothing. Exit code 1 when something needs a hand.

mod home;
mod store;

use std::process::ExitCode;

use callmeter::Switch;
use callmeter::settings::{Compat, PromptHash, Resolved};

use crate::args::GlobalArgs;
use crate::commands::{config, switch};
use crate::context::Context;
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
    home::look_at_home(&context, &mut findings);
    store::look_at_store(&context, &mut findings);
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

/// Whether the limit of open files that processes have from here is enough for the proxy.
fn look_at_room(context: &Context, findings: &mut Findings) {
    let room = Room::for_connections(context.settings.proxy.max_connections);
    if room.is_short() {
        let says = format!("of `callmeter serve` {}", room.in_words());
        findings.add("files", Verdict::Note, says);
        findings.hint(files::HINT);
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
