//! Every call of a filter, through a cursor of the server: no more than a right to SELECT is needed.

use std::sync::Arc;

use callmeter_price::Book;

use super::report::unpriced_rows;
use super::{LegacyReader, call_of, rows};
use crate::postgres::connect::Access;
use crate::{Filter, Reported, StoreError, StoredCall};

/// How many rows are fetched at a time.
const FETCH: u32 = 2_000;

impl LegacyReader {
    /// The price book of the settings.
    ///
    /// # Errors
    /// None; as other stores have one.
    pub fn book(&mut self) -> Result<Arc<Book>, StoreError> {
        Ok(Arc::clone(&self.book))
    }

    /// Gives every call of a filter to `take`, in one snapshot; with `only_unpriced` those without a price.
    ///
    /// # Errors
    /// When the table cannot be read, or `take` fails.
    pub fn walk(
        &mut self,
        filter: &Filter,
        only_unpriced: bool,
        take: &mut dyn FnMut(StoredCall) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(mut condition) = self.condition(filter) else {
            return Ok(());
        };
        if only_unpriced {
            condition.and(&unpriced_rows(&self.shape));
        }
        let sql = format!(
            "DECLARE walk NO SCROLL CURSOR FOR SELECT {} FROM {} {}",
            rows::selected(&self.shape),
            rows::joined(&self.shape, self.has_side),
            condition.sql
        );
        self.session.transaction(Access::Snapshot, |tx| {
            tx.execute(&sql, &condition.params())?;
            loop {
                let found = tx.query(&format!("FETCH {FETCH} FROM walk"), &[])?;
                if found.is_empty() {
                    return Ok(());
                }
                for row in &found {
                    take(call_of(row))?;
                }
            }
        })
    }

    /// None: the table does not tell who stated a cost.
    ///
    /// # Errors
    /// None; as other stores have some.
    pub fn reported(&mut self, _filter: &Filter) -> Result<Vec<Reported>, StoreError> {
        Ok(Vec::new())
    }
}
