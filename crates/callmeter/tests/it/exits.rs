//! How long the end of a process waits for a store that fails, hangs, or is well.

use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use callmeter::Callmeter;
use callmeter::seams::Disk;
use callmeter::settings::Settings;
use callmeter_core::{Ack, CallRecord, Sink, SinkError};
use callmeter_testkit::sink::{Fault, MemorySink};

use crate::homes::{STORE, TestHome, call, place};
use crate::host::{PATIENCE, eventually};

/// Whoever waits so long waits for ever.
const A_DAY: Duration = Duration::from_secs(86_400);
/// Four times what the end of a process waits for a store that fails.
const SLOW: Duration = Duration::from_millis(200);

fn recorder<S: Sink + 'static>(
    home: &TestHome,
    open: impl FnMut() -> S + Send + 'static,
) -> Callmeter {
    let mut open = open;
    callmeter::builder()
        .settings(Settings::default())
        .home(home.path())
        .sink(STORE, move || Ok(Box::new(open())))
        .open()
        .unwrap()
}

fn record(callmeter: &Callmeter) {
    callmeter
        .call("sales_copy", "openai", "gpt-5-mini")
        .finish();
}

/// A process of this home that makes one call and ends with the patience of a day; says whether it was stored.
fn short_process(home: &TestHome) -> bool {
    let sink = home.sink.clone();
    let callmeter = recorder(home, move || sink.clone());
    record(&callmeter);
    let flush = callmeter.shutdown(A_DAY);
    assert!(flush.is_spooled());
    flush.is_complete()
}

fn marks(home: &TestHome) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(home.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "failing"))
        .collect()
}

/// A store whose answers take their time, or never come while the other end of the channel lives.
#[derive(Clone)]
struct Waiting {
    sink: MemorySink,
    limit: Duration,
    never: Arc<Mutex<Receiver<()>>>,
}

impl Waiting {
    fn of(home: &TestHome, limit: Duration) -> (Self, Sender<()>) {
        let (sender, never) = channel();
        let waiting = Self {
            sink: home.sink.clone(),
            limit,
            never: Arc::new(Mutex::new(never)),
        };
        (waiting, sender)
    }
}

impl Sink for Waiting {
    fn write(&mut self, batch: &[CallRecord]) -> Result<Ack, SinkError> {
        let answer = self.never.lock().unwrap().recv_timeout(self.limit);
        assert_ne!(answer, Ok(()));
        if answer == Err(RecvTimeoutError::Timeout) {
            return self.sink.write(batch);
        }
        let kind = callmeter_core::SinkErrorKind::Retry;
        Err(SinkError::new(kind, "the connection was closed"))
    }
}

#[test]
fn one_failure_is_enough_for_an_end_that_does_not_wait() {
    let home = place();
    home.sink.set_down(true);
    let sink = home.sink.clone();
    let callmeter = recorder(&home, move || sink.clone());
    record(&callmeter);
    eventually("a trial fails", || callmeter.stats().last_error.is_some());
    assert!(!callmeter.stats().is_degraded);
    let flush = callmeter.shutdown(A_DAY);
    assert!(flush.is_spooled() && !flush.is_complete());
}

#[test]
fn a_first_trial_that_fails_during_the_end_ends_the_wait() {
    let home = place();
    home.sink.set_down(true);
    assert!(!short_process(&home));
    assert_eq!(marks(&home).len(), 1);
}

#[test]
fn processes_after_one_that_met_a_dead_store_do_not_wait_for_it() {
    let home = place();
    home.sink.set_down(true);
    assert!(!short_process(&home));
    // Now it does not even refuse.
    let (store, closed) = Waiting::of(&home, A_DAY);
    for _ in 0..3 {
        let store = store.clone();
        let callmeter = recorder(&home, move || store.clone());
        record(&callmeter);
        let flush = callmeter.shutdown(A_DAY);
        assert!(flush.is_spooled() && !flush.is_complete());
    }
    drop(closed);
}

#[test]
fn whoever_stores_something_lets_the_next_end_take_its_time() {
    let home = place();
    home.sink.set_down(true);
    assert!(!short_process(&home));
    home.sink.set_down(false);
    let sink = home.sink.clone();
    let callmeter = recorder(&home, move || sink.clone());
    record(&callmeter);
    assert!(callmeter.flush(PATIENCE).is_complete());
    eventually("the mark is gone", || marks(&home).is_empty());
    drop(callmeter);
    let (slow, _open) = Waiting::of(&home, SLOW);
    let callmeter = recorder(&home, move || slow.clone());
    record(&callmeter);
    assert!(callmeter.shutdown(PATIENCE).is_complete());
    eventually("all are stored", || home.stored().len() == 3);
}

#[test]
fn a_store_that_never_answers_costs_one_long_end_and_no_second() {
    let home = place();
    let (store, closed) = Waiting::of(&home, A_DAY);
    for patience in [Duration::from_millis(1_001), A_DAY] {
        let store = store.clone();
        let callmeter = recorder(&home, move || store.clone());
        record(&callmeter);
        let flush = callmeter.shutdown(patience);
        assert!(flush.is_spooled() && !flush.is_complete());
        assert_eq!(marks(&home).len(), 1);
    }
    drop(closed);
}

#[test]
fn an_end_that_was_given_hardly_any_time_says_nothing_of_the_store() {
    let home = place();
    let (store, closed) = Waiting::of(&home, A_DAY);
    let callmeter = recorder(&home, move || store.clone());
    record(&callmeter);
    assert!(!callmeter.shutdown(Duration::from_millis(5)).is_complete());
    assert_eq!(marks(&home).len(), 0);
    drop(closed);
}

#[test]
fn a_mark_that_nobody_left_anew_for_ten_minutes_is_not_believed() {
    let home = place();
    home.sink.set_down(true);
    assert!(!short_process(&home));
    eventually("its shipper has ended", || {
        home.disk().hold_office(STORE).unwrap().is_some()
    });
    home.sink.set_down(false);
    let path = marks(&home).pop().unwrap();
    let now = SystemTime::now();
    for (left, limit) in [
        (now - Duration::from_secs(11 * 60), SLOW),
        // The clock was set back.
        (now + Duration::from_secs(3_600), SLOW),
        (now - Duration::from_secs(9 * 60), A_DAY),
    ] {
        let mark = fs::File::create(&path).unwrap();
        mark.set_modified(left).unwrap();
        let (store, _open) = Waiting::of(&home, limit);
        let callmeter = recorder(&home, move || store.clone());
        record(&callmeter);
        let flush = callmeter.shutdown(A_DAY);
        assert_eq!(flush.is_complete(), limit == SLOW, "{left:?}");
    }
}

#[test]
fn a_connection_that_had_died_is_tried_again_at_once_where_somebody_waits() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&[call(1)], &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    home.sink.fail_next([Fault::BeforeCommit]);
    let mut shipper = home.shipper();
    shipper.set_urgent(true);
    home.drive(&mut shipper, Duration::from_millis(20));
    assert_eq!(home.stored(), [1]);
    assert_eq!(marks(&home).len(), 0);
}

#[test]
fn a_store_with_another_writer_at_work_leaves_no_mark() {
    let home = place();
    let mut spool = home.spool();
    spool.append(&[call(1)], &[], false).unwrap();
    spool.append(&[], &[], false).unwrap();
    home.sink.fail_next([Fault::Busy; 50]);
    let mut shipper = home.shipper();
    shipper.set_urgent(true);
    home.drive(&mut shipper, Duration::from_millis(100));
    assert_eq!((home.stored(), marks(&home).len()), (vec![], 0));
}
