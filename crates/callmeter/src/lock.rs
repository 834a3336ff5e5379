//! A lock that one living process holds: a lease on a spool, the shipper's office.
//!
//! Owns POSIX record locks on files of their own: the kernel frees them at the owner's death, across
//! pid namespaces, and a forked child does not inherit them (as it would a `flock`). Such a lock does
//! not exclude within one process and falls with *any* descriptor of its file, so a process-wide list
//! keeps each file open once.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A held lock; freed when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    _file: File,
}

impl FileLock {
    /// Takes the lock at `path`, or says `None` when another holds it, in this process or elsewhere.
    ///
    /// # Errors
    /// When the file cannot be made or the file system knows no locks.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(path) {
            return Ok(None);
        }
        let file = private_file(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        held.insert(path.to_owned());
        Ok(Some(Self {
            path: path.to_owned(),
            _file: file,
        }))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.path);
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
