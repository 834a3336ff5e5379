//! What a reprice would change, without changing anything.

use callmeter_price::ProviderKinds;

use super::{RepriceQuery, RepricedGroup, Tally, price_anew};
use crate::{Filter, StoreError, StoreReader};

impl StoreReader {
    /// What a reprice would change, by day, provider, model and revision, in one snapshot; nothing is written.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn preview_reprice(
        &mut self,
        query: &RepriceQuery,
        kinds: &ProviderKinds,
    ) -> Result<Vec<RepricedGroup>, StoreError> {
        let book = match &query.book {
            Some(book) => book.clone(),
            None => self.book()?,
        };
        let zone = self.zone().clone();
        let mut tally = Tally::default();
        let filter = query.open_days(&zone);
        self.walk(&filter, !query.is_all, &mut |stored| {
            let rev = stored.cost.book_rev.unwrap_or(0).saturating_add(1);
            let (cost, _) = price_anew(&book, kinds, rev, &stored);
            tally.add(&zone, &stored, &cost);
            Ok(())
        })?;
        Ok(tally.into_groups())
    }

    /// How many calls a reprice leaves as they are because their days are closed; from the rollups.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn closed_calls(&mut self, query: &RepriceQuery) -> Result<u64, StoreError> {
        let Some(open) = super::first_open(query.closed_until, self.zone()) else {
            return Ok(0);
        };
        let until = query.filter.until.map_or(open, |until| until.min(open));
        if query.filter.since.is_some_and(|since| since >= until) {
            return Ok(0);
        }
        let totals = self.totals(&Filter {
            until: Some(until),
            ..query.filter.clone()
        })?;
        Ok(if query.is_all {
            totals.calls
        } else {
            totals.unpriced
        })
    }
}
