//! Points in time in the format of RFC 3339, and as others write them.
//!
//! This is the only place that decides which texts are times. The strict form is that of RFC 3339, section 5.6
//! (<https://www.rfc-editor.org/rfc/rfc3339#section-5.6>): ASCII digits, a capital `T` and `Z`, a date that exists. The
//! section's notes allow lower-case letters and a space for the `T`. Postgres writes a space and `+00`
//! (<https://www.postgresql.org/docs/current/datatype-datetime.html>), ISO 8601's basic format `+0000`, and Python's
//! `datetime.isoformat` no zone for a time without one.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;
use std::time::Duration;

const NANOS: i64 = 1_000_000_000;
/// Longest text that is read, in bytes. A text with nine digits of a fraction and an offset has 35.
const MAX_BYTES: usize = 64;
/// Number of digits of a fraction that a [`Timestamp`] can hold.
const MAX_DIGITS: usize = 9;

/// A point in time, in nanoseconds since 1970-01-01T00:00:00Z. It covers the years 1678 to 2261.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// Lower bound: no parsed time is before it.
    pub(crate) const EARLIEST: Timestamp = Timestamp(i64::MIN);

    /// Parses a time such as `2026-04-30T12:00:00.123456Z` or `2026-04-30 14:00:00+02`.
    ///
    /// Also reads a lower-case `t` and `z`, a space in place of the `T`, and offsets such as `+0200` and `+02`. A time
    /// without a zone is one in UTC. Digits of a fraction beyond the ninth are dropped. A leap second (`:60`) counts as
    /// the second after it.
    ///
    /// Returns `None` for any other format, and for a date or a time of day that does not exist. Also for a time
    /// outside of 1678 to 2261, and for a text of more than 64 bytes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        TimeText::read(text).map(|time| time.at)
    }

    /// Parses a time in the strict form, with at most nine digits of a fraction.
    ///
    /// For a text that is passed on: every reader of RFC 3339 takes the text for the parsed time.
    pub(crate) fn parse_exact(text: &str) -> Option<Self> {
        TimeText::read(text).filter(|time| time.is_strict && time.fraction_digits <= MAX_DIGITS).map(|time| time.at)
    }

    /// Returns whether a text is a time without a zone.
    pub(crate) fn lacks_zone(text: &str) -> bool {
        TimeText::read(text).is_some_and(|time| !time.has_zone)
    }

    /// Returns the nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// Returns the time `duration` later, or the latest one, in 2262, where that is out of range.
    pub(crate) fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(nanos(duration)))
    }

    /// Returns the time `duration` earlier, or [`EARLIEST`](Self::EARLIEST) where that is out of range.
    pub(crate) fn minus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_sub(nanos(duration)))
    }
}

/// A text that is a time, and how it is written.
struct TimeText {
    at: Timestamp,
    fraction_digits: usize,
    has_zone: bool,
    /// True if the text is in the strict form of RFC 3339.
    is_strict: bool,
}

impl TimeText {
    /// Reads a text, as [`Timestamp::parse`] does.
    fn read(text: &str) -> Option<Self> {
        let (date, rest) = text.as_bytes().split_at_checked(19)?;
        if text.len() > MAX_BYTES || [4, 7, 13, 16].map(|at| date[at]) != *b"--::" || !b"Tt ".contains(&date[10]) {
            return None;
        }
        let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..10])?);
        let (hour, minute, second) = (number(&date[11..13])?, number(&date[14..16])?, number(&date[17..19])?);
        // A leap second counts as the one after it.
        if day < 1 || day > days_of(year, month)? || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (fraction, zone) = match rest.split_first() {
            Some((b'.', rest)) => rest.split_at(rest.iter().take_while(|digit| digit.is_ascii_digit()).count()),
            _ => (&b"0"[..], rest),
        };
        if fraction.is_empty() {
            return None;
        }
        let nanos = (0..MAX_DIGITS)
            .fold(0, |nanos, at| nanos * 10 + fraction.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        let seconds = seconds - parse_offset(zone)?;
        // In 128 bits: for the earliest second, seconds times NANOS alone is below `i64::MIN`.
        let nanos = i64::try_from(i128::from(seconds) * i128::from(NANOS) + i128::from(nanos)).ok()?;
        Some(TimeText {
            at: Timestamp(nanos),
            fraction_digits: fraction.len(),
            has_zone: !zone.is_empty(),
            is_strict: date[10] == b'T' && matches!(zone, b"Z" | [_, _, _, b':', _, _]),
        })
    }
}

/// Writes RFC 3339 in UTC with nine digits of a fraction, which [`Timestamp::parse`] reads back without loss.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Parses ASCII digits, without a sign.
fn number(digits: &[u8]) -> Option<i64> {
    let add = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
    digits.iter().try_fold(0, add)
}

/// Parses `Z` or an offset such as `+02:00`, `+0200` or `+02`, and returns the seconds that it is ahead of UTC. No zone is
/// UTC.
fn parse_offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"" | b"Z" | b"z" => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (*sign, number(&[*h1, *h2])?, number(&[*m1, *m2])?)
        }
        [sign @ (b'+' | b'-'), h1, h2] => (*sign, number(&[*h1, *h2])?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((hours * 60 + minutes) * if sign == b'-' { -60 } else { 60 })
}

/// Returns the number of days of a month, or `None` for a month that does not exist.
fn days_of(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Howard Hinnant's `days_from_civil`: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
///
/// Years begin in March, so that the leap day is the last day of a year.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns year, month and day: the inverse of [`days_since_1970`], Hinnant's `civil_from_days`.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        Timestamp::parse(text).map(|time| time.0 / NANOS)
    }

    #[test]
    fn platform_times_are_parsed() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-04-30T12:00:00.123456Z"), Some(1_777_550_400));
        assert_eq!(seconds("2026-04-30T14:00:00+02:00"), Some(1_777_550_400));
        assert_eq!(seconds("2026-04-30T06:30:00.5-05:30"), Some(1_777_550_400));
        assert_eq!(seconds("2024-02-29T23:59:60Z"), Some(1_709_251_200));
        let at = |text| Timestamp::parse(text).unwrap();
        assert!(at("2026-04-30T12:00:00.1Z") > at("2026-04-30T12:00:00.099999999Z"));
        assert_eq!(at("2026-04-30T12:00:00.1234567899Z"), at("2026-04-30T12:00:00.123456789Z"));
    }

    #[test]
    fn other_formats_and_impossible_dates_are_refused() {
        for text in [
            "",
            "2026-04-30",
            "2026-04-30_12:00:00Z",
            "2026-04-30  12:00:00Z",
            "2026-04-30T12:00:00 Z",
            "2026-04-30T12:00:00 +00:00",
            "2026-04-30T12:00:00+",
            "2026-04-30T12:00:00+2",
            "2026-04-30T12:00:00+020",
            "2026-04-30T12:00:00+02:0",
            "2026-04-30T12:00:00+02:00:00",
            "2026-04-30T12:00:00UTC",
            "2026-04-30T12:00:00.",
            "2026-04-30T12:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-04-30T24:00:00Z",
            "2026-04-30T12:60:00Z",
            "2026-04-30T12:00:61Z",
            "2026-04-30T12:00:00.Z",
            "2026-04-30T12:00:00+2:00",
            "2026-04-30T12:00:00+24:00",
            "2026-04-30T12:00:00Z ",
            "2026-04-30T12:00:00Z\n[from root]",
            "２０２６-04-30T12:00:00Z",
            "+026-04-30T12:00:00Z",
            "1066-10-14T12:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text:?}");
        }
        assert_eq!(Timestamp::parse(&format!("2026-04-30T12:00:00.{}Z", "0".repeat(10_000))), None);
    }

    /// Each of them is noon in UTC.
    #[test]
    fn times_are_parsed_as_others_write_them() {
        for (text, has_zone) in [
            ("2026-04-30t12:00:00z", true),
            ("2026-04-30T12:00:00z", true),
            ("2026-04-30t12:00:00Z", true),
            ("2026-04-30 12:00:00Z", true),
            ("2026-04-30 12:00:00.000000+00", true),
            ("2026-04-30T12:00:00+00", true),
            ("2026-04-30T12:00:00+0000", true),
            ("2026-04-30T12:00:00-00:00", true),
            ("2026-04-30 14:00:00+02", true),
            ("2026-04-30T06:30:00.0-0530", true),
            ("2026-04-30T12:00:00", false),
            ("2026-04-30 12:00:00.0", false),
        ] {
            assert_eq!(seconds(text), Some(1_777_550_400), "{text}");
            assert_eq!(Timestamp::lacks_zone(text), !has_zone, "{text}");
            assert_eq!(Timestamp::parse_exact(text).is_some(), text.ends_with("-00:00"), "{text}");
        }
        assert!(!Timestamp::lacks_zone("2026-04-30") && !Timestamp::lacks_zone(""));
    }

    /// `fuzz.rs` compares the two parsers over all inputs.
    #[test]
    fn exact_parser_refuses_a_fraction_of_ten_digits() {
        for (fraction, is_exact) in [("", true), (".1", true), (".123456789", true), (".1234567890", false)] {
            for zone in ["Z", "+02:00"] {
                let text = format!("2026-04-30T12:00:00{fraction}{zone}");
                let time = Timestamp::parse(&text);
                assert!(time.is_some(), "{text}");
                assert_eq!(Timestamp::parse_exact(&text), time.filter(|_| is_exact), "{text}");
            }
        }
        assert_eq!(Timestamp::parse_exact("2026-02-30T12:00:00Z"), None);
        assert_eq!(Timestamp::parse_exact("2026-04-30T12:00:00."), None);
    }

    #[test]
    fn printed_time_parses_back() {
        for days in (-100_000..100_000).step_by(31) {
            let time = Timestamp(days * 86_400 * NANOS + 43_199_999_999_999);
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time), "{time}");
        }
        for edge in [Timestamp::EARLIEST, Timestamp(i64::MIN + 1), Timestamp(i64::MAX)] {
            assert_eq!(Timestamp::parse(&edge.to_string()), Some(edge), "{edge}");
        }
        let time = Timestamp::parse("2026-04-30T12:00:00Z").unwrap();
        assert_eq!(time.minus(Duration::from_secs(5)).to_string(), "2026-04-30T11:59:55.000000000Z");
        assert_eq!(time.plus(Duration::from_nanos(1)).to_string(), "2026-04-30T12:00:00.000000001Z");
        assert_eq!((time.plus(Duration::MAX), time.minus(Duration::MAX).0 < 0), (Timestamp(i64::MAX), true));
    }
}
