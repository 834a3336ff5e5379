//! The rights of a home's directories and files, and what a spool's directory may lie on.
//!
//! A home belongs to one user: directories 0700, files 0600. With `spool.group_access` it belongs to a
//! group, as when containers of several users share a volume: 0770 and 0660 whatever the umask, and the
//! set-group-id bit, so that every file within has the group of the directory. SQLite gives its
//! write-ahead log the rights of the file.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Once;

use super::SpoolError;
use crate::logging::log_line;

/// Who may use a home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// Its user alone.
    #[default]
    User,
    /// The group of the directory as well.
    Group,
}

impl Rights {
    /// The mode of files.
    pub(crate) const fn file_mode(self) -> u32 {
        match self {
            Self::User => 0o600,
            Self::Group => 0o660,
        }
    }

    /// Makes a directory and those above it; one that is there stays as it is.
    pub(crate) fn make_dir(self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent()
            && !parent.as_os_str().is_empty()
            && !parent.is_dir()
        {
            self.make_dir(parent)?;
        }
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            // Another process was first, and opens it to the group if it should be.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        #[cfg(unix)]
        if self == Self::Group {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2770);
            fs::set_permissions(path, mode)?;
        }
        Ok(())
    }

    /// Why a directory is not to be trusted whose name anybody can guess and anybody could have made: `None`
    /// while it is this user's alone, or not there.
    pub(crate) fn distrusts(self, path: &Path) -> Option<String> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let found = match fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => return Some(format!("cannot be looked at: {error}")),
                Ok(found) => found,
            };
            let others = match self {
                Self::User => 0o077,
                Self::Group => 0o007,
            };
            if found.is_symlink() {
                return Some("is a link".to_owned());
            }
            if found.uid() != rustix::process::geteuid().as_raw() {
                return Some(format!("belongs to user {}", found.uid()));
            }
            if found.mode() & others != 0 {
                return Some("is open to other users".to_owned());
            }
        }
        let _ = path;
        None
    }

    /// Makes an empty file that was not there.
    pub(crate) fn make_file(self, path: &Path) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, self.file_mode());
        let file = options.open(path)?;
        self.open_to_group(&file)
    }

    /// Gives the group its rights to a file of ours, past the umask.
    pub(crate) fn open_to_group(self, file: &fs::File) -> io::Result<()> {
        #[cfg(unix)]
        if self == Self::Group {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(self.file_mode());
            file.set_permissions(mode)?;
        }
        let _ = file;
        Ok(())
    }
}

/// Refuses a directory on a network file system: neither locks nor the shared memory of a write-ahead log
/// hold between its machines. Warns once of one that may be that.
pub(crate) fn refuse_network(dir: &Path) -> Result<(), SpoolError> {
    static WARNED: Once = Once::new();
    if let Some(kind) = callmeter_flight::doubtful_file_system(dir) {
        WARNED.call_once(|| {
            log_line!(warn: "the home lies on {kind}, where callmeter cannot tell whether locks hold; no other machine may use it"
            );
        });
    }
    match callmeter_flight::network_file_system(dir) {
        Some(kind) => Err(SpoolError::NetworkFileSystem {
            path: dir.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}
