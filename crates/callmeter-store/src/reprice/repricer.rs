//! Whoever reprices a store of any kind.

use std::sync::Arc;

use callmeter_core::Clock;

use super::{Reprice, RepriceError, RepriceQuery, RepricedGroup};
#[cfg(feature = "postgres")]
use crate::postgres::PostgresRepricer;
use crate::sqlite::SqliteRepricer;
use crate::{StoreError, StoreLayout, StoreOptions, StoreUrl};

/// Reprices a store, a slice at a time.
///
/// ```
/// use std::sync::Arc;
/// use callmeter_core::{CallId, CallRecord, Clock, Layer, Sink, SystemClock};
/// use callmeter_store::{Repricer, RepriceQuery, SqliteStore, StoreOptions, StoreUrl};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("store.sqlite");
/// let clock = Arc::new(SystemClock);
/// let mut store = SqliteStore::open(&path, StoreOptions::default(), clock.clone())?;
/// store.write(&[CallRecord::new(CallId::new(clock.now(), 7), Layer::Guard, 0)])?;
///
/// let mut repricer = Repricer::open(&StoreUrl::sqlite(path), StoreOptions::default(), clock)?;
/// let reprice = repricer.begin(&RepriceQuery::default())?;
/// while repricer.slice(reprice.rev)? {}
/// assert_eq!(repricer.find(reprice.rev)?.map(|done| done.looked_at), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Repricer(Kind);

#[derive(Debug)]
enum Kind {
    Sqlite(Box<SqliteRepricer>),
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresRepricer>),
}

/// Asks whichever store it is.
macro_rules! ask {
    ($self:expr, $store:ident => $answer:expr) => {
        match &mut $self.0 {
            Kind::Sqlite($store) => $answer,
            #[cfg(feature = "postgres")]
            Kind::Postgres($store) => $answer,
        }
    };
}

impl Repricer {
    /// Opens the store at `url`, which must be there. A binary with newer built-in prices brings them along.
    ///
    /// # Errors
    /// When there is none, it cannot be written, or it is a table `ai_calls`.
    pub fn open(
        url: &StoreUrl,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        if options.layout == StoreLayout::AiCalls {
            let store = url.to_string();
            return Err(RepriceError::LegacyTable { store }.into());
        }
        if let Some(path) = url.path() {
            let repricer = SqliteRepricer::open(path, options, clock)?;
            return Ok(Self(Kind::Sqlite(Box::new(repricer))));
        }
        #[cfg(feature = "postgres")]
        if let Some(url) = url.postgres() {
            let repricer = PostgresRepricer::open(url, options, clock)?;
            return Ok(Self(Kind::Postgres(Box::new(repricer))));
        }
        Err(StoreError::NotBuilt {
            store: url.to_string(),
            feature: "postgres",
        })
    }

    /// Commits a revision of the book and begins a reprice to it.
    ///
    /// # Errors
    /// When another one has not ended, or the store cannot be written.
    pub fn begin(&mut self, query: &RepriceQuery) -> Result<Reprice, StoreError> {
        ask!(self, store => store.begin(query))
    }

    /// Begins to take back reprice `rev`, but for days that are closed: its calls go back to the revisions that
    /// they had, and the book to the one before it, unless there is a newer. One that has not ended ends here.
    ///
    /// # Errors
    /// When there is no such reprice, it was taken back before, or another one has not ended.
    pub fn begin_undo(
        &mut self,
        rev: u32,
        closed_until: Option<i64>,
        asked_by: &str,
    ) -> Result<Reprice, StoreError> {
        ask!(self, store => store.begin_undo(rev, closed_until, asked_by))
    }

    /// Goes a slice further, in one transaction; says whether there is more.
    ///
    /// # Errors
    /// When the store cannot be written; nothing of the slice was changed then, and it can be tried again.
    pub fn slice(&mut self, rev: u32) -> Result<bool, StoreError> {
        ask!(self, store => store.slice(rev))
    }

    /// Sets the most calls of a slice; it is smaller where that would hold up writers.
    pub fn set_slice(&mut self, calls: u32) {
        ask!(self, store => store.set_slice(calls));
    }

    /// The reprice that has not ended, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unfinished(&mut self) -> Result<Option<Reprice>, StoreError> {
        let all = self.list()?;
        Ok(all.into_iter().find(|reprice| reprice.ended_at.is_none()))
    }

    /// A reprice by its revision.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&mut self, rev: u32) -> Result<Option<Reprice>, StoreError> {
        let all = self.list()?;
        Ok(all.into_iter().find(|reprice| reprice.rev == rev))
    }

    /// Every reprice, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&mut self) -> Result<Vec<Reprice>, StoreError> {
        ask!(self, store => store.list())
    }

    /// What a reprice changed so far, by day, provider, model and old revision.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn audit(&mut self, rev: u32) -> Result<Vec<RepricedGroup>, StoreError> {
        ask!(self, store => store.audit(rev))
    }
}
