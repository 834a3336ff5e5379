//! As whom a server's programs run, where they are found, and who ends them.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// As whom the server's programs run: never as root, which they refuse.
#[derive(Clone, Debug)]
pub(crate) enum Runner {
    Same,
    Other(u32, u32),
}

impl Runner {
    pub(crate) fn for_this_user() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self::Same;
        }
        // The package's own user, else nobody.
        let id = |flag: &str| -> Option<u32> {
            let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        match (id("-u"), id("-g")) {
            (Some(user), Some(group)) => Self::Other(user, group),
            _ => Self::Other(65_534, 65_534),
        }
    }

    pub(crate) fn own(&self, directory: &Path) {
        if let Self::Other(user, group) = self {
            std::os::unix::fs::chown(directory, Some(*user), Some(*group))
                .expect("root gives a directory away");
        }
    }

    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir("/");
        if let Self::Other(user, group) = self {
            // The standard library drops root's further groups by itself.
            command.uid(*user).gid(*group);
        }
        command
    }
}

/// A process that stops the server when this one is gone, and deletes what is left of it.
pub(super) fn watch(bin: &Path, runner: &Runner, directory: &Path, is_ours: bool) -> Child {
    let mut script =
        "cat >/dev/null; for p in $(head -1 \"$2/data/postmaster.pid\" 2>/dev/null); do \
         kill -CONT $p; done; \"$1/pg_ctl\" -D \"$2/data\" -m immediate -s stop >/dev/null 2>&1"
            .to_owned();
    if is_ours {
        script.push_str("; rm -rf \"$2\"");
    }
    let directory = directory.display().to_string();
    let bin = bin.display().to_string();
    runner
        .command(
            Path::new("sh"),
            &["-c", &script, "watcher", &bin, &directory],
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: an interrupt at the terminal must not take it away with the tests.
        .process_group(0)
        .spawn()
        .expect("a shell starts")
}

/// Where the programs of the newest server lie.
pub(super) fn find_bin() -> Option<PathBuf> {
    let has_server = |directory: &PathBuf| directory.join("postgres").exists();
    let in_path =
        std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(has_server));
    if let Some(found) = in_path {
        // On some machines these are links, and what belongs to the server lies beside what they lead to.
        let real = std::fs::canonicalize(found.join("postgres")).ok()?;
        return real.parent().map(Path::to_owned);
    }
    let from_config = Command::new("pg_config").arg("--bindir").output().ok();
    let from_config = from_config
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| PathBuf::from(text.trim()))
        .filter(has_server);
    if from_config.is_some() {
        return from_config;
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| has_server(bin))
        .collect();
    versions.sort();
    versions.pop().map(|(_, bin)| bin)
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}
