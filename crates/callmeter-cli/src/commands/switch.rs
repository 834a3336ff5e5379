//! `callmeter off` and `callmeter on`: the kill switch of a home, for running processes and later ones.
//!
//! What is written lies in the home; the flag in each flight file only makes it quick. Without `--all` it is
//! the home of the settings alone, and a few of the others that were found are named; all of them with `--json`.

use std::path::Path;
use std::process::ExitCode;

use callmeter::{Home, Switch};
use callmeter_core::Timestamp;

use crate::args::{OffArgs, SwitchArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::print;
use crate::span;

pub(crate) fn off(context: &Context, args: &OffArgs) -> anyhow::Result<ExitCode> {
    let switch = match &args.for_ {
        None => Switch::Off,
        Some(text) => {
            let micros = span::length(text).ok_or_else(|| {
                Failure::new(format!("--for does not take '{text}'"))
                    .with_hint("write 30m, 1h or 2d")
            })?;
            Switch::OffUntil(context.now.saturating_add_micros(micros))
        }
    };
    throw(context, switch, &args.switch)
}

pub(crate) fn on(context: &Context, args: &SwitchArgs) -> anyhow::Result<ExitCode> {
    throw(context, Switch::On, args)
}

/// What became of one home.
struct Told {
    home: Home,
    processes: usize,
    problems: Vec<String>,
}

fn throw(context: &Context, switch: Switch, args: &SwitchArgs) -> anyhow::Result<ExitCode> {
    let others = other_homes(context.home.path());
    let mut homes = vec![context.home.clone()];
    if args.all {
        homes.extend(others.iter().cloned());
    }
    let told: Vec<Told> = homes.into_iter().map(|home| tell(home, switch)).collect();
    let is_done = told.iter().all(|told| told.problems.is_empty());
    let untouched = if args.all { &[] } else { others.as_slice() };
    if context.json {
        let homes: Vec<_> = told
            .iter()
            .map(|told| {
                serde_json::json!({
                    "home": told.home.path().display().to_string(),
                    "processes": told.processes,
                    "problems": told.problems,
                })
            })
            .collect();
        let untouched: Vec<_> = untouched
            .iter()
            .map(|home| home.path().display().to_string())
            .collect();
        let object = serde_json::json!({
            "v": 1, "recording": word(switch), "until": until(switch).map(|at| at.to_string()),
            "homes": homes, "other_homes": untouched,
        });
        print::out(&format!("{object}\n"))?;
    } else {
        print::out(&shown(context, switch, &told, untouched))?;
    }
    Ok(if is_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(home: Home, switch: Switch) -> Told {
    match home.throw_switch(switch) {
        Ok(thrown) => Told {
            home,
            processes: thrown.processes.len(),
            problems: thrown.untold.iter().map(ToString::to_string).collect(),
        },
        Err(error) => Told {
            problems: vec![format!("its switch cannot be written: {error}")],
            home,
            processes: 0,
        },
    }
}

/// The homes of this machine that can be seen, but one.
fn other_homes(but: &Path) -> Vec<Home> {
    let homes = callmeter::homes();
    let others = homes.iter().filter(|card| card.path != but);
    others.map(callmeter::HomeCard::home).collect()
}

fn shown(context: &Context, switch: Switch, told: &[Told], untouched: &[Home]) -> String {
    let mut text = format!(
        "{}\n",
        print::bold(&format!("recording is {}", in_words(switch)), context.color)
    );
    for told in told {
        let home = told.home.path().display();
        let processes = match told.processes {
            0 => "no process records there now".to_owned(),
            1 => "told 1 running process".to_owned(),
            n => format!("told {n} running processes"),
        };
        text.push_str(&format!("{home}: {processes}\n"));
        for problem in &told.problems {
            text.push_str(&format!("  {problem}\n"));
        }
    }
    if !untouched.is_empty() {
        let names: Vec<String> = untouched
            .iter()
            .map(|home| home.path().display().to_string())
            .collect();
        text.push_str(&format!("not touched: {}\n", print::a_few(&names)));
        text.push_str("hint: --all takes every home of this machine that you may write\n");
    }
    text
}

/// What a switch says, in words.
pub(crate) fn in_words(switch: Switch) -> String {
    match switch {
        Switch::On => "on".to_owned(),
        Switch::OffUntil(until) => format!("off until {until}"),
        _ => "off until `callmeter on`".to_owned(),
    }
}

fn word(switch: Switch) -> &'static str {
    if switch == Switch::On { "on" } else { "off" }
}

fn until(switch: Switch) -> Option<Timestamp> {
    match switch {
        Switch::OffUntil(until) => Some(until),
        _ => None,
    }
}
