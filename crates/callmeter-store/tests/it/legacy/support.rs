//! A database with a table as the contract describes it, and the replaced module's own statement.

use std::sync::Arc;

use callmeter_core::{Ack, CallRecord, Sink, SinkError, Status, Usage};
use callmeter_price::Book;
use callmeter_store::{LegacyStore, LegacyTable, StoreLayout, StoreOptions, StoreUrl};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::postgres::{Database, PostgresServer};
use callmeter_testkit::records::FIRST_MOMENT;

use crate::support::call;

/// The table of the replaced module, with the checks and indexes that such a table has.
pub(crate) const TABLE: &str = "
CREATE TABLE ai_calls (
  id bigserial PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  caller varchar(64) NOT NULL,
  provider varchar(32) NOT NULL,
  model varchar(128) NOT NULL,
  input_tokens integer NOT NULL DEFAULT 0,
  output_tokens integer NOT NULL DEFAULT 0,
  duration_ms integer NOT NULL DEFAULT 0,
  status varchar(16) NOT NULL DEFAULT 'ok' CHECK (status IN ('ok', 'error', 'fallback')),
  fallback_to varchar(64),
  cost_usd numeric(10,6) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
  cache_hit boolean NOT NULL DEFAULT false,
  rag_hit boolean NOT NULL DEFAULT false,
  request_id varchar(64),
  error text,
  meta jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ai_calls_by_time ON ai_calls (created_at);
CREATE INDEX ai_calls_by_caller ON ai_calls (caller, created_at);
";

/// The statement by which the replaced module writes.
pub(crate) const OLD_INSERT: &str = "INSERT INTO ai_calls (caller, provider, model, input_tokens, output_tokens, \
  duration_ms, status, fallback_to, cost_usd, cache_hit, rag_hit, request_id, error, meta) ";

/// What a sink for the table is opened with, unless told.
pub(crate) fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.book = Book::legacy();
    options.layout = StoreLayout::AiCalls;
    options
}

/// A database with a table in it.
pub(crate) struct Place {
    pub(crate) database: Database<'static>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Place {
    /// The contract's table, and the side table beside it.
    pub(crate) fn new() -> Self {
        let place = Self::of(TABLE);
        assert!(place.table().make_side_table().unwrap());
        place
    }

    /// A table of `ddl`, nothing beside it; on the eleventh day, when generated calls lie in the ten before.
    pub(crate) fn of(ddl: &str) -> Self {
        Self::on(PostgresServer::shared().database(), ddl)
    }

    /// The same in a database that there is.
    pub(crate) fn on(database: Database<'static>, ddl: &str) -> Self {
        database.psql(ddl);
        let now = FIRST_MOMENT.saturating_add_micros(10 * 86_400_000_000);
        Self {
            database,
            clock: Arc::new(ManualClock::at(now)),
        }
    }

    pub(crate) fn table(&self) -> LegacyTable {
        LegacyTable::new(postgres(&self.url()).postgres().unwrap(), None).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    pub(crate) fn store(&self) -> LegacyStore {
        self.try_store(&self.url(), options()).unwrap()
    }

    pub(crate) fn try_store(
        &self,
        url: &str,
        options: StoreOptions,
    ) -> Result<LegacyStore, callmeter_store::StoreError> {
        LegacyStore::open(
            postgres(url).postgres().unwrap(),
            options,
            self.clock.clone(),
        )
    }

    /// What opening it says, with its hint.
    pub(crate) fn complaint(&self) -> String {
        self.complaint_of(&self.url())
    }

    pub(crate) fn complaint_of(&self, url: &str) -> String {
        let error = self.try_store(url, options()).unwrap_err();
        format!("{error} | {}", error.hint().unwrap_or("no hint"))
    }

    /// The address for another role, which is made.
    pub(crate) fn role(&self, rights: &str) -> String {
        let role = format!("{}_app", self.database.name());
        self.database.psql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; {}",
            rights.replace("ROLE", &role)
        ));
        let address = self.database.server().address();
        format!(
            "postgres://{role}:hunter2@{address}/{}",
            self.database.name()
        )
    }

    pub(crate) fn rows(&self, sql: &str) -> String {
        self.database.psql(sql)
    }
}

pub(crate) fn postgres(url: &str) -> StoreUrl {
    StoreUrl::parse(url).unwrap()
}

/// A call such as the replaced module would have seen.
pub(crate) fn shop_call(after_us: i64, random: u64) -> CallRecord {
    let mut call = call(after_us, random);
    call.caller = Some("sales_copy".to_owned());
    call.provider = Some("gemini".to_owned());
    call.model = Some("gemini-2.5-pro".to_owned());
    call.usage = Usage::of(1_200_u64, 340_u64);
    call.duration_us = Some(812_345);
    call.status = Some(Status::Ok);
    call
}

/// Writes a batch that must be taken.
pub(crate) fn write(store: &mut LegacyStore, batch: &[CallRecord]) -> Ack {
    let ack = store.write(batch).unwrap();
    let answered = ack.inserted + ack.merged + ack.unchanged + ack.revision_not_applied;
    assert_eq!(answered, batch.len() as u64, "{ack:?}");
    ack
}

/// What a refused batch says.
pub(crate) fn refused(store: &mut LegacyStore, batch: &[CallRecord]) -> SinkError {
    store.write(batch).unwrap_err()
}
