//! Budgets as a host asks for them: from memory, in every process of the home, as the store knows them.

use callmeter::settings::{BudgetSettings, Settings};
use callmeter::{BudgetScope, Callmeter};

use crate::support::PATIENCE;

/// Settings with a hard budget of one caller and a soft one of all, of 3 USD a month.
fn settings() -> Settings {
    let mut settings = Settings::default();
    let mut budget = BudgetSettings::default();
    budget.limit = "3".parse().unwrap();
    settings.budgets.insert("all".to_owned(), budget.clone());
    budget.caller = Some("sales_copy".to_owned());
    budget.is_hard = true;
    settings.budgets.insert("copy".to_owned(), budget);
    settings
}

fn open(home: &std::path::Path) -> Callmeter {
    let builder = callmeter::builder().settings(settings()).home(home);
    builder.open().unwrap()
}

fn wait_until_spent(callmeter: &Callmeter) {
    while callmeter.check_budget("rag", "gpt-4o").is_ok() {
        std::thread::yield_now();
    }
}

#[test]
fn a_spent_budget_is_known_to_every_process_of_the_home_and_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let first = open(home.path());
    assert_eq!(first.check_budget("sales_copy", "gpt-4o"), Ok(()));
    let mut call = first.call("sales_copy", "openai", "gpt-4o");
    call.tokens(1_000_000, 100_000);
    call.finish();
    assert!(first.flush(PATIENCE).is_complete());
    drop(first);

    // Two recorders, of which one alone ships and looks up.
    let (second, third) = (open(home.path()), open(home.path()));
    for callmeter in [&second, &third] {
        wait_until_spent(callmeter);
        let hard = callmeter.check_budget("sales_copy", "gpt-4o").unwrap_err();
        assert!(hard.is_hard, "{hard}");
        assert_eq!(hard.budget, "copy");
        assert_eq!(
            (hard.spent.to_string(), hard.limit.to_string()),
            ("3.5".to_owned(), "3".to_owned())
        );
        let soft = callmeter.check_budget("rag", "gpt-4o").unwrap_err();
        assert!(!soft.is_hard && soft.budget == "all");
        let scope = BudgetScope {
            caller: "rag",
            model: "gpt-4o",
            ..BudgetScope::default()
        };
        // A budget that is not hard refuses nothing.
        assert_eq!(callmeter.budgets().refusal(&scope), None);
        assert!(callmeter.budgets().check(&scope).is_err());
        // Recording goes on whatever is spent.
        assert!(
            callmeter
                .call("sales_copy", "openai", "gpt-4o")
                .id()
                .is_some()
        );
    }
}

#[test]
fn without_budgets_every_call_may_be_made() {
    let home = tempfile::tempdir().unwrap();
    let builder = callmeter::builder()
        .settings(Settings::default())
        .home(home.path());
    let callmeter = builder.open().unwrap();
    assert!(callmeter.budgets().is_empty());
    assert_eq!(callmeter.check_budget("sales_copy", "gpt-4o"), Ok(()));
    assert!(!home.path().join("budgets").exists());
}
