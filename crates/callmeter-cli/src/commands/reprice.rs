//! `callmeter reprice`: the difference first, then the rows, slice by slice, and the way back.
//!
//! A dry run reads one snapshot and writes nothing. A reprice that fails or is killed goes on with `--resume`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{SystemClock, UsdTotal};
use callmeter_store::{Reprice, RepriceQuery, RepricedGroup, Repricer};
use serde_json::json;

use crate::args::RepriceArgs;
use crate::commands::status;
use crate::context::{Context, filter_of, range_text};
use crate::failure::Failure;
use crate::span::day_text;
use crate::{filter, print};

/// How often a slice is tried again before the command gives up.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

const WORDS: [&str; 4] = ["day", "provider", "model", "plan"];
const FIGURES: [&str; 10] = [
    "old_rev",
    "calls",
    "changed",
    "old_cost_usd",
    "new_cost_usd",
    "difference_usd",
    "old_plan_value_usd",
    "new_plan_value_usd",
    "old_unpriced",
    "new_unpriced",
];

pub(crate) fn run(context: &Context, args: &RepriceArgs) -> anyhow::Result<ExitCode> {
    let Some(mut store) = context.store()? else {
        return status::nothing_yet(context);
    };
    if args.list {
        return list(context);
    }
    let closed_until = context
        .settings
        .prices
        .closed_until
        .filter(|_| !args.reopen);
    let query = RepriceQuery {
        filter: filter_of(&args.filter, store.zone(), context.now)?,
        is_all: args.all,
        closed_until,
        book: args.book.as_deref().map(filter::book_of).transpose()?,
        asked_by: asked_by(),
    };
    let about = |groups, closed_calls, reprice| Sheet {
        groups,
        closed_calls,
        closed_until,
        is_all: args.all,
        range: range_text(&query.filter),
        reprice,
    };
    if args.dry_run {
        let kinds = context.reading_options().providers;
        let groups = store.preview_reprice(&query, &kinds)?;
        let closed = store.closed_calls(&query)?;
        return about(groups, closed, None).print(context, args.csv);
    }
    let mut repricer = open(context)?;
    let (reprice, closed) = if args.resume {
        let unfinished = repricer.unfinished()?;
        let nothing =
            || Failure::new("every reprice has come to its end; there is nothing to resume");
        (unfinished.ok_or_else(nothing)?, 0)
    } else if let Some(rev) = args.undo {
        (repricer.begin_undo(rev, closed_until, &query.asked_by)?, 0)
    } else {
        let closed = store.closed_calls(&query)?;
        (repricer.begin(&query)?, closed)
    };
    drop(store);
    finish(&mut repricer, reprice.rev)?;
    let groups = repricer.audit(reprice.rev)?;
    let done = repricer.find(reprice.rev)?.unwrap_or(reprice);
    let mut sheet = about(groups, closed, None);
    sheet.is_all = done.is_all;
    sheet.range = range_text(&done.filter);
    sheet.closed_until = done.closed_until;
    sheet.reprice = Some(done);
    sheet.print(context, args.csv)
}

fn open(context: &Context) -> anyhow::Result<Repricer> {
    let options = context.settings.store_options()?;
    Ok(Repricer::open(
        &context.url,
        options,
        Arc::new(SystemClock),
    )?)
}

/// Goes on to the end; a store that is busy or away for a moment is waited for.
fn finish(repricer: &mut Repricer, rev: u32) -> anyhow::Result<()> {
    let mut tries = 0;
    let mut looked_at = 0;
    loop {
        match repricer.slice(rev) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                tries = 0;
                looked_at += 1;
                if print::shows_progress() && looked_at % 50 == 0 {
                    let line = repricer.find(rev)?;
                    let calls = line.map_or(0, |line| line.looked_at);
                    eprint!("\rrepricing: {} …", print::calls(calls));
                }
            }
            Err(error) if tries < TRIES && error.is_transient() => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                let failure = Failure::new(format!("reprice {rev} was stopped: {error}"))
                    .with_hint("what is done stays done; `callmeter reprice --resume` goes on");
                return Err(failure.into());
            }
        }
    }
}

/// Who asks, for the audit: user and host.
fn asked_by() -> String {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = match (user, host.trim()) {
        (Some(user), "") => user,
        (Some(user), host) => format!("{user}@{host}"),
        (None, "") => "unknown".to_owned(),
        (None, host) => format!("unknown@{host}"),
    };
    callmeter_core::clean_text(&name, 120).0.into_owned()
}

fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let all = open(context)?.list()?;
    if context.json {
        let all: Vec<_> = all.iter().map(line_json).collect();
        print::out(&format!("{}\n", json!({ "v": 1, "reprices": all })))?;
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        print::out("nothing was ever repriced\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = all.iter().map(|line| {
        let what = match line.undoes {
            Some(undone) => format!("takes back {undone}"),
            None if line.is_all => "every call".to_owned(),
            None => "calls without a price".to_owned(),
        };
        let state = match line.ended_at {
            Some(at) => at
                .to_string()
                .get(..19)
                .unwrap_or_default()
                .replace('T', " "),
            None => "not ended".to_owned(),
        };
        vec![
            line.rev.to_string(),
            state,
            line.asked_by.clone(),
            what,
            range_text(&line.filter),
            print::count(line.looked_at),
            print::count(line.changed),
        ]
    });
    let head = [
        "rev",
        "ended (UTC)",
        "by",
        "what",
        "range",
        "calls",
        "changed",
    ];
    print::out(&print::table(&head, 5, rows.collect()))?;
    Ok(ExitCode::SUCCESS)
}

fn line_json(line: &Reprice) -> serde_json::Value {
    let filter = &line.filter;
    json!({
        "rev": line.rev,
        "undoes": line.undoes,
        "all": line.is_all,
        "since": filter.since.map(|at| at.to_string()),
        "until": filter.until.map(|at| at.to_string()),
        "caller": filter.caller, "provider": filter.provider, "model": filter.model,
        "status": filter.status, "project": filter.project, "team": filter.team,
        "closed_until": line.closed_until.map(day_text),
        "asked_by": line.asked_by,
        "began_at": line.began_at.to_string(),
        "ended_at": line.ended_at.map(|at| at.to_string()),
        "calls": line.looked_at,
        "changed": line.changed,
    })
}

/// Sums of groups.
#[derive(Clone, Copy, Default)]
struct Sums {
    calls: u64,
    changed: u64,
    old: UsdTotal,
    new: UsdTotal,
    old_unpriced: u64,
    new_unpriced: u64,
}

impl Sums {
    fn of<'g>(groups: impl Iterator<Item = &'g RepricedGroup>) -> Self {
        let mut sums = Self::default();
        for group in groups {
            sums.calls += group.calls;
            sums.changed += group.changed;
            sums.old = sums.old.plus(group.old_cost);
            sums.new = sums.new.plus(group.new_cost);
            sums.old_unpriced += group.old_unpriced;
            sums.new_unpriced += group.new_unpriced;
        }
        sums
    }

    fn difference(&self) -> UsdTotal {
        UsdTotal::from_pico(self.new.as_pico().saturating_sub(self.old.as_pico()))
    }
}

/// What was, or would be, changed.
struct Sheet {
    groups: Vec<RepricedGroup>,
    closed_calls: u64,
    closed_until: Option<i64>,
    is_all: bool,
    range: String,
    /// The reprice that did it; `None` for a dry run.
    reprice: Option<Reprice>,
}

impl Sheet {
    fn print(&self, context: &Context, csv: bool) -> anyhow::Result<ExitCode> {
        let text = if csv {
            let rows: Vec<_> = self.groups.iter().map(row_json).collect();
            print::csv(&WORDS, &FIGURES, &rows)
        } else if context.json {
            self.json()
        } else {
            self.text(context)
        };
        if self.reprice.is_some() && print::shows_progress() {
            eprint!("\r\u{1b}[K");
        }
        print::out(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn json(&self) -> String {
        let money = Sums::of(self.groups.iter().filter(|group| !group.is_plan));
        let plan = Sums::of(self.groups.iter().filter(|group| group.is_plan));
        let all = Sums::of(self.groups.iter());
        let rows: Vec<_> = self.groups.iter().map(row_json).collect();
        let object = json!({
            "v": 1,
            "dry_run": self.reprice.is_none(),
            "reprice": self.reprice.as_ref().map(line_json),
            "all": self.is_all,
            "closed_until": self.closed_until.map(day_text),
            "closed_calls": self.closed_calls,
            "rows": rows,
            "totals": {
                "calls": all.calls, "changed": all.changed,
                "old_cost_usd": money.old.to_string(), "new_cost_usd": money.new.to_string(),
                "difference_usd": money.difference().to_string(),
                "old_plan_value_usd": plan.old.to_string(), "new_plan_value_usd": plan.new.to_string(),
                "old_unpriced": all.old_unpriced, "new_unpriced": all.new_unpriced,
            },
        });
        format!("{object}\n")
    }

    fn text(&self, context: &Context) -> String {
        let what = match &self.reprice {
            Some(Reprice {
                undoes: Some(rev), ..
            }) => format!("reprice {rev} taken back"),
            _ if self.is_all => "every call".to_owned(),
            _ => "calls without a price".to_owned(),
        };
        let head = match self.range.as_str() {
            "all calls" => what,
            range => format!("{what}, {range}"),
        };
        let mut text = format!(
            "{}\nstore   {}\n\n",
            print::bold(&head, context.color),
            context.url
        );
        let all = Sums::of(self.groups.iter());
        if all.calls == 0 {
            text.push_str("no calls match\n");
        } else {
            text.push_str(&self.table());
        }
        if self.closed_calls > 0
            && let Some(day) = self.closed_until
        {
            text.push_str(&format!(
                "\n{} of days closed until {} left as they are; --reopen takes them in\n",
                print::calls(self.closed_calls),
                day_text(day)
            ));
        }
        text.push('\n');
        text.push_str(&match &self.reprice {
            None => format!(
                "nothing was changed; without --dry-run {} would be looked at\n",
                print::calls(all.calls)
            ),
            Some(done) => {
                let undo = match done.undoes {
                    Some(_) => String::new(),
                    None => format!("; `callmeter reprice --undo {}` takes it back", done.rev),
                };
                format!(
                    "revision {}: {} looked at, {} changed, {} without a price{undo}\n",
                    done.rev,
                    print::calls(all.calls),
                    print::count(all.changed),
                    print::count(all.new_unpriced)
                )
            }
        });
        text
    }

    /// Groups that change, by day and model, and the sums; those that stay as they are in one line.
    fn table(&self) -> String {
        let is_changed =
            |group: &&RepricedGroup| group.changed > 0 || group.old_unpriced != group.new_unpriced;
        let mut by_model: std::collections::BTreeMap<(i64, bool, &str, &str), Sums> =
            std::collections::BTreeMap::new();
        for group in self.groups.iter().filter(is_changed) {
            let key = (
                group.day,
                group.is_plan,
                group.provider.as_str(),
                group.model.as_str(),
            );
            let sums = Sums::of(std::iter::once(group));
            let sum = by_model.entry(key).or_default();
            *sum = sum.plus(&sums);
        }
        let mut rows: Vec<Vec<String>> = by_model
            .iter()
            .map(|((day, is_plan, provider, model), sums)| {
                let plan = if *is_plan { " (plan)" } else { "" };
                let names = [
                    day_text(*day),
                    (*provider).to_owned(),
                    format!("{model}{plan}"),
                ];
                names.into_iter().chain(sums.cells()).collect()
            })
            .collect();
        let plan = Sums::of(self.groups.iter().filter(|group| group.is_plan));
        let money = Sums::of(self.groups.iter().filter(|group| !group.is_plan));
        if rows.len() > 1 || rows.is_empty() {
            let mut total = |name: &str, sums: &Sums| {
                let names = [name.to_owned(), String::new(), String::new()];
                rows.push(names.into_iter().chain(sums.cells()).collect());
            };
            total("total", &money);
            if plan.calls > 0 {
                total("plan usage", &plan);
            }
        }
        let head = [
            "day",
            "provider",
            "model",
            "calls",
            "changed",
            "before",
            "after",
            "difference",
        ];
        let mut text = print::table(&head, 3, rows);
        let unchanged = Sums::of(self.groups.iter().filter(|group| !is_changed(group)));
        if unchanged.calls > 0 {
            text.push_str(&format!(
                "({} cost what they did before; in the sums only)\n",
                print::calls(unchanged.calls)
            ));
        }
        text
    }
}

impl Sums {
    fn plus(&self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            changed: self.changed + other.changed,
            old: self.old.plus(other.old),
            new: self.new.plus(other.new),
            old_unpriced: self.old_unpriced + other.old_unpriced,
            new_unpriced: self.new_unpriced + other.new_unpriced,
        }
    }

    fn cells(&self) -> [String; 5] {
        let cost = |usd: UsdTotal, unpriced: u64| match unpriced {
            0 => usd.to_short(),
            n if n == self.calls => "unpriced".to_owned(),
            _ => usd.to_short() + "*",
        };
        [
            print::count(self.calls),
            print::count(self.changed),
            cost(self.old, self.old_unpriced),
            cost(self.new, self.new_unpriced),
            print::difference(self.difference()),
        ]
    }
}

fn row_json(group: &RepricedGroup) -> serde_json::Map<String, serde_json::Value> {
    let sums = Sums::of(std::iter::once(group));
    // Plan usage is no money: it stands in columns of its own.
    let money = |usd: UsdTotal| (!group.is_plan).then(|| usd.to_string());
    let plan = |usd: UsdTotal| group.is_plan.then(|| usd.to_string());
    print::object(json!({
        "day": day_text(group.day),
        "provider": group.provider,
        "model": group.model,
        "plan": group.is_plan,
        "old_rev": group.old_rev,
        "calls": group.calls,
        "changed": group.changed,
        "old_cost_usd": money(group.old_cost),
        "new_cost_usd": money(group.new_cost),
        "difference_usd": money(sums.difference()),
        "old_plan_value_usd": plan(group.old_cost),
        "new_plan_value_usd": plan(group.new_cost),
        "old_unpriced": group.old_unpriced,
        "new_unpriced": group.new_unpriced,
    }))
}
