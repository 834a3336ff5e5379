//! Accounting days: which day of the store's zone a moment belongs to, and when that day begins.
//!
//! Owns the one place where time zones matter. A day is the number of days since 1970-01-01 in the
//! zone's own calendar; days of 23 and 25 hours are as long as they are. UTC needs no zone database.

use callmeter_core::Timestamp;
use jiff::tz::TimeZone;

/// A zone by its IANA name, such as `Europe/Berlin`.
#[derive(Clone, Debug)]
pub struct AccountingZone {
    name: String,
    zone: Option<TimeZone>,
}

/// No zone of that name is known on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no time zone is called '{0}' on this machine; write an IANA name such as Europe/Berlin, or UTC"
)]
pub struct UnknownZone(String);

impl AccountingZone {
    /// Looks a zone up.
    ///
    /// # Errors
    /// When this machine knows none of that name.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        if name == "UTC" {
            return Ok(Self {
                name: name.to_owned(),
                zone: None,
            });
        }
        let shown = || UnknownZone(callmeter_core::clean_text(name, 60).0.into_owned());
        let zone = TimeZone::get(name).map_err(|_| shown())?;
        Ok(Self {
            name: name.to_owned(),
            zone: Some(zone),
        })
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day that `at` belongs to.
    pub fn day_of(&self, at: Timestamp) -> i64 {
        let offset = self.zone.as_ref().and_then(|zone| {
            let moment = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
            Some(i64::from(zone.to_offset(moment).seconds()))
        });
        let local = at.saturating_add_micros(offset.unwrap_or(0).saturating_mul(1_000_000));
        local.utc_day()
    }

    /// When `day` begins.
    pub fn day_start(&self, day: i64) -> Timestamp {
        let utc = Timestamp::from_micros(day.saturating_mul(86_400_000_000));
        let start = self.zone.as_ref().and_then(|zone| {
            let (year, month, day) = Timestamp::civil_from_day(day);
            let (year, month, day) = (
                i16::try_from(year).ok()?,
                i8::try_from(month).ok()?,
                i8::try_from(day).ok()?,
            );
            let date = jiff::civil::Date::new(year, month, day).ok()?;
            // A zone that skips midnight begins its day at the first moment there is.
            let start = date.to_zoned(zone.clone()).ok()?;
            Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
        });
        start.unwrap_or(utc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_belongs_to_its_zone() {
        let berlin = AccountingZone::named("Europe/Berlin").unwrap();
        let late = at("2026-03-28T23:30:00Z");
        assert_eq!(
            berlin.day_of(late),
            AccountingZone::named("UTC").unwrap().day_of(late) + 1
        );
        assert_eq!(
            berlin.day_start(berlin.day_of(late)),
            at("2026-03-28T23:00:00Z")
        );
    }

    #[test]
    fn days_of_23_and_25_hours_are_as_long_as_they_are() {
        let berlin = AccountingZone::named("Europe/Berlin").unwrap();
        for (noon, hours) in [("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25)] {
            let day = berlin.day_of(at(noon));
            let length = berlin
                .day_start(day + 1)
                .micros_since(berlin.day_start(day));
            assert_eq!(length, hours * 3_600_000_000);
        }
    }

    #[test]
    fn an_unknown_zone_is_named_in_the_error() {
        let error = AccountingZone::named("Europe/Berlim").unwrap_err();
        assert!(error.to_string().contains("'Europe/Berlim'"), "{error}");
    }

    proptest! {
        #[test]
        fn every_moment_lies_within_its_day(seconds in 0..4_000_000_000_i64, zone in prop::sample::select(
            &["UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia"][..])) {
            let zone = AccountingZone::named(zone).unwrap();
            let moment = Timestamp::from_micros(seconds * 1_000_000);
            let day = zone.day_of(moment);
            prop_assert!(zone.day_start(day) <= moment);
            prop_assert!(moment < zone.day_start(day + 1) || zone.day_start(day + 1) == zone.day_start(day));
        }
    }
}
