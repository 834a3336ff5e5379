//! What dead processes left becomes rows, each once, whatever the adopter dies at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callmeter::seams::{
    DeadFlight, Disk, Hold, HomeDisk, MemorySpool, SpoolError, SpoolInlet, SpoolOutlet, SpoolOwner,
    SpooledRow,
};
use callmeter_core::{Conservation, DropReason, Status, Timestamp};
use callmeter_flight::{AdoptedCalls, FlightBuffer, FlightError, Options, Place, PlaceKind};

use crate::homes::{STORE, TestHome, call, calls, finish, name_of, open, place};

/// A process that has spooled calls 0 to 9, has 10 to 14 committed but not freed, 15 to 19 finished and
/// 20 to 21 in flight; then it dies.
fn a_process_that_died(home: &TestHome) {
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    let mut drainer = buffer.drainer().unwrap();
    for (numbers, is_freed) in [(0..10, true), (10..15, false)] {
        for n in numbers {
            finish(&buffer, n);
        }
        let mut batch = Vec::new();
        drainer.drain(100, |call| batch.push(call));
        spool.append(&batch, &[], false).unwrap();
        if is_freed {
            drainer.committed();
        }
    }
    for n in 15..20 {
        finish(&buffer, n);
    }
    let _in_flight = [open(&buffer, 20), open(&buffer, 21)];
}

fn assert_all_once(home: &TestHome) {
    assert_eq!(home.stored(), (0..22).collect::<Vec<_>>());
    assert_eq!(home.stored_with(&Status::Aborted), 2);
    let standing = home.standing();
    assert!(standing.holds(), "{standing:?}");
    assert_eq!((standing.finished, standing.acknowledged), (22, 22));
    let flights = std::fs::read_dir(home.path().join("flight")).unwrap();
    assert_eq!(flights.count(), 0, "the flight file and its lease are gone");
    assert!(home.disk().spools().unwrap().is_empty(), "and the spool");
}

#[test]
fn finished_calls_become_rows_open_ones_aborted_rows_and_those_in_both_places_one_row() {
    let home = place();
    a_process_that_died(&home);
    home.ship_all();
    assert_all_once(&home);
}

#[test]
fn the_file_of_a_process_without_a_spool_gets_one() {
    let home = place();
    let buffer = home.flight();
    for n in 0..22 {
        if n < 20 {
            finish(&buffer, n);
        } else {
            let _in_flight = open(&buffer, n);
        }
    }
    drop(buffer);
    home.ship_all();
    assert_all_once(&home);
}

/// Its home is made with the first commit; its calls lie in shared memory, which knows of no home.
#[test]
fn the_file_of_a_process_without_a_home_gets_a_spool_as_well() {
    let home = place();
    let places = Place::candidates(&home.path());
    let shared = places
        .iter()
        .find(|place| place.kind() == PlaceKind::SharedMemory);
    let mut options = Options::default();
    options.home = home.path().display().to_string();
    let buffer = FlightBuffer::create(shared.unwrap(), &options).unwrap();
    finish(&buffer, 1);
    let _in_flight = open(&buffer, 2);
    // While it lives nobody needs a home.
    home.ship_all();
    assert!(!home.path().exists());
    drop(buffer);
    home.ship_all();
    assert_eq!(home.stored(), [1, 2]);
    assert!(home.standing().holds());
}

#[test]
fn a_living_process_keeps_its_flight_file_and_its_spool() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    finish(&buffer, 1);
    home.ship_all();
    assert_eq!(home.stored(), Vec::<u64>::new());
    assert!(buffer.is_linked());
}

#[test]
fn rows_of_a_dead_owner_leave_when_its_flight_file_is_no_more() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    spool.append(&calls(0..5), &[], false).unwrap();
    std::fs::remove_file(buffer.path().unwrap()).unwrap();
    drop((spool, buffer));
    home.ship_all();
    assert_eq!(home.stored(), (0..5).collect::<Vec<_>>());
    assert!(home.standing().holds());
}

#[test]
fn flight_files_of_spools_for_another_store_are_left_to_its_shipper() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool_for("postgres://db/shop");
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    finish(&buffer, 1);
    let path = buffer.path().unwrap().to_owned();
    drop((spool, buffer));
    home.ship_all();
    assert_eq!(home.stored(), Vec::<u64>::new());
    assert!(path.exists());
}

/// A volume that is mounted elsewhere, or a directory that was moved: its embedded store has another name there.
#[test]
fn a_home_at_another_path_ships_what_was_spooled_at_the_first() {
    let (first, second) = (place(), place());
    let store_of = |home: &TestHome| format!("sqlite:{}/store.sqlite", home.path().display());
    let mut spool = first.spool_for(&store_of(&first));
    spool.append(&calls(0..5), &[], false).unwrap();
    let mut elsewhere = first.spool_for("sqlite:/var/lib/other/store.sqlite");
    elsewhere.append(&calls(5..8), &[], false).unwrap();
    let buffers = [
        first.flight_for(&store_of(&first)),
        first.flight_for("sqlite:/var/lib/other/store.sqlite"),
    ];
    for (buffer, n) in buffers.iter().zip(8..) {
        finish(buffer, n);
    }
    drop((spool, elsewhere, buffers));
    std::fs::rename(first.path(), second.path()).unwrap();

    let mut shipper = second.shipper_to(&store_of(&second));
    second.drive(&mut shipper, Duration::from_secs(10));
    assert_eq!(second.stored(), [0, 1, 2, 3, 4, 8]);
    assert_eq!(second.standing().spooled, 3);
    let mut shipper = second.shipper_to("sqlite:/var/lib/other/store.sqlite");
    second.drive(&mut shipper, Duration::from_secs(10));
    assert_eq!(second.stored(), (0..10).collect::<Vec<_>>());
    assert!(second.standing().holds());
}

#[test]
fn a_flight_file_without_a_spool_goes_to_the_store_that_it_names() {
    let home = place();
    let (ours, others) = (
        home.flight_for(STORE),
        home.flight_for("postgres://db/shop"),
    );
    finish(&ours, 1);
    finish(&others, 2);
    let path = others.path().unwrap().to_owned();
    drop((ours, others));
    home.ship_all();
    assert_eq!(home.stored(), vec![1]);
    assert!(path.exists(), "it waits for the shipper of its store");
}

#[test]
fn a_flight_file_of_a_newer_format_stays_and_holds_back_what_may_be_double() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    spool.append(&calls(0..5), &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    spool.append(&calls(5..8), &[], false).unwrap();
    finish(&buffer, 9);
    let path = buffer.path().unwrap().to_owned();
    drop((spool, buffer));
    // The format and the oldest reader are the second word.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8..16].copy_from_slice(&[9, 0, 0, 0, 9, 0, 0, 0]);
    std::fs::write(&path, bytes).unwrap();
    home.ship_all();
    assert_eq!(home.stored(), (0..5).collect::<Vec<_>>());
    assert!(path.exists());
    let standing = home.home().standing().unwrap();
    assert!(standing.conservation.holds(), "{standing:?}");
    assert_eq!(standing.conservation.spooled, 3);
    assert_eq!(standing.unreadable[0].0, path, "and doctor names it");
}

#[test]
fn a_damaged_flight_file_is_set_aside_and_the_spool_goes_on() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    spool.append(&calls(0..5), &[], false).unwrap();
    finish(&buffer, 9);
    let path = buffer.path().unwrap().to_owned();
    drop((spool, buffer));
    std::fs::write(&path, b"no flight file").unwrap();
    home.ship_all();
    assert_eq!(home.stored(), (0..5).collect::<Vec<_>>());
    assert!(path.with_extension("flight.damaged").exists());
}

#[test]
fn torn_slots_and_calls_that_found_no_slot_are_counted_once() {
    let home = place();
    let buffer = home.flight();
    let mut spool = home.spool();
    let at = callmeter_core::Clock::now(&*home.clock);
    spool.attach(&name_of(&buffer), "", at).unwrap();
    let mut refused = 0;
    for n in 0..70 {
        let opening = callmeter_flight::Opening::new(
            crate::homes::id(n),
            callmeter_core::Layer::Guard,
            1_000,
        );
        match buffer.open(&opening) {
            Ok(slot) => buffer.finish(slot, &[]).unwrap(),
            Err(_) => refused += 1,
        }
    }
    assert_eq!(refused, 6);
    let figures = callmeter::seams::FlightFigures::of(&name_of(&buffer), &buffer.standing());
    spool.note(figures);
    spool.append(&[], &[], false).unwrap();
    buffer.count_dropped(DropReason::Forked, 2);
    let path = buffer.path().unwrap().to_owned();
    drop((spool, buffer));
    // One slot's opening no longer meets its checksum.
    let mut bytes = std::fs::read(&path).unwrap();
    let first_slot = bytes.len() - 64 * 512;
    bytes[first_slot + 8] ^= 0x55;
    std::fs::write(&path, bytes).unwrap();
    home.ship_all();
    let standing = home.standing();
    assert_eq!(standing.dropped_for(DropReason::FlightFull), 6);
    assert_eq!(standing.dropped_for(DropReason::Torn), 1);
    assert_eq!(standing.dropped_for(DropReason::Forked), 2);
    assert_eq!(standing.acknowledged, 63);
    assert!(standing.holds(), "{standing:?}");
}

#[test]
fn an_adopter_may_die_before_or_after_every_step() {
    let mut survived = false;
    for step in 0..200 {
        let home = place();
        a_process_that_died(&home);
        let disk = MortalDisk {
            disk: home.disk(),
            steps_left: Arc::new(AtomicUsize::new(step)),
        };
        let left = Arc::clone(&disk.steps_left);
        let mut shipper = home.shipper_on(Arc::new(disk));
        home.drive(&mut shipper, std::time::Duration::from_secs(5));
        drop(shipper);
        survived = left.load(Ordering::SeqCst) > 0;
        home.ship_all();
        assert_all_once(&home);
        if survived {
            break;
        }
    }
    assert!(survived, "more steps than were tried");
}

/// A disk that does so many steps more; each one after that fails, as if the process were dead. The last
/// one is done, but its answer is lost.
#[derive(Debug)]
struct MortalDisk {
    disk: HomeDisk,
    steps_left: Arc<AtomicUsize>,
}

fn dead() -> SpoolError {
    SpoolError::Sqlite("dead".to_owned())
}

fn step<T>(
    steps_left: &AtomicUsize,
    act: impl FnOnce() -> Result<T, SpoolError>,
) -> Result<T, SpoolError> {
    match steps_left.load(Ordering::SeqCst) {
        0 => Err(dead()),
        left => {
            let done = act();
            steps_left.store(left - 1, Ordering::SeqCst);
            if left == 1 { Err(dead()) } else { done }
        }
    }
}

impl Disk for MortalDisk {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        step(&self.steps_left, || self.disk.create(owner))
    }
    fn create_in_memory(&self, owner: &SpoolOwner) -> MemorySpool {
        self.disk.create_in_memory(owner)
    }
    fn in_memory(&self) -> Vec<String> {
        Disk::in_memory(&self.disk)
    }
    fn spools(&self) -> Result<Vec<String>, SpoolError> {
        self.disk.spools()
    }
    fn open(&self, spool: &str) -> Result<Box<dyn SpoolOutlet>, SpoolError> {
        Ok(Box::new(MortalOutlet {
            outlet: self.disk.open(spool)?,
            steps_left: Arc::clone(&self.steps_left),
        }))
    }
    fn hold_spool(&self, spool: &str) -> Result<Option<Hold>, SpoolError> {
        self.disk.hold_spool(spool)
    }
    fn hold_office(&self, store: &str) -> Result<Option<Hold>, SpoolError> {
        self.disk.hold_office(store)
    }
    fn used_bytes(&self) -> u64 {
        self.disk.used_bytes()
    }
    fn retire(
        &self,
        spool: &str,
        outlet: Box<dyn SpoolOutlet>,
        hold: Hold,
    ) -> Result<(), SpoolError> {
        step(&self.steps_left, || self.disk.retire(spool, outlet, hold))
    }
    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        self.disk.set_aside(spool)
    }
    fn flights(&self) -> Vec<String> {
        self.disk.flights()
    }
    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        let steps_left = Arc::clone(&self.steps_left);
        let flight = self.disk.adopt_flight(flight)?;
        Ok(flight
            .map(|flight| Box::new(MortalFlight { flight, steps_left }) as Box<dyn DeadFlight>))
    }
    fn set_flight_aside(&self, flight: &str) {
        self.disk.set_flight_aside(flight);
    }
}

struct MortalFlight {
    flight: Box<dyn DeadFlight>,
    steps_left: Arc<AtomicUsize>,
}

impl DeadFlight for MortalFlight {
    fn calls(&self) -> &AdoptedCalls {
        self.flight.calls()
    }
    fn discard(self: Box<Self>) {
        let Self { flight, steps_left } = *self;
        let _ = step(&steps_left, || {
            flight.discard();
            Ok(())
        });
    }
}

#[derive(Debug)]
struct MortalOutlet {
    outlet: Box<dyn SpoolOutlet>,
    steps_left: Arc<AtomicUsize>,
}

impl SpoolOutlet for MortalOutlet {
    fn store(&self) -> &str {
        self.outlet.store()
    }
    fn ready_seq(&mut self) -> Result<i64, SpoolError> {
        self.outlet.ready_seq()
    }
    fn ready_rows(
        &mut self,
        after: i64,
        up_to: i64,
        limit: usize,
    ) -> Result<Vec<SpooledRow>, SpoolError> {
        self.outlet.ready_rows(after, up_to, limit)
    }
    fn acknowledge(&mut self, seqs: &[i64], expired: u64) -> Result<(), SpoolError> {
        step(&self.steps_left, || self.outlet.acknowledge(seqs, expired))
    }
    fn reject(&mut self, row: &SpooledRow, reason: &str, at: Timestamp) -> Result<(), SpoolError> {
        step(&self.steps_left, || self.outlet.reject(row, reason, at))
    }
    fn drop_oldest(&mut self, count: u64) -> Result<u64, SpoolError> {
        step(&self.steps_left, || self.outlet.drop_oldest(count))
    }
    fn give_back_space(&mut self) -> Result<(), SpoolError> {
        self.outlet.give_back_space()
    }
    fn is_spent(&mut self) -> Result<bool, SpoolError> {
        self.outlet.is_spent()
    }
    fn standing(&mut self) -> Result<Conservation, SpoolError> {
        self.outlet.standing()
    }
    fn flights(&mut self) -> Result<Vec<String>, SpoolError> {
        self.outlet.flights()
    }
    fn adopt(
        &mut self,
        flight: &str,
        calls: &AdoptedCalls,
        at: Timestamp,
    ) -> Result<u64, SpoolError> {
        step(&self.steps_left, || self.outlet.adopt(flight, calls, at))
    }
    fn settle(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        step(&self.steps_left, || self.outlet.settle(flight, at))
    }
    fn release_all(&mut self) -> Result<(), SpoolError> {
        step(&self.steps_left, || self.outlet.release_all())
    }
}

#[test]
fn a_spool_whose_owner_died_without_a_word_is_shipped_and_removed() {
    let home = place();
    let mut spool = home.spool();
    spool
        .append(&[call(1)], &[(DropReason::FlightFull, 3)], false)
        .unwrap();
    assert!(spool.has_unready());
    drop(spool);
    home.ship_all();
    let standing = home.standing();
    assert_eq!((standing.finished, standing.acknowledged), (4, 1));
    assert!(standing.holds());
    assert_eq!(home.disk().spools().unwrap(), Vec::<String>::new());
}

#[test]
fn the_dead_are_adopted_while_a_store_that_is_down_is_given_its_time() {
    let home = place();
    home.sink.set_down(true);
    let mut spool = home.spool();
    spool.append(&[call(100)], &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    let mut shipper = home.shipper();
    // By then the pauses are between half a minute and a whole one.
    home.drive(&mut shipper, Duration::from_secs(600));
    assert!(shipper.is_degraded());
    a_process_that_died(&home);
    home.drive(&mut shipper, Duration::from_secs(3));
    assert!(home.disk().flights().is_empty(), "adopted");
    assert_eq!(home.standing().spooled, 23);
    home.sink.set_down(false);
    home.drive(&mut shipper, Duration::from_secs(120));
    assert_eq!(home.stored().len(), 23);
}
