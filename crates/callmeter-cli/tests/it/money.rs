//! `reprice`, `what-if`, `savings`, `budget status`, `calls --reported`: what they print and what they leave alone.

use std::sync::Arc;

use callmeter_core::{Billing, CallId, CallRecord, Layer, Sink, Timestamp};
use callmeter_store::{SqliteStore, StoreOptions};

use crate::support::Place;

/// A book that prices what the public one does not know, and gpt-4o at half.
const BOOK: &str = "name = \"own\"\nversion = \"2026-11-02\"\n\
    [[models]]\nprovider = \"acme\"\nmodel = \"acme-preview-1\"\nperiods = [{ rates = { input = \"1\", output = \"2\" } }]\n\
    [[models]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\nperiods = [{ rates = { input = \"1.25\", output = \"5\" } }]\n";

fn place() -> Place {
    let place = Place::new().with_calls();
    place.write("own.toml", BOOK);
    place
}

/// Further calls in the home's store, on 2 November.
fn add(place: &Place, change: impl Fn(usize, &mut CallRecord), count: usize) {
    let start: Timestamp = "2026-11-02T08:00:00Z".parse().unwrap();
    let clock = callmeter_testkit::clock::ManualClock::at(start);
    let mut store =
        SqliteStore::open(&place.store(), StoreOptions::default(), Arc::new(clock)).unwrap();
    let calls: Vec<CallRecord> = (0..count)
        .map(|n| {
            let at = start.saturating_add_micros(i64::try_from(n).unwrap() * 1_000_000);
            let mut record = CallRecord::new(CallId::new(at, n as u64), Layer::Guard, 0);
            record.caller = Some("sales_copy".to_owned());
            record.provider = Some("openai".to_owned());
            record.model = Some("gpt-4o".to_owned());
            record.usage.input_tokens = Some(1_000_000);
            record.usage.output_tokens = Some(100_000);
            change(n, &mut record);
            record
        })
        .collect();
    store.write(&calls).unwrap();
}

/// What the command prints, without the date of the public prices.
fn seen(place: &Place, args: &[&str]) -> String {
    let text = place.seen(args);
    let mut steady = String::new();
    for (at, piece) in text.split("market 20").enumerate() {
        if at == 0 {
            steady.push_str(piece);
        } else {
            steady.push_str("market [date]");
            steady.push_str(piece.get(8..).unwrap_or_default());
        }
    }
    steady
}

#[test]
fn a_reprice_is_seen_before_it_is_done_and_taken_back() {
    let place = place();
    let before = seen(&place, &["report", "--json"]);
    insta::assert_snapshot!(
        "reprice_dry_run",
        seen(&place, &["reprice", "--book", "own.toml", "--dry-run"])
    );
    assert_eq!(seen(&place, &["report", "--json"]), before);
    let unpriced = seen(&place, &["reprice", "--book", "own.toml"]);
    insta::assert_snapshot!("reprice_unpriced", unpriced);
    let report = seen(&place, &["report"]);
    assert!(
        report.contains("unpriced none") && report.contains("own 2026-11-02 (revision 2)"),
        "{report}"
    );
    insta::assert_snapshot!("reprice_all", seen(&place, &["reprice", "--all"]));
    insta::assert_snapshot!("reprice_undo", seen(&place, &["reprice", "--undo", "3"]));
    seen(&place, &["reprice", "--undo", "2"]);
    let list = seen(&place, &["reprice", "--list"]);
    assert!(
        list.contains("takes back 3") && list.contains("calls without a price"),
        "{list}"
    );
    let after = seen(&place, &["report", "--json"]);
    let rows = |text: &str| text.split("\"rows\"").nth(1).unwrap().to_owned();
    assert_eq!(rows(&after), rows(&before));
}

#[test]
fn a_reprice_says_what_it_would_not_do() {
    let place = place();
    for (args, says) in [
        (
            &["reprice", "--undo", "7"][..],
            "the store knows no reprice 7",
        ),
        (&["reprice", "--resume"], "there is nothing to resume"),
        (
            &["reprice", "--book", "none.toml"],
            "cannot read the price book",
        ),
        (&["reprice", "--since", "yesterday"], "is no moment"),
        (&["reprice", "--undo", "1", "--all"], "cannot be used with"),
    ] {
        let text = seen(&place, args);
        assert!(text.contains(says), "{text}");
    }
    let text = seen(&Place::new(), &["reprice"]);
    assert!(text.contains("callmeter::call("), "{text}");
}

#[test]
fn closed_days_are_left_alone_until_they_are_reopened() {
    let place = place();
    add(&place, |_, _| {}, 2);
    place.write(
        "callmeter.toml",
        "[prices]\nclosed_until = \"2026-11-01\"\n",
    );
    let args = ["reprice", "--all", "--book", "own.toml"];
    insta::assert_snapshot!(
        "reprice_closed",
        seen(&place, &[&args[..], &["--dry-run"]].concat())
    );
    let done = seen(&place, &args);
    assert!(done.contains("2 calls looked at, 2 changed"), "{done}");
    let first = seen(&place, &["show", "req-1"]);
    assert!(
        first.contains("cost_usd               3.5\n")
            && first.contains("book_rev               1"),
        "{first}"
    );
    let done = seen(&place, &["reprice", "--all", "--reopen"]);
    assert!(done.contains("5 calls looked at"), "{done}");
    let first = seen(&place, &["show", "req-1"]);
    assert!(first.contains("cost_usd               1.75\n"), "{first}");
}

#[test]
fn a_reprice_speaks_json_and_csv() {
    let place = place();
    let args = ["reprice", "--all", "--dry-run", "--book", "own.toml"];
    let json = place.run(&[&args[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (json["v"].as_u64(), json["dry_run"].as_bool()),
        (Some(1), Some(true))
    );
    let totals = &json["totals"];
    assert_eq!(totals["old_cost_usd"], "3.5");
    assert_eq!(totals["new_cost_usd"], "2.95");
    assert_eq!(totals["difference_usd"], "-0.55");
    insta::assert_snapshot!(
        "reprice_csv",
        seen(&place, &[&args[..], &["--csv"]].concat())
    );
}

#[test]
fn what_if_says_both_figures_and_what_is_in_neither() {
    let place = place();
    add(
        &place,
        |n, record| record.billing = (n == 0).then_some(Billing::Plan),
        2,
    );
    insta::assert_snapshot!(
        "what_if_book",
        seen(&place, &["what-if", "--book", "own.toml"])
    );
    insta::assert_snapshot!(
        "what_if_model",
        seen(
            &place,
            &[
                "what-if",
                "--model",
                "gpt-4o=gpt-4o-mini",
                "--model",
                "llama3.1:8b=openai/gpt-4o-mini"
            ]
        )
    );
    let json = place.run(&["what-if", "--book", "own.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["totals"]["cost_usd"], "7");
    assert_eq!(json["totals"]["what_if_usd"], "4.7");
    assert_eq!(json["totals"]["plan_value_usd"], "3.5");
    insta::assert_snapshot!(
        "what_if_csv",
        seen(&place, &["what-if", "--book", "own.toml", "--csv"])
    );
    for (args, says) in [
        (&["what-if"][..], "hint: give --model A=B"),
        (&["what-if", "--model", "gpt-4o"], "is no pair of models"),
    ] {
        let text = seen(&place, args);
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn prices_of_another_day_are_a_question_and_no_change() {
    let place = Place::new().with_calls();
    place.write(
        "dated.toml",
        "name = \"dated\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\n\
         periods = [{ until = \"2026-06-01T00:00:00Z\", rates = { input = \"5\", output = \"15\" } }, \
         { from = \"2026-06-01T00:00:00Z\", rates = { input = \"2.5\", output = \"10\" } }]\n",
    );
    let what_if = |at: &str| {
        let text = seen(
            &place,
            &[
                "what-if",
                "--book",
                "dated.toml",
                "--prices-at",
                at,
                "--json",
            ],
        );
        text.contains("\"what_if_usd\":\"6.5\"")
    };
    assert!(what_if("2026-05-01"));
    assert!(!what_if("2026-07-01"));
}

#[test]
fn savings_print_their_assumptions() {
    let place = place();
    let args = [
        "savings",
        "--gpu-hour",
        "1.20",
        "--tokens-per-second",
        "900",
    ];
    insta::assert_snapshot!("savings", seen(&place, &args));
    let more = ["--instead-of", "openai/gpt-4o-mini", "--utilisation", "50"];
    insta::assert_snapshot!(
        "savings_instead_of",
        seen(&place, &[&args[..], &more].concat())
    );
    let json = place.run(&[&args[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["by_the_token"]["calls"], 1);
    assert_eq!(json["self_hosted"]["gpu_hours"], "0.031");
    for (option, value, says) in [
        ("--gpu-hour", "0", "is no number above 0"),
        ("--gpu-hour", "cheap", "is no number above 0"),
    ] {
        let text = seen(
            &place,
            &["savings", option, value, "--tokens-per-second", "900"],
        );
        assert!(text.contains(says), "{text}");
    }
    let text = seen(
        &place,
        &[&args[..], &["--instead-of", "nobody/gpt-4o"]].concat(),
    );
    assert!(text.contains("names no provider"), "{text}");
}

#[test]
fn what_a_provider_stated_stands_beside_the_book() {
    let place = Place::new().with_calls();
    add(
        &place,
        |n, record| record.reported_cost = Some(["3", "4"][n].parse().unwrap()),
        2,
    );
    let report = seen(&place, &["report"]);
    let line = report
        .lines()
        .find(|line| line.starts_with("stated"))
        .unwrap();
    assert_eq!(
        line,
        "stated   2 calls, $7.00 by their providers; by the book $7.00, a difference of $0; see `callmeter calls --reported`"
    );
    insta::assert_snapshot!("calls_reported", seen(&place, &["calls", "--reported"]));
    let json = seen(&place, &["report", "--json"]);
    assert!(json.contains(r#""reported":[{"calls":2,"comparable_cost_usd":"7","computed_calls":2,"computed_cost_usd":"7","cost_usd":"7","model":"gpt-4o","provider":"openai"}]"#), "{json}");
}

#[test]
fn plan_usage_is_in_a_column_of_its_own() {
    let place = Place::new().with_calls();
    add(&place, |_, record| record.billing = Some(Billing::Plan), 1);
    insta::assert_snapshot!("report_plan", seen(&place, &["report", "--by", "model"]));
    let calls = seen(&place, &["calls", "--limit", "1"]);
    assert!(calls.contains("$3.50 plan"), "{calls}");
    let json = seen(&place, &["calls", "--limit", "1", "--json"]);
    assert!(
        json.contains(r#""cost_usd":null,"plan_value_usd":"3.5""#),
        "{json}"
    );
}

/// Budgets on the calls of this month, whichever it is.
fn with_budgets() -> Place {
    let place = Place::new().with_calls();
    let now = callmeter_core::Clock::now(&callmeter_core::SystemClock);
    let clock = callmeter_testkit::clock::ManualClock::at(now);
    let mut store =
        SqliteStore::open(&place.store(), StoreOptions::default(), Arc::new(clock)).unwrap();
    let mut record = CallRecord::new(CallId::new(now, 1), Layer::Guard, 0);
    record.caller = Some("sales_copy".to_owned());
    record.provider = Some("openai".to_owned());
    record.model = Some("gpt-4o".to_owned());
    record.usage.input_tokens = Some(1_000_000);
    record.usage.output_tokens = Some(100_000);
    store.write(&[record]).unwrap();
    place
}

#[test]
fn a_budget_is_looked_up_and_an_overspent_one_is_an_exit_code() {
    let place = with_budgets();
    let none = seen(&place, &["budget", "status"]);
    assert!(
        none.contains("hint: write one into callmeter.toml"),
        "{none}"
    );
    place.write(
        "callmeter.toml",
        "[budgets.copy]\ncaller = \"sales_copy\"\nperiod = \"day\"\nlimit = 4\n\
         [budgets.other]\nteam = \"nobody\"\nlimit = 1\n",
    );
    let output = place.run(&["budget", "status"]);
    let text = place.shown(&output);
    assert!(text.starts_with("exit 0"), "{text}");
    let copy = text.lines().find(|line| line.starts_with("copy")).unwrap();
    assert!(
        copy.contains("caller sales_copy") && copy.contains("$3.50") && copy.contains("87 %"),
        "{copy}"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&place.run(&["budget", "status", "--json"]).stdout).unwrap();
    assert_eq!(json["budgets"][0]["spent_usd"], "3.5");
    assert_eq!(json["budgets"][1]["spent_usd"], "0");
    place.write(
        "callmeter.toml",
        "[budgets.copy]\nperiod = \"day\"\nlimit = \"3.50\"\nhard = true\n",
    );
    let text = place.seen(&["budget", "status"]);
    assert!(
        text.starts_with("exit 1") && text.contains("spent, calls are refused"),
        "{text}"
    );
}

#[test]
fn a_threshold_is_told_once_whatever_is_restarted() {
    let place = with_budgets();
    place.write(
        "callmeter.toml",
        "[budgets.copy]\ncaller = \"sales_copy\"\nperiod = \"day\"\nlimit = 5\nthresholds = [50, 70, 90]\n",
    );
    let told = || {
        let text = place.seen(&["ship", "--once"]);
        let told = text
            .lines()
            .filter(|line| line.contains("a budget has reached"));
        told.map(|line| line.split(" spent in").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = told();
    assert_eq!(first.len(), 2, "{first:?}");
    assert!(
        first[0].contains("50 %: $3.50 of $5.00") && first[1].contains("70 %"),
        "{first:?}"
    );
    assert_eq!(told(), Vec::<String>::new());
    // Another limit is another budget.
    place.write(
        "callmeter.toml",
        "[budgets.copy]\ncaller = \"sales_copy\"\nperiod = \"day\"\nlimit = \"3.50\"\nthresholds = [100]\n",
    );
    assert_eq!(told().len(), 1);
    assert_eq!(told(), Vec::<String>::new());
}
