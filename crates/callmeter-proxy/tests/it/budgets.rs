//! Hard budgets at the proxy: 429 with a clear body, nothing sent, no row; others pass.

use callmeter::settings::{BudgetSettings, Settings};
use callmeter_core::{Clock, SystemClock};

use crate::http::{Message, Wire, post};
use crate::rig::{Rig, route};
use crate::upstream::{Upstream, send};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

/// A proxy with budgets of 1 USD, each spent: a hard one of a caller, a hard one of a model, a soft one of a team.
async fn rig(upstream: &Upstream) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    let mut budget = |name: &str, change: fn(&mut BudgetSettings)| {
        let mut budget = BudgetSettings::default();
        budget.limit = "1".parse().unwrap();
        budget.is_hard = true;
        change(&mut budget);
        settings.budgets.insert(name.to_owned(), budget);
    };
    budget("night", |budget| {
        budget.caller = Some("night_job".to_owned())
    });
    budget("dear", |budget| budget.model = Some("gpt-5".to_owned()));
    budget("soft", |budget| {
        budget.team = Some("shop".to_owned());
        budget.is_hard = false;
    });
    // As the shipper of the home leaves it.
    let now = SystemClock.now().as_micros();
    let line = |name: &str| {
        format!(
            "{name}\t1000000000000\t{}\t{}\t1500000000000\t\n",
            now - 1,
            now + 3_600_000_000
        )
    };
    let lines: String = ["night", "dear", "soft"].map(line).concat();
    std::fs::write(
        home.path().join("budgets"),
        format!("callmeter budgets 1\n{lines}"),
    )
    .unwrap();
    let url = upstream.url();
    let builder = callmeter::builder().settings(settings);
    let rig = Rig::in_home(
        home,
        builder,
        |config| {
            config
                .routes
                .insert("openai".to_owned(), route([(url, None)]));
        },
        |proxy| proxy,
    )
    .await;
    // The worker reads the file within a second.
    rig.until(|rig| {
        let recorder = rig.recorder.as_ref().unwrap();
        recorder.check_budget("night_job", "any").is_err()
    })
    .await;
    rig
}

async fn ask(rig: &Rig, headers: &[(&str, &str)], model: &str) -> Message {
    let mut wire = Wire::connect(rig.address).await;
    let body = format!("{{\"model\":\"{model}\"}}");
    wire.send(post("/v1/chat/completions", headers, &body))
        .await;
    wire.response("POST").await.unwrap()
}

#[tokio::test]
async fn a_call_beyond_a_hard_budget_is_refused_and_others_pass() {
    let upstream = Upstream::by(|_| vec![send(OK)]).await;
    let rig = rig(&upstream).await;
    for (headers, model, budget) in [
        (
            &[("x-callmeter-caller", "night_job")][..],
            "gpt-4o",
            "night",
        ),
        (&[], "gpt-5", "dear"),
    ] {
        let refused = ask(&rig, headers, model).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.header("x-callmeter-error"), Some("budget_exceeded"));
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3_500..=3_600).contains(&seconds), "{seconds}");
        let text = refused.text();
        assert!(
            text.contains(&format!("the budget {budget} is spent: $1.50 of $1.00")),
            "{text}"
        );
    }
    for headers in [&[("x-callmeter-team", "shop")][..], &[]] {
        assert_eq!(ask(&rig, headers, "gpt-4o").await.status(), 200);
    }
    let rows = rig.rows_at_rest().await;
    assert_eq!(rows.len(), 2, "what was refused is no call");
}
