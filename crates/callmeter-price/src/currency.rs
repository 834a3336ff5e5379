//! Another currency for what is shown: rates with their days, given by the user. Costs are stored in USD.

use callmeter_core::{Timestamp, UsdTotal};

use crate::amount::Factor;

/// A currency and what one USD is in it, by day.
///
/// ```
/// use callmeter_price::Book;
/// use callmeter_core::UsdTotal;
/// let book = Book::parse(r#"
///     name = "acme"
///     version = "2026-11-01"
///     [currency]
///     code = "EUR"
///     rates = [{ per_usd = "0.90" }, { from = "2026-11-01", per_usd = "0.92" }]
/// "#)?;
/// let euro = book.currency().unwrap();
/// let day = "2026-11-05".parse().unwrap();
/// let shown = euro.convert(UsdTotal::from_pico(2_000_000_000_000), day).unwrap();
/// assert_eq!(shown, 1_840_000_000_000);
/// # Ok::<(), callmeter_price::BookError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Currency {
    code: String,
    rates: Vec<(Option<Timestamp>, Factor)>,
}

impl Currency {
    pub(crate) fn new(code: &str, rates: Vec<(Option<Timestamp>, Factor)>) -> Self {
        Self {
            code: code.to_owned(),
            rates,
        }
    }

    /// Its code, such as `EUR`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// An amount of a moment in 10^-12 of this currency, by the rate in force then, rounded half to even. `None`
    /// before the first rate, or when it does not fit.
    pub fn convert(&self, amount: UsdTotal, at: Timestamp) -> Option<i128> {
        let mut rates = self.rates.iter().rev();
        let (_, (up, down)) = rates.find(|(from, _)| from.is_none_or(|from| at >= from))?;
        let scaled = amount.as_pico().checked_mul(i128::from(*up))?;
        let down = i128::from(*down);
        let (floor, rest) = (
            scaled.checked_div_euclid(down)?,
            scaled.checked_rem_euclid(down)?,
        );
        let twice = rest.checked_mul(2)?;
        let is_up = twice > down || (twice == down && floor & 1 == 1);
        floor.checked_add(i128::from(is_up))
    }
}
