//! `callmeter top`: the calls in flight of every process of this machine that records.
//!
//! Looks into the flight files of all homes that this user may read and changes nothing. On a terminal the
//! picture is drawn anew twice a second until `q`; elsewhere, with `--once` or `--json`, there is one.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use callmeter::{Home, Switch};
use callmeter_core::{CallRecord, Clock, SystemClock, Timestamp};
use callmeter_flight::{FlightError, InFlight};
use comfy_table::{ContentArrangement, Table};

use crate::args::TopArgs;
use crate::commands::switch;
use crate::context::Context;
use crate::print;
use crate::terminal::Screen;

const EVERY: Duration = Duration::from_millis(500);

/// What was seen at one moment.
struct Picture {
    now: Timestamp,
    processes: Vec<InFlight>,
    unreadable: Vec<FlightError>,
}

pub(crate) fn run(context: &Context, args: &TopArgs) -> anyhow::Result<ExitCode> {
    if context.json {
        print::out(&format!("{}\n", Picture::take(context).json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.once {
        print::out(&Picture::take(context).text(context, args.limit, None))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(mut screen) = Screen::take()? else {
        print::out(&Picture::take(context).text(context, args.limit, None))?;
        return Ok(ExitCode::SUCCESS);
    };
    loop {
        let (width, height) = screen.size();
        let limit = args.limit.min(usize::from(height).saturating_sub(6));
        let mut text = Picture::take(context).text(context, limit, Some(width));
        text.push_str("q ends\n");
        screen.draw(&text)?;
        if screen.is_ended_within(EVERY)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Picture {
    fn take(context: &Context) -> Self {
        let mut homes: Vec<Home> = callmeter::homes().iter().map(|card| card.home()).collect();
        if homes.iter().all(|home| home.path() != context.home.path()) {
            homes.push(context.home.clone());
        }
        let mut picture = Self {
            now: SystemClock.now(),
            processes: Vec::new(),
            unreadable: Vec::new(),
        };
        for home in homes {
            let (processes, unreadable) = home.in_flight();
            picture
                .processes
                .extend(processes.into_iter().filter(|process| process.is_alive));
            picture.unreadable.extend(unreadable);
        }
        picture
    }

    /// The calls with their processes, the longest in flight first.
    fn calls(&self) -> Vec<(&InFlight, &CallRecord)> {
        let mut calls: Vec<_> = self
            .processes
            .iter()
            .flat_map(|process| process.calls.iter().map(move |call| (process, call)))
            .collect();
        calls.sort_by_key(|(_, call)| call.call_id);
        calls
    }

    fn text(&self, context: &Context, limit: usize, width: Option<u16>) -> String {
        let calls = self.calls();
        let homes: BTreeSet<&str> = self.processes.iter().map(|p| p.home.as_str()).collect();
        let head = format!(
            "{} in flight, {} that {}, {}",
            print::calls(calls.len() as u64),
            counted(self.processes.len(), "process", "processes"),
            if self.processes.len() == 1 {
                "records"
            } else {
                "record"
            },
            counted(homes.len(), "home", "homes"),
        );
        let mut text = format!("{}\n", print::bold(&head, context.color));
        for process in &self.processes {
            if process.switch != Switch::On {
                text.push_str(&format!(
                    "process {} {}: recording is {}\n",
                    process.pid,
                    process.service,
                    switch::in_words(process.switch)
                ));
            }
        }
        if !calls.is_empty() {
            text.push('\n');
            text.push_str(&self.table(&calls, limit, width));
            if calls.len() > limit {
                let more = calls.len() - limit;
                text.push_str(&format!("… and {} more\n", print::count(more as u64)));
            }
        }
        for error in &self.unreadable {
            text.push_str(&format!("note: {error}\n"));
        }
        text
    }

    fn table(
        &self,
        calls: &[(&InFlight, &CallRecord)],
        limit: usize,
        width: Option<u16>,
    ) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        if let Some(width) = width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        table.set_header([
            "FOR", "PROCESS", "SERVICE", "CALLER", "PROVIDER", "MODEL", "AT",
        ]);
        for (process, call) in calls.iter().take(limit) {
            let lasts = u64::try_from(self.now.micros_since(call.started_at())).unwrap_or(0);
            let text = |text: &Option<String>| print::cut(text.as_deref().unwrap_or("–"), 40);
            table.add_row([
                print::duration_us(lasts),
                process.pid.to_string(),
                print::cut(&process.service, 20),
                text(&call.caller),
                text(&call.provider),
                text(&call.model_requested),
                text(&call.call_site),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        if let Some(column) = table.column_mut(0) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
        table
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }

    fn json(&self) -> serde_json::Value {
        let processes: Vec<_> = self
            .processes
            .iter()
            .map(|process| {
                let calls: Vec<_> = process
                    .calls
                    .iter()
                    .map(|call| {
                        serde_json::json!({
                            "call_id": call.call_id.to_string(),
                            "started_at": call.started_at().to_string(),
                            "caller": call.caller, "provider": call.provider,
                            "model_requested": call.model_requested, "call_site": call.call_site,
                            "team": call.team, "project": call.project,
                        })
                    })
                    .collect();
                serde_json::json!({
                    "pid": process.pid, "service": process.service, "home": process.home,
                    "recording": process.switch == Switch::On,
                    "last_seen": process.last_seen.to_string(), "calls": calls,
                })
            })
            .collect();
        let unreadable: Vec<_> = self.unreadable.iter().map(ToString::to_string).collect();
        serde_json::json!({
            "v": 1, "at": self.now.to_string(), "processes": processes, "unreadable": unreadable,
        })
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
