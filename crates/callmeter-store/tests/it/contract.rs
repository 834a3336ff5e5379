//! The suite that every store must pass, on the embedded store and on a real PostgreSQL.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::sync::Arc;

use callmeter_core::{CallId, CallRecord, Cost, Sink, Timestamp};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{
    CallsQuery, Dimension, Filter, Period, ReportQuery, RepriceQuery, RepricedGroup, Repricer,
    SqliteStore, StoreOptions, StoreReader, StoreUrl, Totals, open_sink,
};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::records::FIRST_MOMENT;
use callmeter_testkit::store::{
    Asked, Audited, ContractStore, Repricing, RepricingStore, SuiteBook, Sums,
};

/// The same for every store: asked by its address.
pub(crate) struct Stand<K> {
    pub(crate) url: StoreUrl,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) kind: K,
    reader: RefCell<Option<StoreReader>>,
    /// The revisions of the store's book.
    books: RefCell<BTreeMap<u32, Arc<Book>>>,
}

/// What only a store's own database knows.
pub(crate) trait Kind {
    fn count(&self, table: &str) -> u64;
    fn execute(&self, sql: &str);
    fn retain(&self, clock: &Arc<ManualClock>);
    /// What stands before a table's name.
    const SCHEMA: &'static str;
}

impl<K> Stand<K> {
    pub(crate) fn new(url: StoreUrl, kind: K) -> Self {
        let now = FIRST_MOMENT.saturating_add_micros(10 * 86_400_000_000);
        let clock = Arc::new(ManualClock::at(now));
        Self {
            url,
            clock,
            kind,
            reader: RefCell::new(None),
            books: RefCell::new(BTreeMap::from([(1, Book::market())])),
        }
    }

    fn repricer(&self) -> Repricer {
        Repricer::open(&self.url, StoreOptions::default(), self.clock.clone()).unwrap()
    }

    fn newest(&self) -> (u32, Arc<Book>) {
        let books = self.books.borrow();
        let (rev, book) = books.last_key_value().unwrap();
        (*rev, Arc::clone(book))
    }

    /// Opened once, and kept.
    fn reader(&self) -> RefMut<'_, StoreReader> {
        let kept = self.reader.borrow_mut();
        RefMut::map(kept, |kept| {
            kept.get_or_insert_with(|| StoreReader::open(&self.url).unwrap())
        })
    }
}

pub(crate) fn filter(asked: &Asked) -> Filter {
    Filter {
        since: asked.since,
        until: asked.until,
        caller: asked.caller.clone(),
        model: asked.model.clone(),
        status: asked.status.clone(),
        project: asked.project.clone(),
        ..Filter::default()
    }
}

pub(crate) fn sums(totals: &Totals) -> Sums {
    Sums {
        calls: totals.calls,
        input_tokens: totals.input_tokens,
        output_tokens: totals.output_tokens,
        reasoning_tokens: totals.reasoning_tokens,
        cost_pico: totals.cost.as_pico(),
        unpriced: totals.unpriced,
        cache_hits: totals.cache_hits,
        timed: totals.durations.count().cast_unsigned(),
    }
}

/// The suite's books; `None` is the one that there is.
fn book_of(book: SuiteBook) -> Option<Arc<Book>> {
    let own = |rates: &str, huge: &str| {
        let text = format!(
            "name = \"suite\"\nversion = \"1\"\nextends = \"none\"\n\
             [[models]]\nprovider = \"openai\"\nmodel = \"gpt-5-mini\"\nperiods = [{{ rates = {{ input = \"{huge}\", output = \"{huge}\" }} }}]\n\
             [[models]]\nprovider = \"anthropic\"\nmodel = \"no-such-model\"\nperiods = [{{ rates = {{ {rates} }} }}]\n\
             [[models]]\nprovider = \"nobody\"\nmodel = \"gpt-5-mini\"\nperiods = [{{ rates = {{ {rates} }} }}]\n"
        );
        Some(Arc::new(Book::parse(&text).unwrap()))
    };
    let rates = "input = \"7\", output = \"9\", cache_read = \"1\", cache_write_5m = \"8\"";
    match book {
        SuiteBook::Market => Some(Book::market()),
        SuiteBook::Other => own(rates, "3"),
        SuiteBook::Huge => own(rates, "4000000000000"),
        _ => None,
    }
}

fn query(repricing: &Repricing) -> RepriceQuery {
    RepriceQuery {
        filter: filter(&repricing.asked),
        is_all: repricing.is_all,
        closed_until: repricing.closed_until,
        book: book_of(repricing.book),
        asked_by: "the suite".to_owned(),
    }
}

fn audited(groups: &[RepricedGroup]) -> Audited {
    let mut audited = Audited::default();
    for group in groups {
        audited.calls += group.calls;
        audited.changed += group.changed;
        *audited.old_pico.entry(group.day).or_default() += group.old_cost.as_pico();
        *audited.new_pico.entry(group.day).or_default() += group.new_cost.as_pico();
    }
    audited
}

impl<K: Kind> ContractStore for Stand<K> {
    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    fn writer(&self) -> Box<dyn Sink> {
        open_sink(&self.url, StoreOptions::default(), self.clock.clone()).unwrap()
    }

    fn find(&self, id: CallId) -> Option<(CallRecord, Cost)> {
        let found = self.reader().find(id).unwrap()?;
        Some((found.record, found.cost))
    }

    fn list(&self, asked: &Asked, before: Option<CallId>, limit: usize) -> Vec<CallId> {
        let query = CallsQuery {
            filter: filter(asked),
            before,
            limit,
        };
        let calls = self.reader().calls(&query).unwrap();
        calls.iter().map(|call| call.record.call_id).collect()
    }

    fn sums(&self, asked: &Asked) -> Sums {
        let mut reader = self.reader();
        let totals = reader.totals(&filter(asked)).unwrap();
        let unpriced = reader.unpriced(&filter(asked)).unwrap();
        let named: u64 = unpriced.iter().map(|entry| entry.calls).sum();
        // Rows that went for their age have no reason any more.
        assert!(named == totals.unpriced || self.rows() < totals.calls);
        // Cut by anything, in any zone, the parts add up to the whole.
        if self.rows() >= totals.calls {
            for (period, zone) in [
                (Period::Day, None),
                (Period::Week, None),
                (Period::Month, Some("Asia/Kolkata")),
            ] {
                let query = ReportQuery {
                    filter: filter(asked),
                    period,
                    by: vec![Dimension::Caller, Dimension::Model, Dimension::Project],
                    zone: zone.map(str::to_owned),
                };
                let mut together = Totals::default();
                for row in reader.report(&query).unwrap() {
                    together.add(&row.totals);
                }
                assert_eq!(together, totals);
            }
        }
        sums(&totals)
    }

    fn percentile_us(&self, asked: &Asked, per_mille: u32) -> Option<u64> {
        let totals = self.reader().totals(&filter(asked)).unwrap();
        totals.durations.percentile_us(per_mille)
    }

    fn groups(&self) -> BTreeMap<Vec<String>, Sums> {
        let query = ReportQuery {
            period: Period::Day,
            by: vec![
                Dimension::Caller,
                Dimension::Provider,
                Dimension::Model,
                Dimension::Status,
                Dimension::FallbackTo,
                Dimension::Project,
            ],
            ..ReportQuery::default()
        };
        let rows = self.reader().report(&query).unwrap();
        rows.into_iter()
            .map(|row| {
                let day = row.period_start.unwrap().to_string();
                let words = row.key.into_iter().map(Option::unwrap_or_default);
                let key = std::iter::once(day).chain(words).collect();
                (key, sums(&row.totals))
            })
            .collect()
    }

    fn price(&self, record: &CallRecord) -> (CallRecord, Cost) {
        let mut record = record.clone();
        let priced = Book::market().price(&record, &ProviderKinds::default());
        record.flags.insert(priced.flags);
        let mut cost = priced.cost;
        cost.book_rev = Some(1);
        (record, cost)
    }

    fn day_of(&self, at: Timestamp) -> i64 {
        self.reader().zone().day_of(at)
    }

    fn rows(&self) -> u64 {
        self.kind.count("calls")
    }

    fn rejected(&self) -> u64 {
        let rejected = self.kind.count("rejected");
        assert_eq!(self.reader().facts().unwrap().rejected, rejected);
        rejected
    }

    fn retain(&self) {
        self.kind.retain(&self.clock);
    }

    fn add_book_revision(&self) {
        let table = format!("{}book_revisions", K::SCHEMA);
        self.kind.execute(&format!(
            "INSERT INTO {table} SELECT rev + 1, name, version, content_id, body, made_at FROM {table}
             ORDER BY rev DESC LIMIT 1"
        ));
    }
}

impl<K: Kind> RepricingStore for Stand<K> {
    fn price_by(&self, rev: u32, record: &CallRecord) -> Cost {
        let book = Arc::clone(&self.books.borrow()[&rev]);
        let mut cost = book.price(record, &ProviderKinds::default()).cost;
        cost.book_rev = Some(rev);
        cost
    }

    fn preview_reprice(&self, repricing: &Repricing) -> Audited {
        let kinds = ProviderKinds::default();
        let groups = self.reader().preview_reprice(&query(repricing), &kinds);
        audited(&groups.unwrap())
    }

    fn begin_reprice(&self, repricing: &Repricing) -> u32 {
        let rev = self.repricer().begin(&query(repricing)).unwrap().rev;
        let (newest, book) = self.newest();
        assert_eq!(rev, newest + 1);
        let book = book_of(repricing.book).unwrap_or(book);
        self.books.borrow_mut().insert(rev, book);
        rev
    }

    fn begin_undo(&self, rev: u32) -> u32 {
        let undo = self.repricer().begin_undo(rev, None, "the suite").unwrap();
        assert_eq!(undo.undoes, Some(rev));
        let (newest, mut book) = self.newest();
        assert_eq!(undo.rev, newest + 1);
        if newest == rev {
            book = Arc::clone(&self.books.borrow()[&(rev - 1)]);
        }
        self.books.borrow_mut().insert(undo.rev, book);
        undo.rev
    }

    fn reprice_slice(&self, rev: u32, most: u32) -> bool {
        let mut repricer = self.repricer();
        repricer.set_slice(most);
        repricer.slice(rev).unwrap()
    }

    fn is_undo(&self, rev: u32) -> bool {
        let reprice = self.repricer().find(rev).unwrap().unwrap();
        reprice.undoes.is_some()
    }

    fn reported(&self, asked: &Asked) -> BTreeMap<(String, String), [i128; 5]> {
        let reported = self.reader().reported(&filter(asked)).unwrap();
        reported
            .into_iter()
            .map(|of| {
                let sums = [
                    i128::from(of.calls),
                    of.cost.as_pico(),
                    i128::from(of.computed_calls),
                    of.comparable_cost.as_pico(),
                    of.computed_cost.as_pico(),
                ];
                ((of.provider, of.model), sums)
            })
            .collect()
    }

    fn audit(&self, rev: u32) -> Audited {
        let mut repricer = self.repricer();
        let audited = audited(&repricer.audit(rev).unwrap());
        let line = repricer.find(rev).unwrap().unwrap();
        assert_eq!(
            (line.looked_at, line.changed),
            (audited.calls, audited.changed)
        );
        assert!(line.ended_at.is_some() && line.asked_by == "the suite");
        audited
    }
}

mod sqlite {
    use super::*;

    struct Sqlite(tempfile::TempDir);

    impl Sqlite {
        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("store.sqlite")
        }
    }

    impl Kind for Sqlite {
        const SCHEMA: &'static str = "";

        fn count(&self, table: &str) -> u64 {
            let raw = rusqlite::Connection::open(self.path()).unwrap();
            let sql = format!("SELECT count(*) FROM {table}");
            let count: i64 = raw.query_row(&sql, [], |row| row.get(0)).unwrap();
            count.cast_unsigned()
        }

        fn execute(&self, sql: &str) {
            let raw = rusqlite::Connection::open(self.path()).unwrap();
            raw.execute_batch(sql).unwrap();
        }

        fn retain(&self, clock: &Arc<ManualClock>) {
            let options = StoreOptions::default();
            let mut store = SqliteStore::open(&self.path(), options, clock.clone()).unwrap();
            while store.expire().unwrap() {}
        }
    }

    fn stand() -> Stand<Sqlite> {
        let kind = Sqlite(tempfile::tempdir().unwrap());
        let stand = Stand::new(StoreUrl::sqlite(kind.path()), kind);
        drop(stand.writer());
        stand
    }

    callmeter_testkit::store_contract!(stand);
}

#[cfg(all(unix, feature = "postgres"))]
pub(crate) mod postgres {
    use super::*;
    use callmeter_store::PostgresSchema;
    use callmeter_testkit::postgres::{Database, PostgresServer};

    pub(crate) struct Postgres(pub(crate) Database<'static>);

    impl Kind for Postgres {
        const SCHEMA: &'static str = "callmeter.";

        fn count(&self, table: &str) -> u64 {
            let sql = format!("SELECT count(*) FROM callmeter.{table}");
            self.0.psql(&sql).parse().unwrap()
        }

        fn execute(&self, sql: &str) {
            self.0.psql(sql);
        }

        fn retain(&self, clock: &Arc<ManualClock>) {
            let url = StoreUrl::parse(&self.0.url()).unwrap();
            let mut schema = PostgresSchema::new(url.postgres().unwrap(), clock.clone()).unwrap();
            let changes = schema.maintain(400).unwrap();
            assert_eq!(
                changes.dropped,
                ["calls_2026_03", "calls_2026_04", "calls_2026_05"]
            );
        }
    }

    fn stand() -> Stand<Postgres> {
        let kind = Postgres(PostgresServer::shared().database());
        let stand = Stand::new(StoreUrl::parse(&kind.0.url()).unwrap(), kind);
        let url = stand.url.postgres().unwrap();
        let mut schema = PostgresSchema::new(url, stand.clock.clone()).unwrap();
        assert!(schema.migrate(&StoreOptions::default()).unwrap().is_made);
        stand
    }

    callmeter_testkit::store_contract!(stand);
}
