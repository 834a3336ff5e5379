//! Which process of which boot of which machine: the second opinion beside the lease.

use std::path::Path;

/// A process, told apart from another that got its id later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) boot: [u64; 2],
    pub(crate) pid: u32,
    /// In clock ticks since boot; 0 where it is not to be had.
    pub(crate) start: u64,
}

impl Owner {
    /// The process that runs now.
    pub(crate) fn current() -> Self {
        Self {
            boot: boot_id(),
            pid: std::process::id(),
            start: start_of("self").unwrap_or(0),
        }
    }

    /// Whether that process seems to live, as far as this pid namespace shows.
    pub(crate) fn seems_alive(self) -> bool {
        self.boot == boot_id()
            && self.start != 0
            && start_of(&self.pid.to_string()) == Some(self.start)
    }
}

/// The id that Linux gives each boot; zeros elsewhere.
fn boot_id() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(32)
        .collect();
    let half = |range: std::ops::Range<usize>| {
        digits
            .get(range)
            .and_then(|half| u64::from_str_radix(half, 16).ok())
            .unwrap_or(0)
    };
    [half(0..16), half(16..32)]
}

/// Field 22 of `/proc/<pid>/stat`; the name in field 2 may have spaces and parentheses.
fn start_of(process: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process).join("stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_of_another_boot_does_not() {
        let me = Owner::current();
        assert!(me.start > 0 && me.boot != [0, 0] && me.seems_alive());
        assert!(!Owner { boot: [1, 1], ..me }.seems_alive());
        assert!(
            !Owner {
                start: me.start + 1,
                ..me
            }
            .seems_alive()
        );
    }
}
