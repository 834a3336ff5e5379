//! A forked child that goes on in the test's own memory, without exec.
//!
//! Only the thread that forks is there; locks that others held stay held. What is tried here must cope with
//! that.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec can be tried only there"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

const YES: i32 = 4_242;

/// Runs `action` in a forked child, which ends by `_exit` right after; says whether it answered with true.
///
/// # Panics
/// When the system gives no process.
pub fn in_forked_child(mut action: impl FnMut() -> bool + Send + Sync + 'static) -> bool {
    let mut command = Command::new("true");
    // SAFETY: the child uses memory, files and locks of its own, and the allocator, which the C library
    // makes usable after a fork.
    unsafe {
        command.pre_exec(move || {
            let answer = if action() { YES } else { YES + 1 };
            Err(std::io::Error::from_raw_os_error(answer))
        });
    }
    let ended = command.spawn().expect_err("the child never execs");
    ended.raw_os_error() == Some(YES)
}
