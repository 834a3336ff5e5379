//! `--since` and `--until`: days, moments, and how long ago.
//!
//! A day is one of the zone that is reported in: `--since 7d` is the last seven days, today included,
//! `--until 2026-11-30` goes to the end of the 30th. Hours and minutes count from now.

use callmeter_core::Timestamp;
use callmeter_store::AccountingZone;

use crate::failure::Failure;

const DAY: i64 = 86_400_000_000;

/// When a range begins.
pub(crate) fn since(
    text: &str,
    zone: &AccountingZone,
    now: Timestamp,
) -> Result<Timestamp, Failure> {
    match read(text).ok_or_else(|| not_a_moment("--since", text))? {
        When::DaysAgo(days) => {
            let today = zone.day_of(now);
            Ok(zone.day_start(today.saturating_sub(days.saturating_sub(1).max(0))))
        }
        When::Ago(micros) => Ok(now.saturating_add_micros(micros.saturating_neg())),
        When::Day(day) => Ok(zone.day_start(day)),
        When::Moment(at) => Ok(at),
    }
}

/// When a range ends.
pub(crate) fn until(
    text: &str,
    zone: &AccountingZone,
    now: Timestamp,
) -> Result<Timestamp, Failure> {
    match read(text).ok_or_else(|| not_a_moment("--until", text))? {
        When::DaysAgo(days) => {
            Ok(zone.day_start(zone.day_of(now).saturating_sub(days).saturating_add(1)))
        }
        When::Ago(micros) => Ok(now.saturating_add_micros(micros.saturating_neg())),
        When::Day(day) => Ok(zone.day_start(day.saturating_add(1))),
        When::Moment(at) => Ok(at),
    }
}

/// How long `30m`, `1h`, `2d` or `1w` is, in microseconds.
pub(crate) fn length(text: &str) -> Option<i64> {
    match read(text)? {
        When::DaysAgo(days) => days.checked_mul(DAY),
        When::Ago(micros) => Some(micros),
        When::Day(_) | When::Moment(_) => None,
    }
}

enum When {
    DaysAgo(i64),
    Ago(i64),
    Day(i64),
    Moment(Timestamp),
}

fn read(text: &str) -> Option<When> {
    let text = text.trim();
    if let Some((number, unit)) = text.char_indices().last().map(|(at, _)| text.split_at(at))
        && let Ok(number) = number.parse::<i64>()
        && (1..=36_500).contains(&number)
    {
        return Some(match unit {
            "d" => When::DaysAgo(number),
            "w" => When::DaysAgo(number.checked_mul(7)?),
            "h" => When::Ago(number.checked_mul(DAY / 24)?),
            "m" => When::Ago(number.checked_mul(60_000_000)?),
            _ => return None,
        });
    }
    if let Some(day) = civil_day(text) {
        return Some(When::Day(day));
    }
    text.parse().ok().map(When::Moment)
}

/// `2026-11-01` as days since 1970.
fn civil_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    Timestamp::day_from_civil(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// `2026-11-01` of days since 1970.
pub(crate) fn day_text(day: i64) -> String {
    let (year, month, day) = Timestamp::civil_from_day(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn not_a_moment(option: &str, text: &str) -> Failure {
    let (shown, _) = callmeter_core::clean_text(text, 60);
    Failure::new(format!("{option} '{shown}' is no moment")).with_hint(
        "write a day (2026-11-01), a moment (2026-11-01T08:00:00Z), or how long ago (7d, 24h, 30m)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_whole_days_of_the_zone_and_hours_count_from_now() {
        let zone = AccountingZone::named("Europe/Berlin").unwrap();
        let now = moment("2026-11-24T23:30:00Z");
        for (text, expected) in [
            ("1d", "2026-11-24T23:00:00Z"),
            ("7d", "2026-11-18T23:00:00Z"),
            ("24h", "2026-11-23T23:30:00Z"),
            ("2026-11-01", "2026-10-31T23:00:00Z"),
            ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00Z"),
        ] {
            assert_eq!(since(text, &zone, now).unwrap(), moment(expected), "{text}");
        }
        assert_eq!(
            until("2026-11-30", &zone, now).unwrap(),
            moment("2026-11-30T23:00:00Z")
        );
    }

    #[test]
    fn what_is_no_moment_is_refused_with_examples() {
        let zone = AccountingZone::named("UTC").unwrap();
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "0d",
            "-3d",
            "7",
            "d",
            "µ",
            "99999999999999999d",
        ] {
            assert!(since(text, &zone, Timestamp::EPOCH).is_err(), "{text}");
        }
    }
}
