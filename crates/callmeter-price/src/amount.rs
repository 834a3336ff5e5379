//! Rates and exact sums of them.

/// A price: so many pico-USD for `per` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) pico: i64,
    pub(crate) per: u32,
}

/// A fraction of pico-USD; `None` once something did not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount(Option<(i128, i128)>);

impl Amount {
    pub(crate) const ZERO: Self = Self(Some((0, 1)));

    /// Adds `count` units at `rate`.
    pub(crate) fn add(&mut self, count: u64, rate: Rate) {
        self.0 = self.0.and_then(|(num, den)| {
            let term = i128::from(count).checked_mul(i128::from(rate.pico))?;
            let per = i128::from(rate.per.max(1));
            if den == per {
                return Some((num.checked_add(term)?, den));
            }
            let common = den.checked_mul(per)?.checked_div(gcd(den, per))?;
            let num = num.checked_mul(common.checked_div(den)?)?;
            let term = term.checked_mul(common.checked_div(per)?)?;
            Some((num.checked_add(term)?, common))
        });
    }

    /// Multiplies by a factor given as a fraction.
    pub(crate) fn scale(&mut self, (up, down): (i64, i64)) {
        self.0 = self.0.and_then(|(num, den)| {
            Some((
                num.checked_mul(i128::from(up))?,
                den.checked_mul(i128::from(down.max(1)))?,
            ))
        });
    }

    /// The sum in pico-USD, rounded half to even by one division; `None` when it does not fit.
    pub(crate) fn round(self) -> Option<i64> {
        let (num, den) = self.0?;
        let (floor, rest) = (num.checked_div_euclid(den)?, num.checked_rem_euclid(den)?);
        let twice = rest.checked_mul(2)?;
        let up = twice > den || (twice == den && floor & 1 == 1);
        i64::try_from(floor.checked_add(i128::from(up))?).ok()
    }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.max(1)
}

/// Reads decimal text as an integer of `places` decimal places; digits past them round half to even,
/// `None` for what is no number. Negative prices are none.
pub(crate) fn decimal(text: &str, places: i32) -> Option<i64> {
    // One USD in pico is twelve places: the text is scaled by a power of ten around that.
    let shifted = format!(
        "{}e{}",
        mantissa(text)?,
        exponent(text)?.checked_add(places)?.checked_sub(12)?
    );
    let value = shifted.parse::<callmeter_core::PicoUsd>().ok()?.as_pico();
    (value >= 0).then_some(value)
}

fn mantissa(text: &str) -> Option<&str> {
    text.split(['e', 'E']).next()
}

fn exponent(text: &str) -> Option<i32> {
    text.split_once(['e', 'E'])
        .map_or(Some(0), |(_, exponent)| exponent.parse().ok())
}

/// Reads a decimal factor as a fraction.
pub(crate) fn factor(text: &str) -> Option<(i64, i64)> {
    Some((decimal(text, 6)?, 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_becomes_integers_without_a_float() {
        assert_eq!(decimal("0.075", 6), Some(75_000));
        assert_eq!(decimal("2.9999900000000002", 6), Some(2_999_990));
        assert_eq!(decimal("7.5e-08", 12), Some(75_000));
        assert_eq!(decimal("-1", 6), None);
        assert_eq!(decimal("free", 6), None);
        assert_eq!(factor("1.1"), Some((1_100_000, 1_000_000)));
    }

    #[test]
    fn one_division_rounds_half_to_even() {
        let half = |count| {
            let mut amount = Amount::ZERO;
            amount.add(count, Rate { pico: 1, per: 2 });
            amount.round()
        };
        assert_eq!((half(1), half(3), half(5)), (Some(0), Some(2), Some(2)));
        let mut thirds = Amount::ZERO;
        for _ in 0..3 {
            thirds.add(1, Rate { pico: 1, per: 3 });
        }
        assert_eq!(thirds.round(), Some(1));
        let mut large = Amount::ZERO;
        large.add(
            u64::MAX,
            Rate {
                pico: i64::MAX,
                per: 1,
            },
        );
        assert_eq!(large.round(), None);
    }
}
