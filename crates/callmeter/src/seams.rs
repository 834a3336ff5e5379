//! The seams by which a simulation replaces what is around worker, adopter and shipper. No part of the
//! interface: may change at any time.
//!
//! ```text
//! Clock      callmeter_core      when, and how long: both halves are read through it alone
//! Disk       [`Disk`]            spools, leases, flight files; [`HomeDisk`] is the real one
//! Sink       callmeter_core      the store
//! ```
//! Each component has a `tick`, which does what there is to do and says how long it would wait; nothing in
//! it sleeps, reads another clock or starts a thread. So one thread can drive any number of processes of
//! any number of homes through simulated years:
//!
//! ```text
//! loop { clock.pass(…); for process in processes { process.worker.tick(); process.shipper.tick(); } }
//! ```
//! To kill a process is to drop its components together with their holds ([`Hold`]) at any point between
//! two calls of a seam: the simulation's own disk decides what of its last transaction is left.

use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{Clock, Sink, SinkError};

use crate::backoff::Backoff;
use crate::control::Control;
use crate::shipper::{BatchLimits, MakeSink, Parts, REPLAY_ROWS_PER_SECOND, Shipper};
pub use crate::spool::{
    DeadFlight, Disk, FlightFigures, Hold, HomeDisk, Rights, SpoolError, SpoolInlet, SpoolOutlet,
    SpoolOwner, SpooledRow,
};

/// What a shipper of a simulation is made of.
pub struct ShipperParts {
    /// The home's disk.
    pub disk: Arc<dyn Disk>,
    /// The home's path, for spools that an adopter makes.
    pub home: String,
    /// The store's name: spools of others are left alone.
    pub store: String,
    /// Opens the sink.
    pub make_sink: MakeSink,
    /// The clock of everything.
    pub clock: Arc<dyn Clock>,
    /// The seed of the jitter between trials.
    pub seed: u64,
}

impl std::fmt::Debug for ShipperParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShipperParts")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl ShipperParts {
    /// Parts over a disk, a sink and a clock.
    pub fn new<F>(disk: Arc<dyn Disk>, make_sink: F, clock: Arc<dyn Clock>) -> Self
    where
        F: FnMut() -> Result<Box<dyn Sink>, SinkError> + Send + 'static,
    {
        Self {
            disk,
            home: "home".to_owned(),
            store: "store".to_owned(),
            make_sink: Box::new(make_sink),
            clock,
            seed: 0,
        }
    }
}

/// A shipper that is driven from outside.
#[derive(Debug)]
pub struct DrivenShipper {
    shipper: Shipper,
    control: Arc<Control>,
}

impl DrivenShipper {
    /// A shipper with batches of so many rows, and a backlog at the default rate.
    pub fn new(parts: ShipperParts, batch_rows: usize) -> Self {
        let control = Arc::new(Control::default());
        let limits = BatchLimits {
            rows: batch_rows,
            age: Duration::from_secs(1),
            replay_rows_per_second: REPLAY_ROWS_PER_SECOND,
        };
        let parts = Parts {
            disk: parts.disk,
            home: parts.home,
            store: parts.store,
            make_sink: parts.make_sink,
            timer: Arc::clone(&parts.clock),
            clock: parts.clock,
            backoff: Backoff::seeded(parts.seed),
        };
        let shipper = Shipper::of_parts(parts, limits, Arc::clone(&control));
        Self { shipper, control }
    }

    /// Does what there is to do now; says how long it would wait.
    pub fn tick(&mut self) -> Duration {
        self.shipper.tick()
    }

    /// Whether somebody waits for the store, as at the end of a process: then nothing is held back.
    pub fn set_urgent(&self, is_urgent: bool) {
        self.control
            .update(|state| state.waiting_flushes = u32::from(is_urgent));
    }

    /// Whether this is the elected shipper of its home and store.
    pub fn is_at_work(&self) -> bool {
        self.shipper.is_at_work()
    }

    /// Whether the store has failed ten times in a row.
    pub fn is_degraded(&self) -> bool {
        self.control.snapshot().is_degraded
    }

    /// Why spool or store last failed.
    pub fn last_error(&self) -> Option<String> {
        self.control.snapshot().last_error
    }

    /// How many calls the store answered for, and how many were set aside or refused for good.
    pub fn shipped(&self) -> (u64, u64) {
        let shipped = self.shipper.shipped();
        (shipped.acknowledged, shipped.rejected)
    }
}
