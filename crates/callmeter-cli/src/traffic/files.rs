//! The limit of open files: a connection that passes takes two, the client's and the upstream's.
//!
//! A shell's usual soft limit of 1,024 is that of old programs that cannot count further; the hard limit is what a
//! process may have. Promises: the soft limit is raised to the hard one, never the other way; what is still too little for
//! `proxy.max_connections` lets fewer clients in at a time, and the further ones wait, so that no request fails for want of
//! a file. What another process is started with is left to whoever starts it: a child that shall keep the limits of old is
//! started before.

use callmeter_proxy::ProxyConfig;

/// Open files beside connections: store, spools, flight buffers, listeners, what resolves names.
const OTHERS: u64 = 96;
/// Open files for each client that is let in.
const EACH: u64 = 2;
/// Less makes no sense to run with, whatever the limit.
const LEAST_CONNECTIONS: u64 = 8;

/// How many connections the limit lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Files that may be open at once.
    pub(crate) files: u64,
    /// Clients that find room.
    pub(crate) connections: u64,
    /// Clients that the settings would let in.
    pub(crate) wanted: u64,
}

impl Room {
    /// What there is room for once the limit is raised.
    pub(crate) fn for_connections(wanted: u64) -> Self {
        Self::within(most_files(), wanted)
    }

    fn within(files: u64, wanted: u64) -> Self {
        let connections = (files.saturating_sub(OTHERS) / EACH).max(LEAST_CONNECTIONS);
        Self {
            files,
            connections: connections.min(wanted),
            wanted,
        }
    }

    /// Whether fewer are let in than the settings say.
    pub(crate) fn is_short(&self) -> bool {
        self.connections < self.wanted
    }

    /// Lets no more in than there is room for.
    pub(crate) fn hold(&self, config: &mut ProxyConfig) {
        let connections = usize::try_from(self.connections).unwrap_or(usize::MAX);
        config.limits.connections = config.limits.connections.min(connections);
    }

    /// In words, where it is short.
    pub(crate) fn in_words(&self) -> String {
        use crate::print::count;
        format!(
            "{} may be open at once: {} connections find room, not {}; further ones wait",
            count(self.files),
            count(self.connections),
            count(self.wanted)
        )
    }
}

/// What to do about too low a limit.
pub(crate) const HINT: &str = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of \
     docker), or set proxy.max_connections";

/// Raises the soft limit of open files to the hard one, for this process and what it starts from now on. Where the system does
/// not let it, the limit stays, which is told.
pub(crate) fn raise() {
    if let Err(error) = set_soft_limit() {
        tracing::warn!(target: "callmeter", %error, "the limit of open files stays as it is");
    }
}

#[cfg(unix)]
fn set_soft_limit() -> std::io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let most = most_files();
    // `None` is no limit.
    if limit.current.is_none_or(|current| current >= most) {
        return Ok(());
    }
    limit.current = Some(most);
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(not(unix))]
fn set_soft_limit() -> std::io::Result<()> {
    Ok(())
}

/// Files that may be open once the soft limit is raised.
#[cfg(unix)]
fn most_files() -> u64 {
    // macOS takes no soft limit beyond its OPEN_MAX, whatever the hard one says.
    const OPEN_MAX: u64 = 10_240;
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let hard = hard.unwrap_or(u64::MAX);
    if cfg!(target_os = "macos") {
        hard.min(OPEN_MAX)
    } else {
        hard
    }
}

#[cfg(not(unix))]
fn most_files() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_two_files_and_what_is_left_lets_fewer_in() {
        let room = Room::within(1_024, 4_096);
        assert_eq!((room.connections, room.is_short()), (464, true));
        assert_eq!(
            room.in_words(),
            "1,024 may be open at once: 464 connections find room, not 4,096; further ones wait"
        );
        let room = Room::within(1_048_576, 4_096);
        assert_eq!((room.connections, room.is_short()), (4_096, false));
        assert_eq!(Room::within(0, 4_096).connections, LEAST_CONNECTIONS);
        assert_eq!(Room::within(0, 2).connections, 2);
    }

    #[test]
    fn a_setting_below_the_room_stays() {
        let mut config = ProxyConfig::default();
        config.limits.connections = 10;
        Room::within(1_024, 10).hold(&mut config);
        assert_eq!(config.limits.connections, 10);
        config.limits.connections = 4_096;
        Room::within(1_024, 4_096).hold(&mut config);
        assert_eq!(config.limits.connections, 464);
    }
}
