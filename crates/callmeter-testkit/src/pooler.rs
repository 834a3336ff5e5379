//! A real PgBouncer before a test's PostgreSQL.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::postgres::{PostgresServer, SUPERUSER, free_port};

/// A PgBouncer before a server. It ends when dropped, or with the process.
#[derive(Debug)]
pub struct PgBouncer {
    address: SocketAddr,
    watcher: Child,
    _place: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts a pooler for every database of `server`; `settings` are lines of its section `[pgbouncer]`.
    ///
    /// # Panics
    /// When this machine has no PgBouncer, with what to install; or when it does not start.
    pub fn before(server: &PostgresServer, settings: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        server.runner.own(place.path());
        let port = free_port();
        let file = place.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={SUPERUSER}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             max_client_conn = 100\n{}\n",
            server.address().port(),
            settings.join("\n")
        );
        std::fs::write(&file, text).expect("the pooler's settings are written");
        server.runner.own(&file);
        let program = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"]
            .into_iter()
            .find(|program| Path::new(program).exists())
            .unwrap_or("pgbouncer");
        let script = "\"$1\" -q \"$2\" & p=$!; cat >/dev/null; kill $p";
        let file = file.display().to_string();
        let mut watcher = server
            .runner
            .command(Path::new("sh"), &["-c", script, "watcher", program, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        while std::net::TcpStream::connect(address).is_err() {
            let ended = watcher.try_wait().expect("a child can be asked").is_some();
            assert!(
                !ended && has_program(program),
                "PgBouncer does not start: `apt-get install -y pgbouncer`"
            );
            std::thread::yield_now();
        }
        Self {
            address,
            watcher,
            _place: place,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn has_program(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}
