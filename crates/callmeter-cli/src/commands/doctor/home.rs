//! The home: its rights, its spools, where a flight buffer would lie, what dead processes left, the equation.

use callmeter::{Home, HomeStanding};
use callmeter_core::DropReason;
use callmeter_flight::{FlightBuffer, Options};

use super::{Findings, Verdict};
use crate::commands::status;
use crate::context::Context;
use crate::print;

pub(super) fn look_at_home(context: &Context, findings: &mut Findings) {
    let home = &context.home;
    let path = home.path().display();
    if let Some(why) = home.distrusted() {
        let says = format!("none is named, and {why}: calls are kept in memory alone");
        findings.add("home", Verdict::Trouble, says);
        findings.hint("name one in CALLMETER_HOME");
        return;
    }
    match std::fs::metadata(home.path()) {
        Ok(metadata) if metadata.is_dir() => {
            if let Some(owner) = another_owner(home, &metadata) {
                findings.add(
                    "home",
                    Verdict::Trouble,
                    format!("{path} belongs to user {owner}"),
                );
                findings.hint(
                    "act as that user, name another home in CALLMETER_HOME, or share it with a group by \
                     spool.group_access",
                );
            } else if is_open_to_others(home, &metadata) {
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
    if let Some(kind) = home.doubtful_file_system() {
        let says = format!("{path} lies on {kind}: whether locks hold there cannot be told");
        findings.add("spools", Verdict::Note, says);
        findings.hint(
            "use this home from one machine alone, or name one on a local disk in CALLMETER_HOME",
        );
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
    let others: Vec<String> = callmeter::homes()
        .iter()
        .filter(|card| card.path != context.home.path())
        .map(|card| match card.service.as_str() {
            "" => card.path.display().to_string(),
            service => format!("{} ({service})", card.path.display()),
        })
        .collect();
    if !others.is_empty() {
        let says = format!("also here: {}", print::a_few(&others));
        findings.add("homes", Verdict::Fine, says);
    }
}

/// Who has a home that is meant for this user alone.
#[cfg(unix)]
fn another_owner(home: &Home, metadata: &std::fs::Metadata) -> Option<u32> {
    let owner = std::os::unix::fs::MetadataExt::uid(metadata);
    let is_ours = owner == rustix::process::geteuid().as_raw();
    (!is_ours && !home.is_shared()).then_some(owner)
}

#[cfg(not(unix))]
fn another_owner(_: &Home, _: &std::fs::Metadata) -> Option<u32> {
    None
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
