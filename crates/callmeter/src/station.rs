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
    Drainer, Fields, FlightBuffer, FlightError, FlightSlot, NameRef, OpenSlot, Opening, Refused,
    Value,
};

use crate::guard::Names;
use crate::late::{Rest, bounded};
use crate::recorder::{Recorder, Scope};
use crate::site::{self, Place};

static STATIONS: Mutex<Vec<Arc<Station>>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: RefCell<Option<Arc<Station>>> = const { RefCell::new(None) };
}

/// A flight buffer and the recorder that it works for.
pub(crate) struct Station {
    /// The buffer's.
    id: u64,
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
            id: buffer.id(),
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
    // Always: the kind of place is then known while compiling.
    #[inline(always)]
    pub(crate) fn open(&self, names: &Names<'_>, place: Place) -> Result<FlightSlot, Refused> {
        let moment = self.recorder.time.now();
        // A clock before 1970 cannot be an id's time; the row then starts at the epoch.
        let call_id = crate::identity::new_call_id(moment.at.max(Timestamp::EPOCH));
        self.open_as(call_id, moment.ns, names, place)
    }

    /// Opens a call that began `ago_us` microseconds ago; says its id and when it began too.
    #[inline]
    pub(crate) fn open_earlier(
        &self,
        names: &Names<'_>,
        place: Place,
        ago_us: u64,
    ) -> Result<(FlightSlot, CallId, u64), Refused> {
        let moment = self.recorder.time.now().earlier(ago_us);
        let call_id = crate::identity::new_call_id(moment.at.max(Timestamp::EPOCH));
        let slot = self.open_as(call_id, moment.ns, names, place)?;
        Ok((slot, call_id, moment.ns))
    }

    #[inline(always)]
    fn open_as(
        &self,
        call_id: CallId,
        opened_ns: u64,
        names: &Names<'_>,
        place: Place,
    ) -> Result<FlightSlot, Refused> {
        let opened = site::with_prepared(self.id, names, place, |prepared| {
            self.buffer.open_prepared(prepared, call_id, opened_ns)
        });
        match opened {
            Some(opened) => opened,
            None => self.open_anew(names, place, call_id, opened_ns),
        }
    }

    /// Opens a call that passes by.
    #[cfg(feature = "wire")]
    pub(crate) fn open_passing(
        &self,
        call: &crate::passing::PassingCall<'_>,
    ) -> Result<FlightSlot, Refused> {
        let moment = self.recorder.time.now();
        let before = u64::try_from(call.open_for.as_nanos()).unwrap_or(0);
        let opened_ns = moment.ns.saturating_sub(before);
        let call_id = call.completes.unwrap_or_else(|| {
            let micros = i64::try_from(before / 1_000).unwrap_or(0);
            let at = moment.at.saturating_add_micros(micros.saturating_neg());
            crate::identity::new_call_id(at.max(Timestamp::EPOCH))
        });
        let (scope, _) = self.scope_of(call.caller);
        let opening = Opening {
            caller: bounded(call.caller, Field::Caller.limit()).into(),
            provider: bounded(call.provider, Field::Provider.limit()).into(),
            model_requested: bounded(call.model, Field::ModelRequested.limit()).into(),
            scope,
            rev: call.rev,
            ..Opening::new(call_id, Layer::Proxy, opened_ns)
        };
        if scope.is_some() {
            self.buffer.open(&opening)
        } else {
            self.buffer
                .open(&opening.with(self.recorder.scope_fields_of(call.caller)))
        }
    }

    /// Opens a call of which this thread does not remember where its names are, and remembers it if it may.
    #[inline(never)]
    fn open_anew(
        &self,
        names: &Names<'_>,
        place: Place,
        call_id: CallId,
        opened_ns: u64,
    ) -> Result<FlightSlot, Refused> {
        let Names {
            caller,
            provider,
            model,
        } = *names;
        let (scope, is_listed) = self.scope_of(caller);
        let site = place.text();
        let opening = Opening {
            caller: bounded(caller, Field::Caller.limit()).into(),
            provider: bounded(provider, Field::Provider.limit()).into(),
            model_requested: bounded(model, Field::ModelRequested.limit()).into(),
            call_site: site.as_str().into(),
            scope,
            ..Opening::new(call_id, Layer::Guard, opened_ns)
        };
        // The names first: a place that finds the buffer full is remembered as well, and asks cheaply.
        let prepared = scope.and_then(|_| self.buffer.prepare(&opening));
        // Each call of a caller that is not listed is counted.
        if let Some(prepared) = prepared.filter(|_| is_listed) {
            site::remember(self.id, names, place, prepared);
        }
        match (scope, &prepared) {
            // The table of names is full: what the scope says travels with each call.
            (None, _) => {
                let more = self.recorder.scope_fields_of(caller);
                self.buffer.open(&opening.with(more))
            }
            (_, None) => self.buffer.open(&opening),
            (_, Some(prepared)) => self.buffer.open_prepared(prepared, call_id, opened_ns),
        }
    }

    /// What a caller's rows have in common, and whether it is listed, where there is a list.
    fn scope_of(&self, caller: &str) -> (Option<NameRef>, bool) {
        if self.recorder.registry.is_empty() {
            return (self.common, true);
        }
        match self.of_callers.get(caller) {
            Some(scope) => (*scope, true),
            None => {
                self.recorder.meet_unknown(caller);
                (self.common, false)
            }
        }
    }

    /// Ends a call, whichever thread opened it: `ok`, unless something else was said. `lasted_us` is how long it
    /// was, where that is known better than by the clock; says which of both the row has.
    // Always: whoever does not ask pays nothing for the answer.
    #[inline(always)]
    pub(crate) fn finish(
        &self,
        slot: FlightSlot,
        rest: Option<&mut Rest>,
        lasted_us: Option<u64>,
    ) -> Option<u64> {
        // In a forked child the call is its parent's, and the parent ends it.
        match rest {
            None => self
                .buffer
                .finish_told(slot, |told| self.tell_last(told, false, lasted_us))
                .ok(),
            Some(rest) => self.finish_long(slot, rest, lasted_us),
        }
    }

    /// Tells a call how long it was, and its status if it has none; says how long.
    #[inline(always)]
    fn tell_last(&self, told: OpenSlot<'_>, has_status: bool, lasted_us: Option<u64>) -> u64 {
        let lasted_us = lasted_us.unwrap_or_else(|| {
            let elapsed_ns = self.recorder.time.ns().saturating_sub(told.opened_ns());
            elapsed_ns / 1_000
        });
        // Both have places of their own: there is always room.
        let _ = told.tell(Field::DurationUs, Value::Int(lasted_us));
        if !has_status && !told.has(Field::Status) {
            let _ = told.tell(Field::Status, Value::Text(OK));
        }
        lasted_us
    }

    #[cold]
    #[inline(never)]
    fn finish_long(
        &self,
        slot: FlightSlot,
        rest: &mut Rest,
        lasted_us: Option<u64>,
    ) -> Option<u64> {
        let told = self.buffer.open_slot(&slot).ok()?;
        let lasted_us = self.tell_last(told, rest.has(Field::Status), lasted_us);
        rest.pack();
        self.buffer.finish(slot, rest).ok()?;
        Some(lasted_us)
    }
}

/// Does something with the station of a buffer; `None` when there is none any more.
#[inline]
pub(crate) fn with<T>(id: u64, action: impl FnOnce(&Station) -> T) -> Option<T> {
    // Taken by the one way that is gone.
    let mut action = Some(action);
    let done = LAST.try_with(|last| {
        let last = last.try_borrow().ok()?;
        let station = last.as_ref().filter(|last| last.id == id)?;
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

/// The status of a call of which nothing else was said.
const OK: &str = "ok";
/// What recorded a row.
const SDK: &str = concat!("callmeter-rust/", env!("CARGO_PKG_VERSION"));
