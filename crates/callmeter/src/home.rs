//! The home: the directory of one machine's or one service's callmeter.
//!
//! ```text
//! store.sqlite       the embedded store, unless another is named
//! spool/ID.spool     calls on their way, a file a process; spool/ID.lease its owner's lock
//! ship-HASH.lock     the office of the shipper, one for each store
//! ship-HASH.failing  there while that store fails, touched with each failure
//! ship-HASH.degraded there while that store has failed ten times in a row
//! ledger.sqlite      the counters of spools that are no more
//! switch             whether calls are recorded, while it is off
//! hash.key           the key of keyed hashes, unless CALLMETER_HASH_KEY gives one
//! flight/            flight files, where shared memory is not their place
//! run/ID/            what a `callmeter run` tells the processes that it started
//! doubles            ids of guards under `callmeter run` that may be recorded twice
//! ```
//! A home belongs to one user, or with `spool.group_access` to a group: see [`Rights`]. Where nothing names one it
//! lies in the temporary directory, under a name that anybody can guess: there it must be this user's own, or it
//! is none, and calls are kept in memory ([`Home::distrusted`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callmeter_core::HashKey;

use crate::logging::log_line;
use crate::plain;
use crate::spool::{Rights, SPOOL_EXTENSION};

/// No key is longer.
const MAX_KEY_BYTES: u64 = 4_096;

/// A home directory of callmeter.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    rights: Rights,
    kind: Kind,
}

/// How a home came to its path.
#[derive(Clone, Debug)]
enum Kind {
    /// Somebody named it.
    Named,
    /// Nobody did: it lies in the temporary directory.
    Temporary,
    /// What lies there is not to be trusted, and why.
    Nowhere(Arc<str>),
}

/// The path of a home that is none: nothing can be made or read below it, by nobody.
const NOWHERE: &str = "/dev/null/callmeter";

impl Home {
    /// Names a home without touching the disk; a relative path is taken from the working directory.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            path: std::path::absolute(&path).unwrap_or(path),
            rights: Rights::User,
            kind: Kind::Named,
        }
    }

    /// The home where nothing names one.
    pub(crate) fn temporary(path: PathBuf, group_access: bool) -> Self {
        let home = Self::at(path).with_group_access(group_access);
        Self {
            kind: Kind::Temporary,
            ..home
        }
        .unless_distrusted()
    }

    /// The same, or none where its directory is not to be trusted.
    fn unless_distrusted(mut self) -> Self {
        if matches!(self.kind, Kind::Temporary)
            && let Some(why) = self.rights.distrusts(&self.path)
        {
            self.kind = Kind::Nowhere(format!("{} {why}", self.path.display()).into());
            self.path = NOWHERE.into();
        }
        self
    }

    /// The same, to record in: a temporary one is made at once, so that nobody else makes it later, and told of.
    pub(crate) fn settled(self) -> Self {
        if matches!(self.kind, Kind::Temporary) {
            // Where it cannot be made calls wait in memory, as in any other home.
            let _ = self.rights.make_dir(&self.path);
        }
        let home = self.unless_distrusted();
        match &home.kind {
            Kind::Named => {}
            Kind::Temporary => {
                log_line!(warn: "no home directory is known: calls are kept in the temporary directory, which a \
                     reboot may empty; set CALLMETER_HOME"
                );
            }
            Kind::Nowhere(why) => {
                log_line!(warn: "no home directory is known, and {why}: calls are kept in memory alone, where a \
                     crash loses them; set CALLMETER_HOME"
                );
            }
        }
        home
    }

    /// Why there is no home: nothing names one, and what lies at its place in the temporary directory is not this
    /// user's alone. Its owner could read and change what calls leave there. Calls are then kept in memory.
    pub fn distrusted(&self) -> Option<&str> {
        match &self.kind {
            Kind::Nowhere(why) => Some(why),
            Kind::Named | Kind::Temporary => None,
        }
    }

    /// The same home, shared by the group of its directory.
    #[must_use]
    pub fn with_group_access(mut self, group_access: bool) -> Self {
        self.rights = if group_access {
            Rights::Group
        } else {
            Rights::User
        };
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the embedded store.
    pub fn default_store(&self) -> PathBuf {
        self.path.join("store.sqlite")
    }

    /// Whether the group of its directory shares it.
    pub fn is_shared(&self) -> bool {
        self.rights == Rights::Group
    }

    /// The network file system that it lies on, by its name, if it does: its spools are refused there.
    pub fn network_file_system(&self) -> Option<&'static str> {
        callmeter_flight::network_file_system(&self.path)
    }

    /// The file system that it lies on, by its name, if other machines may be using it and nobody can tell: its
    /// spools are made there, and must be this machine's alone.
    pub fn doubtful_file_system(&self) -> Option<&'static str> {
        callmeter_flight::doubtful_file_system(&self.path)
    }

    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    /// Where this home's processes may have their flight files.
    pub(crate) fn flight_dirs(&self) -> Vec<PathBuf> {
        let shared = callmeter_flight::shared_memory_dir(&self.path);
        shared
            .into_iter()
            .chain([self.path.join("flight")])
            .collect()
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// The file of a spool.
    pub(crate) fn spool_path(&self, name: &str) -> PathBuf {
        self.spool_dir().join(format!("{name}.{SPOOL_EXTENSION}"))
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.path.join("ledger.sqlite")
    }

    /// The lock of whoever ships to `store`.
    pub(crate) fn shipper_lock(&self, store: &str) -> PathBuf {
        let name = HashKey::new(b"callmeter shipper lock")
            .hash(store)
            .unwrap_or_default();
        self.path
            .join(format!("ship-{}.lock", name.get(..16).unwrap_or("store")))
    }

    /// The mark of a store whose last trial failed.
    pub(crate) fn failing_mark(&self, store: &str) -> FailingMark {
        FailingMark {
            path: self.shipper_lock(store).with_extension("failing"),
            rights: self.rights,
        }
    }

    /// The mark of a store that has failed ten times in a row, left by whoever ships to it.
    pub(crate) fn degraded_mark(&self, store: &str) -> PathBuf {
        self.shipper_lock(store).with_extension("degraded")
    }

    /// Every spool file, the oldest first.
    pub(crate) fn spools(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.spool_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut spools = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == SPOOL_EXTENSION)
            {
                spools.push(path);
            }
        }
        spools.sort();
        Ok(spools)
    }

    /// Makes the home and its spool directory, for those alone who may use it.
    pub(crate) fn make(&self) -> io::Result<()> {
        if let Kind::Nowhere(why) = &self.kind {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, &**why));
        }
        self.rights.make_dir(&self.path)?;
        if matches!(self.kind, Kind::Temporary)
            && let Some(why) = self.rights.distrusts(&self.path)
        {
            let message = format!("{} {why}", self.path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        self.rights.make_dir(&self.spool_dir())
    }

    /// The home's own key, or one that lives as long as the process where the home has no place for it.
    pub(crate) fn hash_key_or_random(&self) -> HashKey {
        let key = self.make().and_then(|()| self.hash_key());
        key.unwrap_or_else(|error| {
            if self.distrusted().is_none() {
                log_line!(warn: "the home has no hash key ({error}); hashes of this process compare with no other's"
                );
            }
            let mut bytes = [0_u8; 32];
            crate::random::fill(&mut bytes);
            HashKey::new(&bytes)
        })
    }

    /// The home's own key of keyed hashes, made at first use.
    pub(crate) fn hash_key(&self) -> io::Result<HashKey> {
        let path = self.path.join("hash.key");
        match plain::read(&path, MAX_KEY_BYTES) {
            Ok(bytes) if bytes.len() >= 32 => return Ok(HashKey::new(&bytes)),
            Ok(_) => {
                let message = format!("{} is too short for a key; delete it", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut bytes = [0_u8; 32];
        if !crate::random::fill(&mut bytes) {
            return Err(io::Error::other("the system has no randomness"));
        }
        // Written aside and linked into place, so that of two processes both read the same key.
        let mut random = [0_u8; 8];
        crate::random::fill(&mut random);
        let random = u64::from_le_bytes(random);
        let aside = self.path.join(format!("hash.key.{random:016x}"));
        write_private(&aside, &bytes, self.rights)?;
        let linked = fs::hard_link(&aside, &path);
        fs::remove_file(&aside)?;
        match linked {
            Ok(()) => Ok(HashKey::new(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(HashKey::new(&plain::read(&path, MAX_KEY_BYTES)?))
            }
            Err(error) => Err(error),
        }
    }
}

/// The mark of a store whose last trial failed: a process that ends does not wait for it.
///
/// Left anew with each failure by whoever ships, removed by whoever stores something. One that nobody left
/// anew for ten minutes is not believed: the store may be back, and every process since was too short to
/// find out. So an address that never answers costs one long exit in ten minutes.
#[derive(Debug)]
pub(crate) struct FailingMark {
    path: PathBuf,
    rights: Rights,
}

impl FailingMark {
    const BELIEVED_FOR: Duration = Duration::from_secs(600);

    /// Whether the store is to be taken for one that fails.
    pub(crate) fn is_believed(&self) -> bool {
        let left = fs::symlink_metadata(&self.path).and_then(|mark| mark.modified());
        let age = left.ok().and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age < Self::BELIEVED_FOR)
    }

    /// Leaves it, or leaves it anew.
    pub(crate) fn leave(&self) {
        // Without it others wait longer at their end, no more.
        let _ = crate::switch::write_aside(&self.path, b"", self.rights);
    }

    pub(crate) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn write_private(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, rights.file_mode());
    let mut file = options.open(path)?;
    rights.open_to_group(&file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// A directory of another user's: root makes one, everybody else is given one of root's.
    fn of_another(dir: &Path) -> PathBuf {
        if !rustix::process::geteuid().is_root() {
            return PathBuf::from("/");
        }
        let path = dir.join("another's");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(61_001), None).unwrap();
        path
    }

    #[test]
    fn a_temporary_home_is_trusted_only_while_it_is_this_user_s_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let home = |path: PathBuf| Home::temporary(path, false);
        let made = home(at("missing")).settled();
        assert_eq!((made.distrusted(), made.path()), (None, &*at("missing")));
        assert_eq!(fs::metadata(at("missing")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(home(at("missing")).distrusted(), None, "found again");

        symlink(at("missing"), at("link")).unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), PermissionsExt::from_mode(0o750)).unwrap();
        let another = of_another(dir.path());
        let owner = fs::metadata(&another).unwrap().uid();
        for (path, why) in [
            (at("link"), "is a link".to_owned()),
            (at("open"), "is open to other users".to_owned()),
            (another, format!("belongs to user {owner}")),
        ] {
            let home = home(path.clone());
            assert_eq!(
                home.distrusted(),
                Some(&*format!("{} {why}", path.display()))
            );
            assert!(home.make().is_err());
            assert!(!home.path().starts_with(&path));
            assert!(home.spools().unwrap_or_default().is_empty());
        }
        assert_eq!(Home::temporary(at("open"), true).distrusted(), None);
        assert_eq!(Home::at(at("open")).distrusted(), None, "it was named");
    }

    #[test]
    fn a_temporary_home_that_another_made_in_the_meantime_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let home = Home::temporary(path.clone(), false);
        symlink(dir.path(), &path).unwrap();
        assert!(home.make().is_err());
        assert!(!dir.path().join("spool").exists());
        assert!(home.settled().distrusted().is_some());
    }

    #[test]
    fn a_key_that_is_a_link_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("home"));
        home.make().unwrap();
        let known = dir.path().join("known");
        fs::write(&known, [7; 32]).unwrap();
        symlink(&known, home.path().join("hash.key")).unwrap();
        assert!(home.hash_key().is_err());
    }
}
