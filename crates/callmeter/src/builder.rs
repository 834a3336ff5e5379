//! How a recorder is set up in code.
//!
//! Owns the way from settings to a running pipeline: what the builder says wins over the environment,
//! that over the file, that over the defaults.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use callmeter_core::{Clock, EnvVar, Sink, SinkError, SystemClock, is_off_word};
use callmeter_flight::{MonotonicClock, Options};

use crate::budget::Budgets;
use crate::global;
use crate::logging::log_line;
use crate::pipeline::{Callmeter, Plan, SinkSource};
use crate::recorder::{Privacy, Recorder, Scope};
use crate::settings::{Settings, SettingsErrors, Sources};
use crate::shipper::{BatchLimits, MakeSink};
use crate::spool::Disk;
use crate::time::Time;
use crate::under_run::UnderRun;

/// Sets a recorder up; made by [`builder`](crate::builder).
#[must_use = "a builder does nothing until init() or open()"]
#[derive(Default)]
pub struct Builder {
    home: Option<PathBuf>,
    settings: Option<Settings>,
    sources: Option<Sources>,
    clock: Option<Arc<dyn Clock>>,
    is_without_tsc: bool,
    sink: Option<(String, MakeSink)>,
    disk: Option<Arc<dyn Disk>>,
    flight: Option<Options>,
    sdk: Option<&'static str>,
    is_impatient: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// Recording could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// This process records already.
    #[error("callmeter is running in this process already; keep one handle and share it")]
    AlreadyRunning,
    /// The system gave no thread.
    #[error("cannot start callmeter's threads: {0}")]
    Threads(#[source] std::io::Error),
}

impl Builder {
    /// The home directory, instead of `CALLMETER_HOME` or the platform's data directory.
    pub fn home(mut self, path: impl AsRef<Path>) -> Self {
        self.home = Some(path.as_ref().to_owned());
        self
    }

    /// Settings that were resolved before, instead of those of environment and file.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Where settings are read from, instead of this process's own environment, directory and file.
    pub fn sources(mut self, sources: Sources) -> Self {
        self.sources = Some(sources);
        self
    }

    /// The configuration file, as `CALLMETER_CONFIG` names it. Of a `callmeter.toml` that nobody named not every
    /// setting counts: a store on a server is only spoken to where somebody meant it.
    pub fn config(mut self, path: impl AsRef<Path>) -> Self {
        let sources = self.sources.get_or_insert_with(Sources::of_process);
        sources.config = Some(path.as_ref().to_owned());
        self
    }

    /// Another clock than the system's, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Whether calls are timed by the processor's time stamp counter (TSC) where the kernel tells its own time by it,
    /// instead of by asking the system: `true` unless told otherwise. Durations are the same to a
    /// microsecond, and a call costs its caller half. Elsewhere this changes nothing.
    ///
    /// ```
    /// # let home = tempfile::tempdir()?;
    /// let callmeter = callmeter::builder().home(home.path()).tsc(false).open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tsc(mut self, may_be_read: bool) -> Self {
        self.is_without_tsc = !may_be_read;
        self
    }

    /// Another sink than the store of the settings. `name` tells spools for it from others, and
    /// `make` opens it, again after each failure.
    pub fn sink<F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        F: FnMut() -> Result<Box<dyn Sink>, SinkError> + Send + 'static,
    {
        self.sink = Some((name.into(), Box::new(make)));
        self
    }

    /// Another disk than the home's, for a simulation.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// A flight buffer of another size, for a simulation.
    #[doc(hidden)]
    pub fn flight(mut self, options: Options) -> Self {
        self.flight = Some(options);
        self
    }

    /// What records, as a binding for another language names itself on rows.
    #[doc(hidden)]
    pub fn sdk(mut self, name: &'static str) -> Self {
        self.sdk = Some(name);
        self
    }

    /// A store that fails is tried again at once, for tests of what comes after many failures.
    #[doc(hidden)]
    pub fn impatient(mut self) -> Self {
        self.is_impatient = true;
        self
    }

    /// Starts recording and makes this the process's recorder, that of [`callmeter::call`](crate::call).
    ///
    /// # Errors
    /// When the process has one already, or the system gives no threads.
    pub fn init(self) -> Result<Callmeter, InitError> {
        if global::recorder().is_some() {
            return Err(InitError::AlreadyRunning);
        }
        let callmeter = self.open()?;
        if global::install(&callmeter.recorder) {
            Ok(callmeter)
        } else {
            Err(InitError::AlreadyRunning)
        }
    }

    /// Starts a recorder of its own, beside that of the process: calls are opened with
    /// [`Callmeter::call`].
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn open(self) -> Result<Callmeter, InitError> {
        let (recorder, enabled) = self.configure();
        Callmeter::start(recorder, enabled).map_err(InitError::Threads)
    }

    pub(crate) fn configure(self) -> (Recorder, bool) {
        let (mut settings, is_readable) = match self.settings {
            Some(settings) => (settings, true),
            None => {
                let sources = self.sources.unwrap_or_else(Sources::of_process);
                let (resolved, errors) = Settings::resolve_what_can_be(&sources);
                let mut is_readable = true;
                let errors = errors.iter().flat_map(SettingsErrors::iter);
                for error in errors.filter(|error| error.concerns_recording()) {
                    is_readable = false;
                    log_line!(error: "{error}; calls wait in the spool; see `callmeter doctor`"
                    );
                }
                (resolved.settings, is_readable)
            }
        };
        if let Some(home) = self.home {
            settings.home = Some(home);
        }
        crate::logging::set_style(settings.log.style);
        let home = settings.home().settled();
        let (time, clock): (_, Arc<dyn Clock>) = match self.clock {
            Some(clock) => (Time::Given(Arc::clone(&clock)), clock),
            None if self.is_without_tsc => {
                let time = Time::system(MonotonicClock::of_system());
                (time, Arc::new(SystemClock))
            }
            None => (Time::system(MonotonicClock::new()), Arc::new(SystemClock)),
        };
        let (store, sink) = match self.sink {
            Some((name, make)) => (name, SinkSource::Given(Arc::new(Mutex::new(make)))),
            None if is_readable => (
                settings.store_url(&home).to_string(),
                SinkSource::Settings(Box::new(settings.clone())),
            ),
            None => (String::new(), SinkSource::None),
        };
        let key = settings
            .privacy
            .hash_key
            .clone()
            .unwrap_or_else(|| home.hash_key_or_random());
        let plan = Plan {
            home,
            store,
            sink,
            limits: BatchLimits {
                rows: settings.shipper.batch_rows,
                age: settings.shipper.batch_age,
                replay_rows_per_second: settings.shipper.replay_rows_per_second,
            },
            spool: settings.spool.clone(),
            budgets: Budgets::new(settings.budgets.clone(), Arc::clone(&clock)),
            disk: self.disk,
            flight: self.flight,
            exit_flush: settings.exit_flush,
            log: settings.log.style,
            is_impatient: self.is_impatient,
        };
        let privacy = Privacy {
            prompt_hash: settings.privacy.prompt_hash,
            errors: settings.privacy.errors,
            key,
            meta: settings.privacy.meta.clone(),
        };
        let scope = scope_of(&settings, self.sdk);
        let under_run = UnderRun::of_env(&settings.providers);
        let mut recorder = Recorder::new(time, clock, scope, privacy, settings.registry, plan);
        recorder.under_run = under_run;
        (recorder, settings.enabled)
    }
}

fn scope_of(settings: &Settings, sdk: Option<&'static str>) -> Scope {
    let scope = settings.scope.clone();
    Scope {
        project: scope.project,
        team: scope.team,
        cost_center: scope.cost_center,
        service: scope.service,
        environment: scope.environment,
        billing: scope.billing,
        host_name: host_name(),
        sdk,
    }
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// Whether the environment lets calls be recorded: neither switch is off.
pub(crate) fn enabled_by_env(read: impl Fn(&str) -> Option<String>) -> bool {
    [EnvVar::LegacyEnabled, EnvVar::Enabled]
        .iter()
        .all(|variable| !read(variable.name()).is_some_and(|value| is_off_word(&value)))
}
