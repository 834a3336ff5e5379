//! Whole processes in containers: with mounts, process ids and users of their own. A shared memory without
//! room, a home without room, dead containers that others adopt, users that share a home.
//!
//! A test starts this very binary again in a container with `ROLE` saying what to do; the child is the test
//! `child`, which does nothing when nobody asks. A child that records writes each call to its standard
//! error, nine bytes: `o` for opened or `f` for finished, and the call's number.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "it/logs.rs"]
#[allow(dead_code)]
mod logs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use callmeter::settings::Settings;
use callmeter::{CallGuard, Callmeter, Home};
use callmeter_core::{Sink, SystemClock};
use callmeter_flight::Switch;
use callmeter_store::{CallsQuery, Filter, SqliteOptions, SqliteReader, SqliteStore};
use callmeter_testkit::container::Container;
use callmeter_testkit::fuse;
use callmeter_testkit::sink::MemorySink;

const ROLE: &str = "CALLMETER_CONTAINER_ROLE";
const PLACE: &str = "CALLMETER_CONTAINER_PLACE";
const HOME: &str = "CALLMETER_CONTAINER_HOME";
const GROUP: &str = "CALLMETER_CONTAINER_GROUP";
const PATIENCE: Duration = Duration::from_secs(60);
const SLOTS: usize = 4_096;
/// A group, and its members.
const MEMBERS: u32 = 61_000;
const ALICE: u32 = 61_001;
const BOB: u32 = 61_002;

/// A directory that every user may enter, with this binary in it, and a home beside its store.
struct Place {
    dir: tempfile::TempDir,
    binary: PathBuf,
    is_shared: bool,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["mounted", "outside"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            binary: std::env::current_exe().unwrap(),
            dir,
            is_shared: false,
        }
    }

    /// One whose home and store belong to a group.
    fn of_a_group() -> Self {
        let mut place = Self::new();
        // The users of the group may not be allowed to enter the directory of the build.
        let binary = place.dir.path().join("containers");
        std::fs::copy(&place.binary, &binary).unwrap();
        place.binary = binary;
        for dir in ["home", "outside"] {
            let dir = place.dir.path().join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::os::unix::fs::chown(&dir, None, Some(MEMBERS)).unwrap();
            std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o2770)).unwrap();
        }
        place.is_shared = true;
        place
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where containers see the home.
    fn mounted(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// A container that shares nothing but the directory of the home, and the store; it has as good as no
    /// shared memory.
    fn container(&self) -> Container {
        std::fs::create_dir_all(self.home()).unwrap();
        Container::new()
            .tmpfs(Path::new("/dev/shm"), 65_536)
            .bind(&self.home(), &self.mounted())
    }

    /// A container whose home is no volume, wherever these tests run: shared memory is the better place.
    fn no_volume(&self) -> Container {
        Container::new().tmpfs(&self.mounted(), 64 << 20)
    }

    fn command(&self, container: &Container, role: &str, home: &Path) -> Command {
        let mut command = container.command(self.binary.as_os_str());
        command
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(PLACE, self.dir.path())
            .env(HOME, home);
        if role.starts_with("writes") {
            command.env("CALLMETER_CONFIG", "nowhere.toml");
        }
        if self.is_shared {
            command
                .env(GROUP, "1")
                .env("CALLMETER_SPOOL__GROUP_ACCESS", "true");
        }
        command
    }

    /// Runs a child to its end, which must be a good one; what it said.
    fn run(&self, container: &Container, role: &str, home: &Path) -> String {
        let output = self.command(container, role, home).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}{told}", output.status);
        said
    }

    fn start(&self, container: &Container, role: &str) -> Recording {
        let mut child = self
            .command(container, role, &self.mounted())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = child.stderr.take().unwrap();
        Recording { child, told }
    }

    /// The rows of the store: their number, and their status; no id is there twice.
    fn rows(&self) -> BTreeMap<i64, String> {
        let path = self.dir.path().join("outside/store.sqlite");
        let mut store = SqliteReader::open(&path).unwrap();
        let all = CallsQuery {
            filter: Filter::default(),
            before: None,
            limit: 1_000_000,
        };
        let calls = store.calls(&all).unwrap();
        let rows: BTreeMap<i64, String> = calls
            .iter()
            .map(|call| {
                let record = &call.record;
                (record.call_id.lo(), record.status_or_ok().to_string())
            })
            .collect();
        assert_eq!(rows.len(), calls.len());
        assert_eq!(
            store.totals(&Filter::default()).unwrap().calls,
            rows.len() as u64
        );
        rows
    }
}

/// A child that records, and what it tells.
struct Recording {
    child: Child,
    told: std::process::ChildStderr,
}

/// The calls that a child told of.
#[derive(Default)]
struct Told {
    open: BTreeSet<i64>,
    finished: BTreeSet<i64>,
}

impl Told {
    fn take(&mut self, bytes: &[u8]) {
        for told in bytes.as_chunks::<9>().0 {
            let id = i64::from_le_bytes(told[1..].try_into().unwrap());
            match told[0] {
                b'o' => assert!(self.open.insert(id)),
                b'f' => {
                    self.open.remove(&id);
                    assert!(self.finished.insert(id));
                }
                _ => panic!("{}", String::from_utf8_lossy(bytes)),
            }
        }
    }
}

impl Recording {
    /// What it tells until so many calls were told of.
    fn listen(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; 9 * count];
        self.told.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Kills its container, and says what it told until then.
    fn kill(mut self, mut heard: Vec<u8>) -> Told {
        self.child.kill().unwrap();
        // Until the last process of the container is gone.
        self.told.read_to_end(&mut heard).unwrap();
        self.child.wait().unwrap();
        let mut told = Told::default();
        told.take(&heard);
        told
    }

    /// Lets it go on to its end.
    fn end(mut self, mut heard: Vec<u8>) -> Told {
        drop(self.child.stdin.take());
        self.told.read_to_end(&mut heard).unwrap();
        assert!(self.child.wait().unwrap().success());
        let mut told = Told::default();
        told.take(&heard);
        told
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    logs::listen();
    match role.as_str() {
        "records" => records(SLOTS / 2),
        "fills the shared memory and records" => fills_the_shared_memory_and_records(),
        "writes until it is killed" => writes(usize::MAX),
        "writes and lives" => writes(50),
        "adopts beside a living one" => adopts(1),
        "adopts" => adopts(0),
        "serves its home and records" => {
            let connection = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            fuse::serve(connection);
            records(SLOTS / 2);
        }
        "outlives a read-only volume" => outlives_a_read_only_volume(),
        "switches off" => {
            let home = Home::at(std::env::var_os(HOME).unwrap()).with_group_access(true);
            home.throw_switch(Switch::Off).unwrap();
        }
        "obeys the switch" => {
            let callmeter = recorder();
            while callmeter.is_enabled() {
                std::thread::yield_now();
            }
        }
        other => panic!("no role {other}"),
    }
    println!("log {}", logs::lines().join("\nlog "));
}

/// A recorder of the home that ships to the store.
fn recorder() -> Callmeter {
    let mut settings = Settings::default();
    settings.spool.group_access = std::env::var_os(GROUP).is_some();
    settings.shipper.replay_rows_per_second = 1_000_000;
    let mut options = SqliteOptions::default();
    options.group_access = settings.spool.group_access;
    let store = PathBuf::from(std::env::var_os(PLACE).unwrap()).join("outside/store.sqlite");
    let made = callmeter::builder()
        .settings(settings)
        .home(std::env::var_os(HOME).unwrap())
        .sink("store", move || {
            let store = SqliteStore::open(&store, options.clone(), Arc::new(SystemClock))?;
            Ok(Box::new(store) as Box<dyn Sink>)
        });
    made.open().unwrap()
}

/// A recorder of the home that only spools: its settings name a file that is not there.
fn recorder_without_store() -> Callmeter {
    let home = std::env::var_os(HOME).unwrap();
    callmeter::builder().home(home).open().unwrap()
}

#[allow(clippy::print_stdout)]
fn records(count: usize) {
    let callmeter = recorder();
    for _ in 0..count {
        callmeter.call("sales_copy", "openai", "gpt-5").finish();
    }
    assert!(callmeter.flush(PATIENCE).is_complete());
    let stats = callmeter.stats();
    assert!(stats.conservation.holds(), "{stats:?}");
    println!("dropped {}", stats.conservation.dropped_total());
    println!("acknowledged {}", stats.conservation.acknowledged);
    for process in callmeter.home().standing().unwrap_or_default().processes {
        println!("flight {}", process.path.display());
    }
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

fn fills_the_shared_memory_and_records() {
    let callmeter = recorder();
    let flight = callmeter.home().standing().unwrap().processes.remove(0);
    assert!(flight.path.starts_with("/dev/shm"), "{flight:?}");
    let mut ballast = std::fs::File::create("/dev/shm/ballast").unwrap();
    let full = loop {
        if let Err(error) = ballast.write_all(&[1; 4_096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // Every page of the file is written: all slots at once, long texts, a thousand names.
    let calls: Vec<CallGuard> = (0..SLOTS)
        .map(|n| {
            let mut call = callmeter.call(format!("caller_{}", n % 1_000), "openai", "gpt-5");
            call.request_id("r".repeat(200));
            call
        })
        .collect();
    assert!(calls.iter().all(|call| call.id().is_some()));
    calls.into_iter().for_each(CallGuard::finish);
    assert!(callmeter.flush(PATIENCE).is_complete());
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

/// Keeps two calls open and finishes others, `most` of them; then waits, and ends in order.
fn writes(most: usize) {
    let callmeter = recorder_without_store();
    let tell = |what: u8, id: i64| {
        let mut told = [what; 9];
        told[1..].copy_from_slice(&id.to_le_bytes());
        // Nine bytes to a pipe arrive whole or not at all.
        std::io::stderr().write_all(&told).unwrap();
    };
    let open: Vec<CallGuard> = (0..2)
        .map(|_| callmeter.call("in_flight", "openai", "gpt-5"))
        .collect();
    for call in &open {
        tell(b'o', call.id().unwrap().lo());
    }
    let mut made = 0;
    while made < most {
        let call = callmeter.call("writer", "openai", "gpt-5");
        // The spool may be slower than this.
        let Some(id) = call.id() else { continue };
        call.finish();
        tell(b'f', id.lo());
        made += 1;
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    for call in open {
        let id = call.id().unwrap().lo();
        call.finish();
        tell(b'f', id);
    }
    // There is no store: they are in the spool then.
    let _ = callmeter.shutdown(Duration::from_millis(50));
}

/// Adopts and ships until there is nobody but itself and so many living; says with how many calls these live. Whether
/// a file is held does not tell: one that is being adopted is as well.
#[allow(clippy::print_stdout)]
fn adopts(living: usize) {
    let callmeter = recorder();
    let path = callmeter.home().path().to_owned();
    let began = std::time::Instant::now();
    let mine = loop {
        let standing = callmeter.home().standing().unwrap();
        assert_eq!(standing.unreadable, Vec::new());
        let is_adopted = standing.processes.len() == living + 1;
        if is_adopted && standing.conservation.spooled == 0 && standing.set_aside.is_empty() {
            break standing;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{:?} {standing:?}",
            callmeter.stats()
        );
        std::thread::yield_now();
    };
    let others = mine
        .processes
        .iter()
        .filter(|process| process.in_flight > 0);
    for other in others {
        println!(
            "lives {} {}",
            other.in_flight,
            other.path.starts_with(&path)
        );
    }
    println!("pid {}", std::process::id());
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

/// Records while its volume is read-only, comes back, and is read-only once more, with a store that is down all the
/// while; then the store is back.
#[allow(clippy::print_stdout)]
fn outlives_a_read_only_volume() {
    let home = PathBuf::from(std::env::var_os(HOME).unwrap());
    let sink = MemorySink::default();
    sink.set_down(true);
    let shared = sink.clone();
    let callmeter = callmeter::builder()
        .settings(Settings::default())
        .home(&home)
        .sink("memory", move || Ok(Box::new(shared.clone())))
        .open()
        .unwrap();
    let on_disk = || {
        callmeter
            .home()
            .standing()
            .unwrap_or_default()
            .conservation
            .spooled
    };
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let began = std::time::Instant::now();
        while !done() {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: {:?}",
                callmeter.stats()
            );
            std::thread::yield_now();
        }
    };
    let record = || {
        for _ in 0..500 {
            callmeter.call("sales_copy", "openai", "gpt-5").finish();
        }
    };
    let volume = |command: &str| {
        let script = format!("set -e; at='{}'; {command}", home.display());
        let done = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(done.success(), "{command}");
    };
    assert!(
        std::fs::write(home.join("probe"), "").is_err(),
        "it is read-only"
    );
    record();
    wait("memory takes them", &|| {
        logs::lines().join("").contains("the spool takes no calls")
    });
    assert_eq!(on_disk(), 0);

    volume("mount -o remount,rw $at");
    wait("the disk has them", &|| on_disk() == 500);

    // A file that is open for writing holds a volume up: read-only now is whatever is made or opened from here on.
    volume("mount --bind $at $at; mount -o remount,bind,ro $at");
    assert!(
        std::fs::write(home.join("probe"), "").is_err(),
        "it is again"
    );
    record();
    let finished = || callmeter.stats().conservation.finished;
    assert_eq!(finished(), 1_000);
    assert!(!callmeter.flush(Duration::from_millis(200)).is_complete());

    volume("umount --lazy $at");
    record();
    sink.set_down(false);
    assert!(
        callmeter.flush(PATIENCE).is_complete(),
        "{:?}",
        callmeter.stats()
    );
    let stats = callmeter.stats();
    assert!(stats.conservation.holds(), "{stats:?}");
    println!("dropped {}", stats.conservation.dropped_total());
    println!("stored {}", sink.calls().len());
    assert!(callmeter.shutdown(PATIENCE).is_complete());
}

fn log_lines<'a>(said: &'a str, word: &str) -> Vec<&'a str> {
    said.lines()
        .filter(|line| line.starts_with("log ") && line.contains(word))
        .collect()
}

#[test]
fn a_full_shared_memory_is_passed_over_and_said_once_and_no_call_is_lost() {
    let full: [fn(Container) -> Container; 3] = [
        |container| container.tmpfs(Path::new("/dev/shm"), 65_536),
        |container| {
            let shm = Path::new("/dev/shm");
            container.tmpfs(shm, 65_536).fill(shm)
        },
        // Not even a name has room.
        |container| container.step("mount -t tmpfs -o nr_inodes=1 tmpfs /dev/shm"),
    ];
    for fill in full {
        let place = Place::new();
        let said = place.run(&fill(place.no_volume()), "records", &place.mounted());
        assert_eq!(place.rows().len(), SLOTS / 2, "{said}");
        assert!(said.contains("dropped 0\n"), "{said}");
        let flight = format!("flight {}", place.mounted().join("flight").display());
        assert!(said.contains(&flight), "{said}");
        let told = log_lines(&said, "lie in a file of the home");
        assert_eq!(told.len(), 1, "{said}");
        assert!(told[0].contains("/dev/shm"), "{said}");
    }
}

#[test]
fn a_volume_that_is_read_only_and_comes_back_while_a_process_records_costs_no_call() {
    let place = Place::new();
    let volume = place.no_volume();
    let volume = volume.step(&format!(
        "mount -o remount,ro '{}'",
        place.mounted().display()
    ));
    let said = place.run(&volume, "outlives a read-only volume", &place.mounted());
    assert!(said.contains("dropped 0\nstored 1500\n"), "{said}");
    assert_eq!(
        log_lines(&said, "the spool takes no calls").len(),
        1,
        "{said}"
    );
    assert_eq!(
        log_lines(&said, "the spool takes calls again").len(),
        1,
        "{said}"
    );
}

#[test]
fn a_home_on_a_network_file_system_takes_no_spool_and_its_calls_are_stored_from_memory() {
    for (of_type, level, told) in [
        (
            "fuse.sshfs",
            "log ERROR",
            "lies on sshfs, a network file system",
        ),
        (
            "fuse.of-our-own",
            "log WARN",
            "the home lies on FUSE, where callmeter cannot tell",
        ),
    ] {
        let place = Place::new();
        let container = Container::new()
            .tmpfs(Path::new("/dev/shm"), 64 << 20)
            .fuse(of_type, &place.mounted());
        let said = place.run(&container, "serves its home and records", &place.mounted());
        assert_eq!(place.rows().len(), SLOTS / 2, "{said}");
        assert!(said.contains("dropped 0\n"), "{said}");
        let told = log_lines(&said, told);
        assert_eq!(told.len(), 1, "{said}");
        assert!(told[0].starts_with(level), "{said}");
    }
}

#[test]
fn shared_memory_that_fills_up_behind_a_flight_file_costs_neither_call_nor_signal() {
    let place = Place::new();
    let container = place.no_volume().tmpfs(Path::new("/dev/shm"), 8 << 20);
    place.run(
        &container,
        "fills the shared memory and records",
        &place.mounted(),
    );
    let rows = place.rows();
    assert_eq!(rows.len(), SLOTS);
    assert!(rows.values().all(|status| status == "ok"));
}

#[test]
fn without_room_in_shared_memory_and_home_calls_reach_the_store_from_memory() {
    let place = Place::new();
    let container = Container::new()
        .tmpfs(Path::new("/dev/shm"), 65_536)
        .tmpfs(&place.mounted(), 65_536)
        .fill(&place.mounted());
    let said = place.run(&container, "records", &place.mounted());
    assert_eq!(place.rows().len(), SLOTS / 2, "{said}");
    assert!(said.contains("dropped 0\n"), "{said}");
    assert_eq!(
        log_lines(&said, "where a crash of the process loses them: ").len(),
        1,
        "{said}"
    );
    assert_eq!(
        log_lines(&said, "the spool takes no calls").len(),
        1,
        "{said}"
    );
}

/// Lets a writer die and another live in containers of their own, and a third container adopt what the dead
/// one left; then the living one ends, and a fourth adopts that.
fn adopted_across(place: &Place, containers: [&Container; 4]) {
    let [dies, lives, adopter, last] = containers;
    let mut living = place.start(lives, "writes and lives");
    let heard_of_living = living.listen(52);
    let mut dying = place.start(dies, "writes until it is killed");
    let heard = dying.listen(500);
    let dead = dying.kill(heard);

    let said = place.run(adopter, "adopts beside a living one", &place.mounted());
    assert_eq!(said.matches("lives ").count(), 1, "{said}");
    assert!(said.contains("lives 2 true"), "{said}");
    let rows = place.rows();
    for id in &dead.finished {
        assert_eq!(rows.get(id).map(String::as_str), Some("ok"));
    }
    for id in &dead.open {
        assert_eq!(rows.get(id).map(String::as_str), Some("aborted"));
    }
    let mut so_far = Told::default();
    so_far.take(&heard_of_living);
    assert_eq!((so_far.open.len(), so_far.finished.len()), (2, 50));
    for id in &so_far.finished {
        assert_eq!(rows.get(id).map(String::as_str), Some("ok"));
    }
    // The dead one may have had a call more that it did not live to tell of, finished or in flight.
    let told = dead.finished.len() + dead.open.len() + so_far.finished.len();
    assert!(rows.len() <= told + 1, "{} rows, {told} told", rows.len());
    assert!(
        so_far.open.iter().all(|id| !rows.contains_key(id)),
        "nobody ends a living one's calls"
    );

    let told = living.end(heard_of_living);
    assert_eq!(told.finished.len(), 52);
    let said = place.run(last, "adopts", &place.mounted());
    assert!(!said.contains("lives "), "{said}");
    let after = place.rows();
    assert_eq!(after.len(), rows.len() + 2);
    for id in &told.finished {
        assert_eq!(after.get(id).map(String::as_str), Some("ok"));
    }
    let home = Home::at(place.home()).with_group_access(place.is_shared);
    let standing = home.standing().unwrap();
    assert_eq!((standing.processes.len(), standing.set_aside.len()), (0, 0));
    assert!(standing.conservation.holds(), "{standing:?}");
    assert_eq!(standing.conservation.acknowledged, after.len() as u64);
}

#[test]
fn a_dead_container_is_adopted_by_another_and_a_living_one_is_not() {
    let place = Place::new();
    let container = place.container();
    // All are process 1 of their containers: an id alone would say that the dead one lives.
    let same = container.clone().pids();
    adopted_across(&place, [&same; 4]);
    // Each counts its processes otherwise.
    let place = Place::new();
    let container = place.container();
    let [first, second, third, last] =
        [0, 2, 9, 5].map(|before| container.clone().pids_after(before));
    adopted_across(&place, [&first, &second, &third, &last]);
}

#[test]
fn two_users_of_a_group_adopt_and_ship_one_another_s_calls_in_one_home() {
    let place = Place::of_a_group();
    let container = place.container();
    let alice = container.clone().user(ALICE, MEMBERS);
    let bob = container.clone().user(BOB, MEMBERS);
    // One and then the other dies; with process ids of their own, and without.
    adopted_across(&place, [&alice, &bob, &bob.clone().pids(), &alice]);
    let place = Place::of_a_group();
    let container = place.container().pids();
    let alice = container.clone().user(ALICE, MEMBERS);
    let bob = container.clone().user(BOB, MEMBERS);
    adopted_across(&place, [&bob, &alice, &alice, &bob]);
}

#[test]
fn a_switch_thrown_by_one_user_of_a_group_is_obeyed_by_another() {
    let place = Place::of_a_group();
    let container = place.container();
    let alice = container.clone().user(ALICE, MEMBERS);
    let bob = container.user(BOB, MEMBERS);
    place.run(&alice, "switches off", &place.mounted());
    place.run(&bob, "obeys the switch", &place.mounted());
}

#[test]
fn a_user_outside_the_group_records_from_memory_and_touches_nothing() {
    let place = Place::of_a_group();
    std::fs::set_permissions(
        place.dir.path().join("outside"),
        PermissionsExt::from_mode(0o2777),
    )
    .unwrap();
    let stranger = place.container().user(61_003, 61_003);
    let said = place.run(&stranger, "records", &place.mounted());
    assert_eq!(place.rows().len(), SLOTS / 2, "{said}");
    assert_eq!(
        log_lines(&said, "where a crash of the process loses them: ").len(),
        1,
        "{said}"
    );
    assert_eq!(std::fs::read_dir(place.home()).unwrap().count(), 0);
}
