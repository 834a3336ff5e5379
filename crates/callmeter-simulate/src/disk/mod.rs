//! The disk of the simulated machine: a model for most seeds, real files with real SQLite for the others.
//!
//! Both keep what `callmeter::seams` asks of a disk; faults and kills are put before either by
//! [`gate`](crate::gate).

mod files;
mod model;
mod spool;

use std::sync::Arc;

use callmeter::seams::Disk;
use callmeter_core::{CallId, Conservation};

pub(crate) use self::files::{FileHome, forget_home};
pub(crate) use self::model::ModelHome;

/// Where a call lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Where {
    /// In a dead process's flight file.
    Flight,
    /// In a spool.
    Spool,
    /// In a spool's `rejected`.
    Rejected,
    /// In a damaged spool, set aside or about to be.
    Aside,
}

/// The disk that a run has.
#[derive(Debug)]
pub(crate) enum Home {
    Model(ModelHome),
    Files(FileHome),
}

impl Home {
    /// The disk as a process sees it.
    pub(crate) fn disk(&self, process: u32) -> Arc<dyn Disk> {
        match self {
            Self::Model(home) => home.disk(process),
            Self::Files(home) => home.disk(),
        }
    }

    /// Where processes think that the home is.
    pub(crate) fn path(&self, fallback: &std::path::Path) -> std::path::PathBuf {
        match self {
            Self::Model(_) => fallback.to_owned(),
            Self::Files(home) => home.path(),
        }
    }

    /// A process that lives has this flight file.
    pub(crate) fn flight_lives(&self, name: &str, owner: u32) {
        match self {
            Self::Model(home) => home.flight_lives(name, owner),
            Self::Files(home) => home.flight_lives(name, owner),
        }
    }

    /// A process died and left these flight files.
    pub(crate) fn died(&self, process: u32, left: &[(String, Vec<u8>)]) {
        match self {
            Self::Model(home) => home.died(process, left),
            Self::Files(home) => home.died(process, left),
        }
    }

    /// Power is about to be lost: notes what of the logs the disk has written. Processes die next.
    pub(crate) fn before_power_loss(&mut self, percent: u64) {
        if let Self::Files(home) = self {
            home.copy_what_stays(percent);
        }
    }

    /// Power is lost; all processes are dead.
    pub(crate) fn lose_power(&mut self, percent: u64) {
        match self {
            Self::Model(home) => home.lose_power(percent),
            Self::Files(home) => home.move_to_copy(),
        }
    }

    /// Damages a spool; says whether there was one.
    pub(crate) fn damage(&self, nth: usize) -> bool {
        match self {
            Self::Model(home) => home.damage(nth),
            // Damage to real files is what tests of the spool do, byte by byte.
            Self::Files(_) => false,
        }
    }

    /// The figures of everything on the disk; flight files apart, or at rest without any.
    pub(crate) fn standing(&self) -> Conservation {
        match self {
            Self::Model(home) => home.standing(),
            Self::Files(home) => home.standing(),
        }
    }

    /// The figures of one spool.
    pub(crate) fn standing_of(&self, name: &str) -> Option<Conservation> {
        match self {
            Self::Model(home) => home.standing_of(name),
            Self::Files(home) => home.standing_of(name),
        }
    }

    /// Whether a dead process's flight file waits.
    pub(crate) fn has_dead_flights(&self) -> bool {
        match self {
            Self::Model(home) => home.has_dead_flights(),
            Self::Files(home) => home.has_dead_flights(),
        }
    }

    /// Visits every call on the disk.
    pub(crate) fn visit(&self, each: impl FnMut(CallId, Where)) {
        match self {
            Self::Model(home) => home.visit(each),
            Self::Files(home) => home.visit(each),
        }
    }

    /// A commit of this spool has reached the disk, and all before it.
    pub(crate) fn synced(&self, spool: &str) {
        if let Self::Files(home) = self {
            home.synced(spool);
        }
    }
}
