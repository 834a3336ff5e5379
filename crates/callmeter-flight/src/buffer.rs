//! The buffer of one process: made, asked for slots, looked after by the worker, and left behind.
//!
//! Owns the region, the file with its lease, and the private memory around them: the name index, the
//! threads' preferences. Every way in checks first that this is still the process that made it: a forked
//! child touches nothing of its parent's and makes a buffer of its own. Opening and finishing are in
//! [`record`](crate::record), the way out is in [`drain`](crate::drain).

use std::path::Path;
use std::sync::atomic::AtomicBool;

use callmeter_core::{DropReason, Timestamp};

use crate::block::{Block, Purpose};
use crate::error::FlightError;
use crate::file::{self, FlightFile};
use crate::fork::Process;
use crate::header::Header;
use crate::layout::{BLOCK_SLOTS, BLOCK_WORDS, Geometry, HEADER_WORDS, SLOT_WORDS, header, slot};
use crate::names::Names;
use crate::owner::Owner;
use crate::place::Place;
use crate::region::{Region, prefetch};
use crate::slots::Slot;
use crate::standing::Standing;
use crate::sync::{AtomicU64, Ordering};
use crate::thread::{Placer, ThreadHome};

/// How a buffer is laid out, and what its file says of its owner.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How many calls it holds, open and finished together; a multiple of 16, at most 65,520.
    pub slots: usize,
    /// Bytes of the table of recurring names; a multiple of 4,096.
    pub names_bytes: usize,
    /// The service, for `callmeter top`.
    pub service: String,
    /// The home, for `callmeter top`.
    pub home: String,
    /// The store that its calls are for, without a password: who adopts them knows by it where they go.
    pub store: String,
    /// Whether the group of the directory may read and adopt the file as well.
    pub group_access: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 4_096,
            names_bytes: 256 << 10,
            service: String::new(),
            home: String::new(),
            store: String::new(),
            group_access: false,
        }
    }
}

/// Off for ever, in the switch's word; any other but 0 is the moment it comes on again.
pub(crate) const OFF_FOR_EVER: u64 = u64::MAX;
/// Spreads the threads' first blocks over the file; odd, so that it meets every block in turn.
const SPREAD: usize = 97;

/// Calls in flight and finished ones that have not left for the spool, in shared memory.
// In this order: what every call reads lies in one line, which no call and no worker writes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct FlightBuffer {
    region: Region,
    slots_at: usize,
    pub(crate) key: u64,
    /// Tells buffers of this process apart.
    pub(crate) id: u64,
    process: Process,
    names_at: usize,
    pub(crate) geometry: Geometry,
    /// Moves on whenever slots became free.
    freed: AtomicU64,
    /// Where `freed` stood when a search last found no free slot.
    full_at: AtomicU64,
    threads: AtomicU64,
    pub(crate) names: Names,
    place: Place,
    file: Option<FlightFile>,
    pub(crate) has_drainer: AtomicBool,
}

impl FlightBuffer {
    /// Makes a buffer in `place`.
    ///
    /// # Errors
    /// When there is no room, the directory is not this user's alone, or its file system cannot hold a
    /// mapped file. Memory fails only for an impossible number of slots.
    ///
    /// # Examples
    /// ```
    /// use callmeter_flight::{FlightBuffer, Options, Place};
    /// let dir = tempfile::tempdir()?;
    /// let place = Place::directory(dir.path().join("flight"));
    /// let buffer = FlightBuffer::create(&place, &Options::default())?;
    /// assert!(buffer.place().kind().is_crash_safe());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(place: &Place, options: &Options) -> Result<Self, FlightError> {
        let geometry =
            Geometry::new(options.slots, options.names_bytes).ok_or(FlightError::Geometry {
                slots: options.slots,
            })?;
        let place = place.clone().with_group_access(options.group_access);
        let made_at = callmeter_core::Clock::now(&callmeter_core::SystemClock);
        let random = random();
        place.prepare()?;
        let (region, file) = if place.kind().is_crash_safe() {
            let stem = format!("{:016x}-{:016x}", made_at.as_micros(), random[1]);
            let file = match FlightFile::create(&place, &stem, geometry) {
                // Somebody tidied the directory away in between.
                Err(error) if error.is_not_found() => {
                    place.prepare()?;
                    FlightFile::create(&place, &stem, geometry)?
                }
                file => file?,
            };
            let region = map(&file, geometry)?;
            (region, Some(file))
        } else {
            (Region::in_memory(geometry), None)
        };
        let owner = Owner::current();
        let described = Header {
            geometry,
            key: random[0],
            boot: owner.boot,
            pid: owner.pid,
            process_start: owner.start,
            made_at,
        };
        Ok(Self::assemble(region, file, place, &described, options))
    }

    /// Puts a buffer together over fresh memory.
    pub(crate) fn assemble(
        region: Region,
        file: Option<FlightFile>,
        place: Place,
        described: &Header,
        options: &Options,
    ) -> Self {
        let geometry = described.geometry;
        let buffer = Self {
            region,
            geometry,
            names_at: geometry.names_at(),
            slots_at: geometry.slots_at(),
            key: described.key,
            id: next_id(),
            process: Process::current(),
            names: Names::new(described.key),
            place,
            file,
            freed: AtomicU64::new(1),
            full_at: AtomicU64::new(0),
            threads: AtomicU64::new(0),
            has_drainer: AtomicBool::new(false),
        };
        for block in buffer.blocks() {
            block.reset();
        }
        let owner = [&*options.service, &*options.home, &*options.store];
        described.write(buffer.region.words(), owner);
        buffer
    }

    /// Makes the buffer of a home in the best place there is, in the end in memory. Beside it stands
    /// why each better place was passed over, for one warning and for `doctor`.
    ///
    /// # Errors
    /// Only for an impossible number of slots.
    pub fn for_home(
        home: &Path,
        options: &Options,
    ) -> Result<(Self, Vec<FlightError>), FlightError> {
        let mut passed_over = Vec::new();
        let places = if options.group_access {
            Place::candidates_of_a_group(home)
        } else {
            Place::candidates(home)
        };
        for place in places {
            match Self::create(&place, options) {
                Ok(buffer) => return Ok((buffer, passed_over)),
                Err(FlightError::Geometry { slots }) => {
                    return Err(FlightError::Geometry { slots });
                }
                Err(error) => passed_over.push(error),
            }
        }
        let buffer = Self::create(&Place::memory(), options)?;
        Ok((buffer, passed_over))
    }

    /// Tells it from the other buffers that this process and its ancestors made; never 0.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it lies, and what it survives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its file, unless it lies in memory.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Whether this is the process that made it. A forked child makes one of its own.
    #[inline]
    pub fn is_ours(&self) -> bool {
        self.process.is_current()
    }

    /// Whether a later process would find the file. When not, calls still reach the spool, but a kill
    /// would lose those in flight: the worker makes another buffer.
    pub fn is_linked(&self) -> bool {
        self.file.as_ref().is_none_or(FlightFile::is_linked)
    }

    /// Whether calls are recorded: one relaxed load (promise CM-9).
    #[inline]
    pub fn is_on(&self) -> bool {
        self.header(header::SWITCH)
            .is_some_and(|switch| switch.load(Ordering::Relaxed) == 0)
    }

    /// Switches recording on.
    pub fn switch_on(&self) {
        self.set_header(header::SWITCH, 0);
    }

    /// Switches recording off, for ever or until a moment; the worker's [`beat`](Self::beat) ends it.
    pub fn switch_off(&self, until: Option<Timestamp>) {
        self.set_header(header::SWITCH, switch_word(until));
    }

    /// Says that the process lives: what an aborted call lasted is known to the last beat. Ends a switch
    /// whose time is over. `monotonic_ns` is of the clock that openings are given with.
    pub fn beat(&self, now: Timestamp, monotonic_ns: u64) {
        if !self.is_ours() {
            return;
        }
        self.set_header(header::HEARTBEAT, now.as_micros().cast_unsigned());
        self.set_header(header::HEARTBEAT_NS, monotonic_ns);
        if let Some(switch) = self.header(header::SWITCH) {
            let until = switch.load(Ordering::Relaxed);
            let is_over = i64::try_from(until).is_ok_and(|until| until <= now.as_micros());
            if until != 0 && is_over {
                let _ = switch.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Counts calls lost outside the buffer, where the count survives a kill.
    pub fn count_dropped(&self, reason: DropReason, count: u64) {
        let at = header::DROPPED.saturating_add(usize::from(reason.code()));
        if self.is_ours()
            && let Some(word) = self.header(at)
        {
            word.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts calls that had left the buffer and were lost before they were in a spool on a disk.
    pub fn count_lost_after(&self, reason: DropReason, count: u64) {
        self.count_dropped(reason, count);
        if self.is_ours()
            && let Some(word) = self.header(header::LOST)
        {
            word.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many calls found no free slot so far. Cheaper than [`standing`](Self::standing).
    pub fn full(&self) -> u64 {
        self.blocks().fold(0, |sum, block| {
            sum.saturating_add(block.0[crate::layout::block::DROPPED].load(Ordering::Relaxed))
        })
    }

    /// How many calls are where; while calls are being made, some are `moving`.
    pub fn standing(&self) -> Standing {
        Standing::read(self.words(), self.geometry)
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        self.region.words()
    }

    #[inline]
    pub(crate) fn header(&self, at: usize) -> Option<&AtomicU64> {
        self.words().first_chunk::<HEADER_WORDS>()?.get(at)
    }

    fn set_header(&self, at: usize, word: u64) {
        if let Some(to) = self.header(at) {
            to.store(word, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn block(&self, index: usize) -> Option<Block<'_>> {
        let at = HEADER_WORDS.wrapping_add(index.wrapping_mul(BLOCK_WORDS));
        self.words().get(at..)?.first_chunk().map(Block)
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        (0..self.geometry.blocks()).filter_map(|index| self.block(index))
    }

    #[inline]
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        let at = self.slots_at.wrapping_add(index.wrapping_mul(SLOT_WORDS));
        self.words().get(at..)?.first_chunk()
    }

    /// Takes a free slot, of the block that this thread prefers if there is one.
    #[inline]
    pub(crate) fn claim(&self, home: &ThreadHome, purpose: Purpose) -> Option<usize> {
        if home.buffer.get() == self.id {
            let block = self.block(home.block.get())?;
            if let Some(bit) = block.claim(purpose) {
                let first = home.block.get().wrapping_mul(BLOCK_SLOTS);
                // Two calls ahead: one takes less time than a line that another core has written.
                self.prefetch(first.wrapping_add(block.free_after_next()));
                return Some(first.wrapping_add(bit));
            }
        }
        self.search(home, purpose)
    }

    /// Fetches what a usual call writes of a slot.
    #[inline]
    fn prefetch(&self, index: usize) {
        if let Some(slot) = self.slot(index) {
            prefetch(&slot[slot::STATE]);
            prefetch(&slot[slot::PRESENT]);
        }
    }

    /// Looks for another block: on from the last, or from the thread's first again when slots became
    /// free meanwhile, so that few slots are used over and over and stay in the cache.
    #[cold]
    fn search(&self, home: &ThreadHome, purpose: Purpose) -> Option<usize> {
        let blocks = self.geometry.blocks();
        let freed = self.freed.load(Ordering::Acquire);
        if home.buffer.get() != self.id {
            let number = self.threads.fetch_add(1, Ordering::Relaxed) as usize;
            home.settle(
                self.id,
                number.wrapping_mul(SPREAD).checked_rem(blocks)?,
                freed,
            );
        }
        if self.full_at.load(Ordering::Relaxed) == freed {
            return None;
        }
        let is_fresh = home.freed.get() == freed;
        let from = if is_fresh {
            home.block.get()
        } else {
            home.first.get()
        };
        for step in 0..blocks {
            let index = from.wrapping_add(step).checked_rem(blocks)?;
            if let Some(bit) = self.block(index)?.claim(purpose) {
                home.block.set(index);
                home.freed.set(freed);
                return Some(index.wrapping_mul(BLOCK_SLOTS).wrapping_add(bit));
            }
        }
        self.full_at.store(freed, Ordering::Relaxed);
        None
    }

    /// The name table as this thread sees it.
    #[inline]
    pub(crate) fn placer<'a>(&'a self, home: &'a ThreadHome) -> Option<Placer<'a>> {
        let table = self.words().get(self.names_at..self.slots_at)?;
        let used = self.header(header::NAMES_USED)?;
        let last = (home.buffer.get() == self.id).then_some(&home.places);
        Some(Placer {
            names: &self.names,
            table,
            used,
            last,
        })
    }

    /// Says that slots became free.
    pub(crate) fn tell_freed(&self) {
        self.freed.fetch_add(1, Ordering::Release);
    }

    /// Counts a call that found no slot, on the line of the block that its thread prefers.
    #[cold]
    pub(crate) fn count_full(&self) {
        if let Some(block) = ThreadHome::with(|home| self.block(home.block.get())) {
            block.count_dropped();
        }
    }
}

impl Drop for FlightBuffer {
    /// Removes the file when nothing is left in it; else it stays, for whoever adopts it.
    fn drop(&mut self) {
        if self.is_ours() && self.blocks().all(|block| block.taken() == 0) {
            self.unlink();
        }
    }
}

impl FlightBuffer {
    /// Removes the file while its path still names it.
    pub(crate) fn unlink(&self) {
        if let Some(file) = &self.file
            && self.is_ours()
            && file.is_linked()
        {
            file::remove(&file.path);
        }
    }
}

/// The switch's word for off until a moment, or for ever.
pub(crate) fn switch_word(until: Option<Timestamp>) -> u64 {
    until.map_or(OFF_FOR_EVER, |until| {
        until.as_micros().max(1).cast_unsigned()
    })
}

#[cfg(unix)]
fn map(file: &FlightFile, geometry: Geometry) -> Result<Region, FlightError> {
    Region::map(&file.file, geometry).map_err(|source| {
        file::remove(&file.path);
        FlightError::io("map", &file.path)(source)
    })
}

#[cfg(not(unix))]
fn map(_file: &FlightFile, _geometry: Geometry) -> Result<Region, FlightError> {
    Err(FlightError::Unsupported)
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A checksum key and a part of a file's name.
fn random() -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    // Without randomness the name is still of this process and moment; the key need not be secret.
    if !crate::random::fill_random(&mut bytes) {
        bytes = u128::from(std::process::id())
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_le_bytes();
    }
    let value = u128::from_le_bytes(bytes);
    [value as u64, (value >> 64) as u64]
}
