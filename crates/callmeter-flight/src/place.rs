//! Where a flight file lies, who may look at it, and what it survives.
//!
//! ```text
//! shared memory   /dev/shm/callmeter-<uid>/<hash of the home>/     the process
//! home            <home>/flight/                                   the process; where the home is a
//!                                                                  volume, the container as well
//! memory          no file                                          nothing
//! ```
//! In that order; in a container whose home is a volume the home comes first. A directory is made for
//! this user alone and refused when it is anybody else's, or a link, or on a file system where a mapped
//! file has no place ([`file_system`](crate::file_system)).

use std::fmt;
use std::path::{Path, PathBuf};

use callmeter_core::HashKey;

use crate::error::FlightError;
use crate::file_system::FileSystem;

const SHARED_MEMORY: &str = "/dev/shm";

/// A kind of place for a flight buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaceKind {
    /// A file in the machine's shared memory.
    SharedMemory,
    /// A mapped file in the home.
    Home,
    /// A mapped file in a home that outlives its container.
    Volume,
    /// Memory of the process.
    Memory,
}

impl PlaceKind {
    /// What calls in a buffer of that kind survive, in words for `doctor`.
    pub const fn survives(self) -> &'static str {
        match self {
            Self::SharedMemory => {
                "a crash or kill of the process, not a reboot or the end of its container"
            }
            Self::Home => {
                "a crash or kill of the process, not the end of its container or loss of power"
            }
            Self::Volume => {
                "a crash or kill of the process and the end of its container, not loss of power or the node"
            }
            Self::Memory => "nothing: calls not yet in the spool are lost when the process dies",
        }
    }

    /// Whether calls outlive their process there (promise CM-4).
    pub const fn is_crash_safe(self) -> bool {
        !matches!(self, Self::Memory)
    }
}

/// A place for a flight buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) kind: PlaceKind,
    pub(crate) dir: PathBuf,
    pub(crate) group_access: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PlaceKind::Memory => f.write_str("memory"),
            _ => write!(f, "{}", self.dir.display()),
        }
    }
}

impl Place {
    /// The process's own memory.
    pub fn memory() -> Self {
        Self {
            kind: PlaceKind::Memory,
            dir: PathBuf::new(),
            group_access: false,
        }
    }

    /// A directory for mapped files, whatever it lies on; it is made, and must be this user's.
    pub fn directory(dir: impl Into<PathBuf>) -> Self {
        Self {
            kind: PlaceKind::Home,
            dir: dir.into(),
            group_access: false,
        }
    }

    /// The places for the buffer of a home, the best first; the last is always memory.
    pub fn candidates(home: &Path) -> Vec<Self> {
        Self::candidates_in(home, is_in_container())
    }

    /// The places for the buffer of a home that a group shares: its members have no shared memory in
    /// common, so that the home is the only one where they find each other's files.
    pub fn candidates_of_a_group(home: &Path) -> Vec<Self> {
        let mut places = Self::candidates(home);
        places.retain(|place| place.kind != PlaceKind::SharedMemory);
        places
            .into_iter()
            .map(|place| place.with_group_access(true))
            .collect()
    }

    fn candidates_in(home: &Path, in_container: bool) -> Vec<Self> {
        let is_volume = in_container && FileSystem::of(home).is_volume();
        let kind = if is_volume {
            PlaceKind::Volume
        } else {
            PlaceKind::Home
        };
        let in_home = Self {
            kind,
            dir: home.join("flight"),
            group_access: false,
        };
        let mut places = vec![in_home];
        if let Some(dir) = shared_memory_dir(home) {
            let shared = Self {
                kind: PlaceKind::SharedMemory,
                dir,
                group_access: false,
            };
            places.insert(usize::from(is_volume), shared);
        }
        places.push(Self::memory());
        places
    }

    /// The same place, open to the group of its directory as well.
    #[must_use]
    pub fn with_group_access(mut self, group_access: bool) -> Self {
        self.group_access = group_access;
        self
    }

    /// What kind of place it is.
    pub fn kind(&self) -> PlaceKind {
        self.kind
    }

    /// The directory of the files; empty for memory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) const fn file_mode(&self) -> u32 {
        if self.group_access { 0o660 } else { 0o600 }
    }

    /// Makes the directory, or finds it fit.
    pub(crate) fn prepare(&self) -> Result<(), FlightError> {
        match self.kind {
            PlaceKind::Memory => return Ok(()),
            PlaceKind::SharedMemory => {
                // The parent may be anyone's; the user's own directory in it may not.
                if let Some(parent) = self.dir.parent() {
                    private_dir(parent, self.group_access)?;
                }
            }
            PlaceKind::Home | PlaceKind::Volume => {
                if let Some(parent) = self.dir.parent() {
                    std::fs::create_dir_all(parent).map_err(FlightError::io("make", parent))?;
                }
            }
        }
        private_dir(&self.dir, self.group_access)?;
        match FileSystem::of(&self.dir).unfit() {
            Some(kind) => Err(FlightError::UnfitFileSystem {
                path: self.dir.clone(),
                kind,
            }),
            None => Ok(()),
        }
    }
}

/// The directory in shared memory for the flight files of a home.
pub fn shared_memory_dir(home: &Path) -> Option<PathBuf> {
    let user = shared_memory_root()?;
    let hash = HashKey::new(b"callmeter flight directory").hash(&home.to_string_lossy())?;
    Some(user.join(hash.get(..16)?))
}

/// The directory in shared memory under which this user's homes have theirs.
#[cfg(unix)]
pub fn shared_memory_root() -> Option<PathBuf> {
    let root = Path::new(SHARED_MEMORY);
    let user = rustix::process::geteuid().as_raw();
    root.is_dir()
        .then(|| root.join(format!("callmeter-{user}")))
}

/// The directory in shared memory under which this user's homes have theirs.
#[cfg(not(unix))]
pub fn shared_memory_root() -> Option<PathBuf> {
    None
}

/// Whether this process runs in a container, by the usual marks.
pub fn is_in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|mark| Path::new(mark).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Makes a directory for this user alone, or makes sure that an existing one is that.
#[cfg(unix)]
fn private_dir(path: &Path, group_access: bool) -> Result<(), FlightError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let mode = if group_access { 0o770 } else { 0o700 };
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) if group_access => {
            // Past the process's umask; the group of the directory above is that of all within.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode | 0o2000);
            return std::fs::set_permissions(path, mode).map_err(FlightError::io("open", path));
        }
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(FlightError::io("make", path)(error)),
    }
    let found = std::fs::symlink_metadata(path).map_err(FlightError::io("look at", path))?;
    let others = if group_access { 0o007 } else { 0o077 };
    let is_owner = found.uid() == rustix::process::geteuid().as_raw() || group_access;
    if found.is_dir() && is_owner && found.mode() & others == 0 {
        Ok(())
    } else {
        Err(FlightError::NotPrivate {
            path: path.to_owned(),
        })
    }
}

#[cfg(not(unix))]
fn private_dir(_path: &Path, _group_access: bool) -> Result<(), FlightError> {
    Err(FlightError::Unsupported)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_comes_first_and_memory_last() {
        let home = tempfile::tempdir().unwrap();
        let kinds: Vec<PlaceKind> = Place::candidates_in(home.path(), false)
            .iter()
            .map(Place::kind)
            .collect();
        assert_eq!(kinds.last(), Some(&PlaceKind::Memory));
        if Path::new(SHARED_MEMORY).is_dir() {
            assert_eq!(kinds[..2], [PlaceKind::SharedMemory, PlaceKind::Home]);
            let other = shared_memory_dir(Path::new("/another")).unwrap();
            assert_ne!(shared_memory_dir(home.path()), Some(other));
        }
    }

    #[test]
    fn a_directory_that_others_may_enter_and_a_link_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let open = home.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&open, &link).unwrap();
        for dir in [&open, &link] {
            let refused = Place::directory(dir).prepare();
            assert!(
                matches!(refused, Err(FlightError::NotPrivate { .. })),
                "{refused:?}"
            );
        }
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(
            Place::directory(&open)
                .with_group_access(true)
                .prepare()
                .is_ok()
        );
        assert!(
            Place::directory(home.path().join("new/flight"))
                .prepare()
                .is_ok()
        );
    }
}
