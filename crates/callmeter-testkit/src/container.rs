//! What a container is to the kernel: a process with mounts, process ids and a user of its own.
//!
//! Mounts made in a container are seen by nobody else and go with its last process. Needs root, or a kernel that
//! lets this user make user namespaces; `unshare`, `mount` and `setpriv` of util-linux. A container is its
//! command: killing that kills every process within.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// How a process is to be shut off from the others.
#[derive(Clone, Debug, Default)]
pub struct Container {
    steps: String,
    has_pids: bool,
    processes_before: u32,
    user: Option<(u32, u32)>,
}

impl Container {
    /// A container with mounts of its own, and nothing mounted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mounts an empty file system of so many bytes, which lies in memory, over a directory.
    #[must_use]
    pub fn tmpfs(self, at: &Path, bytes: u64) -> Self {
        let at = at.display();
        self.step(&format!(
            "mount -t tmpfs -o size={bytes},mode=1777 tmpfs '{at}'"
        ))
    }

    /// Mounts a directory at a second place.
    #[must_use]
    pub fn bind(self, from: &Path, at: &Path) -> Self {
        self.step(&format!(
            "mount --bind '{}' '{}'",
            from.display(),
            at.display()
        ))
    }

    /// Fills the file system of a directory to its last byte, with a file named `ballast`.
    #[must_use]
    pub fn fill(self, dir: &Path) -> Self {
        let dir = dir.display();
        // To the last page, then to the last inode that a small file could have.
        self.step(&format!(
            "! cat /dev/zero 2>/dev/null > '{dir}/ballast'; test \"$(stat -f -c %f '{dir}')\" = 0"
        ))
    }

    /// Runs a step of shell as root, before the program.
    #[must_use]
    pub fn step(mut self, step: &str) -> Self {
        self.steps.push_str(step);
        self.steps.push('\n');
        self
    }

    /// Gives it process ids of its own: the program is process 1, unless it runs as another user.
    #[must_use]
    pub fn pids(mut self) -> Self {
        self.has_pids = true;
        self
    }

    /// The same, where so many processes came before the program.
    #[must_use]
    pub fn pids_after(mut self, processes: u32) -> Self {
        self.has_pids = true;
        self.processes_before = processes;
        self
    }

    /// Runs the program as this user, in that group and no other.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// The command that runs a program in it; arguments may be added.
    pub fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
            if self.user.is_some() {
                command.arg("--map-auto");
            }
        }
        command.args(["--mount", "--propagation", "private"]);
        if self.has_pids {
            command.args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
        }
        let mut script = format!("set -e\n{}", self.steps);
        // A change of the user frees a process from dying with its parent: then the shell stays process 1.
        if self.has_pids && (self.processes_before > 0 || self.user.is_some()) {
            let before = self.processes_before;
            script.push_str(&format!(
                "for n in $(seq {before}); do sh -c :; done\n\"$@\"\n"
            ));
        } else {
            script.push_str("exec \"$@\"\n");
        }
        command.args(["sh", "-c", &script, "sh"]);
        if let Some((uid, gid)) = self.user {
            command.args([
                "setpriv",
                &format!("--reuid={uid}"),
                &format!("--regid={gid}"),
                "--clear-groups",
            ]);
        }
        command.arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(container: &Container, script: &str) -> String {
        let mut command = container.command(OsStr::new("sh"));
        let output = command.args(["-c", script]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_container_has_mounts_process_ids_and_a_user_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let container = Container::new().tmpfs(dir.path(), 65_536).pids();
        let script = format!("touch '{}/here'; echo $$", dir.path().display());
        assert_eq!(said(&container, &script), "1\n");
        assert!(!dir.path().join("here").exists());
        assert_ne!(said(&Container::new().pids_after(5), "echo $$"), "1\n");
        let other = Container::new().user(61_001, 61_000);
        assert_eq!(said(&other, "id -u; id -g; id -G"), "61001\n61000\n61000\n");
    }
}
