//! A real PostgreSQL for tests: initialised, started and stopped by the test itself, as root too.
//!
//! In short: `PostgresServer::shared().database()` gives a test a database of its own on the one server of its
//! binary; `PostgresServer::start(&Options::durable())` a server that may be killed. `url()`, `psql(sql)`.
//! A server ends with the process that started it, however that ends: a watcher holds the other end of a pipe.

#![allow(clippy::panic)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

mod processes;
mod runner;

use processes::{End, children_of, signal};
pub(crate) use runner::{Runner, free_port};
use runner::{find_bin, watch};

/// The superuser of a test's server.
pub const SUPERUSER: &str = "callmeter";
const INSTALL: &str = "no PostgreSQL server found: install it (`apt-get install -y postgresql`, or what your \
     system calls it), or put its bin directory first in PATH; `cargo xtask test` does so where it may";

/// How a server is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether it survives kill -9 with what it acknowledged: `fsync` on. Off is faster.
    pub is_durable: bool,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
    /// The lines of `pg_hba.conf`; trust for everybody when empty.
    pub hba: Vec<String>,
    /// Files to be put into its data directory, readable by the server alone.
    pub files: Vec<(String, String)>,
    /// A directory for its data in place of one of its own, which must exist.
    pub place: Option<PathBuf>,
}

impl Options {
    /// A server that may be killed.
    pub fn durable() -> Self {
        Self {
            is_durable: true,
            ..Self::default()
        }
    }
}

/// A running PostgreSQL.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    pub(crate) runner: Runner,
    /// Holds data, socket and log; deleted with the server.
    directory: PathBuf,
    port: u16,
    settings: Vec<String>,
    watcher: Child,
    databases: AtomicU32,
}

impl PostgresServer {
    /// The one server of this test binary.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default()))
    }

    /// Initialises and starts a server.
    ///
    /// # Panics
    /// When this machine has no PostgreSQL, with what to install; or when it does not start, with its log.
    pub fn start(options: &Options) -> Self {
        Self::start_with(options, |server| {
            server.must(
                "initdb",
                &[
                    "-D",
                    &server.data(),
                    "-U",
                    SUPERUSER,
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ],
            );
        })
    }

    /// A standby of `primary`, which streams from it.
    ///
    /// # Panics
    /// As [`PostgresServer::start`].
    pub fn standby_of(primary: &Self) -> Self {
        Self::start_with(&Options::default(), |server| {
            let port = primary.port.to_string();
            server.must(
                "pg_basebackup",
                &[
                    "-D",
                    &server.data(),
                    "-R",
                    "-X",
                    "stream",
                    "-c",
                    "fast",
                    "--no-sync",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port,
                    "-U",
                    SUPERUSER,
                ],
            );
        })
    }

    fn start_with(options: &Options, make: impl FnOnce(&Self)) -> Self {
        let bin = find_bin().expect(INSTALL);
        let runner = Runner::for_this_user();
        let directory = match &options.place {
            Some(place) => place.clone(),
            None => tempfile::Builder::new()
                .prefix("callmeter-pg")
                .tempdir()
                .expect("a temporary directory")
                .keep(),
        };
        runner.own(&directory);
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", directory.display()),
            "shared_buffers=32MB".to_owned(),
            "max_connections=60".to_owned(),
            "log_min_messages=warning".to_owned(),
        ];
        if !options.is_durable {
            settings.extend(
                [
                    "fsync=off",
                    "synchronous_commit=off",
                    "full_page_writes=off",
                ]
                .map(str::to_owned),
            );
        }
        settings.extend(options.settings.iter().cloned());
        let watcher = watch(&bin, &runner, &directory, options.place.is_none());
        let mut server = Self {
            bin,
            runner,
            directory,
            port: 0,
            settings,
            watcher,
            databases: AtomicU32::new(0),
        };
        make(&server);
        if !options.hba.is_empty() {
            server.put("pg_hba.conf", &(options.hba.join("\n") + "\n"));
        }
        for (name, text) in &options.files {
            server.put(name, text);
        }
        // Another process may take the port between here and there: then another port.
        for _ in 0..5 {
            server.port = free_port();
            if server.try_run() {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// Starts it again after it was stopped or killed, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run_again(&self) {
        assert!(
            self.try_run(),
            "PostgreSQL does not start again: {}",
            self.log()
        );
    }

    fn put(&self, name: &str, text: &str) {
        let file = self.directory.join("data").join(name);
        std::fs::write(&file, text).expect("a file of the server's is written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("its mode is set");
        self.runner.own(&file);
    }

    fn try_run(&self) -> bool {
        let mut options = format!("-p {}", self.port);
        for setting in &self.settings {
            options.push_str(&format!(" -c {setting}"));
        }
        let log = self.directory.join("log").display().to_string();
        let data = self.data();
        let args = [
            "-D", &data, "-w", "-t", "60", "-s", "-l", &log, "-o", &options, "start",
        ];
        self.command("pg_ctl", &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Stops it in a hurry, as a restart by an administrator does: open transactions are lost.
    pub fn stop(&self) {
        let data = self.data();
        let _ = self
            .command("pg_ctl", &["-D", &data, "-m", "fast", "-w", "-s", "stop"])
            .status();
    }

    /// Kills every process of it at once with SIGKILL, as a power cut does.
    pub fn kill(&self) {
        let pid = self.pid();
        let mut victims = children_of(pid);
        // The parent first, or it would tidy up after its children.
        victims.insert(0, pid);
        let ends: Vec<_> = victims.iter().filter_map(|pid| End::of(*pid)).collect();
        for victim in victims {
            signal(victim, Signal::KILL);
        }
        // Its shared memory is free when the last of them is gone.
        ends.into_iter().for_each(End::wait);
        // Nobody is left to remove these, and a pid that is taken again, or whose parent never asked for it,
        // would keep the next start from happening.
        let lock = format!(".s.PGSQL.{}.lock", self.port);
        for left in ["data/postmaster.pid", &lock] {
            let _ = std::fs::remove_file(self.directory.join(left));
        }
    }

    /// Stops every process of it where it stands (SIGSTOP): connections live, nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, which: Signal) {
        let pid = self.pid();
        for process in std::iter::once(pid).chain(children_of(pid)) {
            signal(process, which);
        }
    }

    fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let text = text.expect("a running server has a pid file");
        let first = text.lines().next().unwrap_or_default();
        first.parse().expect("a pid file begins with the pid")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The address of a database of it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new, empty database.
    pub fn database(&self) -> Database<'_> {
        self.database_with("")
    }

    /// A new, empty database, made with more words behind `CREATE DATABASE name`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn database_with(&self, words: &str) -> Database<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        self.psql("postgres", &format!("CREATE DATABASE {name} {words}"));
        Database { server: self, name }
    }

    /// Runs SQL by psql as the superuser; what it prints, a line a row, columns by `|`.
    ///
    /// # Panics
    /// When it fails, with psql's words.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let mut child = Command::new(self.bin.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
            ])
            .args(["-U", SUPERUSER, "-d", database, "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        if let Some(mut input) = child.stdin.take() {
            input.write_all(sql.as_bytes()).expect("psql reads");
        }
        let output = child.wait_with_output().expect("psql ends");
        assert!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// A program of PostgreSQL, as the user that the server runs as.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        self.runner.command(&self.bin.join(program), args)
    }

    fn must(&self, program: &str, args: &[&str]) {
        let output = self.command(program, args).output().expect(INSTALL);
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The end of what the server logged.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let end = log.len().saturating_sub(4_000);
        String::from_utf8_lossy(log.get(end..).unwrap_or_default()).into_owned()
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The watcher sees the end of its input and does the rest.
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// A database of a test's own.
#[derive(Debug)]
pub struct Database<'s> {
    server: &'s PostgresServer,
    name: String,
}

impl Database<'_> {
    /// Its address.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its address by way of another port of this machine, such as a proxy's.
    pub fn url_by(&self, address: SocketAddr) -> String {
        format!("postgres://{SUPERUSER}@{address}/{}", self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &PostgresServer {
        self.server
    }

    /// Runs SQL in it: [`PostgresServer::psql`].
    pub fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_is_killed_and_starts_again_with_what_it_acknowledged() {
        let server = PostgresServer::start(&Options::durable());
        let database = server.database();
        database.psql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
        server.kill();
        server.run_again();
        assert_eq!(database.psql("SELECT n FROM t"), "7");
        let directory = server.directory.clone();
        drop(server);
        assert!(!directory.exists());
    }
}
