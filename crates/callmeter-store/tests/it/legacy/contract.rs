//! The part of the suite that a table with fewer columns can keep: exactly once, pages, filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use callmeter_core::{CallId, CallRecord, Cost, Sink, Timestamp};
use callmeter_price::{Book, ProviderKinds};
use callmeter_store::{CallsQuery, StoreReader, open_sink};
use callmeter_testkit::clock::ManualClock;
use callmeter_testkit::store::{Asked, ContractStore, Sums};

use super::support::{Place, options, postgres};
use crate::contract::{filter, sums};

impl Place {
    fn reader(&self) -> StoreReader {
        StoreReader::open_as(&postgres(&self.url()), &options()).unwrap()
    }
}

impl ContractStore for Place {
    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    fn writer(&self) -> Box<dyn Sink> {
        open_sink(&postgres(&self.url()), options(), self.clock.clone()).unwrap()
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
        sums(&self.reader().totals(&filter(asked)).unwrap())
    }

    fn percentile_us(&self, asked: &Asked, per_mille: u32) -> Option<u64> {
        let totals = self.reader().totals(&filter(asked)).unwrap();
        totals.durations.percentile_us(per_mille)
    }

    fn groups(&self) -> BTreeMap<Vec<String>, Sums> {
        BTreeMap::new()
    }

    fn price(&self, record: &CallRecord) -> (CallRecord, Cost) {
        let priced = Book::legacy().price(record, &ProviderKinds::default());
        (record.clone(), priced.cost)
    }

    fn day_of(&self, at: Timestamp) -> i64 {
        self.reader().zone().day_of(at)
    }

    fn rows(&self) -> u64 {
        self.database
            .psql("SELECT count(*) FROM ai_calls")
            .parse()
            .unwrap()
    }

    fn rejected(&self) -> u64 {
        0
    }

    fn retain(&self) {}

    fn add_book_revision(&self) {}
}

callmeter_testkit::store_contract_in_part!(Place::new);
