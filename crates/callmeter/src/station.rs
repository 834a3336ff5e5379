//! A flight buffer at work for a recorder, and how a call finds it again.
//!
//! A guard carries no reference, only the id of its buffer. Each thread keeps the station that it used
//! last; another is looked up in the list of the process. A station stays on the list as long as any of
//! its slots is in use, so a guard always finds the buffer that it was opened in, on any thread. A
//! recorder's station changes when its file was unlinked, and in a forked child, which has one of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use callmeter_core::{CallId, Field, Layer, Timestamp};
use callmeter_flight::{
    Drainer, Fields, FlightBuffer, FlightError, FlightSlot, NameRef, Opening, Refused, Value,
};

use crate::late::bounded;
use crate::recorder::{Recorder, Scope};
use crate::site::{self, Place};

static STATIONS: Mutex<Vec<Arc<Station>>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: RefCell<Option<Arc<Station>>> = const { RefCell::new(None) };
}

/// A flight buffer and the recorder that it works for.
pub(crate) struct Station {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) buffer: Arc<FlightBuffer>,
    /// What rows of callers that nobody listed have in common.
    common: Option<NameRef>,
    /// The same for the listed ones, with their teams.
    of_callers: BTreeMap<Box<str>, Option<NameRef>>,
}

impl Station {
    /// Makes a buffer in the best place there is for the recorder's home, and puts the station on the
    /// list. Beside it stands why better places were passed over.
    pub(crate) fn make(
        recorder: &Arc<Recorder>,
    ) -> Result<(Arc<Self>, Drainer, Vec<FlightError>), FlightError> {
        let home = recorder.plan.home.path();
        let mut options = recorder.plan.flight.clone().unwrap_or_default();
        options.service = recorder.scope.service.clone().unwrap_or_default();
        options.home = home.to_string_lossy().into_owned();
        options.store.clone_from(&recorder.plan.store);
        options.group_access = recorder.plan.spool.group_access;
        let (buffer, passed_over) = FlightBuffer::for_home(home, &options)?;
        let buffer = Arc::new(buffer);
        let moment = recorder.time.now();
        buffer.beat(moment.at, moment.ns);
        let of_callers = recorder.registry.entries().map(|entry| {
            let scope = recorder.scope_fields_of(&entry.name);
            (entry.name.as_str().into(), buffer.scope(&scope))
        });
        let station = Arc::new(Self {
            common: buffer.scope(&recorder.scope),
            of_callers: of_callers.collect(),
            recorder: Arc::clone(recorder),
            buffer: Arc::clone(&buffer),
        });
        let Some(drainer) = buffer.drainer() else {
            return Err(FlightError::Unsupported);
        };
        if let Some(mut stations) = lock_unless_stuck(&STATIONS) {
            // Those of a parent are nothing to its forked child.
            stations.retain(|station| station.buffer.is_ours());
            stations.push(Arc::clone(&station));
        }
        Ok((station, drainer, passed_over))
    }

    /// Takes the station off the list: no slot of it is in use, and none can be taken.
    pub(crate) fn forget(id: u64) {
        if let Some(mut stations) = lock_unless_stuck(&STATIONS) {
            stations.retain(|station| station.buffer.id() != id);
        }
    }

    /// The buffers of a recorder that are on the list.
    pub(crate) fn buffers_of(recorder: &Arc<Recorder>) -> Vec<Arc<FlightBuffer>> {
        let stations = lock_unless_stuck(&STATIONS);
        let stations = stations.iter().flat_map(|stations| stations.iter());
        stations
            .filter(|station| Arc::ptr_eq(&station.recorder, recorder))
            .map(|station| Arc::clone(&station.buffer))
            .collect()
    }

    /// Takes it off the list, and out of this thread's memory: in a simulation the process is dead.
    pub(crate) fn bury(id: u64) {
        Self::forget(id);
        let last = LAST.try_with(|last| {
            let mut last = last.try_borrow_mut().ok()?;
            last.take_if(|last| last.buffer.id() == id)
        });
        // Outside of the borrow: with it goes the buffer.
        drop(last);
    }

    /// Opens a call.
    #[inline]
    pub(crate) fn open(
        &self,
        (caller, provider, model): (&str, &str, &str),
        place: Place,
        ago_us: u64,
    ) -> Result<(FlightSlot, CallId, u64), Refused> {
        let moment = self.recorder.time.now().earlier(ago_us);
        // A clock before 1970 cannot be an id's time; the row then starts at the epoch.
        let call_id = crate::identity::new_call_id(moment.at.max(Timestamp::EPOCH));
        let scope = if self.recorder.registry.is_empty() {
            self.common
        } else {
            self.scope_of(caller)
        };
        let slot = site::with_name(&self.buffer, place, |call_site| {
            let opening = Opening {
                caller: bounded(caller, Field::Caller.limit()).into(),
                provider: bounded(provider, Field::Provider.limit()).into(),
                model_requested: bounded(model, Field::ModelRequested.limit()).into(),
                call_site,
                scope,
                ..Opening::new(call_id, Layer::Guard, moment.ns)
            };
            if scope.is_some() {
                self.buffer.open(&opening)
            } else {
                // The table of names is full: what the scope says travels with each call.
                self.buffer
                    .open(&opening.with(self.recorder.scope_fields_of(caller)))
            }
        })?;
        Ok((slot, call_id, moment.ns))
    }

    /// Opens a call that passes by.
    #[cfg(feature = "wire")]
    pub(crate) fn open_passing(
        &self,
        call: &crate::passing::PassingCall<'_>,
    ) -> Result<(FlightSlot, CallId, u64), Refused> {
        let moment = self.recorder.time.now();
        let before = u64::try_from(call.open_for.as_nanos()).unwrap_or(0);
        let opened_ns = moment.ns.saturating_sub(before);
        let call_id = call.completes.unwrap_or_else(|| {
            let micros = i64::try_from(before / 1_000).unwrap_or(0);
            let at = moment.at.saturating_add_micros(micros.saturating_neg());
            crate::identity::new_call_id(at.max(Timestamp::EPOCH))
        });
        let scope = if self.recorder.registry.is_empty() {
            self.common
        } else {
            self.scope_of(call.caller)
        };
        let opening = Opening {
            caller: bounded(call.caller, Field::Caller.limit()).into(),
            provider: bounded(call.provider, Field::Provider.limit()).into(),
            model_requested: bounded(call.model, Field::ModelRequested.limit()).into(),
            scope,
            rev: call.rev,
            ..Opening::new(call_id, Layer::Proxy, opened_ns)
        };
        let slot = if scope.is_some() {
            self.buffer.open(&opening)
        } else {
            self.buffer
                .open(&opening.with(self.recorder.scope_fields_of(call.caller)))
        }?;
        Ok((slot, call_id, opened_ns))
    }

    fn scope_of(&self, caller: &str) -> Option<NameRef> {
        match self.of_callers.get(caller) {
            Some(scope) => *scope,
            None => {
                self.recorder.meet_unknown(caller);
                self.common
            }
        }
    }

    /// Ends a call, whichever thread opened it.
    #[inline]
    pub(crate) fn finish(&self, slot: FlightSlot, outcome: &impl Fields) {
        // In a forked child the call is its parent's, and the parent ends it.
        let _ = self.buffer.finish(slot, outcome);
    }
}

/// Does something with the station of a buffer; `None` when there is none any more.
#[inline]
pub(crate) fn with<T>(id: u64, action: impl FnOnce(&Station) -> T) -> Option<T> {
    let mut action = Some(action);
    let done = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        let station = last.as_ref().filter(|last| last.buffer.id() == id)?;
        action.take().map(|action| action(station))
    });
    match (done, action) {
        (Ok(Some(value)), _) => Some(value),
        (_, Some(action)) => look_up(id, action),
        (_, None) => None,
    }
}

#[cold]
fn look_up<T>(id: u64, action: impl FnOnce(&Station) -> T) -> Option<T> {
    let station = {
        let stations = lock_unless_stuck(&STATIONS)?;
        let mut found = stations.iter().filter(|station| station.buffer.id() == id);
        Arc::clone(found.next()?)
    };
    let before = LAST.try_with(|last| {
        let mut last = last.try_borrow_mut().ok()?;
        last.replace(Arc::clone(&station))
    });
    // Outside of the borrow: the last one of a station may take its buffer with it.
    drop(before);
    Some(action(&station))
}

/// Locks, unless this is a forked child: there a thread that the fork did not take along may hold the lock for
/// ever. No holder does I/O, so that nobody waits long.
pub(crate) fn lock_unless_stuck<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    // No `OnceLock`: a fork may fall into its first use, and it is a lock itself.
    static FIRST: AtomicU32 = AtomicU32::new(0);
    let me = std::process::id();
    let first = FIRST.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
    let is_first = first.is_ok() || first == Err(me);
    for _ in 0..10_000 {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    // On a busy machine the holder may not have run in between.
    is_first.then(|| mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Fields for Scope {
    fn each(&self, mut put: impl FnMut(u32, Value<'_>)) {
        for (field, text) in [
            (Field::Project, &self.project),
            (Field::Team, &self.team),
            (Field::CostCenter, &self.cost_center),
            (Field::Service, &self.service),
            (Field::Environment, &self.environment),
            (Field::HostName, &self.host_name),
        ] {
            if let Some(text) = text {
                put(field.tag(), Value::Text(bounded(text, field.limit())));
            }
        }
        if let Some(billing) = self.billing {
            put(Field::Billing.tag(), billing.into());
        }
        put(Field::Sdk.tag(), Value::Text(self.sdk.unwrap_or(SDK)));
    }
}

/// What recorded a row.
const SDK: &str = concat!("callmeter-rust/", env!("CARGO_PKG_VERSION"));
