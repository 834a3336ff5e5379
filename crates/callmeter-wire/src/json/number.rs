//! Counts as providers write them: integers, floats that are whole (`12.0`), texts, beyond 32 bits.
//!
//! A negative count is no count, and neither is one that no call can reach; the caller flags both.

use callmeter_core::MAX_COUNT;

/// What a count's text turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadCount {
    /// A count.
    Count(u64),
    /// A number that is no count: negative or absurd.
    Implausible,
    /// No number.
    Nothing,
}

/// Reads a count. Fractions are rounded half up, as a meter would.
pub(crate) fn read_count(text: &[u8]) -> ReadCount {
    scaled(text, 0)
}

/// Reads a decimal number as thousandths.
pub(crate) fn milli_from_decimal(text: &[u8]) -> ReadCount {
    scaled(text, 3)
}

fn scaled(text: &[u8], places: i64) -> ReadCount {
    let text = text.trim_ascii();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let mut value: u128 = 0;
    let mut shift: i64 = places;
    let mut after_point = false;
    let mut seen = false;
    let mut rest = digits.iter();
    let mut exponent: i64 = 0;
    while let Some(byte) = rest.next() {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if value < 1_u128 << 100 {
                    value = value
                        .saturating_mul(10)
                        .saturating_add(u128::from(byte.wrapping_sub(b'0')));
                    shift = shift.saturating_sub(i64::from(after_point));
                } else {
                    shift = shift.saturating_add(i64::from(!after_point));
                }
            }
            b'.' if !after_point => after_point = true,
            b'e' | b'E' if seen => {
                let text = std::str::from_utf8(rest.as_slice()).unwrap_or_default();
                match text.parse::<i64>() {
                    Ok(read) => exponent = read,
                    Err(_) => return ReadCount::Nothing,
                }
                break;
            }
            _ => return ReadCount::Nothing,
        }
    }
    if !seen {
        return ReadCount::Nothing;
    }
    if value == 0 {
        return ReadCount::Count(0);
    }
    if negative {
        return ReadCount::Implausible;
    }
    let shift = shift.saturating_add(exponent);
    let power = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
    let scaled = match (10_u128.checked_pow(power), shift >= 0) {
        (Some(factor), true) => value.checked_mul(factor),
        (Some(divisor), false) => value.saturating_add(divisor / 2).checked_div(divisor),
        (None, true) => None,
        (None, false) => Some(0),
    };
    match scaled.and_then(|count| u64::try_from(count).ok()) {
        Some(count) if count <= MAX_COUNT => ReadCount::Count(count),
        _ => ReadCount::Implausible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_as_integers_floats_and_texts() {
        for (text, count) in [
            ("0", 0),
            ("12", 12),
            ("12.0", 12),
            ("1.2e3", 1_200),
            ("3000000000", 3_000_000_000),
            ("-0", 0),
            ("5E2", 500),
            ("0.4", 0),
        ] {
            assert_eq!(
                read_count(text.as_bytes()),
                ReadCount::Count(count),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_count_is_told_from_what_is_no_number() {
        for text in ["-1", "1e30", "99999999999999999999999999999999999999999999"] {
            assert_eq!(
                read_count(text.as_bytes()),
                ReadCount::Implausible,
                "{text}"
            );
        }
        for text in ["", "-", ".", "abc", "1x", "NaN", "1e", "e5", "1.2.3"] {
            assert_eq!(read_count(text.as_bytes()), ReadCount::Nothing, "{text}");
        }
        assert_eq!(
            milli_from_decimal(b"5.489999771118164"),
            ReadCount::Count(5_490)
        );
    }
}
