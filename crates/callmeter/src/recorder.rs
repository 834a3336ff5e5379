//! The one door in: what every call of a process shares.
//!
//! Owns the scope that is stamped on each row, the privacy rules, the caller registry, the switch, and
//! which flight buffer is in use. Recording through it cannot fail: a swallowed failure is counted, and
//! logged once an episode.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use callmeter_core::{
    Billing, CallerRegistry, Clock, ErrorPolicy, HashKey, MetaPolicy, MetaRefusal, clean_text,
    legacy_prompt_hash,
};

use crate::budget::{BudgetExceeded, BudgetScope};
use crate::global;
use crate::logging::log_line;
use crate::pipeline::{Plan, Running};
use crate::settings::PromptHash;
use crate::station::lock_unless_stuck;
use crate::time::Time;
use crate::under_run::UnderRun;
use crate::warned::Warned;

/// What every call of a process shares.
pub(crate) struct Recorder {
    pub(crate) time: Time,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) scope: Scope,
    pub(crate) privacy: Privacy,
    pub(crate) registry: CallerRegistry,
    /// What `callmeter run` tells of its proxy, in a process that it started.
    pub(crate) under_run: Option<UnderRun>,
    /// How its threads are started, here and in a forked child.
    pub(crate) plan: Plan,
    /// The threads of the process that started them last.
    pub(crate) running: Mutex<Option<Running>>,
    /// The id of the flight buffer that calls are opened in; 0 while nothing is recorded.
    current: AtomicU64,
    switch: Mutex<Wanted>,
    is_process_wide: AtomicBool,
    warned_callers: Warned,
    warned_meta: Warned,
    pub(crate) unknown_callers: AtomicU64,
    pub(crate) meta_refused: AtomicU64,
}

/// Who wants calls recorded; all must.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    by_env: bool,
    by_host: bool,
    by_home: bool,
    /// The buffer in use, recorded in or not; 0 before the first.
    buffer: u64,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What a row says of where it was recorded, unless its guard says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) project: Option<String>,
    pub(crate) team: Option<String>,
    pub(crate) cost_center: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) billing: Option<Billing>,
    pub(crate) host_name: Option<String>,
    /// What records, where it is not the SDK for Rust.
    pub(crate) sdk: Option<&'static str>,
}

/// What a row may keep of what passes by.
#[derive(Clone, Debug)]
pub(crate) struct Privacy {
    pub(crate) prompt_hash: PromptHash,
    pub(crate) errors: ErrorPolicy,
    pub(crate) key: HashKey,
    pub(crate) meta: MetaPolicy,
}

impl Privacy {
    /// What is kept of a prompt.
    pub(crate) fn hash_of_prompt(&self, prompt: &str) -> Option<String> {
        match self.prompt_hash {
            PromptHash::None => None,
            PromptHash::Keyed => self.key.hash(prompt),
            PromptHash::Sha256_12 => legacy_prompt_hash(prompt),
        }
    }
}

impl Recorder {
    pub(crate) fn new(
        time: Time,
        clock: Arc<dyn Clock>,
        scope: Scope,
        privacy: Privacy,
        registry: CallerRegistry,
        plan: Plan,
    ) -> Self {
        Self {
            time,
            clock,
            scope,
            privacy,
            registry,
            under_run: None,
            plan,
            running: Mutex::new(None),
            current: AtomicU64::new(0),
            switch: Mutex::new(Wanted {
                by_env: true,
                by_host: true,
                by_home: true,
                buffer: 0,
            }),
            is_process_wide: AtomicBool::new(false),
            warned_callers: Warned::default(),
            warned_meta: Warned::default(),
            unknown_callers: AtomicU64::new(0),
            meta_refused: AtomicU64::new(0),
        }
    }

    /// Whether the budgets that cover a call have something left; team and project are those of the registry and the
    /// settings where the call names none.
    pub(crate) fn check_budget(&self, call: &BudgetScope<'_>) -> Result<(), BudgetExceeded> {
        let entry = self.registry.get(call.caller);
        let team = entry.and_then(|entry| entry.team.as_deref());
        self.plan.budgets.check(&BudgetScope {
            team: call.team.or(team).or(self.scope.team.as_deref()),
            project: call.project.or(self.scope.project.as_deref()),
            ..*call
        })
    }

    /// The id of the buffer that calls are opened in; 0 is off. One relaxed load says whether there is
    /// anything to do (promise CM-9).
    #[inline]
    pub(crate) fn current(&self) -> &AtomicU64 {
        &self.current
    }

    /// Whether calls are recorded.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.current.load(Ordering::Relaxed) != 0
    }

    /// What the host wants; others may still say no.
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.decide(|switch| switch.by_host = wanted);
    }

    /// What the environment wants; others may still say no.
    pub(crate) fn set_env_wanted(&self, wanted: bool) {
        self.decide(|switch| switch.by_env = wanted);
    }

    /// What the switch of the home says; others may still say no.
    pub(crate) fn set_home_wanted(&self, wanted: bool) {
        self.decide(|switch| switch.by_home = wanted);
    }

    /// Calls are opened in another buffer from now on.
    pub(crate) fn set_buffer(&self, id: u64) {
        self.decide(|switch| switch.buffer = id);
    }

    /// Makes this the recorder of [`callmeter::call`](crate::call), or no more.
    pub(crate) fn set_process_wide(&self, is_process_wide: bool) {
        self.decide(|_| {
            self.is_process_wide
                .store(is_process_wide, Ordering::Relaxed);
            if !is_process_wide {
                global::set_current(0);
            }
        });
    }

    /// Changes the switch and lets calls see it.
    fn decide(&self, change: impl FnOnce(&mut Wanted)) {
        let Some(mut switch) = lock_unless_stuck(&self.switch) else {
            return;
        };
        change(&mut switch);
        let on = switch.by_env && switch.by_host && switch.by_home;
        let current = if on { switch.buffer } else { 0 };
        self.current.store(current, Ordering::SeqCst);
        if self.is_process_wide.load(Ordering::Relaxed) {
            global::set_current(current);
        }
    }

    /// The scope of a caller's rows.
    pub(crate) fn scope_fields_of(&self, caller: &str) -> Scope {
        let mut scope = self.scope.clone();
        if let Some(entry) = self.registry.get(caller) {
            scope.team = entry.team.clone().or(scope.team);
            scope.cost_center = entry.cost_center.clone().or(scope.cost_center);
        }
        scope
    }

    /// Counts a caller that nobody listed, and warns of it once.
    pub(crate) fn meet_unknown(&self, caller: &str) {
        let caller = if caller.is_empty() { "unknown" } else { caller };
        self.unknown_callers.fetch_add(1, Ordering::Relaxed);
        if self.warned_callers.is_new(caller) {
            let (name, _) = clean_text(caller, 64);
            log_line!(warn: caller = %name,
                "caller is not in the registry; its calls are recorded; add it to callers.toml"
            );
        }
    }

    pub(crate) fn meta_refused(&self, refusal: &MetaRefusal) {
        self.meta_refused.fetch_add(1, Ordering::Relaxed);
        if self.warned_meta.is_new(refusal.key()) {
            log_line!(warn: "{refusal}");
        }
    }
}
