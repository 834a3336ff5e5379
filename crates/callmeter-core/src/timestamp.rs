//! A moment in UTC with microseconds, as every row carries it, and its RFC 3339 form.
//!
//! Owns the conversion between the count of microseconds since 1970 and civil dates (proleptic
//! Gregorian calendar, RFC 3339 section 5.6). Leaves time zones to the crates that report.

use std::fmt;
use std::str::FromStr;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A moment in UTC: microseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// use callmeter_core::Timestamp;
/// let at: Timestamp = "2026-11-24T12:07:00.000250Z".parse()?;
/// assert_eq!(at.to_string(), "2026-11-24T12:07:00.000250Z");
/// # Ok::<(), callmeter_core::ParseTimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last moment that a [`CallId`](crate::CallId) can carry: 48 bits of milliseconds.
    pub const MAX_IN_ID: Self = Self((1_i64 << 48).wrapping_mul(1_000).wrapping_sub(1));

    /// Makes a timestamp from microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded towards the past.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// Whole days since the epoch in UTC, rounded towards the past.
    pub const fn utc_day(self) -> i64 {
        self.as_seconds().div_euclid(SECONDS_PER_DAY)
    }

    /// Whole hours since the epoch, rounded towards the past.
    pub const fn utc_hour(self) -> i64 {
        self.as_seconds().div_euclid(3_600)
    }

    /// This moment moved by `micros`, held at the ends of the range.
    pub const fn saturating_add_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this moment, negative when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The civil date of a day number counted from 1970-01-01, as (year, month, day).
    ///
    /// Source: the days-from-civil construction on 400-year eras (146,097 days each).
    pub const fn civil_from_day(day: i64) -> (i64, u8, u8) {
        let shifted = day.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let leap_days = (day_of_era / 1_460)
            .saturating_sub(day_of_era / 36_524)
            .saturating_add(day_of_era / 146_096);
        let year_of_era = day_of_era.saturating_sub(leap_days) / 365;
        let before = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era / 4)
            .saturating_sub(year_of_era / 100);
        let day_of_year = day_of_era.saturating_sub(before);
        let shifted_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
        let month_start = shifted_month.saturating_mul(153).saturating_add(2) / 5;
        let day = day_of_year.saturating_sub(month_start).saturating_add(1);
        let month = if shifted_month < 10 {
            shifted_month.saturating_add(3)
        } else {
            shifted_month.saturating_sub(9)
        };
        let year = year_of_era.saturating_add(era.saturating_mul(400));
        let year = if month <= 2 {
            year.saturating_add(1)
        } else {
            year
        };
        (year, month as u8, day as u8)
    }

    /// The day number counted from 1970-01-01 of a civil date, or `None` when there is no such date.
    pub const fn day_from_civil(year: i64, month: u8, day: u8) -> Option<i64> {
        if month < 1 || month > 12 || day < 1 || year < -9_999 || year > 9_999 {
            return None;
        }
        let shifted_year = if month <= 2 {
            year.saturating_sub(1)
        } else {
            year
        };
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let shifted_month = if month > 2 {
            (month as i64).saturating_sub(3)
        } else {
            (month as i64).saturating_add(9)
        };
        let day_of_year = (shifted_month.saturating_mul(153).saturating_add(2) / 5)
            .saturating_add(day as i64)
            .saturating_sub(1);
        let day_of_era = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era / 4)
            .saturating_sub(year_of_era / 100)
            .saturating_add(day_of_year);
        let number = era
            .saturating_mul(146_097)
            .saturating_add(day_of_era)
            .saturating_sub(719_468);
        let (back_year, back_month, back_day) = Self::civil_from_day(number);
        if back_year == year && back_month == month && back_day == day {
            Some(number)
        } else {
            None
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = Self::civil_from_day(self.utc_day());
        let second_of_day = self.as_seconds().rem_euclid(SECONDS_PER_DAY);
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        let (hour, minute, second) = (
            second_of_day / 3_600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// The text is no RFC 3339 date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTimestampError(());

impl fmt::Display for ParseTimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a date and time in the form 2026-11-24T12:07:00Z")
    }
}

impl std::error::Error for ParseTimestampError {}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339 with `Z` or a numeric offset; a bare date means its midnight in UTC. Digits
    /// past the microsecond are cut.
    ///
    /// # Errors
    /// When the text has another form or names a moment that does not exist.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or(ParseTimestampError(()))
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at.saturating_add(1)..)?),
        None => (text, "00:00:00Z"),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = u8::try_from(digits(parts.next()?, 2)?).ok()?;
    let day = u8::try_from(digits(parts.next()?, 2)?).ok()?;
    if parts.next().is_some() {
        return None;
    }
    let offset_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, offset) = (rest.get(..offset_at)?, rest.get(offset_at..)?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = digits(parts.next()?, 2)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut micros: i64 = 0;
    let mut place = 100_000_i64;
    for byte in fraction.bytes() {
        let digit = char::from(byte).to_digit(10)?;
        micros = micros.checked_add(i64::from(digit).checked_mul(place)?)?;
        place = place.checked_div(10)?;
    }
    let offset_seconds = match offset {
        "Z" | "z" => 0,
        _ => {
            let (sign, body) = match offset.split_at_checked(1)? {
                ("+", body) => (1_i64, body),
                ("-", body) => (-1_i64, body),
                _ => return None,
            };
            let (hours, minutes) = body.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign.checked_mul(
                hours
                    .checked_mul(3_600)?
                    .checked_add(minutes.checked_mul(60)?)?,
            )?
        }
    };
    let seconds = Timestamp::day_from_civil(year, month, day)?
        .checked_mul(SECONDS_PER_DAY)?
        .checked_add(hour.checked_mul(3_600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?
        .checked_sub(offset_seconds)?;
    Some(Timestamp(
        seconds
            .checked_mul(MICROS_PER_SECOND)?
            .checked_add(micros)?,
    ))
}

fn digits(text: &str, width: usize) -> Option<i64> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_thousand_years_survives_the_calendar() {
        for day in -365_000..365_000 {
            let (year, month, dom) = Timestamp::civil_from_day(day);
            assert_eq!(Timestamp::day_from_civil(year, month, dom), Some(day));
        }
    }

    #[test]
    fn known_moments_are_read_and_written() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2024-02-29T23:59:59.999999Z", 1_709_251_199_999_999),
            ("1969-12-31T23:59:59.000001Z", -999_999),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().as_micros(), micros);
            assert_eq!(Timestamp::from_micros(micros).to_string(), text);
        }
        let with_offset: Timestamp = "2026-11-24T13:07:00+01:00".parse().unwrap();
        assert_eq!(with_offset.to_string(), "2026-11-24T12:07:00.000000Z");
        let bare: Timestamp = "2026-11-24".parse().unwrap();
        assert_eq!(bare.to_string(), "2026-11-24T00:00:00.000000Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-30",
            "2026-1-1",
            "2026-11-24T25:00:00Z",
            "2026-11-24T12:00:00",
            "2026-11-24T12:00Z",
            "2026-11-24T12:00:00+1",
            "é026-11-24",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
