//! Homes, spools, flight buffers and shippers that the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callmeter::Home;
use callmeter::seams::{Disk, DrivenShipper, HomeDisk, ShipperParts, SpoolInlet, SpoolOwner};
use callmeter_core::{
    CallId, CallRecord, Clock, Conservation, Field, Layer, Sink, SinkError, Status, Timestamp,
};
use callmeter_flight::{FlightBuffer, FlightSlot, Opening, Options, Place, Value};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::sink::MemorySink;

pub(crate) const START: Timestamp = Timestamp::from_micros(1_774_310_400_000_000);
pub(crate) const STORE: &str = "sqlite:store.sqlite";

/// A home of its own, with a clock in the test's hand and a store in memory.
pub(crate) struct TestHome {
    directory: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sink: MemorySink,
}

pub(crate) fn place() -> TestHome {
    TestHome {
        directory: tempfile::tempdir().unwrap(),
        clock: Arc::new(ManualClock::at(START)),
        sink: MemorySink::default(),
    }
}

impl TestHome {
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn home(&self) -> Home {
        Home::at(self.path())
    }

    pub(crate) fn disk(&self) -> HomeDisk {
        HomeDisk::new(self.home())
    }

    /// A spool of a process that lives until this is dropped.
    pub(crate) fn spool(&self) -> Box<dyn SpoolInlet> {
        self.spool_for(STORE)
    }

    pub(crate) fn spool_for(&self, store: &str) -> Box<dyn SpoolInlet> {
        self.clock.pass(1_000);
        let owner = SpoolOwner {
            home: self.path().display().to_string(),
            store: store.to_owned(),
            made_at: self.clock.now(),
        };
        self.disk().create(&owner).unwrap()
    }

    /// A flight buffer of this home, in a mapped file.
    pub(crate) fn flight(&self) -> Arc<FlightBuffer> {
        self.flight_for("")
    }

    /// The same, of a process whose calls are for that store.
    pub(crate) fn flight_for(&self, store: &str) -> Arc<FlightBuffer> {
        std::fs::create_dir_all(self.path()).unwrap();
        let place = Place::directory(self.path().join("flight"));
        let mut options = Options::default();
        options.slots = 64;
        options.names_bytes = 4_096;
        options.home = self.path().display().to_string();
        store.clone_into(&mut options.store);
        let buffer = FlightBuffer::create(&place, &options).unwrap();
        buffer.beat(self.clock.now(), 0);
        Arc::new(buffer)
    }

    pub(crate) fn shipper(&self) -> DrivenShipper {
        self.shipper_on(Arc::new(self.disk()))
    }

    pub(crate) fn shipper_on(&self, disk: Arc<dyn Disk>) -> DrivenShipper {
        let sink = self.sink.clone();
        self.driven(disk, move || Ok(Box::new(sink.clone()) as Box<dyn Sink>))
    }

    pub(crate) fn shipper_with<F>(&self, make_sink: F) -> DrivenShipper
    where
        F: FnMut() -> Result<Box<dyn Sink>, SinkError> + Send + 'static,
    {
        self.driven(Arc::new(self.disk()), make_sink)
    }

    fn driven<F>(&self, disk: Arc<dyn Disk>, make_sink: F) -> DrivenShipper
    where
        F: FnMut() -> Result<Box<dyn Sink>, SinkError> + Send + 'static,
    {
        self.driven_to(STORE, disk, make_sink)
    }

    /// A shipper to a store of that name.
    pub(crate) fn shipper_to(&self, store: &str) -> DrivenShipper {
        let sink = self.sink.clone();
        let make_sink = move || Ok(Box::new(sink.clone()) as Box<dyn Sink>);
        self.driven_to(store, Arc::new(self.disk()), make_sink)
    }

    fn driven_to<F>(&self, store: &str, disk: Arc<dyn Disk>, make_sink: F) -> DrivenShipper
    where
        F: FnMut() -> Result<Box<dyn Sink>, SinkError> + Send + 'static,
    {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let mut parts = ShipperParts::new(disk, make_sink, clock);
        store.clone_into(&mut parts.store);
        parts.home = self.path().display().to_string();
        DrivenShipper::new(parts, 100)
    }

    /// Lets a shipper work for so long, by the clock in hand.
    pub(crate) fn drive(&self, shipper: &mut DrivenShipper, time: Duration) {
        let end = self.clock.monotonic_ns() + u64::try_from(time.as_nanos()).unwrap();
        while self.clock.monotonic_ns() < end {
            let pause = shipper.tick();
            let micros = u32::try_from(pause.as_micros()).unwrap();
            self.clock.pass(micros.max(100));
        }
    }

    /// Everything that a shipper of its own can do: adopt, ship, retire.
    pub(crate) fn ship_all(&self) {
        let mut shipper = self.shipper();
        self.drive(&mut shipper, Duration::from_secs(10));
    }

    pub(crate) fn standing(&self) -> Conservation {
        let standing = self.home().standing().unwrap();
        assert_eq!(standing.unreadable, Vec::new());
        standing.conservation
    }

    /// The ids of the stored calls, as their numbers.
    pub(crate) fn stored(&self) -> Vec<u64> {
        let mut stored: Vec<u64> = self
            .sink
            .calls()
            .iter()
            .map(|call| call.call_id.lo().cast_unsigned())
            .collect();
        stored.sort_unstable();
        stored
    }

    pub(crate) fn stored_with(&self, status: &Status) -> usize {
        let calls = self.sink.calls();
        calls
            .iter()
            .filter(|call| call.status.as_ref() == Some(status))
            .count()
    }
}

pub(crate) fn id(n: u64) -> CallId {
    CallId::new(START, n)
}

/// Call number `n`, as a guard leaves it.
pub(crate) fn call(n: u64) -> CallRecord {
    let mut record = CallRecord::new(id(n), Layer::Guard, 0);
    record.caller = Some("sales_copy".to_owned());
    record.provider = Some("openai".to_owned());
    record.model = Some("gpt-5-mini".to_owned());
    record.status = Some(Status::Ok);
    record.duration_us = Some(1_000 + n);
    record.usage.input_tokens = Some(n);
    record
}

pub(crate) fn calls(numbers: std::ops::Range<u64>) -> Vec<CallRecord> {
    numbers.map(call).collect()
}

/// Opens call number `n` in a flight buffer.
pub(crate) fn open(buffer: &FlightBuffer, n: u64) -> FlightSlot {
    let mut opening = Opening::new(id(n), Layer::Guard, 1_000);
    opening.caller = "sales_copy".into();
    opening.provider = "openai".into();
    buffer.open(&opening).unwrap()
}

/// Opens and finishes call number `n` in a flight buffer.
pub(crate) fn finish(buffer: &FlightBuffer, n: u64) {
    let slot = open(buffer, n);
    buffer
        .finish(slot, &[(Field::InputTokens, Value::from(n))])
        .unwrap();
}

/// A flight file's name.
pub(crate) fn name_of(buffer: &FlightBuffer) -> String {
    stem(buffer.path().unwrap())
}

pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}
