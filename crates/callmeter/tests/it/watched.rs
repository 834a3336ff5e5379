//! A real disk of which a test sees each append to a spool, and may refuse it.

use std::fmt::Debug;
use std::sync::Arc;

use callmeter::seams::{
    DeadFlight, Disk, FlightFigures, Hold, HomeDisk, MemorySpool, SpoolError, SpoolInlet,
    SpoolOutlet, SpoolOwner,
};
use callmeter_core::{CallRecord, DropReason, Timestamp};
use callmeter_flight::FlightError;

/// Who sees the appends.
pub(crate) trait Watch: Debug + Send + Sync + 'static {
    /// An append is asked for; `sync` says whether it is to reach the disk.
    fn append(
        &self,
        sync: bool,
        append: &mut dyn FnMut() -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError>;
}

/// The disk.
#[derive(Debug)]
pub(crate) struct WatchedDisk<W> {
    pub(crate) disk: HomeDisk,
    pub(crate) watch: Arc<W>,
}

#[derive(Debug)]
struct WatchedInlet<W> {
    inlet: Box<dyn SpoolInlet>,
    watch: Arc<W>,
}

impl<W: Watch> Disk for WatchedDisk<W> {
    fn create(&self, owner: &SpoolOwner) -> Result<Box<dyn SpoolInlet>, SpoolError> {
        Ok(Box::new(WatchedInlet {
            inlet: self.disk.create(owner)?,
            watch: Arc::clone(&self.watch),
        }))
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
        self.disk.open(spool)
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
        self.disk.retire(spool, outlet, hold)
    }

    fn set_aside(&self, spool: &str) -> Result<(), SpoolError> {
        self.disk.set_aside(spool)
    }

    fn flights(&self) -> Vec<String> {
        self.disk.flights()
    }

    fn adopt_flight(&self, flight: &str) -> Result<Option<Box<dyn DeadFlight>>, FlightError> {
        self.disk.adopt_flight(flight)
    }

    fn set_flight_aside(&self, flight: &str) {
        self.disk.set_flight_aside(flight);
    }
}

impl<W: Watch> SpoolInlet for WatchedInlet<W> {
    fn name(&self) -> &str {
        self.inlet.name()
    }

    fn attach(&mut self, flight: &str, place: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.attach(flight, place, at)
    }

    fn detach(&mut self, flight: &str, at: Timestamp) -> Result<(), SpoolError> {
        self.inlet.detach(flight, at)
    }

    fn note(&mut self, figures: FlightFigures) {
        self.inlet.note(figures);
    }

    fn append(
        &mut self,
        batch: &[CallRecord],
        dropped: &[(DropReason, u64)],
        sync: bool,
    ) -> Result<(), SpoolError> {
        let Self { inlet, watch } = self;
        watch.append(sync, &mut || inlet.append(batch, dropped, sync))
    }

    fn has_unready(&self) -> bool {
        self.inlet.has_unready()
    }

    fn last_seq(&self) -> i64 {
        self.inlet.last_seq()
    }

    fn bytes_in_log(&self) -> i64 {
        self.inlet.bytes_in_log()
    }
}
