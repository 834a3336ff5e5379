//! Every call of a filter, through a cursor of the server, and what of them providers stated a cost for.

use std::sync::Arc;

use callmeter_price::Book;

use super::PostgresReader;
use crate::postgres::connect::text;
use crate::postgres::schema::get;
use crate::postgres::{books, columns};
use crate::reported::{self, Numbers, Reported};
use crate::{Filter, StoreError, StoredCall, book};

/// How many rows are fetched at a time.
const FETCH: u32 = 2_000;

impl PostgresReader {
    /// The price book in force: the store's newest revision, or this build's own where that is a newer version of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn book(&mut self) -> Result<Arc<Book>, StoreError> {
        self.ask(
            |asking| match book::newer_than(&books::newest(asking.tx)?) {
                Some(book) => Ok(book),
                None => Ok(books::load(asking.tx)?.book),
            },
        )
    }

    /// Gives every call of a filter to `take`, in one snapshot; with `only_unpriced` those without a price.
    ///
    /// # Errors
    /// When the store cannot be read, or `take` fails.
    pub fn walk(
        &mut self,
        filter: &Filter,
        only_unpriced: bool,
        take: &mut dyn FnMut(StoredCall) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.ask(|asking| {
            let Some(mut condition) = asking.condition(filter)? else {
                return Ok(());
            };
            if only_unpriced {
                condition.and("unpriced_reason IS NOT NULL");
            }
            let sql = format!(
                "DECLARE walk NO SCROLL CURSOR FOR SELECT {} FROM callmeter.calls AS c {}",
                columns::select_list(),
                condition.sql
            );
            let params: Vec<_> = condition.texts.iter().map(text).collect();
            asking.tx.execute(&sql, &params)?;
            loop {
                let rows = asking.tx.query(&format!("FETCH {FETCH} FROM walk"), &[])?;
                if rows.is_empty() {
                    return Ok(());
                }
                for call in columns::read_all(asking.tx, asking.names, &rows)? {
                    take(call)?;
                }
            }
        })
    }

    /// Calls whose cost is what the provider stated, by provider and model, the dearest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reported(&mut self, filter: &Filter) -> Result<Vec<Reported>, StoreError> {
        self.ask(|asking| {
            let Some(mut condition) = asking.condition(filter)? else {
                return Ok(Vec::new());
            };
            // What is stated of calls under a plan is no money.
            condition.and(
                "cost_source = 2 AND scope NOT IN (SELECT id FROM callmeter.scopes WHERE billing = 2)",
            );
            let sql = format!(
                "SELECT provider::bigint, model::bigint, {} FROM callmeter.calls {} GROUP BY 1, 2",
                reported::SUMS,
                condition.sql
            );
            let params: Vec<_> = condition.texts.iter().map(text).collect();
            let rows = asking.tx.query(&sql, &params)?;
            let mut groups = Vec::with_capacity(rows.len());
            for row in &rows {
                let mut numbers: Numbers = [0; 10];
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = get(row, at)?;
                }
                groups.push(numbers);
            }
            reported::in_words(asking, groups)
        })
    }
}
