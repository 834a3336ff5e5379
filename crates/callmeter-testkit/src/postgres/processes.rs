//! Processes that are no children of the test: their signals, their ends, their children.

use std::process::Command;

use rustix::process::Signal;

/// Sends a signal to whom it may concern; nobody is no error.
pub(super) fn signal(pid: i32, which: Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, which);
    }
}

/// The end of a process that is no child of this one.
pub(super) struct End(
    #[cfg(target_os = "linux")] std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))] i32,
);

impl End {
    pub(super) fn of(pid: i32) -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            let pid = rustix::process::Pid::from_raw(pid)?;
            let flags = rustix::process::PidfdFlags::empty();
            rustix::process::pidfd_open(pid, flags).ok().map(Self)
        }
        #[cfg(not(target_os = "linux"))]
        Some(Self(pid))
    }

    pub(super) fn wait(self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::event::{PollFd, PollFlags, poll};
            let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None);
        }
        #[cfg(not(target_os = "linux"))]
        while rustix::process::Pid::from_raw(self.0)
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
        {
            std::thread::yield_now();
        }
    }
}

/// The processes that a process started.
pub(super) fn children_of(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    if let Ok(text) = std::fs::read_to_string(path) {
        return text
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
    }
    // Where the kernel has no such list, or none of /proc.
    let output = Command::new("pgrep")
        .args(["-P", &pid.to_string()])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
