//! Runs the command in a place of its own, with nothing of the user's environment.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use callmeter_core::{CallId, CallRecord, ErrorKind, Layer, Sink, Status, Timestamp};
use callmeter_store::{SqliteOptions, SqliteStore};

/// What `doctor` says without what it says of the machine: where a flight buffer lies there, and which other
/// homes it has.
fn steady(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        match line {
            _ if line.starts_with("homes ") || line.trim_start().starts_with("passed over: ") => {}
            _ if line.starts_with("flight ") => lines.push("flight    [where it lies]\n"),
            _ => lines.push(line),
        }
    }
    lines.concat()
}

/// A directory to run in, with a home beside it.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(place.work()).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The working directory.
    pub(crate) fn work(&self) -> std::path::PathBuf {
        self.path().join("work")
    }

    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.path().join("home")
    }

    pub(crate) fn store(&self) -> std::path::PathBuf {
        self.home().join("store.sqlite")
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.work().join(name), text).unwrap();
    }

    /// Writes the user's own configuration, which may name any store.
    pub(crate) fn configure(&self, text: &str) {
        let directory = self.path().join(".config/callmeter");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("callmeter.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callmeter"));
        command
            .args(args)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.path())
            .env("CALLMETER_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that reads `input` from its standard input, whatever the size.
    pub(crate) fn fed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).unwrap());
            child.wait_with_output().unwrap()
        })
    }

    /// What the command prints, with what differs from run to run replaced.
    pub(crate) fn seen(&self, args: &[&str]) -> String {
        self.shown(&self.run(args))
    }

    pub(crate) fn shown(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            steady(&text.replace(&self.path().display().to_string(), "[place]"))
        };
        format!(
            "exit {}\n--- out\n{}--- err\n{}",
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr)
        )
    }

    /// Three calls in the home's store, on 1 November 2026.
    pub(crate) fn with_calls(self) -> Self {
        std::fs::create_dir(self.home()).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(
            self.home(),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        let start: Timestamp = "2026-11-01T08:00:00Z".parse().unwrap();
        let clock = callmeter_testkit::clock::ManualClock::at(start);
        let mut store =
            SqliteStore::open(&self.store(), SqliteOptions::default(), Arc::new(clock)).unwrap();
        let call = |n: i64, caller: &str, provider: &str, model: &str| {
            let id = CallId::new(
                start.saturating_add_micros(n * 1_000_000),
                n.cast_unsigned(),
            );
            let mut record = CallRecord::new(id, Layer::Guard, 0);
            record.caller = Some(caller.to_owned());
            record.provider = Some(provider.to_owned());
            record.model = Some(model.to_owned());
            record.model_requested = Some(model.to_owned());
            record.request_id = Some(format!("req-{n}"));
            record.duration_us = Some(1_200_000 * n.cast_unsigned());
            record.usage.input_tokens = Some(1_000_000);
            record.usage.output_tokens = Some(100_000);
            record
        };
        let mut failed = call(3, "=cmd()", "acme", "acme-preview-1");
        failed.status = Some(Status::Error);
        failed.error_kind = Some(ErrorKind::RateLimit);
        failed.http_status = Some(429);
        let calls = [
            call(1, "sales_copy", "openai", "gpt-4o"),
            call(2, "sales_copy", "ollama", "llama3.1:8b"),
            failed,
        ];
        store.write(&calls).unwrap();
        self
    }
}
