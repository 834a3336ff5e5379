//! `callmeter prices`, with a store and without.

use crate::support::Place;

const ACME: &str = "name = \"acme\"\nversion = \"2026-11-02\"\n\n[[models]]\nprovider = \"acme\"\n\
                    model = \"acme-preview-1\"\n[[models.periods]]\nrates = { input = \"2\", output = \"8\" }\n";
const CHEAPER: &str = "name = \"new\"\nversion = \"1\"\n[[models]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\n\
                       periods = [{ rates = { input = \"2\" } }]\n[[models]]\nprovider = \"openai\"\n\
                       model = \"o3\"\nperiods = [{ rates = { input = \"0.1\" } }]\n";

fn out(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn prices_are_listed_without_a_store() {
    let place = Place::new();
    insta::assert_snapshot!(place.seen(&[
        "prices",
        "list",
        "--provider",
        "openai",
        "--model",
        "gpt-5-mini",
        "--at",
        "2026-11-20"
    ]));
    let json = out(&place.run(&["prices", "list", "--provider", "google", "--json"]));
    assert!(json.lines().count() > 50);
    for line in json.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&entry["v"], &entry["provider"]),
            (&1.into(), &"gemini".into())
        );
    }
}

#[test]
fn every_price_of_a_model_is_shown_with_where_it_is_from() {
    let place = Place::new();
    insta::assert_snapshot!(place.seen(&["prices", "show", "deepseek/deepseek-v4-pro"]));
    insta::assert_snapshot!(place.seen(&["prices", "show", "openai/gpt5-mini"]));
}

#[test]
fn a_name_is_checked_and_what_may_be_meant_is_said() {
    let place = Place::new();
    place.write("acme.toml", ACME);
    insta::assert_snapshot!(place.seen(&[
        "prices",
        "check",
        "openai/gpt-5-mini-2025-08-07",
        "openai/gpt-5-mni",
        "openai/gpt-image-1",
        "ollama/llama3.1:8b",
        "nobody/x",
        "acme.toml",
    ]));
}

#[test]
fn a_book_with_a_price_far_from_the_built_in_one_can_be_used_and_is_doubted() {
    let place = Place::new();
    place.write("new.toml", CHEAPER);
    let text = out(&place.run(&["prices", "check", "new.toml"]));
    assert!(text.contains("can be used: new 1"), "{text}");
    assert!(
        text.contains("doubt   openai/o3: input from 2 to 0.1: more than 10 times"),
        "{text}"
    );
}

#[test]
fn a_book_with_a_mistake_is_refused_with_the_line_and_the_key() {
    let place = Place::new();
    place.write(
        "acme.toml",
        &ACME.replace("input = \"2\"", "input = \"two\""),
    );
    insta::assert_snapshot!(place.seen(&["prices", "check", "acme.toml"]));
}

#[test]
fn calls_without_a_price_are_listed_and_priced_by_a_book_that_is_used() {
    let place = Place::new().with_calls();
    insta::assert_snapshot!(place.seen(&["prices", "unpriced"]));
    place.write("acme.toml", ACME);
    insta::assert_snapshot!(place.seen(&["prices", "use", "acme.toml"]));
    assert!(out(&place.run(&["prices", "use", "acme.toml"])).contains("already, revision 2"));
    let revisions = out(&place.run(&["prices", "use", "--json"]));
    assert_eq!(revisions.lines().count(), 2, "{revisions}");
    let shown = out(&place.run(&["prices", "show", "acme-preview-1"]));
    assert!(
        shown.contains("acme 2026-11-02, revision 2 of the store, over built-in market"),
        "{shown}"
    );
}

#[test]
fn a_report_adds_the_currency_of_the_store_s_book_each_day_by_its_rate() {
    let place = Place::new().with_calls();
    let rates = r#"{ per_usd = "0.5" }, { from = "2026-11-01", per_usd = "0.9" }"#;
    let later = r#"{ from = "2026-12-01", per_usd = "0.9" }"#;
    let with = |rates| format!("{ACME}[currency]\ncode = \"EUR\"\nrates = [{rates}]\n");
    place.write("acme.toml", &with(rates));
    place.run(&["prices", "use", "acme.toml"]);
    let text = out(&place.run(&["report"]));
    assert!(
        text.contains("\nin EUR   3.15, each day by its rate\n"),
        "{text}"
    );
    let json = out(&place.run(&["report", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["currency"]["cost"], "3.15");
    place.write("acme.toml", &with(later));
    place.run(&["prices", "use", "acme.toml"]);
    let text = out(&place.run(&["report"]));
    assert!(text.contains("$3.50 of days without a rate"), "{text}");
}

#[test]
fn an_import_shows_the_differences_and_takes_them_only_when_told() {
    let place = Place::new().with_calls();
    place.write("new.toml", CHEAPER);
    let import = ["prices", "import", "new.toml", "--effective", "2026-11-25"];
    insta::assert_snapshot!(place.seen(&import));
    let taken = place.seen(&[&import[..], &["--yes"]].concat());
    assert!(taken.starts_with("exit 3\n"), "{taken}");
    assert!(
        taken.contains("taken     1 change into revision 2 of the store's book"),
        "{taken}"
    );
    let list = out(&place.run(&[
        "prices",
        "list",
        "--provider",
        "openai",
        "--model",
        "gpt-4o-2024-05-13",
    ]));
    assert!(list.contains("market+callmeter"), "{list}");
    // A book of the user's own comes above it, and the import stays.
    place.write("acme.toml", ACME);
    place.run(&["prices", "use", "acme.toml"]);
    let shown = out(&place.run(&["prices", "show", "openai/gpt-4o"]));
    assert!(shown.contains("import callmeter"), "{shown}");
}

#[test]
fn an_import_without_a_store_goes_to_a_file() {
    let place = Place::new();
    place.write("new.toml", CHEAPER);
    let refused = place.run(&["prices", "import", "new.toml", "--yes"]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("there is no store yet") && error.contains("--out FILE"),
        "{error}"
    );
    let done = place.run(&[
        "prices",
        "import",
        "new.toml",
        "--accept",
        "--out",
        "book.json",
        "--effective",
        "2026-11-25",
    ]);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let line = br#"{"provider":"openai","model":"o3","at":"2026-11-26T00:00:00Z","usage":{"input_tokens":1000000}}"#;
    let priced = place.fed(&["price", "--jsonl", "--book", "book.json"], line);
    assert!(
        out(&priced).contains("\"cost_usd\":\"0.1\""),
        "{}",
        out(&priced)
    );
}

#[test]
fn what_is_no_file_of_prices_is_said_to_be_none() {
    let place = Place::new();
    place.write("x.json", "{\"a\": 1}");
    insta::assert_snapshot!(place.seen(&["prices", "import", "x.json"]));
    insta::assert_snapshot!(place.seen(&["prices", "check", "gpt-4o"]));
}

#[test]
fn the_licences_of_the_price_lists_are_printed() {
    let text = out(&Place::new().run(&["version", "--licenses"]));
    for part in [
        "Berri AI",
        "Pydantic Services",
        "models.dev",
        "Apache License",
        "Portkey",
    ] {
        assert!(text.contains(part), "{part}");
    }
}
