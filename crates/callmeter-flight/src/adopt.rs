//! What a dead process left: its finished calls become rows, its open ones aborted rows.
//!
//! Reads a copy of the file's bytes; no byte of it can make this panic or invent a call, for opening,
//! result and every continuation must meet a checksum with the file's key and the call's id. The file
//! goes only when its adopter says so, after the rows are in a spool: adopting twice finds the same
//! calls with the same ids.

use std::path::{Path, PathBuf};

use callmeter_core::{CallRecord, Status, Timestamp};

use crate::error::FlightError;
use crate::file;
use crate::header::{Header, read_owner};
use crate::layout::header;
use crate::lease::Lease;
use crate::owner::Owner;
use crate::read::{Found, Reader};
use crate::standing::Standing;
use crate::words::{Image, Words};

/// A dead process's flight file, under the adopter's lease.
#[derive(Debug)]
#[must_use = "the file stays until it is discarded"]
#[non_exhaustive]
pub struct Adopted {
    /// The file.
    pub path: PathBuf,
    /// Its calls.
    pub calls: AdoptedCalls,
    lease: Lease,
}

/// The calls of a flight file whose process died.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdoptedCalls {
    /// The process.
    pub pid: u32,
    /// The service that it said it was.
    pub service: String,
    /// The home that it recorded for.
    pub home: String,
    /// The store that its calls are for; empty where none was known. A longer name is cut.
    pub store: String,
    /// When it is last known to have lived.
    pub last_seen: Timestamp,
    /// Calls that were finished.
    pub finished: Vec<CallRecord>,
    /// Calls that were in flight: status `aborted`, with what was known when they were opened, and as
    /// long as the process is known to have lived.
    pub aborted: Vec<CallRecord>,
    /// Slots that made no sense.
    pub torn: u64,
    /// The counters that the process left.
    pub standing: Standing,
}

/// Adopts flight files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adopter;

impl Adopter {
    /// The flight files of a directory, of the living and the dead, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read; one that does not exist has no files.
    pub fn files(dir: &Path) -> Result<Vec<PathBuf>, FlightError> {
        file::list(dir)
    }

    /// Adopts the file at `path`, unless its process lives or another adopter is at it: then `None`.
    ///
    /// # Errors
    /// When it cannot be read, is no flight file, or a newer version made it; it stays as it is.
    pub fn adopt(path: &Path) -> Result<Option<Adopted>, FlightError> {
        let lease_path = path.with_extension(file::LEASE_EXTENSION);
        let had_lease = lease_path.try_exists().unwrap_or(true);
        let taken = Lease::try_take(&lease_path);
        let Some(lease) = taken.map_err(FlightError::io("lock", &lease_path))? else {
            return Ok(None);
        };
        let bytes = match file::read(path) {
            Err(FlightError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                // Another adopter was through with it in between.
                file::remove(path);
                return Ok(None);
            }
            bytes => bytes?,
        };
        let image = Image::new(&bytes);
        let described = Header::read(&image, image.len(), path)?;
        let owner = owner_of(&described);
        if !had_lease && owner.seems_alive() {
            // Somebody removed the lease under a living owner; ours goes again, the file stays.
            let _ = std::fs::remove_file(&lease_path);
            return Ok(None);
        }
        let calls = calls_of(&image, &described);
        Ok(Some(Adopted {
            path: path.to_owned(),
            calls,
            lease,
        }))
    }

    /// The calls in a flight file, as adopting it now would find them; it stays as it is. Of a living
    /// process's file some slots may change meanwhile, and count as torn.
    ///
    /// # Errors
    /// When it cannot be read, is no flight file, or a newer version made it.
    pub fn read_file(path: &Path) -> Result<AdoptedCalls, FlightError> {
        let image = Image::new(&file::read(path)?);
        let described = Header::read(&image, image.len(), path)?;
        Ok(calls_of(&image, &described))
    }

    /// The calls in a flight file's bytes, as adopting it would find them.
    ///
    /// # Errors
    /// When they are no flight file, or one of a newer version.
    pub fn read(bytes: &[u8]) -> Result<AdoptedCalls, FlightError> {
        let image = Image::new(bytes);
        let described = Header::read(&image, image.len(), Path::new("these bytes"))?;
        Ok(calls_of(&image, &described))
    }
}

impl Adopted {
    /// Removes the file: its calls are in a spool.
    pub fn discard(self) {
        file::remove(&self.path);
        drop(self.lease);
    }
}

fn owner_of(described: &Header) -> Owner {
    Owner {
        boot: described.boot,
        pid: described.pid,
        start: described.process_start,
    }
}

fn calls_of(image: &Image, described: &Header) -> AdoptedCalls {
    let reader = Reader {
        words: image,
        geometry: described.geometry,
        key: described.key,
        names_used: usize::try_from(image.word(header::NAMES_USED))
            .unwrap_or(0)
            .min(described.geometry.names_words),
    };
    let [service, home, store] = read_owner(image);
    let mut calls = AdoptedCalls {
        pid: described.pid,
        service,
        home,
        store,
        last_seen: Timestamp::from_micros(image.word(header::HEARTBEAT).cast_signed()),
        finished: Vec::new(),
        aborted: Vec::new(),
        torn: 0,
        standing: Standing::read(image, described.geometry),
    };
    let last_seen_ns = image.word(header::HEARTBEAT_NS);
    for index in 0..described.geometry.slots {
        match reader.slot(index) {
            Found::Nothing => {}
            Found::Finished(record, _) => calls.finished.push(*record),
            Found::Open(record, opened_ns) => {
                calls
                    .aborted
                    .push(aborted(*record, opened_ns, last_seen_ns));
            }
            Found::Torn => calls.torn = calls.torn.saturating_add(1),
        }
    }
    calls
}

/// The row of a call that its process did not live to finish.
fn aborted(mut record: CallRecord, opened_ns: u64, last_seen_ns: u64) -> CallRecord {
    record.status = Some(Status::Aborted);
    record.duration_us = Some(last_seen_ns.saturating_sub(opened_ns) / 1_000);
    record.bound();
    record
}
