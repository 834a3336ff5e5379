//! The command on a table `ai_calls`: looked at, made ready, adopted, killed and started again.
#![cfg(unix)]

use callmeter_testkit::postgres::{Database, PostgresServer};

use crate::support::Place;

const TABLE: &str = "CREATE TABLE ai_calls (
  id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), caller varchar(64) NOT NULL,
  provider varchar(32) NOT NULL, model varchar(128) NOT NULL, input_tokens integer NOT NULL DEFAULT 0,
  output_tokens integer NOT NULL DEFAULT 0, duration_ms integer NOT NULL DEFAULT 0,
  status varchar(16) NOT NULL DEFAULT 'ok', fallback_to varchar(64), cost_usd numeric(10,6) NOT NULL DEFAULT 0,
  cache_hit boolean NOT NULL DEFAULT false, rag_hit boolean NOT NULL DEFAULT false, request_id varchar(64), error text,
  meta jsonb NOT NULL DEFAULT '{}')";

/// A place whose settings name a database with a table of so many old rows.
fn with_rows(rows: u32) -> (Place, Database<'static>) {
    let database = PostgresServer::shared().database();
    database.psql(&format!(
        "{TABLE}; INSERT INTO ai_calls (created_at, caller, provider, model, input_tokens, output_tokens, duration_ms,
           status, cost_usd, request_id)
         SELECT timestamptz '2026-03-24 12:00Z' + n * interval '1 minute', 'caller' || n % 3, 'gemini', 'gemini-2.5-pro',
           1000, 100, 850, CASE WHEN n % 10 = 0 THEN 'error' ELSE 'ok' END, 0.00225, 'r' || n
         FROM generate_series(1, {rows}) n"
    ));
    let place = Place::new();
    place.configure(&format!(
        "[store]\nurl = \"{}\"\nlayout = \"ai_calls\"\n",
        database.url()
    ));
    (place, database)
}

#[test]
fn a_table_is_looked_at_before_anything_is_made() {
    let (place, _database) = with_rows(30);
    let seen = place.seen(&["report", "daily", "--by", "caller,status"]);
    assert!(seen.contains("30") && seen.contains("caller2"), "{seen}");
    let seen = place.seen(&["calls", "--limit", "2"]);
    assert!(
        seen.contains("caller0") && seen.contains("850 ms"),
        "{seen}"
    );
    let seen = place.seen(&["show", "r7"]);
    assert!(seen.contains("ai_calls/7"), "{seen}");
    let seen = place.seen(&["status"]);
    assert!(
        seen.contains("adoption  not begun, 30 rows in public.ai_calls"),
        "{seen}"
    );
    let seen = place.seen(&["doctor"]);
    assert!(
        seen.contains("has no table public.callmeter_ai_calls beside it"),
        "{seen}"
    );
    assert!(seen.contains("callmeter migrate print"), "{seen}");
    let seen = place.seen(&["migrate", "print", "--role", "shop"]);
    assert!(
        seen.contains("CREATE TABLE IF NOT EXISTS public.callmeter_ai_calls")
            && seen.contains("GRANT SELECT, INSERT, DELETE ON public.callmeter_ai_calls TO shop;"),
        "{seen}"
    );
    assert!(place.seen(&["migrate"]).contains("side table made"));
    assert!(place.seen(&["migrate"]).contains("as they should be"));
    let seen = place.seen(&["doctor"]);
    assert!(seen.contains("ai_calls can be written as it is"), "{seen}");
}

#[test]
fn an_adoption_is_planned_killed_at_any_moment_and_comes_to_its_end() {
    let (place, database) = with_rows(6_000);
    let plan = place.seen(&["migrate", "adopt", "--batch-rows", "50"]);
    assert!(
        plan.contains("6,000 rows in about 120 batches of 50")
            && plan.contains("nothing was changed"),
        "{plan}"
    );
    let adopted = "SELECT CASE WHEN to_regclass('callmeter.adoption') IS NULL THEN -1 ELSE 0 END";
    for least in [0, 700, 2_000, 3_500] {
        let mut child = place
            .command(&["migrate", "adopt", "--apply", "--batch-rows", "50"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // As far as that, then as kill -9 finds it.
        loop {
            let is_made = database.psql(adopted) == "0";
            let rows: i64 = if is_made {
                database
                    .psql("SELECT coalesce(max(adopted), 0) FROM callmeter.adoption")
                    .parse()
                    .unwrap()
            } else {
                -1
            };
            if rows >= least || child.try_wait().unwrap().is_some() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let status = place.seen(&["status"]);
        assert!(status.contains("adoption"), "{status}");
    }
    let done = place.seen(&["migrate", "adopt", "--apply"]);
    assert!(
        done.contains("adoption  done, 6,000 rows taken over"),
        "{done}"
    );
    assert_eq!(
        database.psql(
            "SELECT count(*), count(DISTINCT (callmeter_hi, callmeter_lo)), count(c.hi), (SELECT sum(n) FROM callmeter.roll_day),
                    (SELECT count(*) FROM callmeter.calls)
             FROM ai_calls LEFT JOIN callmeter.calls c ON c.hi = callmeter_hi AND c.lo = callmeter_lo"
        ),
        "6000|6000|6000|6000|6000"
    );
    // The figures are those of the table, to the last digit.
    let report = place.seen(&["report", "--json"]);
    assert!(report.contains("\"cost_usd\":\"13.5\""), "{report}");
    let status = place.seen(&["status", "--json"]);
    assert!(
        status.contains(r#""adoption":{"adopted":6000,"begun":true,"finished":true,"table":"public.ai_calls","waiting":0}"#),
        "{status}"
    );
    let status = place.seen(&["migrate", "status"]);
    assert!(status.contains("done, 6,000 rows taken over"), "{status}");
    let again = place.seen(&["migrate", "adopt"]);
    assert!(again.contains("0 rows in about 0 batches"), "{again}");
}

#[test]
fn the_layout_is_named_where_it_is_missing_or_cannot_be() {
    let (place, database) = with_rows(1);
    let seen = place.seen(&["migrate", "adopt", "--store", "sqlite:x.db"]);
    assert!(
        seen.contains("an embedded store makes and changes itself"),
        "{seen}"
    );
    let seen = place.seen(&["report", "--store", "sqlite:x.db"]);
    assert!(
        seen.contains("store.layout is ai_calls, a table on PostgreSQL"),
        "{seen}"
    );
    place.configure(&format!("[store]\nurl = \"{}\"\n", database.url()));
    let seen = place.seen(&["migrate", "adopt"]);
    assert!(seen.contains("in: store.layout"), "{seen}");
}

#[test]
fn what_if_of_a_table_as_it_is_writes_nothing_and_needs_a_right_to_select() {
    let (place, database) = with_rows(90);
    database.psql(
        "INSERT INTO ai_calls (created_at, caller, provider, model, input_tokens, output_tokens, cost_usd)
         SELECT timestamptz '2026-03-25 12:00Z', 'copy', 'acme', 'acme-' || n % 3, 100, 10, 0 FROM generate_series(1, 12) n",
    );
    let reads = format!("reads_{}", database.name());
    database.psql(&format!(
        "CREATE ROLE {reads} LOGIN; GRANT USAGE ON SCHEMA public TO {reads}; GRANT SELECT ON ai_calls TO {reads}"
    ));
    let url = database.url().replace("callmeter@", &format!("{reads}@"));
    let state = || {
        database.psql(
            "SELECT (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM ai_calls t),
                    (SELECT count(*) FROM pg_class WHERE relnamespace NOT IN
                       (SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_|information_schema)'))",
        )
    };
    let before = state();
    let seen = place.seen(&["what-if", "--book", "market", "--store", &url]);
    assert!(seen.starts_with("exit 0"), "{seen}");
    // 90 calls of 1,000 and 100 tokens: 0.00225 each by the table, 0.00225 by the catalogue as well.
    assert!(
        seen.contains("$0.2025 by your table, $0.2025 by the catalogue"),
        "{seen}"
    );
    assert!(seen.contains("; 12 calls to 3 models not in it"), "{seen}");
    let seen = place.seen(&[
        "what-if",
        "--model",
        "gemini-2.5-pro=gemini-2.5-flash",
        "--book",
        "market",
        "--store",
        &url,
    ]);
    assert!(
        seen.contains("$0.2025 by your table, $0.04950 with gemini-2.5-pro as gemini-2.5-flash, by the catalogue (market"),
        "{seen}"
    );
    let seen = place.seen(&[
        "savings",
        "--gpu-hour",
        "1.2",
        "--tokens-per-second",
        "900",
        "--store",
        &url,
    ]);
    assert!(seen.contains("paid by the token: 102 calls"), "{seen}");
    let seen = place.seen(&["reprice", "--store", &url]);
    assert!(
        seen.contains("is a table ai_calls") && seen.contains("hint: `callmeter what-if`"),
        "{seen}"
    );
    assert_eq!(state(), before);
}
