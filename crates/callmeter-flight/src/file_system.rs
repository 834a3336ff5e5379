//! What a directory lies on: whether files there may be mapped, and whether other machines may be using them.
//!
//! ```text
//! kind         flight file   spools            such as
//! Local        yes           yes               ext4, XFS
//! Passing      yes           yes               tmpfs, overlay: gone with the machine or the container
//! Unmappable   no            yes               btrfs, ZFS, FUSE over a disk of this machine
//! Doubtful     no            yes, and a word   any other FUSE, virtiofs
//! Network      no            no                NFS, SMB, 9p, Ceph; sshfs and its like
//! ```
//! A store into a mapped file may block for long or fail where space is found only when it is written, or where a
//! program or another machine answers. Locks and the shared memory of a write-ahead log hold among the processes of
//! one kernel: on a network they do not hold. Of FUSE the kernel knows only that a program answers; which one the
//! table of mounts says. A rootless container lies on one (fuse-overlayfs) and a disk of another system is read by
//! one (ntfs-3g), so that FUSE as such is no reason to refuse.

use std::path::Path;

/// What a file system is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// A disk of this machine.
    Local,
    /// Its content goes with the container or the machine.
    Passing,
    /// Of this machine, but stores into a mapped file may block or fail.
    Unmappable(&'static str),
    /// The same, and other machines may be using its files.
    Doubtful(&'static str),
    /// Other machines may be using its files, and locks do not hold among them.
    Network(&'static str),
}

impl FileSystem {
    /// Its name, where a mapped file has no place on it.
    pub(crate) const fn unfit(self) -> Option<&'static str> {
        match self {
            Self::Unmappable(name) | Self::Doubtful(name) | Self::Network(name) => Some(name),
            Self::Local | Self::Passing => None,
        }
    }

    pub(crate) const fn is_volume(self) -> bool {
        matches!(self, Self::Local)
    }

    /// That of a path, or of its nearest parent that exists.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(path: &Path) -> Self {
        let found = path
            .ancestors()
            .find_map(|path| Some((path, rustix::fs::statfs(path).ok()?)));
        let Some((path, found)) = found else {
            return Self::Local;
        };
        match by_number(found.f_type as u32) {
            Some(kind) => kind,
            None => by_mount_type(mount_type(path).as_deref()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_path: &Path) -> Self {
        Self::Local
    }
}

/// The network file system that a directory lies on, by its name, if it does; of one that does not exist
/// yet its nearest parent tells.
pub fn network_file_system(dir: &Path) -> Option<&'static str> {
    match FileSystem::of(dir) {
        FileSystem::Network(name) => Some(name),
        _ => None,
    }
}

/// The file system that a directory lies on, by its name, if it may be one that other machines use as well,
/// which cannot be told.
pub fn doubtful_file_system(dir: &Path) -> Option<&'static str> {
    match FileSystem::of(dir) {
        FileSystem::Doubtful(name) => Some(name),
        _ => None,
    }
}

#[cfg(any(target_os = "linux", test))]
const FUSE: u32 = 0x6573_5546;

/// What the number of a file system says, by `linux/magic.h` and file systems that bring their own; `None`
/// of FUSE, of which it says nothing.
#[cfg(any(target_os = "linux", test))]
const fn by_number(number: u32) -> Option<FileSystem> {
    use FileSystem::{Local, Network, Passing, Unmappable};
    Some(match number {
        FUSE => return None,
        0x0102_1994 | 0x8584_58f6 | 0x794c_7630 => Passing,
        0x9123_683e => Unmappable("btrfs"),
        0x2fc1_2fc1 => Unmappable("ZFS"),
        0xca45_1a4e => Unmappable("bcachefs"),
        0x6969 => Network("NFS"),
        0x517b | 0xfe53_4d42 | 0xff53_4d42 => Network("SMB"),
        0x0102_1997 => Network("9p"),
        0x00c3_6400 => Network("Ceph"),
        0x5346_414f | 0x6b41_4653 => Network("AFS"),
        0x7375_7245 => Network("Coda"),
        0x0bd0_0bd0 => Network("Lustre"),
        0x4750_4653 => Network("GPFS"),
        0x7461_636f => Network("OCFS2"),
        0x0116_1970 => Network("GFS2"),
        0x2003_0528 => Network("OrangeFS"),
        0x1983_0326 => Network("BeeGFS"),
        // Directories of the host, in a virtual machine.
        0x786f_4256 => Network("vboxsf"),
        _ => Local,
    })
}

/// What the type of a FUSE mount says.
#[cfg(any(target_os = "linux", test))]
fn by_mount_type(of_mount: Option<&str>) -> FileSystem {
    use FileSystem::{Doubtful, Network, Unmappable};
    match of_mount.unwrap_or("fuse") {
        "fuseblk"
        | "fuse.fuse-overlayfs"
        | "fuse.mergerfs"
        | "fuse.bindfs"
        | "fuse.gocryptfs"
        | "fuse.encfs" => Unmappable("FUSE"),
        "virtiofs" => Doubtful("virtiofs"),
        "fuse.sshfs" => Network("sshfs"),
        "fuse.glusterfs" => Network("GlusterFS"),
        "fuse.ceph-fuse" => Network("Ceph"),
        "fuse.mfs" => Network("MooseFS"),
        "fuse.s3fs" => Network("s3fs"),
        "fuse.gcsfuse" => Network("gcsfuse"),
        "fuse.rclone" => Network("rclone"),
        "fuse.juicefs" => Network("JuiceFS"),
        _ => Doubtful("FUSE"),
    }
}

/// The type of the mount that a path lies on.
#[cfg(target_os = "linux")]
fn mount_type(path: &Path) -> Option<String> {
    let device = rustix::fs::stat(path).ok()?.st_dev;
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    type_in(&mounts, device).map(str::to_owned)
}

/// The type of a device's mount in a table like `/proc/self/mountinfo`: the third word of a line names the
/// device, the first one after ` - ` the type.
#[cfg(any(target_os = "linux", test))]
fn type_in(mounts: &str, (major, minor): (u32, u32)) -> Option<&str> {
    let device = format!("{major}:{minor}");
    let mut lines = mounts.lines();
    lines.find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_it = mount.split(' ').nth(2) == Some(&*device);
        file_system.split(' ').next().filter(|_| is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spools_are_refused(kind: FileSystem) -> bool {
        matches!(kind, FileSystem::Network(_))
    }

    #[test]
    fn what_other_machines_may_be_using_takes_neither_flight_file_nor_spool() {
        for (number, name) in [
            (0x6969, "NFS"),
            (0x517b, "SMB"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x0102_1997, "9p"),
            (0x00c3_6400, "Ceph"),
            (0x5346_414f, "AFS"),
            (0x6b41_4653, "AFS"),
            (0x7375_7245, "Coda"),
            (0x0bd0_0bd0, "Lustre"),
            (0x4750_4653, "GPFS"),
            (0x7461_636f, "OCFS2"),
            (0x0116_1970, "GFS2"),
            (0x2003_0528, "OrangeFS"),
            (0x1983_0326, "BeeGFS"),
            (0x786f_4256, "vboxsf"),
        ] {
            let kind = by_number(number).unwrap();
            assert!(spools_are_refused(kind), "{name}");
            assert_eq!((kind.unfit(), kind.is_volume()), (Some(name), false));
        }
        for (of_mount, name) in [
            ("fuse.sshfs", "sshfs"),
            ("fuse.glusterfs", "GlusterFS"),
            ("fuse.ceph-fuse", "Ceph"),
            ("fuse.mfs", "MooseFS"),
            ("fuse.s3fs", "s3fs"),
            ("fuse.gcsfuse", "gcsfuse"),
            ("fuse.rclone", "rclone"),
            ("fuse.juicefs", "JuiceFS"),
        ] {
            let kind = by_mount_type(Some(of_mount));
            assert!(spools_are_refused(kind), "{name}");
            assert_eq!(kind.unfit(), Some(name));
        }
    }

    #[test]
    fn disks_of_this_machine_take_spools_and_most_of_them_flight_files() {
        // ext4, XFS, f2fs, squashfs, exFAT, NTFS.
        for number in [
            0xef53,
            0x5846_5342,
            0xf2f5_2010,
            0x7371_7368,
            0x2011_bab0,
            0x5346_544e,
        ] {
            assert_eq!(by_number(number), Some(FileSystem::Local), "{number:x}");
        }
        for number in [0x0102_1994, 0x8584_58f6, 0x794c_7630] {
            let kind = by_number(number).unwrap();
            assert_eq!((kind, kind.is_volume()), (FileSystem::Passing, false));
        }
        for (number, name) in [
            (0x9123_683e, "btrfs"),
            (0x2fc1_2fc1, "ZFS"),
            (0xca45_1a4e, "bcachefs"),
        ] {
            assert_eq!(by_number(number), Some(FileSystem::Unmappable(name)));
        }
    }

    #[test]
    fn fuse_is_what_its_mount_says_and_doubtful_where_that_says_nothing() {
        assert_eq!(by_number(FUSE), None);
        // The root of a rootless container, and a disk that another system formatted.
        for of_mount in ["fuse.fuse-overlayfs", "fuseblk"] {
            let kind = by_mount_type(Some(of_mount));
            assert_eq!(kind, FileSystem::Unmappable("FUSE"), "{of_mount}");
        }
        for of_mount in [None, Some("fuse"), Some("fuse.something-new")] {
            assert_eq!(by_mount_type(of_mount), FileSystem::Doubtful("FUSE"));
        }
        let virtio = by_mount_type(Some("virtiofs"));
        assert_eq!(virtio, FileSystem::Doubtful("virtiofs"));
        assert!(!spools_are_refused(virtio));
    }

    #[test]
    fn a_mount_is_found_by_its_device_whatever_else_its_line_holds() {
        let mounts = "\
            22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
            41 22 0:49 / /mnt/over\\040there rw,nosuid - fuse.sshfs host:/srv rw,user_id=0\n\
            42 22 0:4 / /proc rw - proc proc rw\n\
            torn line\n";
        assert_eq!(type_in(mounts, (0, 49)), Some("fuse.sshfs"));
        assert_eq!(type_in(mounts, (254, 0)), Some("ext4"));
        assert_eq!(type_in(mounts, (0, 50)), None);
    }

    #[test]
    fn a_path_that_is_not_there_yet_lies_where_its_parent_does() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("not/there/yet");
        assert_eq!(FileSystem::of(&below), FileSystem::of(dir.path()));
        #[cfg(target_os = "linux")]
        assert_eq!(FileSystem::of(Path::new("/proc")), FileSystem::Local);
    }
}
