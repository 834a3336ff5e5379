//! Whole host processes, with an environment and files of their own: settings that cannot be read, and how a process
//! ends.
//!
//! A test starts this very binary again with `ROLE` saying what to do; the child is the test `child`, which does
//! nothing when nobody asks.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "it/logs.rs"]
mod logs;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use callmeter_store::SqliteReader;
use callmeter_testkit::markers::SECRET;

const ROLE: &str = "CALLMETER_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a child in `directory`, with its home there and nothing of this process's environment.
fn run(role: &str, directory: &Path, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .current_dir(directory)
        .env_clear()
        .env(ROLE, role)
        .env("CALLMETER_HOME", directory.join("home"))
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn call(caller: &str) -> callmeter::CallGuard {
    callmeter::call(caller, "openai", "gpt-5-mini")
}

#[test]
#[allow(clippy::print_stdout, clippy::exit)]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    logs::listen();
    let callmeter = callmeter::init().unwrap();
    match role.as_str() {
        "returns" => {
            for _ in 0..20 {
                call("returns").finish();
            }
            drop(callmeter);
        }
        "records and reports" => {
            let reply: Result<u32, std::num::ParseIntError> =
                call("host").run_blocking(|| "42".parse());
            assert_eq!(reply, Ok(42));
            call("host").finish();
            // Until the calls are safe; nobody waits for a store that may never be there.
            let flush = loop {
                let flush = callmeter.flush(Duration::from_millis(100));
                if flush.is_spooled() {
                    break flush;
                }
            };
            println!("enabled {}", callmeter.is_enabled());
            println!("finished {}", callmeter.stats().conservation.finished);
            println!(
                "stored {} spooled {}",
                flush.is_complete(),
                flush.is_spooled()
            );
            println!("debug {callmeter:?} {:?}", callmeter.stats());
            drop(callmeter);
        }
        "stores" => {
            println!("enabled {}", callmeter.is_enabled());
            call("stores").finish();
            assert!(callmeter.flush(PATIENCE).is_complete());
            drop(callmeter);
        }
        "ships" => {
            assert!(callmeter.flush(PATIENCE).is_complete());
            while callmeter.home().standing().unwrap().conservation.spooled > 0 {
                std::thread::yield_now();
            }
            drop(callmeter);
        }
        "exits at once" => {
            call("exits").finish();
            let flush = callmeter.shutdown(PATIENCE);
            assert!(flush.is_complete());
            std::process::exit(7);
        }
        other => panic!("no role {other}"),
    }
    println!("log {}", logs::lines().join("\nlog "));
}

fn stored(directory: &Path) -> u64 {
    let store = SqliteReader::open(&directory.join("home/store.sqlite")).unwrap();
    store.facts().unwrap().calls
}

#[test]
fn a_process_that_returns_has_stored_its_last_rows() {
    let place = tempfile::tempdir().unwrap();
    // Longer than the default's two seconds, which a machine that is busy may need for itself.
    let environment = [("CALLMETER_EXIT_FLUSH", "60s")];
    let output = run("returns", place.path(), &environment);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(stored(place.path()), 20);
}

#[test]
fn a_process_that_exits_after_shutdown_has_too() {
    let place = tempfile::tempdir().unwrap();
    let output = run("exits at once", place.path(), &[]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(stored(place.path()), 1);
}

#[test]
fn settings_that_cannot_be_read_are_a_line_in_the_log_and_calls_wait_in_the_spool() {
    let secret_url = format!("[store]\nurl = \"postgres://app:{SECRET}@db/shop\nraw_days = 3\n");
    for (text, told) in [
        (secret_url.as_str(), "callmeter.toml:2"),
        (
            "[stroe]\nurl = \"sqlite:calls.db\"\n",
            "did you mean 'store.url'?",
        ),
        (
            "[store]\nraw_days = -1\n",
            "callmeter.toml:2: store.raw_days",
        ),
        (
            "[registry]\ncallers = \"missing.toml\"\n",
            "callmeter.toml:2: registry.callers",
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("callmeter.toml"), text).unwrap();
        let environment = [("CALLMETER_EXIT_FLUSH", "50ms")];
        let output = run("records and reports", place.path(), &environment);
        let seen = said(&output);
        assert!(output.status.success(), "{seen}");
        // The host goes on; what it records is safe, and waits.
        assert!(seen.contains("finished 2"), "{seen}");
        assert!(seen.contains("stored false spooled true"), "{seen}");
        let errors: Vec<_> = seen
            .lines()
            .filter(|line| line.starts_with("log ERROR"))
            .collect();
        assert!(
            errors
                .iter()
                .any(|line| line.contains(told) && line.contains("callmeter doctor")),
            "{told}: {seen}"
        );
        assert!(!seen.contains(SECRET), "{seen}");
        assert!(!place.path().join("home/store.sqlite").exists());

        // Once they can be read, the next process of the home brings the calls to the store.
        std::fs::write(
            place.path().join("callmeter.toml"),
            "[scope]\nteam = \"a\"\n",
        )
        .unwrap();
        let output = run("ships", place.path(), &[]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(stored(place.path()), 2);
    }
}

#[test]
fn a_configuration_that_is_named_and_not_there_is_told() {
    let place = tempfile::tempdir().unwrap();
    let environment = [
        ("CALLMETER_CONFIG", "nowhere.toml"),
        ("CALLMETER_EXIT_FLUSH", "50ms"),
    ];
    let output = run("records and reports", place.path(), &environment);
    let seen = said(&output);
    assert!(output.status.success(), "{seen}");
    assert!(seen.contains("nowhere.toml"), "{seen}");
    assert!(seen.contains("finished 2"), "{seen}");
}

#[test]
fn the_environment_switches_a_host_off_before_its_first_call() {
    for name in ["AI_CALL_LOGGING_ENABLED", "CALLMETER_ENABLED"] {
        let place = tempfile::tempdir().unwrap();
        let output = run("records and reports", place.path(), &[(name, " Off ")]);
        let seen = said(&output);
        assert!(output.status.success(), "{seen}");
        assert!(seen.contains("enabled false"), "{seen}");
        assert!(seen.contains("finished 0"), "{seen}");
    }
}

#[test]
fn a_host_without_a_home_records_in_the_temporary_directory_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let environment = [
        ("CALLMETER_HOME", ""),
        ("TMPDIR", place.path().to_str().unwrap()),
    ];
    let output = run("stores", place.path(), &environment);
    let seen = said(&output);
    assert!(output.status.success(), "{seen}");
    assert!(seen.contains("set CALLMETER_HOME"), "{seen}");
}

#[cfg(unix)]
#[test]
fn everything_in_a_home_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    // The second process retires the spool of the first, which makes the ledger.
    for role in ["returns", "ships"] {
        let output = run(role, place.path(), &[]);
        assert!(output.status.success(), "{}", said(&output));
    }
    let mut directories = vec![place.path().join("home")];
    let mut names = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let name = entry.file_name().to_string_lossy().into_owned();
            assert_eq!(mode & 0o077, 0, "{name} is {mode:o}");
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            }
            names.push(name);
        }
    }
    assert!(names.contains(&"ledger.sqlite".to_owned()), "{names:?}");
}

/// A child that no variable tells its home, beside a temporary directory of the test's.
#[cfg(unix)]
fn homeless(place: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .current_dir(place)
        .env_clear()
        .env(ROLE, "stores")
        .env("TMPDIR", place.join("tmp"))
        .env("CALLMETER_STORE__URL", "sqlite:home/store.sqlite")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[cfg(unix)]
fn temporary_home(place: &Path) -> std::path::PathBuf {
    let user = rustix::process::geteuid().as_raw();
    place.join(format!("tmp/callmeter-{user}"))
}

#[cfg(unix)]
#[test]
fn a_temporary_directory_that_somebody_else_laid_out_is_no_home_and_calls_are_stored_from_memory() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    type Trap = fn(&Path, &Path);
    let traps: [(&str, Trap); 3] = [
        ("is open to other users", |_, home| {
            std::fs::set_permissions(home, PermissionsExt::from_mode(0o777)).unwrap();
        }),
        ("is a link", |place, home| {
            std::fs::rename(home, place.join("elsewhere")).unwrap();
            symlink(place.join("elsewhere"), home).unwrap();
        }),
        ("belongs to user 61001", |_, home| {
            chown(home, Some(61_001), None).unwrap();
        }),
    ];
    // Only root can give a directory away.
    let possible = if rustix::process::geteuid().is_root() {
        3
    } else {
        2
    };
    for (why, lay) in &traps[..possible] {
        let place = tempfile::tempdir().unwrap();
        let home = temporary_home(place.path());
        for dir in [&home, &place.path().join("home")] {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(home.join("switch"), "off\n").unwrap();
        std::fs::write(home.join("hash.key"), [7; 32]).unwrap();
        lay(place.path(), &home);
        let seen = homeless(place.path());
        let warnings: Vec<&str> = seen
            .lines()
            .filter(|line| line.starts_with("log WARN"))
            .collect();
        assert_eq!(warnings.len(), 1, "{seen}");
        assert!(
            warnings[0].contains(why) && warnings[0].contains("CALLMETER_HOME"),
            "{seen}"
        );
        // Nobody's switch is obeyed, and nothing was left there.
        assert!(seen.contains("enabled true"), "{seen}");
        assert_eq!(stored(place.path()), 1);
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 2, "{why}");
    }
}
