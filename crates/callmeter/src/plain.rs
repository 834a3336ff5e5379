//! Opens files of a home by their names: plain files, and no links.
//!
//! Who else may write into a home that a group shares may put anything under a name that callmeter knows: a link
//! to a file of the user's own, a pipe that holds its reader up for ever. Neither is opened. What is made anew is
//! made by `create_new`, which follows no link either.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Opens a file to read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    open_as(path, &mut File::options().read(true).clone())
}

/// Opens a file that is there to append to it.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    open_as(path, &mut File::options().append(true).clone())
}

/// The bytes of a file, at most so many.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(open(path)?, most), &mut bytes)?;
    Ok(bytes)
}

/// The text of a file, at most so many bytes.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(open(path)?, most), &mut text)?;
    Ok(text)
}

fn open_as(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // NONBLOCK: the opening of a pipe would wait for its other end. For a plain file it means nothing.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.cast_signed());
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let message = format!("{} is no plain file", path.display());
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// The same file with no link on the way to its directory; SQLite, told to follow none, would refuse a home that
/// is reached through one.
pub(crate) fn straight(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok(dir.canonicalize()?.join(name)),
        _ => Ok(path.to_owned()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_a_pipe_and_a_directory_are_no_files_and_nobody_waits_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("plain"), "text").unwrap();
        std::os::unix::fs::symlink(at("plain"), at("link")).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        assert_eq!(read(&at("plain"), 3).unwrap(), b"tex");
        for name in ["link", "dir", "pipe"] {
            assert!(open(&at(name)).is_err(), "{name}");
            assert!(append(&at(name)).is_err(), "{name}");
        }
        let missing = open(&at("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
