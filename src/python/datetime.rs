//! Points in time as the original stored and sent them.
//!
//! Stands in for `DateTimeField` of Django REST framework (the wire), and for Django's adaptation
//! of datetimes to `SQLite` (the tables). Other databases have a type of their own for datetimes,
//! and convert in their store.

mod read;

use std::time::Duration;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use read::DateReader;

use crate::clock::{Clock, since_1970};

const MICROS: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Microseconds since the Unix epoch, in UTC. Python knows the years 1 to 9999 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the time by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Timestamp(i64::try_from(since_1970().as_micros()).unwrap_or(i64::MAX))
    }

    /// Returns the time that is believed: the one to compare with times of other processes.
    #[must_use]
    pub fn by(clock: &Clock) -> Self {
        Timestamp(clock.micros())
    }

    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }
}

/// So long after a time.
#[must_use]
pub fn after(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_add(age))
}

/// So long before a time.
#[must_use]
pub fn before(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.micros().saturating_sub(age))
}

/// A time zone with its history: Django's `TIME_ZONE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Returns the zone of an IANA name (`Asia/Seoul`, `UTC`), from the database built into the
    /// program.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }

    #[must_use]
    pub fn utc() -> Self {
        Zone(TimeZone::UTC)
    }

    /// Seconds east of Greenwich at `t`.
    fn offset_s(&self, t: Timestamp) -> i64 {
        let instant = jiff::Timestamp::from_microsecond(t.0);
        // jiff ends a day or two earlier than Python, in December 9999.
        let instant = instant.unwrap_or(if t.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        self.0.to_offset(instant).seconds().into()
    }
}

/// Returns the local time of `zone` at `t`.
fn local(t: Timestamp, zone: &Zone) -> Timestamp {
    Timestamp(t.0.saturating_add(zone.offset_s(t) * MICROS))
}

/// Returns whether Python can show `t` in `zone`. Where it cannot, Django REST framework answers
/// `Datetime value out of range.`
#[must_use]
pub fn in_range(t: Timestamp, zone: &Zone) -> bool {
    (1..=9999).contains(&Civil::of(t).year) && (1..=9999).contains(&Civil::of(local(t, zone)).year)
}

/// Writes a datetime as REST and WebSocket messages have it: `2026-11-20T17:54:04.849273+09:00`,
/// without the fraction if it is zero, seconds in the offset if it has any, `Z` if it is zero. Only
/// for times that are [`in_range`]. Tests: `the_wire_has_six_digits_or_no_fraction_at_all`,
/// `historic_offsets_apply`, `an_offset_of_zero_is_z`.
#[must_use]
pub fn to_wire(t: Timestamp, zone: &Zone) -> String {
    text(|out| {
        let offset_s = zone.offset_s(t);
        write_civil(out, local(t, zone), b'T');
        if offset_s == 0 {
            out.push(b'Z');
        } else {
            write_offset(out, offset_s);
        }
    })
}

/// Returns what Python's `isoformat` gives for an aware datetime in UTC:
/// `2026-11-20T08:54:05.545776+00:00`.
#[must_use]
pub fn to_iso_utc(t: Timestamp) -> String {
    text(|out| {
        write_civil(out, t, b'T');
        write_offset(out, 0);
    })
}

/// Returns what Python's `isoformat` gives for a naive datetime, which has the local time of `zone`.
#[must_use]
pub fn to_iso_naive(t: Timestamp, zone: &Zone) -> String {
    text(|out| write_civil(out, local(t, zone), b'T'))
}

/// Returns the text that Django stores in a datetime column of `SQLite`: `2026-11-20
/// 08:54:04.849273`, in UTC, without the fraction if it is zero.
#[must_use]
pub fn to_sqlite(t: Timestamp) -> String {
    text(|out| write_civil(out, t, b' '))
}

/// Reads a datetime column of `SQLite` as Django does: what [`to_sqlite`] makes, and what people
/// write by hand: `T` for the space, short numbers, no seconds, no time, fractions of any length,
/// offsets; UTC unless it says otherwise. Left out are the forms of ISO 8601 without dashes or with
/// weeks, which Django can read but nothing writes.
#[must_use]
pub fn from_sqlite(text: &str) -> Option<Timestamp> {
    DateReader::new(text).datetime()
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(40);
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A date and time of the proleptic Gregorian calendar.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    micros: i64,
}

impl Civil {
    fn of(t: Timestamp) -> Self {
        let seconds = t.0.div_euclid(MICROS);
        let (year, month, day) = date_of_day(seconds.div_euclid(DAY_S));
        Civil {
            year,
            month,
            day,
            second_of_day: seconds.rem_euclid(DAY_S),
            micros: t.0.rem_euclid(MICROS),
        }
    }
}

/// Years are counted from March here, so that the leap day is the last one of a year.
const DAYS_IN_400_YEARS: i64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970.
const EPOCH_DAY: i64 = 719_468;

/// Year, month and day of a day counted from the Unix epoch.
fn date_of_day(day: i64) -> (i64, i64, i64) {
    let era = (day + EPOCH_DAY).div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = (day + EPOCH_DAY).rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    (400 * era + year_of_era + i64::from(month <= 2), month, day)
}

/// Returns the day, counted from the Unix epoch, of a date; the inverse of [`date_of_day`].
fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * DAYS_IN_400_YEARS + day_of_era - EPOCH_DAY
}

fn write_civil(out: &mut Vec<u8>, t: Timestamp, separator: u8) {
    let civil = Civil::of(t);
    write_number::<4>(out, civil.year);
    out.push(b'-');
    write_number::<2>(out, civil.month);
    out.push(b'-');
    write_number::<2>(out, civil.day);
    out.push(separator);
    write_clock(out, civil.second_of_day);
    out.push(b':');
    write_number::<2>(out, civil.second_of_day % 60);
    if civil.micros != 0 {
        out.push(b'.');
        write_number::<6>(out, civil.micros);
    }
}

fn write_offset(out: &mut Vec<u8>, offset_s: i64) {
    out.push(if offset_s < 0 { b'-' } else { b'+' });
    write_clock(out, offset_s.abs());
    if offset_s % 60 != 0 {
        out.push(b':');
        write_number::<2>(out, offset_s.abs() % 60);
    }
}

/// `HH:MM`.
fn write_clock(out: &mut Vec<u8>, seconds: i64) {
    write_number::<2>(out, seconds / 3600);
    out.push(b':');
    write_number::<2>(out, seconds / 60 % 60);
}

/// The last `N` decimal digits.
fn write_number<const N: usize>(out: &mut Vec<u8>, number: i64) {
    let mut number = number.unsigned_abs();
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    //! The answers of Python 3.11.7 and Django 5.2.5.

    use super::*;

    /// Returns the zone of the original.
    fn seoul() -> Zone {
        Zone::named("Asia/Seoul").expect("a zone of the database")
    }

    fn at(sqlite: &str) -> Timestamp {
        from_sqlite(sqlite).expect(sqlite)
    }

    fn wire(sqlite: &str) -> String {
        to_wire(at(sqlite), &seoul())
    }

    #[test]
    fn the_wire_has_six_digits_or_no_fraction_at_all() {
        assert_eq!(
            wire("2026-11-20 08:54:04.849273"),
            "2026-11-20T17:54:04.849273+09:00"
        );
        assert_eq!(
            wire("2026-11-20 08:54:04.000001"),
            "2026-11-20T17:54:04.000001+09:00"
        );
        assert_eq!(wire("2026-11-20 08:54:04"), "2026-11-20T17:54:04+09:00");
    }

    #[test]
    fn historic_offsets_apply() {
        assert_eq!(wire("1987-07-01 00:00:00"), "1987-07-01T10:00:00+10:00");
        assert_eq!(wire("1958-01-01 00:00:00"), "1958-01-01T08:30:00+08:30");
        assert_eq!(wire("1900-01-01 00:00:00"), "1900-01-01T08:27:52+08:27:52");
    }

    #[test]
    fn an_offset_of_zero_is_z() {
        let t = at("2026-11-20 08:54:04.849273");
        assert_eq!(to_wire(t, &Zone::utc()), "2026-11-20T08:54:04.849273Z");
    }

    #[test]
    fn offsets_west_of_greenwich_are_negative() {
        let newfoundland = Zone::named("America/St_Johns").expect("a zone");
        let text = to_wire(at("2026-01-01 00:00:00"), &newfoundland);
        assert_eq!(text, "2025-12-31T20:30:00-03:30");
    }

    #[test]
    fn what_the_zone_pushes_past_the_year_9999_is_out_of_range() {
        assert!(in_range(at("9999-12-31 14:59:59.999999"), &seoul()));
        assert!(!in_range(at("9999-12-31 15:00:00"), &seoul()));
        assert!(in_range(at("9999-12-31 23:59:59"), &Zone::utc()));
        let new_york = Zone::named("America/New_York").expect("a zone");
        assert!(!in_range(at("0001-01-01 00:00:00"), &new_york));
    }

    #[test]
    fn unknown_zones_are_not_found() {
        assert!(Zone::named("Asia/Pyeongyang").is_none());
        assert!(Zone::named("").is_none());
    }

    #[test]
    fn sqlite_texts_survive_a_round_trip() {
        for text in [
            "2026-11-20 08:54:04.849273",
            "2024-02-29 23:59:59",
            "1969-12-31 23:59:59.999999",
            "1900-03-01 00:00:00",
            "0001-01-01 00:00:00.000001",
            "9999-12-31 23:59:59.999999",
        ] {
            assert_eq!(to_sqlite(at(text)), text);
        }
        assert_eq!(at("1970-01-01 00:00:01.5").micros(), 1_500_000);
    }

    #[test]
    fn sqlite_columns_written_by_hand_are_read_as_django_reads_them() {
        for (text, expected) in [
            ("2026-11-20", "2026-11-20 00:00:00"),
            ("2026-11-20 08", "2026-11-20 08:00:00"),
            ("2026-1-2 3:04", "2026-01-02 03:04:00"),
            ("2026-11-20T08:54:04Z", "2026-11-20 08:54:04"),
            (
                "2026-11-20T17:54:04.8492734567+09:00",
                "2026-11-20 08:54:04.849273",
            ),
            ("2026-11-20 17:54:04,5 +0900", "2026-11-20 08:54:04.500000"),
            ("2026-11-20 00:00:00-09", "2026-11-20 09:00:00"),
            ("1900-01-01 08:27:52+08:27:52", "1900-01-01 00:00:00"),
        ] {
            assert_eq!(to_sqlite(at(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn sqlite_columns_without_a_datetime_are_refused() {
        for text in [
            "",
            "now",
            "2026-02-29 00:00:00",
            "2026-13-01 00:00:00",
            "0000-01-01 00:00:00",
            "2026-11-20 24:00:00",
            "2026-11-20 08:60:00",
            "2026-11-20 08:54:60",
            "2026-11-20 08:54:04 +24:00",
            "2026-11-20 08:54:04x",
        ] {
            assert_eq!(from_sqlite(text), None, "{text:?}");
        }
    }
}
