//! The seams by which a simulation replaces what is around recorder, worker, adopter and shipper. No part
//! of the interface: may change at any time.
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
//! let process = DrivenProcess::new(builder().home(…).clock(clock).disk(disk), clock, seed)?;
//! process.call("caller", "provider", "model").finish();
//! loop { clock.pass(…); for process in processes { process.tick(); } }
//! ```
//! [`DrivenProcess`] is a recorder with its flight buffer (a real file, in the home or in shared memory), its
//! worker and its shipper; [`DrivenShipper`] a shipper alone, as in `callmeter ship`.
//! [`DrivenProcess::kill`] ends a process as `kill -9` would, between two calls of a seam, and hands over the
//! bytes of its flight files: a simulated disk keeps them ([`Adopter::read`](callmeter_flight::Adopter::read)
//! tells what they hold) and frees its holds ([`Hold`]). What of a transaction is left that a kill, a short
//! write or a loss of power interrupts is the simulated disk's to decide: it makes the call fail, and the
//! simulation kills the process before its next tick.

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::{Clock, Conservation, Sink, SinkError};

use crate::backoff::Backoff;
use crate::builder::Builder;
use crate::control::Control;
use crate::figures;
use crate::guard::{CallGuard, Names};
use crate::recorder::Recorder;
use crate::shipper::{BatchLimits, MakeSink, Parts, Shipper};
pub use crate::spool::{
    DeadFlight, Disk, FlightFigures, Hold, HomeDisk, MemorySpool, Rights, SpoolError, SpoolInlet,
    SpoolOutlet, SpoolOwner, SpooledRow, StoreHealth,
};
use crate::station::Station;
use crate::worker::Worker;

/// A process that records, driven from outside instead of by its threads.
#[derive(Debug)]
pub struct DrivenProcess {
    recorder: Arc<Recorder>,
    control: Arc<Control>,
    worker: Option<Worker>,
    shipper: Option<Shipper>,
}

impl DrivenProcess {
    /// A process as the builder sets it up, on its disk and with its sink; `clock` is that of everything,
    /// and should be the builder's too. `seed` is that of the jitter between trials.
    ///
    /// # Errors
    /// When no flight buffer can be made.
    pub fn new(builder: Builder, clock: Arc<dyn Clock>, seed: u64) -> std::io::Result<Self> {
        let (recorder, _) = builder.configure();
        let recorder = Arc::new(recorder);
        let control = Arc::new(Control::default());
        let (station, drainer, _) = Station::make(&recorder).map_err(std::io::Error::other)?;
        let plan = &recorder.plan;
        let disk = plan.disk();
        let worker = Worker::new(
            Arc::clone(&recorder),
            Arc::clone(&control),
            Arc::clone(&disk),
            Arc::clone(&clock),
            drainer,
        );
        let shipper = plan.make_sink(&recorder.clock).map(|make_sink| {
            let parts = Parts {
                disk,
                home: plan.home.path().to_string_lossy().into_owned(),
                store: plan.store.clone(),
                make_sink,
                clock: Arc::clone(&recorder.clock),
                timer: clock,
                backoff: Backoff::seeded(seed),
            };
            Shipper::new(parts, plan.limits, Arc::clone(&control))
        });
        recorder.set_buffer(station.buffer.id());
        Ok(Self {
            recorder,
            control,
            worker: Some(worker),
            shipper,
        })
    }

    /// Opens a guard, as [`Callmeter::call`](crate::Callmeter::call) does.
    #[track_caller]
    pub fn call(&self, caller: &str, provider: &str, model: &str) -> CallGuard {
        if !self.recorder.is_on() {
            return CallGuard::off();
        }
        let names = Names {
            caller,
            provider,
            model,
        };
        CallGuard::open(self.recorder.current(), &names, Location::caller())
    }

    /// Lets worker and shipper do what there is to do now; says how long both would wait.
    pub fn tick(&mut self) -> Duration {
        self.tick_worker().min(self.tick_shipper())
    }

    /// Lets the worker do what there is to do now; says how long it would wait.
    pub fn tick_worker(&mut self) -> Duration {
        let Some(worker) = &mut self.worker else {
            return Duration::MAX;
        };
        let pause = worker.tick();
        if pause.is_none() {
            self.worker = None;
        }
        pause.unwrap_or(Duration::MAX)
    }

    /// Lets the shipper do what there is to do now; says how long it would wait.
    pub fn tick_shipper(&mut self) -> Duration {
        self.shipper.as_mut().map_or(Duration::MAX, Shipper::tick)
    }

    /// Asks for a flush, as the end of a process does; says when everything finished before is spooled, by
    /// [`is_spooled`](Self::is_spooled).
    pub fn ask_for_flush(&self) {
        self.control.update(|state| {
            state.flush_asked = state.flush_asked.saturating_add(1);
            state.waiting_flushes = 1;
        });
    }

    /// Whether everything that was finished before the last flush was asked for is in the spool.
    pub fn is_spooled(&self) -> bool {
        let state = self.control.snapshot();
        state.flush_spooled >= state.flush_asked
    }

    /// Tells the worker to bring the last calls into the spool and to end; says after ticks whether it did,
    /// by [`has_ended`](Self::has_ended).
    pub fn ask_to_end(&self) {
        self.recorder.set_wanted(false);
        self.control.update(|state| state.stop_worker = true);
    }

    /// Whether the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.worker.is_none()
    }

    /// Whether this process ships for its home.
    pub fn is_at_work(&self) -> bool {
        self.shipper.as_ref().is_some_and(Shipper::is_at_work)
    }

    /// Whether the store has failed ten times in a row.
    pub fn is_degraded(&self) -> bool {
        self.control.snapshot().is_degraded
    }

    /// The flight files of this process that are in use.
    pub fn flights(&self) -> Vec<PathBuf> {
        let buffers = Station::buffers_of(&self.recorder);
        let paths = buffers.iter().filter_map(|buffer| buffer.path());
        paths.map(Path::to_owned).collect()
    }

    /// The equation of this process (promise CM-3), given the figures of its spool, and how many calls were
    /// moving.
    pub fn figures(&self, spool: Conservation) -> (Conservation, u64) {
        figures::of_process(&self.control.snapshot(), spool)
    }

    /// Ends the process as `kill -9` would: nothing more is written, and its flight files stay as they are.
    /// Gives their names and bytes, and removes the real files, which the simulation's disk does not see.
    pub fn kill(mut self) -> Vec<(String, Vec<u8>)> {
        let mut left = Vec::new();
        for buffer in Station::buffers_of(&self.recorder) {
            if let Some(path) = buffer.path()
                && let Some(name) = path.file_stem()
                && let Ok(bytes) = std::fs::read(path)
            {
                left.push((name.to_string_lossy().into_owned(), bytes));
                let _ = std::fs::remove_file(path);
                let _ = std::fs::remove_file(path.with_extension("lease"));
            }
            Station::bury(buffer.id());
        }
        self.worker = None;
        self.shipper = None;
        left
    }
}

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
            replay_rows_per_second: 2_000,
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
        let shipper = Shipper::new(parts, limits, Arc::clone(&control));
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
