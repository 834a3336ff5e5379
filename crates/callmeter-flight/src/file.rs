//! A flight file on its disk: made, reserved, leased, and recognised when it is gone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::FlightError;
use crate::layout::Geometry;
use crate::lease::Lease;
use crate::place::Place;

/// The extension of flight files; their leases have [`LEASE_EXTENSION`].
pub(crate) const EXTENSION: &str = "flight";
pub(crate) const LEASE_EXTENSION: &str = "lease";
/// No file of ours is larger; a larger one is not read.
const MAX_BYTES: u64 = 256 << 20;

/// The owner's hold on a flight file.
#[derive(Debug)]
pub(crate) struct FlightFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    _lease: Lease,
}

impl FlightFile {
    /// Makes a file in the place's directory, leased, with all its blocks reserved and zero.
    #[cfg(unix)]
    pub(crate) fn create(
        place: &Place,
        stem: &str,
        geometry: Geometry,
    ) -> Result<Self, FlightError> {
        use rustix::fs::{Mode, OFlags};
        let path = place.dir.join(stem).with_extension(EXTENSION);
        let lease_path = path.with_extension(LEASE_EXTENSION);
        let taken = Lease::try_take_with(&lease_path, place.file_mode());
        let lease = taken
            .map_err(FlightError::io("lock", &lease_path))?
            .ok_or_else(|| {
                let source = std::io::ErrorKind::AlreadyExists.into();
                FlightError::Io {
                    action: "lock",
                    path: lease_path.clone(),
                    source,
                }
            })?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(place.file_mode() as _);
        let made = rustix::fs::open(&path, flags, mode).map(File::from);
        let reserved = made.map_err(std::io::Error::from).and_then(|file| {
            if place.group_access {
                rustix::fs::fchmod(&file, mode)?;
            }
            reserve(&file, geometry.bytes())?;
            Ok(file)
        });
        match reserved {
            Ok(file) => Ok(Self {
                path,
                file,
                _lease: lease,
            }),
            Err(source) => {
                remove(&path);
                if source.kind() == std::io::ErrorKind::StorageFull {
                    let path = place.dir.clone();
                    return Err(FlightError::NoRoom {
                        path,
                        bytes: geometry.bytes() as u64,
                    });
                }
                Err(FlightError::Io {
                    action: "make",
                    path,
                    source,
                })
            }
        }
    }

    /// Mapped files are made on Unix alone.
    #[cfg(not(unix))]
    pub(crate) fn create(_: &Place, _: &str, _: Geometry) -> Result<Self, FlightError> {
        Err(FlightError::Unsupported)
    }

    /// Whether the path still names this file.
    #[cfg(unix)]
    pub(crate) fn is_linked(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let there = std::fs::symlink_metadata(&self.path);
        let ours = self.file.metadata();
        match (ours, there) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn is_linked(&self) -> bool {
        self.path.exists()
    }
}

/// Gives the file all its blocks, so that no store into the mapping can find the disk full.
#[cfg(unix)]
fn reserve(file: &File, bytes: usize) -> std::io::Result<()> {
    use std::io::Write;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(file, FallocateFlags::empty(), 0, bytes as u64) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let zeros = [0_u8; 4_096];
    let mut file = file;
    for _ in 0..bytes.div_ceil(zeros.len()) {
        file.write_all(&zeros)?;
    }
    Ok(())
}

/// Removes a flight file, then its lease: an orphaned lease misleads nobody.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(path.with_extension(LEASE_EXTENSION));
}

/// The bytes of a flight file; links are not followed.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FlightError> {
    use std::io::Read;
    let file = open(path, false).map_err(FlightError::io("open", path))?;
    let found = file.metadata().map_err(FlightError::io("look at", path))?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(FlightError::NotAFlightFile {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let mut file = file.take(MAX_BYTES);
    file.read_to_end(&mut bytes)
        .map_err(FlightError::io("read", path))?;
    Ok(bytes)
}

/// Opens an existing file of ours.
#[cfg(unix)]
pub(crate) fn open(path: &Path, writable: bool) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let access = if writable {
        OFlags::RDWR
    } else {
        OFlags::RDONLY
    };
    // NONBLOCK: a fifo under our name must not hold us up.
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
pub(crate) fn open(path: &Path, writable: bool) -> std::io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
}

/// Every flight file in a directory, the oldest first; a directory that does not exist has none.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, FlightError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FlightError::io("list", dir))?,
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == EXTENSION)
        })
        .collect();
    files.sort();
    Ok(files)
}
