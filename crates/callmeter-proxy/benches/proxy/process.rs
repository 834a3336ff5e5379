//! Servers in processes of their own: started, asked what they took, ended.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server in a process of its own.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    child: Child,
    /// Where a server with a recorder is asked for it.
    recorder: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Processor time of a process, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Of all threads.
    pub(crate) all: f64,
    /// Of the recorder's two threads (`callmeter-spool`, `callmeter-ship`), which bring rows to spool and store.
    pub(crate) recorder: f64,
}

/// What a recorder did so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) stored: u64,
    pub(crate) lost: u64,
}

impl Server {
    /// This program again, as a server.
    pub(crate) fn start(
        name: &'static str,
        path: &'static str,
        upstream: Option<SocketAddr>,
    ) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--serve", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(upstream) = upstream {
            command.arg(upstream.to_string());
        }
        let mut child = command.spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let ask = child.stdin.take().unwrap();
        Self {
            name,
            address: line.trim().parse().unwrap(),
            path,
            child,
            recorder: (name == "callmeter").then_some((ask, told)),
        }
    }

    pub(crate) const fn of(
        name: &'static str,
        address: SocketAddr,
        path: &'static str,
        child: Child,
    ) -> Self {
        Self {
            name,
            address,
            path,
            child,
            recorder: None,
        }
    }

    /// Waits until every call so far is stored; `None` where none is recorded.
    pub(crate) fn settle(&mut self) -> Option<Recorded> {
        let (ask, told) = self.recorder.as_mut()?;
        ask.write_all(b"flush\n").unwrap();
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let (stored, lost) = line.trim().split_once(' ').unwrap();
        Some(Recorded {
            stored: stored.parse().unwrap(),
            lost: lost.parse().unwrap(),
        })
    }

    /// Processor time so far; in steps of the kernel's tick, 10 ms.
    pub(crate) fn spent(&self) -> Spent {
        let process = format!("/proc/{}", self.child.id());
        let tasks = std::fs::read_dir(format!("{process}/task"));
        let threads = tasks.into_iter().flatten().flatten();
        Spent {
            all: micros(Path::new(&process)).map_or(0.0, |(_, micros)| micros),
            recorder: threads
                .filter_map(|task| micros(&task.path()))
                .filter(|(name, _)| name.starts_with("callmeter-s"))
                .map(|(_, micros)| micros)
                .sum(),
        }
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap_or_default();
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has workers of its own ends them, unless it is killed.
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        if told.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The name of a process or thread and its processor time.
fn micros(place: &Path) -> Option<(String, f64)> {
    let stat = std::fs::read_to_string(place.join("stat")).ok()?;
    let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
    // utime and stime are the 14th and 15th of all fields, the name being the second.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    Some((name.to_owned(), ticks * 10_000.0))
}
