//! The one door in: what every call of a process shares.
//!
//! Owns the scope that is stamped on each row, the privacy rules, the caller registry, and the
//! hand-off. Recording through it cannot fail: a swallowed failure is counted, and logged once an
//! episode.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use callmeter_core::{
    Billing, CallRecord, CallerRegistry, Clock, HashKey, MetaPolicy, MetaRefusal, clean_text,
};

use crate::handoff::Handoff;
use crate::settings::PromptHash;

/// How many names a once-a-name warning remembers; beyond it, it stays silent.
const MAX_REMEMBERED: usize = 1_000;

/// What every call of a process shares.
pub(crate) struct Recorder {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) scope: Scope,
    pub(crate) privacy: Privacy,
    pub(crate) registry: CallerRegistry,
    pub(crate) handoff: Handoff,
    /// Whether calls are recorded: what the environment and what the host want, together.
    on: AtomicBool,
    env_wants: AtomicBool,
    host_wants: AtomicBool,
    warned_callers: Warned,
    warned_meta: Warned,
    pub(crate) unknown_callers: AtomicU64,
    pub(crate) meta_refused: AtomicU64,
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
}

impl Scope {
    pub(crate) fn stamp(&self, record: &mut CallRecord) {
        record.project.clone_from(&self.project);
        record.team.clone_from(&self.team);
        record.cost_center.clone_from(&self.cost_center);
        record.service.clone_from(&self.service);
        record.environment.clone_from(&self.environment);
        record.billing = self.billing;
        record.host_name.clone_from(&self.host_name);
        record.sdk = Some(concat!("callmeter-rust/", env!("CARGO_PKG_VERSION")).to_owned());
    }
}

/// What a row may keep of what passes by.
#[derive(Clone, Debug)]
pub(crate) struct Privacy {
    pub(crate) prompt_hash: PromptHash,
    pub(crate) key: HashKey,
    pub(crate) meta: MetaPolicy,
}

impl Recorder {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        scope: Scope,
        privacy: Privacy,
        registry: CallerRegistry,
    ) -> Self {
        Self {
            clock,
            scope,
            privacy,
            registry,
            handoff: Handoff::default(),
            on: AtomicBool::new(true),
            env_wants: AtomicBool::new(true),
            host_wants: AtomicBool::new(true),
            warned_callers: Warned::default(),
            warned_meta: Warned::default(),
            unknown_callers: AtomicU64::new(0),
            meta_refused: AtomicU64::new(0),
        }
    }

    /// Whether calls are recorded: one relaxed load (promise CM-9).
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// What the host wants; the environment may still say no.
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.host_wants.store(wanted, Ordering::SeqCst);
        self.decide();
    }

    /// What the environment wants; the host may still say no.
    pub(crate) fn set_env_wanted(&self, wanted: bool) {
        self.env_wants.store(wanted, Ordering::SeqCst);
        self.decide();
    }

    fn decide(&self) {
        let on = self.env_wants.load(Ordering::SeqCst) && self.host_wants.load(Ordering::SeqCst);
        self.on.store(on, Ordering::SeqCst);
    }

    /// Gives a row the team and cost centre of its caller; warns once of a caller that nobody listed.
    pub(crate) fn meet_caller(&self, record: &mut CallRecord) {
        if self.registry.is_empty() {
            return;
        }
        let caller = record.caller_or_unknown();
        match self.registry.get(caller) {
            Some(entry) => {
                if entry.team.is_some() {
                    record.team.clone_from(&entry.team);
                }
                if entry.cost_center.is_some() {
                    record.cost_center.clone_from(&entry.cost_center);
                }
            }
            None => {
                self.unknown_callers.fetch_add(1, Ordering::Relaxed);
                let (name, _) = clean_text(caller, 64);
                if self.warned_callers.is_new(&name) {
                    tracing::warn!(
                        target: "callmeter",
                        caller = %name,
                        "caller is not in the registry; its calls are recorded; add it to callers.toml"
                    );
                }
            }
        }
    }

    pub(crate) fn meta_refused(&self, refusal: &MetaRefusal) {
        self.meta_refused.fetch_add(1, Ordering::Relaxed);
        if self.warned_meta.is_new(refusal.key()) {
            tracing::warn!(target: "callmeter", "{refusal}");
        }
    }

    /// Takes a finished call.
    pub(crate) fn hand_over(&self, record: CallRecord) {
        self.handoff.push(record);
    }
}

/// Names that were warned of; bounded.
#[derive(Debug, Default)]
struct Warned(Mutex<BTreeSet<Box<str>>>);

impl Warned {
    fn is_new(&self, name: &str) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.len() < MAX_REMEMBERED && !names.contains(name) && names.insert(name.into())
    }
}
