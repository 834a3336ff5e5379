//! What bounds the spool, and what happens without a disk: a ceiling, a full disk, a damaged file, a home
//! that cannot be made. Whatever happens, each call is somewhere, or counted as lost.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use callmeter::seams::{Disk as _, DrivenProcess, HomeDisk};
use callmeter::settings::{Settings, WhenFull};
use callmeter::{Conservation, DropReason};
use callmeter_core::Clock;

use crate::homes::{START, TestHome, place};

struct Process {
    home: TestHome,
    process: DrivenProcess,
    /// Keys of meta that make each row larger.
    heavy: &'static [&'static str],
}

/// A process that is driven by hand, on a real disk; its store is in memory.
fn process(change: impl FnOnce(&mut Settings)) -> Process {
    let home = place();
    let mut settings = Settings::default();
    change(&mut settings);
    let process = driven(&home, settings);
    Process {
        home,
        process,
        heavy: &[],
    }
}

fn driven(home: &TestHome, settings: Settings) -> DrivenProcess {
    let sink = home.sink.clone();
    let clock: Arc<dyn Clock> = home.clock.clone();
    let builder = callmeter::builder()
        .settings(settings)
        .home(home.path())
        .clock(Arc::clone(&clock))
        .sink("memory", move || Ok(Box::new(sink.clone())));
    DrivenProcess::new(builder, clock, 1).unwrap()
}

impl Process {
    fn calls(&self, count: usize) {
        for _ in 0..count {
            let mut call = self.process.call("sales_copy", "openai", "gpt-5-mini");
            call.request_id("r".repeat(200)).tokens(26, 112);
            for key in self.heavy {
                call.meta(*key, "m".repeat(250));
            }
            call.finish();
        }
    }

    /// Calls in batches, with the worker at work between them.
    fn many_calls(&mut self, count: usize) {
        for _ in 0..count / 500 {
            self.calls(500);
            self.home.clock.pass(100_000);
            self.process.tick_worker();
        }
    }

    fn drive(&mut self, time: Duration) {
        let end = self.home.clock.monotonic_ns() + u64::try_from(time.as_nanos()).unwrap();
        while self.home.clock.monotonic_ns() < end {
            let pause = self.process.tick();
            let micros = u32::try_from(pause.as_micros()).unwrap_or(1_000_000);
            self.home.clock.pass(micros.clamp(100, 1_000_000));
        }
    }

    /// The equation, which must hold.
    fn figures(&self) -> Conservation {
        let disk = HomeDisk::new(self.home.home());
        let spools = disk.spools().unwrap_or_default();
        let spool = spools.iter().fold(Conservation::default(), |sum, name| {
            sum.plus(&disk.open(name).unwrap().standing().unwrap())
        });
        let (figures, moving) = self.process.figures(spool);
        assert!(
            figures.holds() && moving == 0,
            "{figures:?}, {moving} moving"
        );
        figures
    }
}

#[test]
fn at_the_ceiling_new_calls_are_dropped_and_counted_until_the_store_takes_some() {
    let mut process = process(|settings| settings.spool.max_bytes = 1 << 20);
    process.home.sink.set_down(true);
    process.many_calls(8_000);
    process.drive(Duration::from_secs(2));
    let full = process.figures();
    let dropped = full.dropped_for(DropReason::Ceiling);
    assert_eq!(full.finished, 8_000);
    assert!(dropped > 2_000 && full.spooled > 1_000, "{full:?}");
    // What was spooled first is there.
    process.home.sink.set_down(false);
    process.drive(Duration::from_secs(120));
    let empty = process.figures();
    assert_eq!(empty.acknowledged, 8_000 - dropped);
    process.calls(100);
    process.drive(Duration::from_secs(5));
    let after = process.figures();
    assert_eq!(
        after.dropped_for(DropReason::Ceiling),
        dropped,
        "there is room again"
    );
    assert_eq!(after.acknowledged, 8_100 - dropped);
}

#[test]
fn under_the_other_policy_the_oldest_rows_make_room() {
    let mut process = process(|settings| {
        settings.spool.max_bytes = 1 << 20;
        settings.spool.when_full = WhenFull::DropOldest;
    });
    process.home.sink.set_down(true);
    process.many_calls(8_000);
    process.calls(1);
    process.drive(Duration::from_secs(2));
    let full = process.figures();
    assert_eq!(full.finished, 8_001);
    assert!(full.dropped_for(DropReason::Ceiling) > 2_000, "{full:?}");
    process.home.sink.set_down(false);
    process.drive(Duration::from_secs(120));
    let stored = process.home.sink.calls();
    let newest = stored.iter().map(|call| call.started_at()).max().unwrap();
    let oldest = stored.iter().map(|call| call.started_at()).min().unwrap();
    assert!(
        oldest > START.saturating_add_micros(500_000),
        "the first are gone"
    );
    assert!(
        newest > START.saturating_add_micros(1_500_000),
        "the last is there"
    );
    assert!(process.figures().holds());
}

#[test]
fn without_a_home_calls_reach_the_store_from_memory_and_the_disk_when_it_comes_back() {
    let mut process = process(|_| {});
    // Made when its hash key was; something else stands there now.
    let path = process.home.path();
    let _ = std::fs::remove_dir_all(&path);
    std::fs::write(&path, "in the way").unwrap();
    process.calls(10);
    process.drive(Duration::from_secs(3));
    assert_eq!(process.home.sink.calls().len(), 10);
    process.home.sink.set_down(true);
    process.calls(5);
    process.drive(Duration::from_secs(3));
    std::fs::remove_file(&path).unwrap();
    process.drive(Duration::from_secs(3));
    let disk = HomeDisk::new(process.home.home());
    let name = disk.spools().unwrap().remove(0);
    assert_eq!(
        disk.open(&name).unwrap().standing().unwrap().spooled,
        5,
        "on the disk"
    );
    process.home.sink.set_down(false);
    process.drive(Duration::from_secs(30));
    let figures = process.figures();
    assert_eq!((figures.finished, figures.acknowledged), (15, 15));
    assert_eq!(process.home.sink.calls().len(), 15);
}

#[test]
fn memory_without_disk_and_store_is_bounded_and_what_has_no_room_is_counted() {
    let mut process = process(|_| {});
    let path = process.home.path();
    let _ = std::fs::remove_dir_all(&path);
    std::fs::write(&path, "in the way").unwrap();
    process.home.sink.set_down(true);
    process.heavy = &["a", "b", "c", "d", "e", "f", "g"];
    process.many_calls(9_500);
    process.drive(Duration::from_secs(3));
    let full = process.figures();
    assert_eq!(full.finished, 9_500);
    let lost = full.dropped_for(DropReason::DiskFull) + full.dropped_for(DropReason::MemoryFull);
    assert!(lost > 100, "{full:?}");
    assert!(full.spooled > 5_000 && full.buffered > 0, "{full:?}");
    process.home.sink.set_down(false);
    process.drive(Duration::from_secs(60));
    let figures = process.figures();
    assert_eq!(figures.acknowledged + figures.dropped_total(), 9_500);
    assert_eq!(process.home.sink.calls().len() as u64, figures.acknowledged);
}

/// The home is in the way of itself: its disk takes nothing.
fn take_the_disk_away(process: &Process) -> std::path::PathBuf {
    let path = process.home.path();
    let _ = std::fs::remove_dir_all(&path);
    std::fs::write(&path, "in the way").unwrap();
    path
}

fn end(process: &mut Process) {
    process.process.ask_to_end();
    while !process.process.has_ended() {
        process.home.clock.pass(50_000);
        process.process.tick_worker();
    }
}

#[test]
fn rows_in_memory_cost_nothing_at_the_ceiling_and_are_counted_when_the_process_ends() {
    let mut process = process(|settings| settings.spool.max_bytes = 1 << 20);
    process.home.sink.set_down(true);
    let path = take_the_disk_away(&process);
    process.calls(500);
    process.drive(Duration::from_secs(2));
    assert_eq!(process.figures().spooled, 500, "in memory");
    // The disk is back, and others have filled the home meanwhile.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("spool")).unwrap();
    std::fs::write(path.join("spool/ballast"), vec![1; 1 << 20]).unwrap();
    process.drive(Duration::from_secs(3));
    assert_eq!(process.figures().spooled, 500, "still");
    let disk = HomeDisk::new(process.home.home());
    let spool = disk.spools().unwrap().remove(0);
    let look = rusqlite::Connection::open(path.join(format!("spool/{spool}.spool"))).unwrap();
    // Changes with each commit of another connection.
    let commits = || -> i64 {
        look.pragma_query_value(None, "data_version", |row| row.get(0))
            .unwrap()
    };
    let before = commits();
    process.drive(Duration::from_secs(5));
    assert_eq!(commits(), before);
    end(&mut process);
    let figures = process.figures();
    assert_eq!((figures.finished, figures.spooled), (500, 0));
    assert_eq!(figures.dropped_for(DropReason::Ceiling), 500);
    let told = disk.open(&spool).unwrap().standing().unwrap();
    assert_eq!(
        told.dropped_for(DropReason::Ceiling),
        500,
        "and it stays so"
    );
}

#[test]
fn rows_that_go_with_the_memory_of_a_process_are_counted_beside_those_that_found_no_slot() {
    let mut process = process(|_| {});
    process.home.sink.set_down(true);
    // More than the buffer holds, before the worker comes: counted as such.
    process.calls(4_100);
    take_the_disk_away(&process);
    process.drive(Duration::from_secs(2));
    let figures = process.figures();
    assert_eq!(figures.dropped_for(DropReason::FlightFull), 4);
    assert_eq!(figures.spooled, 4_096, "in memory");
    end(&mut process);
    let figures = process.figures();
    assert_eq!((figures.finished, figures.spooled), (4_100, 0));
    assert_eq!(figures.dropped_for(DropReason::FlightFull), 4);
    assert_eq!(figures.dropped_total(), 4_100);
}

#[test]
fn a_spool_that_is_damaged_under_its_owner_is_set_aside_and_a_fresh_one_goes_on() {
    let mut process = process(|_| {});
    process.home.sink.set_down(true);
    process.calls(10);
    process.drive(Duration::from_secs(2));
    let disk = HomeDisk::new(process.home.home());
    let name = disk.spools().unwrap().remove(0);
    let path = process
        .home
        .path()
        .join("spool")
        .join(format!("{name}.spool"));
    // What a table is, is read anew when another connection has changed it: nonsense here.
    let vandal = rusqlite::Connection::open(&path).unwrap();
    vandal
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'garbage' WHERE name = 'rows';
             PRAGMA schema_version = 77;",
        )
        .unwrap();
    drop(vandal);
    process.home.sink.set_down(false);
    process.calls(7);
    process.drive(Duration::from_secs(5));
    assert!(process.home.sink.calls().len() >= 7, "the new calls");
    let standing = process.home.home().standing().unwrap();
    assert_eq!(
        standing.set_aside,
        vec![path.with_extension("spool.damaged")]
    );
    assert_eq!(standing.spools, 1, "the fresh one");
}

#[test]
fn calls_stay_in_the_flight_buffer_while_somebody_holds_the_spool() {
    let mut process = process(|_| {});
    process.home.sink.set_down(true);
    process.calls(3);
    process.drive(Duration::from_secs(1));
    let disk = HomeDisk::new(process.home.home());
    let name = disk.spools().unwrap().remove(0);
    let path = process
        .home
        .path()
        .join("spool")
        .join(format!("{name}.spool"));
    let mut other = rusqlite::Connection::open(path).unwrap();
    let writing = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    process.calls(2);
    process.process.tick_worker();
    let figures = process.figures();
    assert_eq!((figures.spooled, figures.buffered), (3, 2));
    drop(writing);
    process.drive(Duration::from_secs(1));
    let figures = process.figures();
    assert_eq!((figures.spooled, figures.buffered), (5, 0));
}

/// Runs in a process of its own, which may write files of 4 MiB at most.
const CHILD: &str = "CALLMETER_TEST_FULL_DISK";

#[test]
fn a_full_disk_loses_nothing_that_memory_holds_and_goes_on_when_there_is_room() {
    if std::env::var_os(CHILD).is_some() {
        return on_a_full_disk();
    }
    let test = "bounds::a_full_disk_loses_nothing_that_memory_holds_and_goes_on_when_there_is_room";
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        // The signal of a file too large would end the process before the error is seen.
        .arg("trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture")
        .arg(exe)
        .arg(test)
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn limit_files(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes,
        maximum,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

fn on_a_full_disk() {
    let mut process = process(|_| {});
    process.home.sink.set_down(true);
    process.many_calls(5_000);
    limit_files(Some(4 << 20));
    process.many_calls(20_000);
    process.drive(Duration::from_secs(3));
    let full = process.figures();
    assert_eq!((full.finished, full.dropped_total()), (25_000, 0));
    limit_files(None);
    process.drive(Duration::from_secs(3));
    let disk = HomeDisk::new(process.home.home());
    let name = disk.spools().unwrap().remove(0);
    let spooled = disk.open(&name).unwrap().standing().unwrap().spooled;
    assert_eq!(spooled, 25_000, "all on the disk");
    process.home.sink.set_down(false);
    process.drive(Duration::from_secs(120));
    assert_eq!(process.home.sink.calls().len(), 25_000);
    assert_eq!(process.figures().acknowledged, 25_000);
}
