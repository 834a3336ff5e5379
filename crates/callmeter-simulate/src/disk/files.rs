//! The disk with real files: the spool as it ships, with SQLite, and power losses cut into its logs.
//!
//! A loss of power copies the home as the disk might have it: each database file as it is (SQLite syncs what
//! it brings into it), each log cut at a place not before its last sync, the middle of a page included. The
//! next processes live in the copy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callmeter::Home;
use callmeter::seams::{Disk, HomeDisk};
use callmeter_core::{CallId, Conservation};
use callmeter_flight::{Adopter, shared_memory_dir};
use rusqlite::{Connection, OpenFlags};

use super::Where;

/// What identifies a log between two of its restarts.
type Salt = [u8; 8];

/// A home in files.
#[derive(Debug)]
pub(crate) struct FileHome {
    root: PathBuf,
    generation: u32,
    /// Spool → its log when it was last synced.
    synced: Mutex<BTreeMap<String, (Salt, u64)>>,
    /// Flight files of living processes.
    living: Mutex<BTreeMap<String, u32>>,
}

impl FileHome {
    /// An empty home under `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            generation: 0,
            synced: Mutex::default(),
            living: Mutex::default(),
        }
    }

    /// Where the home is now.
    pub(crate) fn path(&self) -> PathBuf {
        self.path_of(self.generation)
    }

    fn path_of(&self, generation: u32) -> PathBuf {
        self.root.join(format!("home-{generation}"))
    }

    fn spool_dir(&self) -> PathBuf {
        self.path().join("spool")
    }

    /// The disk as a process sees it.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(HomeDisk::new(Home::at(self.path())))
    }

    /// A process that lives has this flight file.
    pub(crate) fn flight_lives(&self, name: &str, owner: u32) {
        lock(&self.living).insert(name.to_owned(), owner);
    }

    /// A process died: its flight files are put back where it had them, its lease without an owner.
    pub(crate) fn died(&self, process: u32, left: &[(String, Vec<u8>)]) {
        lock(&self.living).retain(|_, owner| *owner != process);
        let Some(dir) = flight_dir(&self.path()) else {
            return;
        };
        for (name, bytes) in left {
            let path = dir.join(name);
            let _ = std::fs::write(path.with_extension("lease"), b"");
            let _ = std::fs::write(path.with_extension("flight"), bytes);
        }
    }

    /// A commit of this spool has reached the disk, and all before it.
    pub(crate) fn synced(&self, spool: &str) {
        if let Some(log) = look_at_log(&self.spool_dir(), spool) {
            let mut synced = lock(&self.synced);
            synced.insert(spool.to_owned(), log);
        }
    }

    /// Copies the home as a loss of power now might leave it.
    pub(crate) fn copy_what_stays(&self, percent: u64) {
        let (from, to) = (self.path(), self.path_of(self.generation + 1));
        let _ = std::fs::create_dir_all(to.join("spool"));
        for (entry, target) in [
            (from.clone(), to.clone()),
            (from.join("spool"), to.join("spool")),
        ] {
            for file in files_of(&entry) {
                let name = file.file_name().unwrap_or_default();
                if !name.to_string_lossy().ends_with("-shm") {
                    let _ = std::fs::copy(&file, target.join(name));
                }
            }
        }
        let synced = lock(&self.synced);
        for spool in names_in(&to.join("spool")) {
            let log = to.join("spool").join(format!("{spool}.spool-wal"));
            let known = synced.get(&spool);
            let Some((salt, len)) = look_at_log(&to.join("spool"), &spool) else {
                continue;
            };
            if known.is_none() && percent == 0 {
                // Not even the file.
                for extension in ["spool", "spool-wal", "lease"] {
                    let _ = std::fs::remove_file(log.with_extension(extension));
                }
                continue;
            }
            // A log that began anew is in the file as far as it was synced.
            let safe = known.filter(|(then, _)| *then == salt);
            let safe = safe.map_or(0, |(_, len)| *len).min(len);
            let keep = safe + (len - safe) * percent.min(100) / 100;
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&log) {
                let _ = file.set_len(keep);
            }
        }
    }

    /// Goes on in the copy.
    pub(crate) fn move_to_copy(&mut self) {
        forget_home(&self.path());
        let _ = std::fs::remove_dir_all(self.path());
        self.generation += 1;
        // What is left after a loss of power has come from the disk, the files of spools without a log too.
        let dir = self.spool_dir();
        let logs = names_in(&dir).into_iter().map(|spool| {
            let log = look_at_log(&dir, &spool).unwrap_or_default();
            (spool, log)
        });
        *lock(&self.synced) = logs.collect();
    }

    /// The home's own figures, with the flight files.
    pub(crate) fn standing(&self) -> Conservation {
        let standing = Home::at(self.path()).standing();
        standing
            .map(|standing| standing.conservation)
            .unwrap_or_default()
    }

    /// The figures of one spool.
    pub(crate) fn standing_of(&self, name: &str) -> Option<Conservation> {
        self.disk().open(name).ok()?.standing().ok()
    }

    /// Whether a dead process's flight file waits.
    pub(crate) fn has_dead_flights(&self) -> bool {
        let living = lock(&self.living);
        let files = self.flight_files();
        let mut names = files.iter().filter_map(|path| path.file_stem());
        names.any(|name| !living.contains_key(&*name.to_string_lossy()))
    }

    fn flight_files(&self) -> Vec<PathBuf> {
        let dir = flight_dir(&self.path());
        dir.and_then(|dir| Adopter::files(&dir).ok())
            .unwrap_or_default()
    }

    /// Visits every call on the disk.
    pub(crate) fn visit(&self, mut each: impl FnMut(CallId, Where)) {
        for path in self.flight_files() {
            if let Ok(calls) = Adopter::read_file(&path) {
                let calls = calls.finished.iter().chain(&calls.aborted);
                calls.for_each(|call| each(call.call_id, Where::Flight));
            }
        }
        for spool in names_in(&self.spool_dir()) {
            let path = self.spool_dir().join(format!("{spool}.spool"));
            let _ = visit_spool(&path, &mut each);
        }
    }
}

fn visit_spool(path: &Path, each: &mut impl FnMut(CallId, Where)) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    for (query, place) in [
        ("SELECT record FROM rows", Where::Spool),
        ("SELECT record FROM rejected", Where::Rejected),
    ] {
        let mut query = db.prepare(query)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            if let Ok(record) = callmeter_core::CallRecord::decode(&bytes) {
                each(record.call_id, place);
            }
        }
    }
    Ok(())
}

impl Drop for FileHome {
    fn drop(&mut self) {
        forget_home(&self.path());
        let _ = std::fs::remove_dir_all(self.path());
    }
}

/// Removes what a home has in shared memory: flight files and its card.
pub(crate) fn forget_home(home: &Path) {
    if let Some(dir) = shared_memory_dir(home) {
        let _ = std::fs::remove_dir_all(&dir);
        let _ = std::fs::remove_file(dir.with_extension("card"));
    }
}

/// Where the flight files of a home are: the first place that there is.
fn flight_dir(home: &Path) -> Option<PathBuf> {
    let places = [shared_memory_dir(home), Some(home.join("flight"))];
    places.into_iter().flatten().find(|dir| dir.is_dir())
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

fn names_in(spool_dir: &Path) -> Vec<String> {
    let files = files_of(spool_dir);
    let spools = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "spool"));
    spools
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect()
}

/// The log of a spool: which one it is, and how long.
fn look_at_log(spool_dir: &Path, spool: &str) -> Option<(Salt, u64)> {
    let bytes = std::fs::read(spool_dir.join(format!("{spool}.spool-wal"))).ok()?;
    let salt: Salt = bytes.get(16..24)?.try_into().ok()?;
    Some((salt, bytes.len() as u64))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
