//! Fuzz target of the parser of times.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::time::Duration;

use once_cell::sync::Lazy;
use regex::Regex;

use super::Timestamp;

static FORM: Lazy<Regex> = Lazy::new(|| {
    let date = r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})";
    Regex::new(&format!(r"\A{date}(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{{2}})(?::?([0-9]{{2}}))?)?\z")).unwrap()
});
/// Matches the strict form of RFC 3339, with at most nine digits of a fraction.
static STRICT: Lazy<Regex> =
    Lazy::new(|| Regex::new(r"\A[0-9-]{10}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})\z").unwrap());
/// Matches the end of a text with a zone.
static ZONE: Lazy<Regex> = Lazy::new(|| Regex::new(r"(?:[Zz]|[+-][0-9:]+)\z").unwrap());

/// Returns the nanoseconds of a time, by a regular expression and a calendar that counts days year by year.
fn expected(text: &str) -> Option<i64> {
    let parts = FORM.captures(text).filter(|_| text.len() <= 64)?;
    let number = |n| parts.get(n).map_or(0, |part| part.as_str().parse::<i128>().unwrap());
    let [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(number);
    let leap = |year: i128| i128::from(year % 4 == 0 && year % 100 != 0 || year % 400 == 0);
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    let (hours, minutes) = (number(9), number(10));
    if day < 1 || day > *months.get(month)? || hour > 23 || minute > 59 || second > 60 || hours > 23 || minutes > 59 {
        return None;
    }
    let before: i128 = (0..year).map(|year| 365 + leap(year)).sum();
    let days = before + months[..month].iter().sum::<i128>() + day - 1;
    let offset = (hours * 60 + minutes) * if parts.get(8).is_some_and(|sign| sign.as_str() == "-") { -60 } else { 60 };
    // 719,528 days before 1970, year 0 began.
    let seconds = (days - 719_528) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    let fraction = parts.get(7).map_or("", |digits| digits.as_str());
    let nanos: i128 = format!("{fraction:0<9}")[..9].parse().unwrap();
    i64::try_from(seconds * 1_000_000_000 + nanos).ok()
}

/// Asserts that each line parses to the same time as by [`expected`], that the exact parser takes the strict
/// form alone, and that a printed time parses back.
pub fn time(data: &[u8]) {
    let texts = String::from_utf8_lossy(data);
    let times = texts.split('\n').filter_map(|text| {
        let time = Timestamp::parse(text);
        assert_eq!(time.map(Timestamp::nanos), expected(text), "{text:?}");
        assert_eq!(Timestamp::parse_exact(text), time.filter(|_| STRICT.is_match(text)), "{text:?}");
        let has_zone = text.get(19..).is_some_and(|rest| ZONE.is_match(rest));
        assert_eq!(Timestamp::lacks_zone(text), time.is_some() && !has_zone, "{text:?}");
        time
    });
    let times: Vec<Timestamp> = times.collect();
    for time in &times {
        let shown = time.to_string();
        assert!(Timestamp::parse(&shown) == Some(*time) && shown.len() == 30, "{shown}");
        for wait in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(5), Duration::MAX] {
            let (later, earlier) = (time.plus(wait), time.minus(wait));
            assert!(later >= *time && earlier <= *time);
            assert!(later.nanos() == i64::MAX || earlier == Timestamp::EARLIEST || later.minus(wait) == *time);
        }
    }
    // Printed times sort like the times.
    for pair in times.windows(2) {
        assert_eq!(pair[0].cmp(&pair[1]), pair[0].to_string().cmp(&pair[1].to_string()));
    }
}

/// Parses a time and returns its nanoseconds and its printed form, for a comparison with another implementation.
#[must_use]
pub fn moment(text: &str) -> Option<(i64, String)> {
    Timestamp::parse(text).map(|time| (time.nanos(), time.to_string()))
}
