//! The lease: a lock that says its owner lives, on a file of its own.
//!
//! A POSIX record lock (`fcntl`): the kernel frees it at the owner's death, across pid namespaces, and
//! a forked child does not inherit it, as it would a `flock`. Such a lock does not exclude within one
//! process and falls with *any* descriptor of its file, so a list of the process keeps each file open
//! once. A forked child never waits for the list long: another thread of its parent may have held it at
//! the fork, for ever.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Which files this process has open, by the id of the process that opened them: a forked child
/// inherits the list and none of the locks.
static HELD: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());

/// A held lock; freed when dropped or when the process dies.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: Option<File>,
}

impl Lease {
    /// Takes the lease at `path`, or says `None` when another holds it, in this process or elsewhere.
    ///
    /// # Errors
    /// When the file cannot be made or the file system knows no locks.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::try_take_with(path, 0o600)
    }

    /// As [`try_take`](Self::try_take), with the rights of a file that does not exist yet, such as
    /// `0o660` where a group shares the directory.
    ///
    /// # Errors
    /// As there.
    pub fn try_take_with(path: &Path, mode: u32) -> io::Result<Option<Self>> {
        let mut held = held()?;
        let me = std::process::id();
        if held.get(path) == Some(&me) {
            return Ok(None);
        }
        let file = open(path, mode)?;
        if !lock(&file)? || !is_at(&file, path)? {
            return Ok(None);
        }
        held.insert(path.to_owned(), me);
        Ok(Some(Self {
            path: path.to_owned(),
            file: Some(file),
        }))
    }

    /// Where the lease lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // An entry that cannot be removed makes this process refuse the path: the safe side.
        if let Ok(mut held) = held()
            && held.get(&self.path) == Some(&std::process::id())
        {
            // Closed within: another thread that took the lease in between would lose it by the closing.
            self.file = None;
            held.remove(&self.path);
        }
    }
}

fn held() -> io::Result<MutexGuard<'static, BTreeMap<PathBuf, u32>>> {
    // No `OnceLock`: a fork may fall into its first use, and it is a lock itself.
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let me = std::process::id();
    let first = FIRST.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
    let is_first = first.is_ok() || first == Err(me);
    for _ in 0..10_000 {
        match HELD.try_lock() {
            Ok(held) => return Ok(held),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    if is_first {
        // No fork: the holder only had no time to run on a busy machine.
        return Ok(HELD.lock().unwrap_or_else(PoisonError::into_inner));
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "the list of leases is not to be had",
    ))
}

#[cfg(unix)]
fn open(path: &Path, mode: u32) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(mode as _);
    let file = File::from(rustix::fs::open(path, flags, mode)?);
    if mode.contains(Mode::WGRP) {
        // Past the process's umask; another user's file has its rights already.
        let _ = rustix::fs::fchmod(&file, mode);
    }
    Ok(file)
}

#[cfg(not(unix))]
fn open(path: &Path, _mode: u32) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(unix)]
fn lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the path still names this file: another may have adopted and removed it in between.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}
