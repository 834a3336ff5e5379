//! The command that `run` starts: its standard streams, its signals, its end.
//!
//! ```text
//! terminal  ── Ctrl-C, Ctrl-\, hang-up, Ctrl-Z ──▶ the whole process group: the child has it already
//! `kill PID` of run, a supervisor ──▶ run ──▶ the child
//! ```
//! Promises: the child has our standard streams, our process group and, of what was ignored when we started, the same
//! dispositions, so that job control and `nohup` work as without us. A signal that somebody sends to us alone goes on to the
//! child; one that the terminal sent to the group does not, or a second Ctrl-C would seem to follow the first. We
//! outlive the child, whatever it is sent, and never signal a process id that may be somebody else's by then.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::{Origin, WithOrigin};
use signal_hook::low_level::siginfo::Cause;

/// What shells answer for a command that is not there, and for one that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// What shells add to a signal's number.
const SIGNALLED: i32 = 128;

const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// A child that runs, and what passes signals on to it.
pub(super) struct Running {
    child: Child,
    pid: SharedPid,
    told: Told,
}

/// The child's id while it is sure to be the child's.
type SharedPid = Arc<Mutex<Option<Pid>>>;

/// Whether somebody told us to end.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<AtomicBool>);

impl Told {
    /// Whether somebody told us to end since the child has ended.
    pub(super) fn to_end(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: u8,
    pub(super) signal: Option<i32>,
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let code = status
            .code()
            .or_else(|| signal.map(|signal| SIGNALLED.saturating_add(signal)));
        Self {
            code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            signal,
        }
    }

    /// What a shell answers for a command that could not be started.
    pub(super) fn not_started(error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_STARTED,
        };
        Self { code, signal: None }
    }
}

/// Starts a command with these variables beside our own; one without a value is taken away.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start(
    command: &[OsString],
    variables: impl IntoIterator<Item = (&'static str, Option<OsString>)>,
) -> io::Result<Running> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pid = SharedPid::default();
    let told = Told::default();
    // Before the child is there: none that is sent meanwhile is lost. What is ignored stays so, for the child too.
    let ignored = ignored_signals();
    let passed_on = PASSED_ON.iter().filter(|signal| !ignored.contains(signal));
    let signals = SignalsInfo::<WithOrigin>::new(passed_on)?;
    let mut command = Command::new(program);
    command.args(args);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let child = command.spawn()?;
    *lock(&pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (to, is_over) = (Arc::clone(&pid), told.clone());
    std::thread::Builder::new()
        .name("callmeter-signals".to_owned())
        .spawn(move || pass_on(signals, &to, &is_over))?;
    Ok(Running { child, pid, told })
}

impl Running {
    /// Whether somebody tells us to end once the child has.
    pub(super) fn told(&self) -> Told {
        self.told.clone()
    }

    /// Waits for the child's end.
    ///
    /// # Errors
    /// When the system does not say how it ended.
    pub(super) fn wait(mut self) -> io::Result<Ended> {
        let pid = *lock(&self.pid);
        if let Some(pid) = pid {
            // Its id stays its own until it is reaped, below.
            let until_ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(error) = rustix::process::waitid(WaitId::Pid(pid), until_ended) {
                if error != rustix::io::Errno::INTR {
                    break;
                }
            }
        }
        *lock(&self.pid) = None;
        self.child.wait().map(Ended::of)
    }
}

fn lock(pid: &Mutex<Option<Pid>>) -> std::sync::MutexGuard<'_, Option<Pid>> {
    pid.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass_on(mut signals: SignalsInfo<WithOrigin>, to: &SharedPid, told: &Told) {
    for origin in &mut signals {
        let pid = lock(to);
        match *pid {
            None => {
                // The child is gone: what is left is ours to end.
                if matches!(origin.signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM) {
                    told.0.store(true, Ordering::SeqCst);
                }
            }
            Some(child) if !is_of_terminal(&origin) => {
                if let Some(signal) = Signal::from_named_raw(origin.signal) {
                    let _ = rustix::process::kill_process(child, signal);
                }
            }
            Some(_) => {}
        }
    }
}

/// Whether the terminal sent it, to the whole group.
fn is_of_terminal(origin: &Origin) -> bool {
    let is_of_terminal = matches!(origin.signal, SIGHUP | SIGINT | SIGQUIT);
    is_of_terminal && !matches!(origin.cause, Cause::Sent(_))
}

/// Signals that were ignored when we started, as under `nohup`.
fn ignored_signals() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let is_ignored = |signal: &i32| {
        let bit = u32::try_from(*signal)
            .ok()
            .and_then(|signal| signal.checked_sub(1));
        bit.is_some_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
    };
    PASSED_ON.into_iter().filter(is_ignored).collect()
}
