//! Why a flight buffer could not be made or read. Recording itself has no errors.

use std::io;
use std::path::PathBuf;

/// A flight file or its directory is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlightError {
    /// The file system said no.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for the file.
    #[error(
        "no room for a flight buffer of {bytes} bytes in {path}; free some, or mount a larger /dev/shm",
        path = path.display()
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What the buffer needs.
        bytes: u64,
    },
    /// The directory might be another user's.
    #[error(
        "{path} is not a directory of this user alone; remove it, or set its owner and mode 0700",
        path = path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// The file system cannot hold a mapped file safely.
    #[error(
        "{path} lies on {kind}, where a mapped file is not safe; name a home on a local disk",
        path = path.display()
    )]
    UnfitFileSystem {
        /// The directory.
        path: PathBuf,
        /// What kind of file system it is.
        kind: &'static str,
    },
    /// No such buffer can be laid out.
    #[error("a flight buffer of {slots} slots cannot be made; take a multiple of 16 up to 65,520")]
    Geometry {
        /// How many slots were asked for.
        slots: usize,
    },
    /// The file is none of ours, or its header is corrupt.
    #[error("{path} is not a flight file, or its header is corrupt; it was left as it is", path = path.display())]
    NotAFlightFile {
        /// The file.
        path: PathBuf,
    },
    /// A newer version made the file.
    #[error(
        "{path} has flight format {format}, which needs a newer callmeter; it was left for one",
        path = path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// Mapped files are not supported on this platform.
    #[error("this platform has no shared-memory flight buffer; memory is used")]
    Unsupported,
}

impl FlightError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
