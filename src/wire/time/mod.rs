//! Times as RFC 3339 writes them.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;
use std::time::Duration;

const NANOS: i64 = 1_000_000_000;
/// The longest text that is read: nine digits of a fraction and an offset take 35.
const MAX_CHARS: usize = 64;

/// A moment, in nanoseconds since 1970: from 1678 to 2261.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// None that is read is before it.
    pub(crate) const EARLIEST: Timestamp = Timestamp(i64::MIN);
    /// None that is read is after it.
    pub(crate) const LATEST: Timestamp = Timestamp(i64::MAX);

    /// Reads `2026-04-30T12:00:00.123456Z`, or with an offset in place of the `Z`. ASCII digits, capital
    /// letters, a date that exists. Digits of a fraction beyond the ninth are left out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.as_bytes().split_at_checked(19)?;
        if text.len() > MAX_CHARS || [4, 7, 10, 13, 16].map(|at| date[at]) != *b"--T::" {
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
        let offset = match zone {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
                let (hours, minutes) = (number(hours)?, number(&[*m1, *m2])?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
            }
            _ => return None,
        };
        if fraction.is_empty() {
            return None;
        }
        let nanos =
            (0..9).fold(0, |nanos, at| nanos * 10 + fraction.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
        // In more digits than the sum has: of the first second that there is, the whole would be too far back.
        i64::try_from(i128::from(seconds) * i128::from(NANOS) + i128::from(nanos)).ok().map(Timestamp)
    }

    /// Its nanoseconds since 1970.
    pub(crate) fn nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    pub(crate) fn plus(self, time: Duration) -> Self {
        Timestamp(self.0.saturating_add(nanos(time)))
    }

    pub(crate) fn minus(self, time: Duration) -> Self {
        Timestamp(self.0.saturating_sub(nanos(time)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn number(digits: &[u8]) -> Option<i64> {
    let add = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
    digits.iter().try_fold(0, add)
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Its inverse, `civil_from_days`.
fn date_of(days: i64) -> (i64, i64, i64) {
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
        Timestamp::parse(text).map(|moment| moment.0 / NANOS)
    }

    #[test]
    fn times_are_read_as_the_platform_writes_them() {
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
    fn whatever_else_is_no_time() {
        for text in [
            "",
            "2026-04-30",
            "2026-04-30T12:00:00",
            "2026-04-30 12:00:00Z",
            "2026-04-30t12:00:00z",
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

    #[test]
    fn what_is_printed_is_read_again() {
        for days in (-100_000..100_000).step_by(31) {
            let moment = Timestamp(days * 86_400 * NANOS + 43_199_999_999_999);
            assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment), "{moment}");
        }
        for edge in [Timestamp::EARLIEST, Timestamp(i64::MIN + 1), Timestamp::LATEST] {
            assert_eq!(Timestamp::parse(&edge.to_string()), Some(edge), "{edge}");
        }
        let moment = Timestamp::parse("2026-04-30T12:00:00Z").unwrap();
        assert_eq!(moment.minus(Duration::from_secs(5)).to_string(), "2026-04-30T11:59:55.000000000Z");
        assert_eq!(moment.plus(Duration::from_nanos(1)).to_string(), "2026-04-30T12:00:00.000000001Z");
        assert_eq!((moment.plus(Duration::MAX), moment.minus(Duration::MAX).0 < 0), (Timestamp(i64::MAX), true));
    }
}
