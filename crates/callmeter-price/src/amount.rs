//! Decimal text, rates and exact sums of them. No float anywhere.

/// A decimal number that is not negative: `digits · 10^-places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    digits: u64,
    places: i32,
}

impl Decimal {
    /// Reads decimal text with or without an exponent: `0.25`, `7.5e-08`. `None` for what is negative, no number, or
    /// longer than 19 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.strip_prefix('+').unwrap_or(whole);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let mut digits = 0_u64;
        for byte in whole.bytes().chain(fraction.bytes()) {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            digits = digits.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
        let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        (places.abs() < 60).then_some(Self { digits, places }.reduced())
    }

    /// Without zeros at the end.
    fn reduced(mut self) -> Self {
        if self.digits == 0 {
            self.places = 0;
        }
        while self.digits != 0 && self.digits.checked_rem(10) == Some(0) {
            self.digits = self.digits.checked_div(10).unwrap_or(0);
            self.places = self.places.saturating_sub(1);
        }
        self
    }

    /// The number times `10^by`.
    pub(crate) fn shifted(self, by: i32) -> Self {
        Self {
            places: self.places.saturating_sub(by),
            ..self
        }
        .reduced()
    }

    /// Whether the number is above a whole one.
    pub(crate) fn is_above(self, whole: u32) -> bool {
        let Ok(places) = u32::try_from(self.places.max(0)) else {
            return false;
        };
        let limit = u128::from(whole).saturating_mul(10_u128.saturating_pow(places));
        let power = 10_u128.saturating_pow(self.places.min(0).unsigned_abs());
        u128::from(self.digits).saturating_mul(power) > limit
    }

    /// The number times a small one.
    fn times(self, factor: u64) -> Option<Self> {
        Some(
            Self {
                digits: self.digits.checked_mul(factor)?,
                places: self.places,
            }
            .reduced(),
        )
    }

    /// The number rounded to `count` significant digits, half up.
    fn to_significant(self, count: u32) -> Self {
        let length = self.digits.checked_ilog10().unwrap_or(0).saturating_add(1);
        let Some(cut) = length.checked_sub(count).filter(|cut| *cut > 0) else {
            return self;
        };
        let unit = 10_u64.saturating_pow(cut);
        let digits = self
            .digits
            .saturating_add(unit / 2)
            .checked_div(unit)
            .unwrap_or(0);
        Self {
            digits,
            places: self
                .places
                .saturating_sub(i32::try_from(cut).unwrap_or(i32::MAX)),
        }
        .reduced()
    }

    /// Whether another number differs by at most one part in `parts`.
    fn is_within(self, other: Self, parts: u128) -> bool {
        let places = self.places.max(other.places);
        let scaled = |number: Self| {
            let by = u32::try_from(places.checked_sub(number.places)?).ok()?;
            u128::from(number.digits).checked_mul(10_u128.checked_pow(by)?)
        };
        let (Some(one), Some(two)) = (scaled(self), scaled(other)) else {
            return false;
        };
        one.abs_diff(two)
            .checked_mul(parts)
            .is_some_and(|apart| apart <= one)
    }

    /// The number as a provider prints it: what floating-point arithmetic or a division left is taken back.
    /// `2.9999900000000002` is `3`, `0.0833333333333333` is `1/12`; what has six digits or fewer stays.
    pub(crate) fn printed(self) -> String {
        if self.to_significant(6) == self {
            return self.to_string();
        }
        for divisor in [3, 6, 7, 9, 12, 24, 60, 3_600] {
            if let Some(whole) = self.times(divisor) {
                let short = whole.to_significant(4);
                if whole.is_within(short, 100_000_000) {
                    return format!("{short}/{divisor}");
                }
            }
        }
        (1..=6)
            .map(|count| self.to_significant(count))
            .find(|short| self.is_within(*short, 200_000))
            .unwrap_or(self)
            .to_string()
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.digits.to_string();
        let Ok(places) = usize::try_from(self.places) else {
            let zeros = usize::try_from(self.places.unsigned_abs()).unwrap_or(0);
            return write!(f, "{digits}{}", "0".repeat(zeros));
        };
        match digits
            .len()
            .checked_sub(places)
            .and_then(|at| digits.split_at_checked(at))
        {
            Some((whole, "")) => f.write_str(whole),
            Some(("", fraction)) => write!(f, "0.{fraction}"),
            Some((whole, fraction)) => write!(f, "{whole}.{fraction}"),
            None => {
                let zeros = places.saturating_sub(digits.len());
                write!(f, "0.{}{digits}", "0".repeat(zeros))
            }
        }
    }
}

/// A price: so many pico-USD for `per` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) pico: i64,
    pub(crate) per: u32,
}

impl Rate {
    /// Reads USD for `units` units: decimal text, or decimal text divided by a whole number (`0.017/60`). `None` for
    /// what is no such price, is negative, or is finer than the arithmetic.
    pub(crate) fn parse(text: &str, units: u32) -> Option<Self> {
        let (amount, divisor) = match text.split_once('/') {
            Some((amount, divisor)) => (amount, divisor.trim().parse::<u32>().ok()?),
            None => (text, 1),
        };
        let amount = Decimal::parse(amount)?;
        let shift = 12_i32.checked_sub(amount.places)?;
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        let per = i128::from(units).checked_mul(i128::from(divisor))?;
        let (pico, per) = if shift >= 0 {
            (i128::from(amount.digits).checked_mul(power)?, per)
        } else {
            (i128::from(amount.digits), per.checked_mul(power)?)
        };
        if per == 0 {
            return None;
        }
        let common = gcd(pico, per);
        Some(Self {
            pico: i64::try_from(pico.checked_div(common)?).ok()?,
            per: u32::try_from(per.checked_div(common)?).ok()?,
        })
    }

    /// The price of `units` units as text that [`parse`](Self::parse) reads.
    pub(crate) fn to_text(self, units: u32) -> String {
        let (mut pico, mut per) = (
            i128::from(self.pico).saturating_mul(i128::from(units)),
            i128::from(self.per.max(1)),
        );
        let common = gcd(pico, per);
        pico = pico.checked_div(common).unwrap_or(pico);
        per = per.checked_div(common).unwrap_or(per);
        // What is left of two and five in the divisor is finite in decimals.
        let mut places: i32 = 12;
        for _ in 0..9 {
            if per.checked_rem(2) == Some(0) || per.checked_rem(5) == Some(0) {
                pico = pico.saturating_mul(10);
                places = places.saturating_add(1);
                let common = gcd(pico, per);
                pico = pico.checked_div(common).unwrap_or(pico);
                per = per.checked_div(common).unwrap_or(per);
            }
        }
        let amount = Decimal {
            digits: u64::try_from(pico).unwrap_or(u64::MAX),
            places,
        }
        .reduced();
        if per == 1 {
            amount.to_string()
        } else {
            format!("{amount}/{per}")
        }
    }

    /// Whether this price is above another.
    pub(crate) fn is_above(self, other: Self) -> bool {
        i128::from(self.pico).saturating_mul(i128::from(other.per))
            > i128::from(other.pico).saturating_mul(i128::from(self.per))
    }

    /// How many times another price it is, as decimal text; `None` where that is not finite, or the other is nothing.
    pub(crate) fn ratio(self, other: Self) -> Option<String> {
        let (mine, theirs) = (
            i128::from(self.pico).checked_mul(i128::from(other.per))?,
            i128::from(other.pico).checked_mul(i128::from(self.per))?,
        );
        let scaled = mine.checked_mul(1_000_000)?;
        (theirs > 0 && scaled.checked_rem(theirs)? == 0).then_some(())?;
        let digits = u64::try_from(scaled.checked_div(theirs)?).ok()?;
        let ratio = Decimal { digits, places: 6 };
        Some(ratio.reduced().to_string())
    }

    /// Whether this price is more than `times` another one that is not zero.
    pub(crate) fn exceeds(self, other: Self, times: i128) -> bool {
        let (mine, theirs) = (
            i128::from(self.pico).saturating_mul(i128::from(other.per)),
            i128::from(other.pico).saturating_mul(i128::from(self.per)),
        );
        theirs > 0 && mine > theirs.saturating_mul(times)
    }
}

/// A factor as a fraction.
pub(crate) type Factor = (i64, i64);

/// Reads a decimal factor as a fraction.
pub(crate) fn factor(text: &str) -> Option<Factor> {
    let number = Decimal::parse(text)?;
    let power = 10_i64.checked_pow(number.places.unsigned_abs())?;
    let digits = i64::try_from(number.digits).ok()?;
    if number.places >= 0 {
        Some((digits, power))
    } else {
        Some((digits.checked_mul(power)?, 1))
    }
}

/// A factor as decimal text; its divisor is a power of ten.
pub(crate) fn factor_text((up, down): Factor) -> String {
    let places = down
        .checked_ilog10()
        .and_then(|places| i32::try_from(places).ok());
    Decimal {
        digits: u64::try_from(up).unwrap_or(0),
        places: places.unwrap_or(0),
    }
    .reduced()
    .to_string()
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

    /// Multiplies by a factor.
    pub(crate) fn scale(&mut self, (up, down): Factor) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(pico: i64, per: u32) -> Option<Rate> {
        Some(Rate { pico, per })
    }

    #[test]
    fn r_1_a_rate_is_a_whole_number_of_pico_usd_a_token() {
        for (text, pico) in [
            ("0.075", 75_000),
            ("0.003625", 3_625),
            ("0.0028", 2_800),
            ("2.5e-1", 250_000),
            ("180", 180_000_000),
            ("0", 0),
        ] {
            assert_eq!(Rate::parse(text, 1_000_000), rate(pico, 1), "{text}");
        }
    }

    #[test]
    fn r_2_what_is_not_finite_a_unit_is_a_price_for_many() {
        assert_eq!(Rate::parse("0.017/60", 1), rate(850_000_000, 3));
        assert_eq!(Rate::parse("10", 1_000), rate(10_000_000_000, 1));
        assert_eq!(Rate::parse("1/12", 1_000_000), rate(250_000, 3));
        assert_eq!(
            Rate::parse("0.0000001234567", 1_000_000),
            rate(1_234_567, 10_000_000)
        );
        for text in ["-1", "free", "", ".", "1/0", "1/x", "1e999", "0x10", "1,5"] {
            assert_eq!(Rate::parse(text, 1), None, "{text}");
        }
    }

    #[test]
    fn a_price_is_the_text_that_it_was_read_from() {
        for text in [
            "0.075", "0.003625", "3", "1250", "0.25/3", "0.05/3", "0", "0.000001",
        ] {
            let rate = Rate::parse(text, 1_000_000).unwrap();
            assert_eq!(rate.to_text(1_000_000), text);
        }
    }

    #[test]
    fn dirt_of_floats_and_divisions_is_taken_back_to_the_printed_price() {
        for (text, printed) in [
            ("2.9999900000000002", "3"),
            ("29.99997", "30"),
            ("12.49997", "12.5"),
            ("0.0833333333333333", "1/12"),
            ("0.04166666666666665", "1/24"),
            ("0.000283333333333", "0.017/60"),
            ("0.141942857", "0.9936/7"),
            ("7.5e-08", "0.000000075"),
            ("0.003625", "0.003625"),
            ("0.123456", "0.123456"),
        ] {
            let printed_text = Decimal::parse(text).unwrap().printed();
            let same = |text: &str| Rate::parse(text, 1).unwrap();
            let (one, two) = (same(&printed_text), same(printed));
            assert_eq!(
                (one, two),
                (two, one),
                "{text}: {printed_text} for {printed}"
            );
        }
    }

    #[test]
    fn r_16_factors_are_fractions() {
        assert_eq!(factor("1.1"), Some((11, 10)));
        assert_eq!(factor("0.5"), Some((5, 10)));
        assert_eq!(factor("20"), Some((20, 1)));
        assert_eq!(factor("-1"), None);
        assert_eq!(factor_text((11, 10)), "1.1");
        assert_eq!(factor_text((2, 1)), "2");
    }

    #[test]
    fn r_3_one_division_rounds_half_to_even_and_nothing_wraps() {
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
        let dear = Rate {
            pico: i64::MAX,
            per: 1,
        };
        large.add(u64::MAX, dear);
        assert_eq!(large.round(), None);
    }
}
