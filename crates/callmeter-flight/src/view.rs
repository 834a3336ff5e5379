//! Looking into the flight files of other processes, and throwing their switch.
//!
//! Reads the file, maps nothing: a file that shrinks meanwhile is an error, not a signal. A call that
//! changes while it is read fails its checksum and is looked at once more.

use std::path::{Path, PathBuf};

use callmeter_core::{CallRecord, Timestamp};

use crate::buffer::{OFF_FOR_EVER, switch_word};
use crate::error::FlightError;
use crate::file;
use crate::header::{Header, min_writer, read_owner};
use crate::layout::{FORMAT, HEADER_WORDS, WORD_BYTES, header};
use crate::lease::Lease;
use crate::read::{Found, Reader};
use crate::standing::Standing;
use crate::words::{Image, Words};

/// One process's flight file, as it was a moment ago.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlight {
    /// The file.
    pub path: PathBuf,
    /// The process, in its own pid namespace.
    pub pid: u32,
    /// The service that it says it is.
    pub service: String,
    /// The home that it records for.
    pub home: String,
    /// When it made the file.
    pub made_at: Timestamp,
    /// When its worker last looked.
    pub last_seen: Timestamp,
    /// Whether it lives: it holds the lease.
    pub is_alive: bool,
    /// Whether it records, and if not, until when.
    pub switch: Switch,
    /// The calls in flight, with what was known when they were opened, the oldest first.
    pub calls: Vec<CallRecord>,
    /// How many calls are where.
    pub standing: Standing,
}

/// Whether a process records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Switch {
    /// It does.
    On,
    /// It does not, until somebody switches it on.
    Off,
    /// It does not until that moment.
    OffUntil(Timestamp),
}

impl Switch {
    fn of_word(word: u64) -> Self {
        match word {
            0 => Self::On,
            OFF_FOR_EVER => Self::Off,
            until => Self::OffUntil(Timestamp::from_micros(until.cast_signed())),
        }
    }

    fn word(self) -> u64 {
        match self {
            Self::On => 0,
            Self::Off => OFF_FOR_EVER,
            Self::OffUntil(until) => switch_word(Some(until)),
        }
    }

    /// Throws the switch of the process whose flight file that is, from its next call on.
    ///
    /// # Errors
    /// When the file cannot be written, is no flight file, or a newer version made it.
    pub fn throw(self, path: &Path) -> Result<(), FlightError> {
        use std::io::{Read, Seek, SeekFrom, Write};
        let io = |action| FlightError::io(action, path);
        let mut file = file::open(path, true).map_err(io("open"))?;
        let mut page = Vec::new();
        (&mut file)
            .take((HEADER_WORDS * WORD_BYTES) as u64)
            .read_to_end(&mut page)
            .map_err(io("read"))?;
        let image = Image::new(&page);
        // The geometry is the file's business; only the page matters here.
        let described = Header::read(&image, usize::MAX, path)?;
        debug_assert_ne!(described.geometry.slots, 0);
        if min_writer(&image) > FORMAT {
            let format = image.word(header::FORMAT) as u32;
            return Err(FlightError::NewerFormat {
                path: path.to_owned(),
                format,
            });
        }
        let at = (header::SWITCH * WORD_BYTES) as u64;
        file.seek(SeekFrom::Start(at)).map_err(io("write"))?;
        file.write_all(&self.word().to_ne_bytes())
            .map_err(io("write"))
    }
}

impl InFlight {
    /// Every flight file of a directory that this build can read, the oldest first. Beside them stands
    /// what could not be read, for `doctor`.
    ///
    /// # Errors
    /// When the directory cannot be read; one that does not exist has no files.
    pub fn view(dir: &Path) -> Result<(Vec<Self>, Vec<FlightError>), FlightError> {
        let (mut views, mut unreadable) = (Vec::new(), Vec::new());
        for path in file::list(dir)? {
            match Self::of(&path) {
                Ok(view) => views.push(view),
                // Its process ended, or it was adopted, meanwhile.
                Err(FlightError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push(error),
            }
        }
        Ok((views, unreadable))
    }

    /// One flight file.
    ///
    /// # Errors
    /// When it cannot be read, is no flight file, or a newer version made it.
    pub fn of(path: &Path) -> Result<Self, FlightError> {
        let image = Image::new(&file::read(path)?);
        let described = Header::read(&image, image.len(), path)?;
        let (mut calls, torn) = open_calls(&image, &described, 0..described.geometry.slots);
        if !torn.is_empty() {
            let again = Image::new(&file::read(path)?);
            if Header::read(&again, again.len(), path).is_ok_and(|again| again == described) {
                let (late, _) = open_calls(&again, &described, torn);
                let is_new =
                    |late: &CallRecord| calls.iter().all(|call| call.call_id != late.call_id);
                let late: Vec<CallRecord> = late.into_iter().filter(is_new).collect();
                calls.extend(late);
            }
        }
        calls.sort_by_key(|call| call.call_id);
        let [service, home, _] = read_owner(&image);
        Ok(Self {
            is_alive: is_alive(path),
            path: path.to_owned(),
            pid: described.pid,
            service,
            home,
            made_at: described.made_at,
            last_seen: Timestamp::from_micros(image.word(header::HEARTBEAT).cast_signed()),
            switch: Switch::of_word(image.word(header::SWITCH)),
            calls,
            standing: Standing::read(&image, described.geometry),
        })
    }
}

/// The open calls among some slots, and the slots that made no sense.
fn open_calls(
    image: &Image,
    described: &Header,
    slots: impl IntoIterator<Item = usize>,
) -> (Vec<CallRecord>, Vec<usize>) {
    let used = usize::try_from(image.word(header::NAMES_USED)).unwrap_or(0);
    let reader = Reader {
        words: image,
        geometry: described.geometry,
        key: described.key,
        names_used: used.min(described.geometry.names_words),
    };
    let (mut calls, mut torn) = (Vec::new(), Vec::new());
    for slot in slots {
        match reader.slot(slot) {
            Found::Open(call, _) => calls.push(*call),
            Found::Torn => torn.push(slot),
            Found::Nothing | Found::Finished(..) => {}
        }
    }
    (calls, torn)
}

/// Whether somebody holds the file's lease. Where that cannot be told, the answer is yes.
fn is_alive(path: &Path) -> bool {
    let lease = path.with_extension(file::LEASE_EXTENSION);
    lease.exists() && !matches!(Lease::try_take(&lease), Ok(Some(_)))
}
