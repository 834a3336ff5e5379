//! From a guard to a row of the user's own table `ai_calls`.

use callmeter::settings::{Settings, StoreLayout};
use callmeter_store::{LegacyTable, StoreUrl};
use callmeter_testkit::postgres::PostgresServer;

use crate::support::PATIENCE;

#[test]
fn a_guard_makes_a_row_of_the_users_table_and_waits_while_there_is_none() {
    let database = PostgresServer::shared().database();
    let url = StoreUrl::parse(&database.url()).unwrap();
    let mut settings = Settings::default();
    settings.store.url = Some(url.clone());
    settings.store.layout = StoreLayout::AiCalls;
    "legacy".clone_into(&mut settings.prices.book);
    let home = tempfile::tempdir().unwrap();
    let callmeter = callmeter::builder()
        .settings(settings)
        .home(home.path())
        .open()
        .unwrap();
    let mut call = callmeter.call("sales_copy", "gcp_ollama", "hermes3:latest");
    call.tokens(1_200, 340)
        .provider("gemini")
        .model("gemini-2.5-pro")
        .meta("größe", "weiß");
    call.finish();
    // There is no table so far: the call waits in the spool, unharmed.
    database.psql(
        "CREATE TABLE ai_calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           created_at timestamptz NOT NULL DEFAULT now(), caller varchar(64), provider varchar(32), model varchar(128),
           input_tokens int, output_tokens int, duration_ms int, status varchar(16), fallback_to varchar(64),
           cost_usd numeric(10,6), cache_hit bool, rag_hit bool, request_id text, error text, meta jsonb)",
    );
    let mut table = LegacyTable::new(url.postgres().unwrap(), None).unwrap();
    assert!(table.make_side_table().unwrap());
    assert!(callmeter.flush(PATIENCE).is_complete());
    assert_eq!(
        database.psql(
            "SELECT caller, provider, model, input_tokens, output_tokens, status, cost_usd, meta FROM ai_calls"
        ),
        "sales_copy|gemini|gemini-2.5-pro|1200|340|ok|0.004900|{\"größe\": \"weiß\"}"
    );
    let stats = callmeter.stats();
    assert_eq!(
        (stats.conservation.acknowledged, stats.revision_not_applied),
        (1, 0)
    );
}
