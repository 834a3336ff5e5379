//! Every call of a filter, and what of them providers stated a cost for.

use std::sync::Arc;

use callmeter_price::Book;

use super::SqliteReader;
use crate::reported::{self, Numbers, Reported};
use crate::sqlite::books;
use crate::sqlite::columns;
use crate::{Filter, StoreError, StoredCall, book};

impl SqliteReader {
    /// The price book in force: the store's newest revision, or this build's own where that is a newer version of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn book(&self) -> Result<Arc<Book>, StoreError> {
        match book::newer_than(&books::newest(&self.conn)?) {
            Some(book) => Ok(book),
            None => Ok(books::load(&self.conn)?.book),
        }
    }

    /// Gives every call of a filter to `take`, in the order of their ids; with `only_unpriced` those without a price.
    ///
    /// # Errors
    /// When the store cannot be read, or `take` fails.
    pub fn walk(
        &mut self,
        filter: &Filter,
        only_unpriced: bool,
        take: &mut dyn FnMut(StoredCall) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(mut condition) = self.condition(filter)? else {
            return Ok(());
        };
        if only_unpriced {
            condition.and("unpriced_reason IS NOT NULL", []);
        }
        // One statement is one snapshot.
        let sql = format!("{}{}", columns::select_calls!(""), condition.sql);
        let mut statement = self.conn.prepare(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(condition.values))?;
        while let Some(row) = rows.next()? {
            take(columns::read(&self.conn, &mut self.names, row)?)?;
        }
        Ok(())
    }

    /// Calls whose cost is what the provider stated, by provider and model, the dearest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn reported(&mut self, filter: &Filter) -> Result<Vec<Reported>, StoreError> {
        let Some(mut condition) = self.condition(filter)? else {
            return Ok(Vec::new());
        };
        // What is stated of calls under a plan is no money.
        condition.and(
            "cost_source = 2 AND scope NOT IN (SELECT id FROM scopes WHERE billing = 2)",
            [],
        );
        let sql = format!(
            "SELECT provider, model, {} FROM calls {} GROUP BY 1, 2",
            reported::SUMS,
            condition.sql
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let groups = statement
            .query_map(rusqlite::params_from_iter(condition.values), |row| {
                let mut numbers: Numbers = [0; 10];
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = row.get(at)?;
                }
                Ok(numbers)
            })?
            .collect::<Result<Vec<_>, _>>()?;
        drop(statement);
        reported::in_words(self, groups)
    }
}
