//! Times as the server writes and reads them.

use std::time::Duration;

use crate::util::clock::{millis_up, wall_nanos};
use crate::wire::{date_of, days_since_1970};

const DAY: i64 = 86_400;
/// 2026-01-01, where a clock that was never set starts.
const FIRST: i64 = 1_767_225_600_000_000;

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(pub(super) i64);

impl Micros {
    /// Reads the clock.
    pub(super) fn now() -> Self {
        let since_start = || FIRST.saturating_add(i64::try_from(millis_up()).unwrap_or(0).saturating_mul(1_000));
        Micros(wall_nanos().map_or_else(since_start, |nanos| nanos / 1_000))
    }

    /// Returns the time at `later`. Saturates.
    pub(super) fn plus(self, later: Duration) -> Self {
        Micros(self.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the time at `earlier`. Saturates.
    pub(super) fn minus(self, earlier: Duration) -> Self {
        Micros(self.0.saturating_sub(i64::try_from(earlier.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Returns the milliseconds since 1970.
    pub(super) fn millis(self) -> i64 {
        self.0 / 1_000
    }

    /// Formats the time as Go does (RFC 3339, without zeros at the fraction's end): `2026-11-29T15:07:59.60049Z`.
    pub(super) fn rfc3339(self) -> String {
        let (year, month, day, second) = self.civil();
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}Z", self.fraction())
    }

    /// Formats the time as Postgres does: `2026-11-29 15:07:15.61628+00`.
    pub(super) fn postgres(self) -> String {
        self.rfc3339().replace('T', " ").replace('Z', "+00")
    }

    /// Formats the time for the header `Date`, <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7>.
    pub(super) fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, second) = self.civil();
        let weekday = self.0.div_euclid(1_000_000).div_euclid(DAY).rem_euclid(7);
        let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
        let (weekday, month) = (name(&DAYS, weekday).unwrap_or("Thu"), name(&MONTHS, month - 1).unwrap_or("Jan"));
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    fn fraction(self) -> String {
        let micros = self.0.rem_euclid(1_000_000);
        if micros == 0 {
            return String::new();
        }
        format!(".{micros:06}").trim_end_matches('0').to_owned()
    }

    /// Returns year, month, day, and the second of the day.
    fn civil(self) -> (i64, i64, i64, i64) {
        let seconds = self.0.div_euclid(1_000_000);
        let (year, month, day) = date_of(seconds.div_euclid(DAY));
        (year, month, day, seconds.rem_euclid(DAY))
    }
}

/// Reads a time as strictly as Go's `time.RFC3339Nano`: with a zone, `T`, and upper case.
pub(super) fn parse_rfc3339(text: &str) -> Option<Micros> {
    let (date, rest) = text.split_once('T')?;
    let number = |text: &str, digits: usize| -> Option<i64> {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let zone = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.split(':');
    let (hour, minute, second) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let offset = match zone {
        "Z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            sign * (number(hours, 2)? * 3_600 + number(minutes, 2)? * 60)
        }
    };
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !in_range || parts.next().is_some() || clock.next().is_some() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let micros = number(&format!("{fraction:0<9}"), 9)? / 1_000;
    let seconds = days_since_1970(year, month, day) * DAY + hour * 3_600 + minute * 60 + second - offset;
    Some(Micros(seconds * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_the_server_does() {
        let time = parse_rfc3339("2026-11-29T15:07:59.60049Z").unwrap();
        assert_eq!(time.rfc3339(), "2026-11-29T15:07:59.60049Z");
        assert_eq!(time.postgres(), "2026-11-29 15:07:59.60049+00");
        assert_eq!(time.http_date(), "Sun, 29 Nov 2026 15:07:59 GMT");
        assert_eq!(parse_rfc3339("2026-11-29T16:07:59.600490999+01:00"), Some(time));
        assert_eq!(Micros(0).rfc3339(), "1970-01-01T00:00:00Z");
        for bad in ["nope", "2026-01-01T00:00:00", "2026-11-29T15:00:00 00:00", "2026-13-01T00:00:00Z", "T", "ÄT0:0:0Z"]
        {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
