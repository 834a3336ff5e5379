//! Money as integers: pico-USD for a call, a wider total for sums.
//!
//! One pico-USD is 10⁻¹² USD, so that every published price a token is a whole number of them
//! (pricing rules R-1). No float appears anywhere: decimal text goes in and comes out exactly.

use std::fmt;
use std::str::FromStr;

const PICO_PER_USD: u128 = 1_000_000_000_000;

/// An amount of money in pico-USD (10⁻¹² USD), up to 9.2 million USD either way.
///
/// ```
/// use callmeter_core::PicoUsd;
/// let cost: PicoUsd = "0.00123".parse()?;
/// assert_eq!(cost.as_pico(), 1_230_000_000);
/// assert_eq!(cost.to_string(), "0.00123");
/// # Ok::<(), callmeter_core::ParseMoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PicoUsd(i64);

impl PicoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Makes an amount from pico-USD.
    pub const fn from_pico(pico: i64) -> Self {
        Self(pico)
    }

    /// The amount in pico-USD.
    pub const fn as_pico(self) -> i64 {
        self.0
    }

    /// The sum, or `None` when it does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Display for PicoUsd {
    /// Writes the exact decimal amount in USD, without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(i128::from(self.0), f)
    }
}

/// The text is no decimal amount that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMoneyError(());

impl fmt::Display for ParseMoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an amount in USD: expected a decimal number such as 0.00123")
    }
}

impl std::error::Error for ParseMoneyError {}

impl FromStr for PicoUsd {
    type Err = ParseMoneyError;

    /// Reads a decimal amount in USD, with or without an exponent. Digits past the pico-USD round
    /// half to even.
    ///
    /// # Errors
    /// When the text is no decimal number or does not fit.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_scaled(text, 12)
            .and_then(|pico| i64::try_from(pico).ok())
            .map(Self)
            .ok_or(ParseMoneyError(()))
    }
}

/// A sum of amounts, wide enough for any number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdTotal(i128);

impl UsdTotal {
    /// Makes a total from pico-USD.
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// The total in pico-USD.
    pub const fn as_pico(self) -> i128 {
        self.0
    }

    /// Adds one amount, held at the ends of the range of 128 bits (which no sum of rows reaches).
    pub const fn add(&mut self, amount: PicoUsd) {
        self.0 = self.0.saturating_add(amount.0 as i128);
    }

    /// The sum of two totals, held at the ends of the range.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The amount as people read it (pricing rule R-5): two digits from 1 USD, four significant
    /// digits below, `< $0.0001` for less, `$0` for nothing.
    pub fn to_short(self) -> String {
        let pico = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let scaled = |unit: u128| pico.saturating_add(unit / 2).checked_div(unit).unwrap_or(0);
        if pico == 0 {
            "$0".to_owned()
        } else if scaled(10_000_000_000) >= 100 {
            let cents = scaled(10_000_000_000);
            format!("{sign}${}.{:02}", group_thousands(cents / 100), cents % 100)
        } else if pico < 100_000_000 {
            format!("{sign}< $0.0001")
        } else {
            let mut unit: u128 = 100_000_000;
            let mut places = 4_usize;
            while pico < unit.saturating_mul(1_000) && unit > 1 {
                unit /= 10;
                places = places.saturating_add(1);
            }
            let digits = scaled(unit);
            format!("{sign}$0.{digits:0places$}")
        }
    }
}

impl fmt::Display for UsdTotal {
    /// Writes the exact decimal amount in USD, without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(self.0, f)
    }
}

impl std::iter::Sum<PicoUsd> for UsdTotal {
    fn sum<I: Iterator<Item = PicoUsd>>(amounts: I) -> Self {
        let mut total = Self::default();
        for amount in amounts {
            total.add(amount);
        }
        total
    }
}

fn group_thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len().saturating_mul(2));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn write_decimal(pico: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if pico < 0 { "-" } else { "" };
    let magnitude = pico.unsigned_abs();
    let (whole, fraction) = (magnitude / PICO_PER_USD, magnitude % PICO_PER_USD);
    if fraction == 0 {
        return f.write_str(&format!("{sign}{whole}"));
    }
    let digits = format!("{fraction:012}");
    f.write_str(&format!("{sign}{whole}.{}", digits.trim_end_matches('0')))
}

/// Reads decimal text as an integer of `scale` decimal places, rounding half to even.
pub(crate) fn parse_scaled(text: &str, scale: i32) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.is_empty() && fraction.is_empty()) || mantissa.len() > 60 || exponent.abs() > 60 {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = char::from(byte).to_digit(10)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let shift = scale.checked_sub(places)?;
    let scaled = if shift >= 0 {
        if value == 0 {
            0
        } else {
            value.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
        }
    } else {
        match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(divisor) => round_half_even(value, divisor)?,
            None => 0,
        }
    };
    Some(if negative {
        scaled.checked_neg()?
    } else {
        scaled
    })
}

fn round_half_even(value: i128, divisor: i128) -> Option<i128> {
    let quotient = value.checked_div(divisor)?;
    let twice = value.checked_rem(divisor)?.checked_mul(2)?;
    let up = twice > divisor || (twice == divisor && quotient & 1 == 1);
    quotient.checked_add(i128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_amount_survives_its_text(pico: i64) {
            let amount = PicoUsd::from_pico(pico);
            prop_assert_eq!(amount.to_string().parse::<PicoUsd>(), Ok(amount));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<PicoUsd>();
        }
    }

    #[test]
    fn exponents_and_halves_are_read_as_decimal_text() {
        for (text, pico) in [
            ("7.5e-08", 75_000),
            ("1E-12", 1),
            ("0.0000000000005", 0),
            ("0.0000000000015", 2),
            ("-1.5", -1_500_000_000_000),
            ("9999.999999", 9_999_999_999_000_000),
        ] {
            assert_eq!(text.parse::<PicoUsd>().unwrap().as_pico(), pico, "{text}");
        }
        for text in ["", ".", "-", "NaN", "1e99", "10000000000", "1,5", "0x1"] {
            assert!(text.parse::<PicoUsd>().is_err(), "{text}");
        }
    }

    #[test]
    fn short_amounts_follow_the_rounding_rule() {
        for (pico, short) in [
            (0, "$0"),
            (1, "< $0.0001"),
            (99_999_999, "< $0.0001"),
            (123_456_789, "$0.0001235"),
            (12_345_678_901, "$0.01235"),
            (999_999_000_000, "$1.00"),
            (1_234_567_890_000_000, "$1,234.57"),
        ] {
            assert_eq!(UsdTotal::from_pico(pico).to_short(), short);
        }
    }
}
