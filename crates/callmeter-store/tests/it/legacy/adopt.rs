//! A table is adopted while it is written: no row is lost or doubled, and old SQL gives old answers.

use std::sync::atomic::{AtomicBool, Ordering};

use callmeter_core::{CallId, CallRecord, Clock, Layer, Sink, SystemClock, Usage};
use callmeter_store::{
    Adoption, AdoptionProgress, CallsQuery, Dimension, Filter, Period, ReportQuery, StoreReader,
    Totals,
};
use callmeter_testkit::chaos::{ChaosProxy, Fault};

use super::support::{OLD_INSERT, Place, TABLE, options, postgres, shop_call, write};

/// How many old rows the large test has; `cargo xtask test --full` sets a million.
fn old_row_count() -> u32 {
    std::env::var("TEST_ROWS").map_or(50_000, |rows| rows.parse().unwrap())
}

/// Old rows, made by the server: over ninety days, with every status, some fallbacks, errors and meta.
fn old_rows(place: &Place, rows: u32) {
    place.rows(&format!(
        "INSERT INTO ai_calls (created_at, caller, provider, model, input_tokens, output_tokens, duration_ms, status,
           fallback_to, cost_usd, cache_hit, rag_hit, request_id, error, meta)
         SELECT timestamptz '2026-03-24 00:00:00Z' - interval '90 days' * (({rows} - n)::float8 / {rows}),
           'caller' || n % 34, (ARRAY['gemini', 'claude', 'gcp_ollama'])[1 + n % 3],
           (ARRAY['gemini-2.5-pro', 'claude-haiku-4-5', 'llama3.1:8b'])[1 + n % 3], n % 9000, n % 700,
           (n::bigint * 7919) % 61000, (ARRAY['ok', 'ok', 'ok', 'error', 'fallback'])[1 + n % 5],
           CASE n % 5 WHEN 4 THEN 'gemini_backup' END, ((n::bigint * 31) % 40000)::numeric / 1000000, n % 7 = 0, n % 11 = 0,
           CASE WHEN n % 2 = 0 THEN 'r' || n END, CASE n % 5 WHEN 3 THEN 'ValueError: MARKER ' || n END,
           CASE n % 4 WHEN 0 THEN '{{\"prompt_hash\": \"ba7816bf8f01\", \"prompt\": \"MARKER\"}}' ELSE '{{}}' END::jsonb
         FROM generate_series(1, {rows}) n"
    ));
}

/// A report that a user wrote long ago, over the rows that were there then.
const OLD_SQL: &str = "SELECT md5(string_agg(r::text, E'\\n' ORDER BY r)) FROM (
    SELECT caller, model, status, date_trunc('day', created_at AT TIME ZONE 'UTC') AS day, count(*), sum(input_tokens),
           sum(cost_usd), max(duration_ms), count(DISTINCT request_id), min(error), bool_or(cache_hit)
    FROM ai_calls WHERE id <= LAST GROUP BY 1, 2, 3, 4) r";

fn old_sql(place: &Place, last: &str) -> String {
    place.rows(&OLD_SQL.replace("LAST", last))
}

fn adoption_at(place: &Place, url: &str) -> Adoption {
    let url = postgres(url);
    Adoption::new(
        url.postgres().unwrap(),
        options(),
        None,
        place.clock.clone(),
    )
    .unwrap()
}

fn adoption(place: &Place) -> Adoption {
    adoption_at(place, &place.url())
}

/// Nothing is lost, doubled or left, and every figure agrees.
fn assert_whole(place: &Place) {
    assert_eq!(
        place.rows(
            "SELECT count(*) FILTER (WHERE callmeter_lo IS NULL), count(*) - count(DISTINCT (callmeter_hi, callmeter_lo))
             FROM ai_calls"
        ),
        "0|0"
    );
    assert_eq!(
        place.rows(
            "SELECT (SELECT count(*) FROM ai_calls) - (SELECT count(*) FROM callmeter.calls),
                    (SELECT count(*) FROM ai_calls t JOIN callmeter.calls c ON c.hi = callmeter_hi AND c.lo = callmeter_lo)
                      - (SELECT count(*) FROM ai_calls),
                    (SELECT sum(n) FROM callmeter.roll_day) - (SELECT count(*) FROM ai_calls),
                    (SELECT sum(n) FROM callmeter.roll_hour) - (SELECT count(*) FROM ai_calls),
                    (SELECT sum(input_tokens) FROM callmeter.roll_day) - (SELECT sum(input_tokens) FROM ai_calls),
                    round((SELECT sum(cost_microusd::numeric * 1000000 + cost_picousd) / 1000000000000 FROM callmeter.roll_day)
                      - (SELECT sum(cost_usd) FROM ai_calls), 6)"
        ),
        "0|0|0|0|0|0.000000"
    );
}

/// The replaced module at work: a row a transaction, until the table `stop` has a row. Says how many.
fn old_writer(place: &Place) {
    place.rows(&format!(
        "DO $$ DECLARE n int := 0; BEGIN LOOP
           {OLD_INSERT} VALUES ('old_writer', 'gemini', 'gemini-2.5-pro', 10, 5, 20, 'ok', NULL, 0.000063, false, false,
             'o' || n, NULL, '{{}}');
           n := n + 1;
           INSERT INTO written SELECT n;
           COMMIT;
           EXIT WHEN EXISTS (SELECT FROM stop);
           PERFORM pg_sleep(0.002);
         END LOOP; END $$"
    ));
}

#[test]
fn a_table_is_adopted_while_both_modules_write_it() {
    let place = Place::new();
    let old = old_row_count();
    old_rows(&place, old);
    // The replaced module writes by the server's clock.
    place.clock.jump_to(SystemClock.now());
    place.rows("CREATE TABLE stop (x int); CREATE TABLE written (n int)");
    let before = old_sql(&place, &old.to_string());
    let is_over = AtomicBool::new(false);
    let mut new = 0_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| old_writer(&place));
        let writer = scope.spawn(|| {
            let mut store = place.store();
            let mut written = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                let calls: Vec<_> = (0..20)
                    .map(|n| shop_call((written as i64 + n) * 50, written + n as u64))
                    .collect();
                while let Err(error) = store.write(&calls) {
                    assert_eq!(error.kind(), callmeter_core::SinkErrorKind::Busy, "{error}");
                }
                written += 20;
                // What was written a while ago is learnt more of: its row is to be taken over again.
                let mut later = shop_call((written as i64 - 20) * 50, written - 20);
                later.layer = Layer::Proxy;
                later.request_id = Some("learnt later".to_owned());
                let _ = store.write(&[later]);
                // Its pace: with the replaced module's some five hundred rows a second.
                std::thread::park_timeout(std::time::Duration::from_millis(80));
            }
            written
        });
        let mut adoption = adoption(&place);
        let mut batches = 0;
        let adopted = adoption
            .run(|progress| batches += u32::from(matches!(progress, AdoptionProgress::Batch(_))))
            .unwrap();
        assert!(adopted.rows >= u64::from(old) && adopted.skipped.is_empty());
        assert!(u64::from(batches) >= u64::from(old) / 1_000);
        is_over.store(true, Ordering::SeqCst);
        place.rows("INSERT INTO stop VALUES (1)");
        new = writer.join().unwrap();
    });
    adoption(&place).run(|_| {}).unwrap();
    assert_whole(&place);
    assert_eq!(
        place.rows("SELECT count(*) FROM ai_calls"),
        place.rows(&format!(
            "SELECT {old} + {new} + (SELECT max(n) FROM written)"
        ))
    );
    assert_eq!(old_sql(&place, &old.to_string()), before);
    assert_eq!(
        place.rows("SELECT count(*) FROM ai_calls WHERE request_id = 'learnt later'"),
        (new / 20).to_string()
    );
    let status = adoption(&place).status().unwrap();
    assert!(status.is_finished && status.waiting == 0);
    assert_eq!(
        status.adopted.to_string(),
        place.rows("SELECT adopted FROM callmeter.adoption")
    );
    // Neither the text of an error nor a prompt went along; a measure of it did.
    assert_eq!(
        place.rows(
            "SELECT count(*) FROM callmeter.calls WHERE position('MARKER'::bytea IN ext) > 0"
        ),
        "0"
    );
    assert_eq!(
        place.rows("SELECT count(*) > 0 FROM callmeter.calls WHERE position('ba7816bf8f01'::bytea IN ext) > 0"),
        "t"
    );
}

/// What reports can say of a row of the table.
fn comparable(
    rows: Vec<callmeter_store::ReportRow>,
) -> Vec<(Option<i64>, Vec<Option<String>>, Totals)> {
    let row = |row: callmeter_store::ReportRow| (row.period_start, row.key, row.totals);
    rows.into_iter().map(row).collect()
}

#[test]
fn reports_and_ids_are_the_same_before_and_after() {
    let place = Place::new();
    old_rows(&place, 3_000);
    let query = ReportQuery {
        filter: Filter::default(),
        period: Period::Day,
        by: vec![
            Dimension::Caller,
            Dimension::Model,
            Dimension::Status,
            Dimension::FallbackTo,
        ],
        zone: None,
    };
    let list = CallsQuery {
        filter: Filter::default(),
        before: None,
        limit: 5_000,
    };
    let ask = || {
        let mut reader = StoreReader::open_as(&postgres(&place.url()), &options()).unwrap();
        let is_whole = matches!(reader, StoreReader::Postgres(_));
        let ids: Vec<CallId> = reader
            .calls(&list)
            .unwrap()
            .iter()
            .map(|call| call.record.call_id)
            .collect();
        (comparable(reader.report(&query).unwrap()), ids, is_whole)
    };
    let (report, ids, is_whole) = ask();
    assert!(!is_whole && ids.len() == 3_000);
    adoption(&place).run(|_| {}).unwrap();
    assert_eq!(ask(), (report, ids, true));
    // A row that came since is read where it is, until it is taken over as well.
    place.rows(&format!(
        "{OLD_INSERT} VALUES ('late', 'gemini', 'gemini-2.5-pro', 1, 2, 3, 'ok', NULL, 0.5, false, false, NULL, NULL, '{{}}')"
    ));
    let (_, ids, is_whole) = ask();
    assert!(!is_whole && ids.len() == 3_001);
}

#[test]
fn cut_anywhere_it_goes_on_where_it_was() {
    let place = Place::new();
    old_rows(&place, 3_000);
    write(&mut place.store(), &[shop_call(0, 1), shop_call(1, 2)]);
    let proxy = ChaosProxy::to(place.database.server().address());
    let url = place.database.url_by(proxy.address());
    let mut failures = 0;
    let mut after = 40_usize;
    loop {
        // Each of its connections in turn, a little later each time: within every step and batch.
        proxy.fault(Fault::CutAfter(after));
        after = after * 5 / 4 + 13;
        let mut adoption = adoption_at(&place, &url);
        adoption.set_batch_rows(250);
        let run = adoption.run(|_| {});
        let (marked, stored, counted) = (
            "SELECT count(*) FROM ai_calls WHERE callmeter_lo IS NOT NULL",
            "SELECT count(*) FROM callmeter.calls",
            "SELECT coalesce(max(adopted), 0) FROM callmeter.adoption",
        );
        if place.rows("SELECT to_regclass('callmeter.adoption') IS NOT NULL AND EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = 'ai_calls'::regclass AND attname = 'callmeter_lo')") == "t"
        {
            let marked = place.rows(marked);
            assert_eq!((&place.rows(stored), &place.rows(counted)), (&marked, &marked));
        }
        match run {
            Ok(_) if failures > 12 => break,
            Ok(_) => place.rows("UPDATE ai_calls SET callmeter_hi = callmeter_hi WHERE false"),
            Err(error) => {
                failures += 1;
                assert!(!error.to_string().contains("callmeter@"), "{error}");
                String::new()
            }
        };
        assert!(after < 3_000_000, "{failures}");
    }
    assert_whole(&place);
}

#[test]
fn an_index_that_a_killed_run_left_unfinished_is_made_anew() {
    let place = Place::new();
    old_rows(&place, 500);
    adoption(&place).run(|_| {}).unwrap();
    place.rows(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'callmeter_pending'::regclass",
    );
    let plan = adoption(&place).plan().unwrap();
    let undone: Vec<_> = plan.steps.iter().filter(|step| !step.is_done).collect();
    assert_eq!(undone.len(), 1, "{undone:?}");
    adoption(&place).run(|_| {}).unwrap();
    assert_eq!(
        place.rows(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'callmeter_pending'::regclass"
        ),
        "t"
    );
}

#[test]
fn the_plan_changes_nothing_and_says_what_would_be_done() {
    let place = Place::new();
    old_rows(&place, 2_500);
    write(&mut place.store(), &[shop_call(0, 1)]);
    place.rows("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
                CREATE TRIGGER touched BEFORE UPDATE ON ai_calls FOR EACH ROW EXECUTE FUNCTION touch()");
    let catalogue =
        "SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid) FROM pg_class WHERE oid >= 16384";
    let before = place.rows(catalogue);
    let plan = adoption(&place).plan().unwrap();
    assert_eq!(place.rows(catalogue), before);
    assert_eq!(
        (
            plan.rows,
            plan.waiting,
            plan.known,
            plan.batches,
            plan.batch_rows
        ),
        (2_501, 2_501, 1, 3, 1_000)
    );
    assert_eq!(
        plan.cost_usd,
        place.rows("SELECT sum(cost_usd) FROM ai_calls")
    );
    let done: Vec<bool> = plan.steps.iter().map(|step| step.is_done).collect();
    assert_eq!(done, [false, true, false, false, false, false, false]);
    assert!(
        plan.steps[2]
            .sql
            .as_deref()
            .unwrap()
            .starts_with("ALTER TABLE public.ai_calls ADD COLUMN")
    );
    assert!(
        plan.warnings[0].contains("the trigger touched runs for every row"),
        "{plan:?}"
    );
    adoption(&place).run(|_| {}).unwrap();
    let plan = adoption(&place).plan().unwrap();
    assert!(plan.steps.iter().all(|step| step.is_done) && plan.waiting == 0);
}

#[test]
fn what_cannot_be_adopted_is_told_before_anything_is_changed() {
    let complaint = |place: &Place, url: &str| {
        let before = place.rows("SELECT count(*) FROM pg_class");
        let error = adoption_at(place, url).run(|_| {}).unwrap_err();
        assert_eq!(
            place.rows("SELECT count(*) FROM pg_class"),
            before,
            "{error}"
        );
        let told = format!("{error} {error:?} {:?}", error.hint());
        assert!(!told.contains("hunter2"), "{told}");
        error.to_string()
    };
    let place = Place::of("SELECT 1");
    assert!(complaint(&place, &place.url()).contains("has no table ai_calls"));
    let place = Place::of(&format!("{TABLE}; ALTER TABLE ai_calls DROP meta"));
    assert!(complaint(&place, &place.url()).contains("column meta is missing"));
    let place = Place::new();
    let url = place.role("GRANT SELECT, INSERT, UPDATE ON ai_calls TO ROLE; GRANT USAGE ON SEQUENCE ai_calls_id_seq TO ROLE");
    assert!(complaint(&place, &url).contains("this role does not own the table"));
    place.rows("ALTER TABLE ai_calls ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON ai_calls USING (false)");
    assert!(complaint(&place, &url).contains("row level security hides rows"));
}

#[test]
fn writers_go_on_while_somebody_else_has_the_table() {
    let place = Place::new();
    place.clock.jump_to(SystemClock.now());
    old_rows(&place, 300);
    place.rows("CREATE TABLE stop (x int)");
    std::thread::scope(|scope| {
        // A long report: it keeps the table from being altered, and reads until it is told to stop.
        scope.spawn(|| {
            place.rows(
                "BEGIN; SELECT count(*) FROM ai_calls; CREATE TABLE begun (x int); COMMIT AND CHAIN; SELECT count(*) FROM ai_calls;
                 DO $$ BEGIN LOOP EXIT WHEN EXISTS (SELECT FROM stop); PERFORM pg_sleep(0.005); END LOOP; END $$; COMMIT",
            );
        });
        while place.rows(
            "SELECT count(*) FROM pg_locks l WHERE l.relation = 'ai_calls'::regclass AND l.granted
                          AND l.pid <> pg_backend_pid() AND to_regclass('begun') IS NOT NULL",
        ) == "0"
        {}
        let mut waited = 0;
        adoption(&place)
            .run(|progress| {
                if let AdoptionProgress::Waiting(_) = progress {
                    waited += 1;
                    place.rows(&format!(
                        "{OLD_INSERT} VALUES ('meanwhile', 'gemini', 'gemini-2.5-pro', 1, 2, 3, 'ok', NULL, 0.5, false, false,
                           NULL, NULL, '{{}}'); INSERT INTO stop VALUES (1)"
                    ));
                }
            })
            .unwrap();
        assert!(waited > 0);
    });
    assert_whole(&place);
    assert_eq!(
        place.rows("SELECT count(*) FROM ai_calls"),
        (300 + 1).to_string()
    );
}

#[test]
fn a_sink_of_an_adopted_table_takes_over_what_is_added_and_what_is_learnt() {
    let place = Place::new();
    place.clock.jump_to(SystemClock.now());
    old_rows(&place, 100);
    let mut store = place.store();
    write(&mut store, &[shop_call(0, 1)]);
    adoption(&place).run(|_| {}).unwrap();
    assert_whole(&place);
    // The sink was opened before: it sees by itself that the table was adopted.
    place.rows(&format!(
        "{OLD_INSERT} VALUES ('late', 'gemini', 'gemini-2.5-pro', 1, 2, 3, 'ok', NULL, 0.5, false, false, NULL, NULL, '{{}}')"
    ));
    let mut learnt = shop_call(0, 1);
    learnt.rev = 1;
    learnt.usage = Usage::of(2_000_000_u64, 0_u64);
    write(&mut store, &[shop_call(1, 2), learnt]);
    assert_whole(&place);
    assert_eq!(
        place.rows("SELECT count(*), sum(input_tokens) FILTER (WHERE input_tokens >= 2000000) FROM callmeter.calls"),
        "103|2000000"
    );
}

#[test]
fn a_role_without_rights_on_the_schema_goes_on_writing_and_the_next_run_takes_its_rows_over() {
    let place = Place::new();
    let url = place.role(
        "GRANT SELECT, INSERT, UPDATE ON ai_calls TO ROLE; GRANT USAGE ON SEQUENCE ai_calls_id_seq TO ROLE;
         GRANT SELECT, INSERT, DELETE ON callmeter_ai_calls TO ROLE",
    );
    let mut store = place.try_store(&url, options()).unwrap();
    write(&mut store, &[shop_call(0, 1)]);
    adoption(&place).run(|_| {}).unwrap();
    let call: CallRecord = shop_call(1, 2);
    write(&mut store, std::slice::from_ref(&call));
    let status = adoption(&place).status().unwrap();
    assert_eq!((status.adopted, status.waiting), (1, 1));
    assert!(
        adoption(&place).plan().unwrap().warnings[0]
            .contains("writes the table: what it adds is taken over by the next")
    );
    adoption(&place).run(|_| {}).unwrap();
    assert_whole(&place);
    // What it learns of a call that was taken over is taken over too.
    let mut later = call;
    later.rev = 1;
    later.usage = Usage::of(7_u64, 0_u64);
    write(&mut store, &[later]);
    adoption(&place).run(|_| {}).unwrap();
    assert_whole(&place);
}

#[test]
fn other_ids_and_a_partitioned_table_are_adopted_alike() {
    for ddl in [
        TABLE.replace("id bigserial PRIMARY KEY", "uid uuid PRIMARY KEY DEFAULT gen_random_uuid()"),
        TABLE
            .replace("id bigserial PRIMARY KEY", "id bigint GENERATED ALWAYS AS IDENTITY")
            .replace(");\nCREATE INDEX ai_calls_by_time", ") PARTITION BY RANGE (created_at);\nCREATE INDEX ai_calls_by_time")
            + "; CREATE TABLE ai_calls_old PARTITION OF ai_calls FOR VALUES FROM ('2025-01-01') TO ('2026-02-01');
               CREATE TABLE ai_calls_new PARTITION OF ai_calls DEFAULT",
    ] {
        let place = Place::of(&ddl);
        old_rows(&place, 1_200);
        let mut adoption = adoption(&place);
        adoption.set_batch_rows(500);
        adoption.run(|_| {}).unwrap();
        assert_whole(&place);
        write(&mut place.store(), &[shop_call(0, 1)]);
        assert_whole(&place);
    }
}

#[test]
fn rows_of_any_age_are_taken_over() {
    let place = Place::new();
    place.rows(
        "INSERT INTO ai_calls (created_at, caller, provider, model) VALUES
           ('2019-05-01', 'ancient', 'gemini', 'gemini-2.5-pro'), ('1970-01-01', 'epoch', 'gemini', 'x')",
    );
    let adopted = adoption(&place).run(|_| {}).unwrap();
    assert_eq!((adopted.rows, adopted.refused), (2, 0));
    assert_whole(&place);
}
