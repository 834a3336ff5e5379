//! Sums in the user's own currency, where the store's book has one: each day by the rate of that day. Costs are kept and
//! summed in USD; this is for the eye.

use callmeter_core::{Timestamp, UsdTotal};
use callmeter_store::{Filter, Period, ReportQuery, StoreError, StoreReader};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A sum in another currency.
pub(crate) struct Converted {
    pub(crate) code: String,
    /// In 10^-12 of the currency: the type of sums in USD, because it is added and shown alike.
    pub(crate) cost: UsdTotal,
    /// What was spent on days before the first rate.
    pub(crate) without_rate: UsdTotal,
}

impl Converted {
    /// The metered cost of the calls of a filter; `None` where the store's book has no currency.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn of(
        store: &mut StoreReader,
        filter: &Filter,
        zone: Option<&str>,
        book_name: &str,
    ) -> Result<Option<Self>, StoreError> {
        // The built-in books have none, and need not be unpacked to tell.
        if matches!(book_name, "market" | "legacy") {
            return Ok(None);
        }
        let book = store.book()?;
        let Some(currency) = book.currency() else {
            return Ok(None);
        };
        let days = store.report(&ReportQuery {
            filter: filter.clone(),
            period: Period::Day,
            by: Vec::new(),
            zone: zone.map(str::to_owned),
        })?;
        let mut converted = Self {
            code: currency.code().to_owned(),
            cost: UsdTotal::default(),
            without_rate: UsdTotal::default(),
        };
        for day in days {
            let start = day.period_start.unwrap_or(0).saturating_mul(MICROS_PER_DAY);
            match currency.convert(day.totals.cost, Timestamp::from_micros(start)) {
                Some(cost) => converted.cost = converted.cost.plus(UsdTotal::from_pico(cost)),
                None => converted.without_rate = converted.without_rate.plus(day.totals.cost),
            }
        }
        Ok(Some(converted))
    }

    /// The line of a report.
    pub(crate) fn line(&self) -> String {
        let amount = self.cost.to_short().replace('$', "");
        let rest = match self.without_rate.as_pico() {
            0 => String::new(),
            _ => {
                let left = self.without_rate.to_short();
                format!("; {left} of days without a rate are not in it")
            }
        };
        format!("in {}   {amount}, each day by its rate{rest}\n", self.code)
    }

    /// The same for programs, in exact decimals.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code,
            "cost": self.cost.to_string(),
            "cost_usd_without_rate": self.without_rate.to_string(),
        })
    }
}
