//! A store by its address: the embedded one or one on a server, with the same questions.

use std::sync::Arc;

use callmeter_core::{CallId, Clock, Sink};
use callmeter_price::Book;

#[cfg(feature = "postgres")]
use crate::postgres::{LegacyReader, LegacyStore, PostgresReader, PostgresStore};
use crate::{
    AccountingZone, CallsQuery, Filter, LegacyError, ReportQuery, ReportRow, Reported,
    SqliteReader, SqliteStore, StoreError, StoreFacts, StoreLayout, StoreOptions, StoreUrl,
    StoredCall, Totals, Unpriced,
};

/// Opens the store at `url` for writing. A file is made when there is none; a database must have been made by
/// `callmeter migrate`.
///
/// # Errors
/// When it cannot be opened, or this build has no store of that kind.
pub fn open_sink(
    url: &StoreUrl,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn Sink>, StoreError> {
    if let Some(path) = url.path() {
        check_layout(url, &options)?;
        return Ok(Box::new(SqliteStore::open(path, options, clock)?));
    }
    #[cfg(feature = "postgres")]
    if let Some(url) = url.postgres() {
        return Ok(match options.layout {
            StoreLayout::Full => Box::new(PostgresStore::open(url, options, clock)?),
            StoreLayout::AiCalls => Box::new(LegacyStore::open(url, options, clock)?),
        });
    }
    Err(not_built(url))
}

/// The layout of the replaced module's table is one of PostgreSQL.
fn check_layout(url: &StoreUrl, options: &StoreOptions) -> Result<(), StoreError> {
    match options.layout {
        StoreLayout::Full => Ok(()),
        StoreLayout::AiCalls => Err(LegacyError::NotPostgres {
            store: url.to_string(),
        }
        .into()),
    }
}

fn not_built(url: &StoreUrl) -> StoreError {
    StoreError::NotBuilt {
        store: url.to_string(),
        feature: "postgres",
    }
}

/// A store of any kind, opened for reading.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreReader {
    /// The embedded store.
    Sqlite(Box<SqliteReader>),
    /// A store on PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresReader>),
    /// A table of the replaced module.
    #[cfg(feature = "postgres")]
    AiCalls(Box<LegacyReader>),
}

/// Asks whichever store it is.
macro_rules! ask {
    ($self:expr, $store:ident => $answer:expr) => {
        match $self {
            StoreReader::Sqlite($store) => $answer,
            #[cfg(feature = "postgres")]
            StoreReader::Postgres($store) => $answer,
            #[cfg(feature = "postgres")]
            StoreReader::AiCalls($store) => $answer,
        }
    };
}

impl StoreReader {
    /// Opens the store at `url` for reading.
    ///
    /// # Errors
    /// When there is none, it cannot be reached, needs a newer callmeter, or is of a kind that this build has not.
    pub fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        if let Some(path) = url.path() {
            return SqliteReader::open(path).map(|reader| Self::Sqlite(Box::new(reader)));
        }
        #[cfg(feature = "postgres")]
        if let Some(url) = url.postgres() {
            return PostgresReader::open(url).map(|reader| Self::Postgres(Box::new(reader)));
        }
        Err(not_built(url))
    }

    /// Opens the store at `url` for reading, with the layout that `options` name. A table `ai_calls` that was adopted
    /// and of which every row was taken over is read as the store that it became: faster, and the same figures.
    ///
    /// # Errors
    /// As [`StoreReader::open`], or when the table cannot be read.
    pub fn open_as(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        if options.layout == StoreLayout::Full {
            return Self::open(url);
        }
        if url.path().is_some() {
            check_layout(url, options)?;
        }
        #[cfg(feature = "postgres")]
        if let Some(url) = url.postgres() {
            let mut reader = LegacyReader::open(url, options)?;
            let adoption = reader.adoption()?;
            if adoption.is_finished
                && adoption.waiting == 0
                && let Ok(reader) = PostgresReader::open(url)
            {
                return Ok(Self::Postgres(Box::new(reader)));
            }
            return Ok(Self::AiCalls(Box::new(reader)));
        }
        Err(not_built(url))
    }

    /// The zone of the store's accounting days.
    pub fn zone(&self) -> &AccountingZone {
        ask!(self, store => store.zone())
    }

    /// What the store says of itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn facts(&mut self) -> Result<StoreFacts, StoreError> {
        ask!(self, store => store.facts())
    }

    /// The call of an id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&mut self, id: CallId) -> Result<Option<StoredCall>, StoreError> {
        ask!(self, store => store.find(id))
    }

    /// The calls whose id has the time half `hi`: nearly always one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_moment(&mut self, hi: i64) -> Result<Vec<StoredCall>, StoreError> {
        ask!(self, store => store.find_by_moment(hi))
    }

    /// The calls that carry `id` as their request id, response id or trace id, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_foreign_id(&mut self, id: &str) -> Result<Vec<StoredCall>, StoreError> {
        ask!(self, store => store.find_by_foreign_id(id))
    }

    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn calls(&mut self, query: &CallsQuery) -> Result<Vec<StoredCall>, StoreError> {
        ask!(self, store => store.calls(query))
    }

    /// A report, its rows by period and key.
    ///
    /// # Errors
    /// When the store cannot be read, or the zone is not known.
    pub fn report(&mut self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        ask!(self, store => store.report(query))
    }

    /// The sums over all calls of a filter.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn totals(&mut self, filter: &Filter) -> Result<Totals, StoreError> {
        ask!(self, store => store.totals(filter))
    }

    /// The price book in force: the store's newest revision, or this build's own where that is a newer version of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn book(&mut self) -> Result<Arc<Book>, StoreError> {
        ask!(self, store => store.book())
    }

    /// Gives every call of a filter to `take`, in one snapshot and in no promised order; with `only_unpriced` those
    /// that have no price.
    ///
    /// # Errors
    /// When the store cannot be read, or `take` fails.
    pub fn walk(
        &mut self,
        filter: &Filter,
        only_unpriced: bool,
        take: &mut dyn FnMut(StoredCall) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        ask!(self, store => store.walk(filter, only_unpriced, take))
    }

    /// Calls whose cost is what the provider stated, by provider and model, the dearest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reported(&mut self, filter: &Filter) -> Result<Vec<Reported>, StoreError> {
        ask!(self, store => store.reported(filter))
    }

    /// Asks the store in SQL, read-only; each row is a JSON object, its columns in the question's order. In stores of
    /// callmeter's own layout `recorded_calls` is its calls with names in place of the store's numbers.
    ///
    /// # Errors
    /// When the question is no single `SELECT` that the store understands, or it cannot be read.
    pub fn query(&mut self, sql: &str) -> Result<Vec<String>, StoreError> {
        ask!(self, store => store.query(sql))
    }

    /// Calls without a price, by provider, model and reason, the most first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unpriced(&mut self, filter: &Filter) -> Result<Vec<Unpriced>, StoreError> {
        ask!(self, store => store.unpriced(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_built_in_names_the_feature_and_no_password() {
        let url = StoreUrl::parse("postgres://me:hunter2@db/shop").unwrap();
        let error = not_built(&url);
        assert_eq!(
            error.to_string(),
            "postgres://me@db/shop needs callmeter to be built with the Cargo feature `postgres`"
        );
        assert!(error.hint().unwrap().contains("spool"));
    }
}
