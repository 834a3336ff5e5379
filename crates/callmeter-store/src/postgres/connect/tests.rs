//! Sessions against a real server: what breaks is named, nothing secret is said, and the next one works.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use callmeter_core::SinkErrorKind;
use callmeter_testkit::chaos::{ChaosProxy, Fault, Mode};
use callmeter_testkit::postgres::{Options, PostgresServer};

use super::{Access, Limits, Session, Target, int8, text};
use crate::{ServerError, StoreError, StoreUrl};

fn session(url: &str) -> Session {
    let url = StoreUrl::parse(url).unwrap();
    Session::new(Target::of(url.postgres().unwrap(), &|_| None).unwrap()).unwrap()
}

fn one(session: &mut Session) -> Result<i64, StoreError> {
    session.transaction(Access::Write, |tx| {
        Ok(tx.query("SELECT $1 + 1", &[int8(&41_i64)])?[0].get(0))
    })
}

fn server_error(error: StoreError) -> ServerError {
    match error {
        StoreError::Server(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_statement_needs_no_preparing_and_a_failed_transaction_leaves_nothing() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database.url());
    database.psql("CREATE TABLE t (n bigint)");
    assert_eq!(one(&mut session).unwrap(), 42);
    let failed = session.transaction(Access::Write, |tx| {
        tx.execute("INSERT INTO t VALUES ($1)", &[int8(&1_i64)])?;
        Err::<(), _>(StoreError::Overflow)
    });
    assert!(failed.is_err());
    session
        .transaction(Access::Write, |tx| {
            Ok(tx.execute("INSERT INTO t VALUES ($1)", &[int8(&2_i64)])?)
        })
        .unwrap();
    assert_eq!(database.psql("SELECT n FROM t"), "2");
    let kept = database.psql("SELECT count(*) FROM pg_prepared_statements");
    assert_eq!(kept, "0");
}

#[test]
fn a_commit_is_durable_whatever_the_server_s_default() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database.url());
    let setting = |session: &mut Session| {
        session
            .transaction(Access::Write, |tx| {
                let rows = tx.query("SELECT current_setting('synchronous_commit')", &[])?;
                Ok(rows[0].get::<_, String>(0))
            })
            .unwrap()
    };
    // The test's server has it off.
    assert_eq!(setting(&mut session), "on");
    let name = database.name();
    database.psql(&format!(
        "ALTER DATABASE {name} SET synchronous_commit = remote_apply"
    ));
    session.close();
    assert_eq!(setting(&mut session), "remote_apply");
}

#[test]
fn an_error_carries_no_value_of_a_row_and_no_password() {
    let database = PostgresServer::shared().database();
    database.psql(
        "CREATE TABLE t (a varchar(3), b text UNIQUE, c int CHECK (c < 10), d smallint);
         INSERT INTO t (b) VALUES ('hunter2')",
    );
    let mut session = session(&database.url());
    for (sql, kind, says) in [
        (
            "INSERT INTO t (a) VALUES ($1)",
            SinkErrorKind::Reject,
            "too long",
        ),
        (
            "INSERT INTO t (b) VALUES ($1)",
            SinkErrorKind::Reject,
            "constraint t_b_key",
        ),
        (
            "INSERT INTO t (c) VALUES (77 + length($1))",
            SinkErrorKind::Reject,
            "table t",
        ),
        (
            "INSERT INTO t (d) VALUES (99999 + length($1))",
            SinkErrorKind::Reject,
            "too large",
        ),
        ("SELECT $1::int", SinkErrorKind::Reject, "22P02"),
        ("SELECT $1 FROM missing", SinkErrorKind::Fatal, "42P01"),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'row %', 'hunter2' USING DETAIL = 'hunter2'; END $$",
            SinkErrorKind::Reject,
            "P0001",
        ),
    ] {
        let error = session
            .transaction(Access::Write, |tx| {
                let params = [text(&"hunter2")];
                Ok(tx.execute(sql, if sql.starts_with("DO") { &[] } else { &params })?)
            })
            .unwrap_err();
        let error = server_error(error);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
    assert_eq!(one(&mut session).unwrap(), 42);
}

#[test]
fn a_wrong_password_and_a_missing_one_say_where_to_look() {
    let server = PostgresServer::start(&Options {
        hba: vec![
            "host all callmeter 127.0.0.1/32 trust".to_owned(),
            "host all all 127.0.0.1/32 scram-sha-256".to_owned(),
        ],
        ..Options::default()
    });
    server.psql("postgres", "CREATE ROLE writer LOGIN PASSWORD 'right-one'");
    let address = server.address();
    let url = |login: &str| format!("postgres://{login}@{address}/postgres");
    assert_eq!(one(&mut session(&url("writer:right-one"))).unwrap(), 42);
    for login in ["writer:hunter2", "writer", "nobody:hunter2"] {
        let error = server_error(one(&mut session(&url(login))).unwrap_err());
        assert!(error.to_string().contains("password"), "{error}");
        assert!(error.hint().unwrap().contains(".pgpass"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let error = server_error(
        one(&mut session(
            &url("writer:right-one").replace("/postgres", "/none"),
        ))
        .unwrap_err(),
    );
    assert!(error.to_string().contains("\"none\""), "{error}");
    let silent = session(&url("writer:hunter2"));
    assert_eq!(
        silent.shown(),
        format!("postgres://writer@{address}/postgres")
    );
}

#[test]
fn a_line_that_breaks_while_idle_is_made_anew_and_one_that_breaks_at_work_is_an_error() {
    let database = PostgresServer::shared().database();
    let proxy = ChaosProxy::to(database.server().address());
    let mut session = session(&database.url_by(proxy.address()));
    assert_eq!(one(&mut session).unwrap(), 42);
    proxy.cut();
    assert_eq!(one(&mut session).unwrap(), 42);
    for fault in [
        Fault::LoseAnswer("COMMIT"),
        Fault::CutBefore("SELECT $1"),
        Fault::LoseAnswer("SELECT $1"),
        Fault::CutAfter(40),
        Fault::HalfClose(40),
    ] {
        if matches!(fault, Fault::CutAfter(_) | Fault::HalfClose(_)) {
            // These meet the greeting of a new connection.
            session.close();
        }
        proxy.fault(fault.clone());
        let error = server_error(one(&mut session).unwrap_err());
        assert_eq!(error.kind(), SinkErrorKind::Retry, "{fault:?}: {error}");
        assert_eq!(one(&mut session).unwrap(), 42, "{fault:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_a_slow_statement_is_cancelled() {
    let database = PostgresServer::shared().database();
    let proxy = ChaosProxy::to(database.server().address());
    let mut session = session(&database.url_by(proxy.address()));
    session.set_limits(Limits {
        statement: Duration::from_millis(50),
        ..Limits::default()
    });
    let slow = session.transaction(Access::Write, |tx| {
        Ok(tx.query("SELECT pg_sleep(300)", &[])?)
    });
    assert_eq!(server_error(slow.unwrap_err()).code(), Some("57014"));
    session.set_limits(Limits {
        statement: Duration::from_millis(50),
        grace: Duration::from_millis(200),
        ..Limits::default()
    });
    proxy.set(Mode::Blackhole);
    let error = server_error(one(&mut session).unwrap_err());
    assert_eq!(error.kind(), SinkErrorKind::Retry);
    assert!(error.to_string().contains("no answer"), "{error}");
    proxy.set(Mode::Pass);
    session.set_limits(Limits::default());
    assert_eq!(one(&mut session).unwrap(), 42);
}

#[test]
fn a_lock_that_is_held_makes_the_store_busy() {
    let database = PostgresServer::shared().database();
    database.psql("CREATE TABLE t (n int)");
    let mut holder = session(&database.url());
    let mut waiter = session(&database.url());
    waiter.set_limits(Limits {
        lock: Duration::from_millis(20),
        ..Limits::default()
    });
    holder
        .transaction(Access::Write, |tx| {
            tx.batch("LOCK TABLE t")?;
            let waited = waiter.transaction(Access::Write, |tx| Ok(tx.batch("LOCK TABLE t")?));
            assert_eq!(
                server_error(waited.unwrap_err()).kind(),
                SinkErrorKind::Busy
            );
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_session_that_was_closed_connects_anew() {
    let database = PostgresServer::shared().database();
    let mut session = session(&database.url());
    one(&mut session).unwrap();
    assert!(session.is_open());
    session.close();
    assert!(!session.is_open());
    assert_eq!(one(&mut session).unwrap(), 42);
}

#[test]
fn a_name_that_no_host_has_is_named_without_the_password() {
    let error = one(&mut session("postgres://me:hunter2@127.0.0.1:1/x")).unwrap_err();
    let error = server_error(error);
    assert_eq!(error.kind(), SinkErrorKind::Retry);
    assert!(error.hint().unwrap().contains("check host"));
    assert!(!format!("{error:?}").contains("hunter2"));
}

/// An authority, and a server whose certificate it signed for `localhost`.
fn tls_server() -> (tempfile::TempDir, PostgresServer) {
    let place = tempfile::tempdir().unwrap();
    let script = r#"
        cd "$1" && umask 022
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key \
          -out ca.crt -subj /CN=authority -addext basicConstraints=critical,CA:TRUE
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key \
          -out server.csr -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost' > ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt
    "#;
    let made = std::process::Command::new("sh")
        .args(["-ec", script, "sh", place.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
    let server = PostgresServer::start(&Options {
        files: vec![
            ("server.crt".to_owned(), read("server.crt")),
            ("server.key".to_owned(), read("server.key")),
        ],
        settings: vec!["ssl=on".to_owned()],
        hba: vec!["hostssl all all 127.0.0.1/32 trust".to_owned()],
        ..Options::default()
    });
    (place, server)
}

#[test]
fn the_server_s_certificate_is_verified_as_the_mode_says() {
    let (place, server) = tls_server();
    let port = server.address().port();
    let ca = place.path().join("ca.crt");
    let ca = ca.to_str().unwrap();
    let url = |host: &str, options: &str| {
        format!("postgres://callmeter@{host}:{port}/postgres?{options}")
    };
    for (host, options) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", String::new()),
    ] {
        let mut session = session(&url(host, &options));
        let is_encrypted = session.transaction(Access::Snapshot, |tx| {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok(tx.query(sql, &[])?[0].get::<_, bool>(0))
        });
        assert!(is_encrypted.unwrap(), "{host} {options}");
    }
    for (host, options) in [
        // Another name than the certificate's, an authority that signed nothing, and no encryption at all.
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}")),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert=system".to_owned(),
        ),
        ("127.0.0.1", "sslmode=verify-ca".to_owned()),
    ] {
        let error = server_error(one(&mut session(&url(host, &options))).unwrap_err());
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(error.hint().unwrap().contains("sslrootcert"), "{error}");
    }
    let error = server_error(one(&mut session(&url("127.0.0.1", "sslmode=disable"))).unwrap_err());
    assert_eq!(error.code(), Some("28000"), "{error}");
}
