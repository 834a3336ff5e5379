//! Values as they are written: texts, numbers, durations, sizes, lists.
//!
//! The environment knows texts only, the file has types; both are read by the same rules. An error says
//! what was expected and, where the value is no secret, what was found.

use std::collections::BTreeMap;
use std::time::Duration;

use callmeter_core::{PicoUsd, Timestamp};

/// A value before it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    Integer(String),
    Boolean(bool),
    List(Vec<String>),
    /// A list of tables of texts.
    Tables(Vec<BTreeMap<String, String>>),
    /// A kind of TOML value that no setting takes, by its name.
    Other(&'static str),
}

impl Raw {
    /// How an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("'{}'", callmeter_core::clean_text(text, 60).0),
            Self::Integer(digits) => callmeter_core::clean_text(digits, 60).0.into_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Tables(tables) => format!("a list of {} tables", tables.len()),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) | Self::Integer(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        }
    }
}

/// What a setting takes instead of what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected(pub(super) String);

fn expected<T>(what: impl Into<String>) -> Result<T, Expected> {
    Err(Expected(what.into()))
}

/// A text that is not empty.
pub(super) fn text(raw: &Raw) -> Result<String, Expected> {
    match raw.text() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => expected("a text"),
    }
}

/// A name of at most 64 printable characters, as rows hold it.
pub(super) fn name(raw: &Raw) -> Result<String, Expected> {
    let text = text(raw)?;
    let (clean, is_cut) = callmeter_core::clean_text(&text, 64);
    if is_cut || clean != text {
        return expected("a name of at most 64 printable characters");
    }
    Ok(text)
}

/// A number within a range.
pub(super) fn number(raw: &Raw, least: u64, most: u64) -> Result<u64, Expected> {
    match raw.number() {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => expected(format!("a number from {least} to {most}")),
    }
}

/// A duration with its unit: `250ms`, `1s`, `2m`, `1h`.
pub(super) fn duration(raw: &Raw, most: Duration) -> Result<Duration, Expected> {
    let wanted = || {
        let most = most.as_secs();
        Expected(format!(
            "a duration with its unit, such as 250ms, 1s or 2m, of at most {most}s"
        ))
    };
    let text = raw.text().ok_or_else(wanted)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wanted)?;
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wanted()),
    };
    let duration = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(wanted)?);
    if duration <= most {
        Ok(duration)
    } else {
        Err(wanted())
    }
}

/// A size in bytes, or with a unit: `1GiB`, `512 MiB`.
pub(super) fn size(raw: &Raw, least: u64) -> Result<u64, Expected> {
    let wanted = || {
        Expected(format!(
            "a size such as 1GiB, 512MiB or a number of bytes, at least {least}"
        ))
    };
    let bytes = match raw.number() {
        Some(bytes) => bytes,
        None => {
            let text = raw.text().ok_or_else(wanted)?;
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = text.split_at_checked(digits).ok_or_else(wanted)?;
            let number: u64 = number.parse().map_err(|_| wanted())?;
            let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
                "b" => 1,
                "kib" => 1 << 10,
                "mib" => 1 << 20,
                "gib" => 1 << 30,
                "kb" => 1_000,
                "mb" => 1_000_000,
                "gb" => 1_000_000_000,
                _ => return Err(wanted()),
            };
            number.checked_mul(unit).ok_or_else(wanted)?
        }
    };
    if bytes >= least && bytes <= i64::MAX as u64 {
        Ok(bytes)
    } else {
        Err(wanted())
    }
}

/// A day, in days from 1970-01-01.
pub(super) fn day(raw: &Raw) -> Result<i64, Expected> {
    let read = |text: &str| {
        let mut parts = text.splitn(3, '-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return None;
        }
        Timestamp::day_from_civil(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    };
    match raw.text().and_then(read) {
        Some(day) => Ok(day),
        None => expected("a day such as 2026-10-31, in quotes"),
    }
}

/// The text of a day.
pub(super) fn day_text(day: i64) -> String {
    let (year, month, day) = Timestamp::civil_from_day(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// An amount in USD that is more than nothing.
pub(super) fn usd(raw: &Raw) -> Result<PicoUsd, Expected> {
    let text = match raw {
        Raw::Text(text) | Raw::Integer(text) => text.trim(),
        _ => "",
    };
    match text.parse::<PicoUsd>() {
        Ok(amount) if amount > PicoUsd::ZERO => Ok(amount),
        _ => expected("an amount in USD, in quotes where it has a point, such as 250 or \"99.50\""),
    }
}

/// A list of texts; as one text, they stand between commas.
pub(super) fn list(raw: &Raw) -> Result<Vec<String>, Expected> {
    match raw {
        Raw::List(items) => Ok(items.clone()),
        Raw::Text(text) => Ok(text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()),
        _ => expected("a list of texts"),
    }
}

/// Yes or no.
pub(super) fn boolean(raw: &Raw) -> Result<bool, Expected> {
    match raw {
        Raw::Boolean(value) => Ok(*value),
        _ => word(raw, &[("true", true), ("false", false)]),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Result<T, Expected> {
    let found = raw
        .text()
        .and_then(|text| words.iter().find(|(word, _)| *word == text));
    match found {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            expected(format!("one of {}", words.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn durations_and_sizes_carry_their_units() {
        let most = Duration::from_secs(3_600);
        assert_eq!(
            duration(&raw("250ms"), most),
            Ok(Duration::from_millis(250))
        );
        assert_eq!(duration(&raw(" 2 m"), most), Ok(Duration::from_secs(120)));
        assert!(duration(&raw("5"), most).is_err());
        assert!(duration(&raw("2h"), most).is_err());
        assert_eq!(size(&raw("512 MiB"), 1), Ok(512 << 20));
        assert_eq!(size(&Raw::Integer("1_000".to_owned()), 1), Ok(1_000));
        assert!(size(&raw("99999999999GiB"), 1).is_err());
        assert!(size(&raw("-1"), 1).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_an_error(text: String) {
            let raw = Raw::Text(text);
            let _ = (number(&raw, 0, 9), duration(&raw, Duration::MAX), size(&raw, 0));
            let _ = (list(&raw), name(&raw), word(&raw, &[("a", 1)]), raw.shown());
        }
    }
}
