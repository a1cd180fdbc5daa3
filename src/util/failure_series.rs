//! Decides which failures of a series are said in the log, so that none is silent and none floods it.

use std::time::Duration;

use crate::util::clock::CoarseInstant;
use crate::util::sync::Mutex;

/// Time after the first line of a series until the first reminder. It doubles with each line.
const FIRST_REMINDER: Duration = Duration::from_secs(60);
/// Longest time between two lines of a series that lasts.
const MAX_REMINDER: Duration = Duration::from_secs(3_600);

/// The severity of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// It may pass by itself.
    Warning,
    /// It lasts until somebody acts, or it has lasted for a minute.
    Error,
}

/// Consecutive failures of one kind of call, which end with a success.
///
/// Three kinds of failures are said. The first of a series is said at its own severity, unless an earlier series was said
/// within a minute. So is an error after nothing but warnings. A failure a minute after the first line is said as an
/// error, and so is one two minutes later, then four, and so on, at most an hour.
#[derive(Debug, Default)]
pub(crate) struct FailureSeries(Mutex<SeriesState>);

#[derive(Debug, Default)]
struct SeriesState {
    /// Number of failures since the last success.
    failures: u64,
    /// Number of those that were said.
    lines: u32,
    /// When the series began. `None` after a success.
    started: Option<CoarseInstant>,
    /// The last line, also one of an earlier series.
    last_line: Option<(CoarseInstant, Severity)>,
}

/// A line that says how a series of failures goes, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesLine {
    pub(crate) severity: Severity,
    /// Number of failures so far.
    pub(crate) failures: u64,
    /// Time since the first of them.
    pub(crate) lasted: Duration,
}

impl FailureSeries {
    /// Adds a failure. Returns the line that says it, or `None` if it is not to be said.
    pub(crate) fn add(&self, severity: Severity, now: CoarseInstant) -> Option<SeriesLine> {
        let state = &mut *self.0.lock();
        let started = *state.started.get_or_insert(now);
        state.failures += 1;
        let wait = (FIRST_REMINDER * 2_u32.saturating_pow(state.lines.saturating_sub(1)).min(60)).min(MAX_REMINDER);
        let (is_due, is_worse) = match state.last_line {
            None => (true, true),
            Some((at, said)) => (now.since(at) >= wait, severity > said),
        };
        if !is_due && !is_worse {
            return None;
        }
        let severity = if is_due && state.lines > 0 { Severity::Error } else { severity };
        state.lines += 1;
        state.last_line = Some((now, severity));
        Some(SeriesLine { severity, failures: state.failures, lasted: now.since(started) })
    }

    /// Ends the series by a success. Returns the line that says so, with the severity of the last one, or `None` if
    /// nothing of the series was said.
    pub(crate) fn end(&self, now: CoarseInstant) -> Option<SeriesLine> {
        let state = &mut *self.0.lock();
        let (failures, lines) = (std::mem::take(&mut state.failures), std::mem::take(&mut state.lines));
        let lasted = now.since(state.started.take()?);
        let (_, severity) = state.last_line.filter(|_| lines > 0)?;
        Some(SeriesLine { severity, failures, lasted })
    }
}

#[cfg(test)]
mod tests {
    use super::Severity::{Error, Warning};
    use super::*;

    fn at(seconds: u64) -> CoarseInstant {
        CoarseInstant::START.plus(Duration::from_secs(seconds))
    }

    /// Returns the seconds and severities of the lines of a series with a failure each second until `end`.
    fn lines(severity: Severity, end: u64) -> Vec<(u64, Severity)> {
        let series = FailureSeries::default();
        (0..end).filter_map(|second| Some((second, series.add(severity, at(second))?.severity))).collect()
    }

    #[test]
    fn first_failure_is_said_and_a_series_that_lasts_becomes_an_error() {
        let minutes = [0, 1, 3, 7, 15, 31, 63, 123, 183].map(|minute| minute * 60);
        for severity in [Warning, Error] {
            let expected = minutes.map(|second| (second, if second == 0 { severity } else { Error }));
            assert_eq!(lines(severity, 184 * 60), expected);
        }
    }

    #[test]
    fn error_after_warnings_is_said_at_once() {
        let series = FailureSeries::default();
        let add = |severity, second| series.add(severity, at(second)).map(|line| (line.severity, line.failures));
        assert_eq!(add(Warning, 0), Some((Warning, 1)));
        assert_eq!(add(Warning, 5), None);
        assert_eq!(add(Error, 10), Some((Error, 3)));
        assert_eq!((add(Error, 15), add(Warning, 20)), (None, None));
    }

    #[test]
    fn end_is_said_if_a_failure_was_and_short_series_are_said_once_a_minute() {
        let series = FailureSeries::default();
        assert_eq!(series.end(at(0)), None);
        let mut said = Vec::new();
        for second in (0..180).step_by(2) {
            let line = series.add(Warning, at(second));
            let end = series.end(at(second + 1));
            assert_eq!(line.is_some(), end.is_some());
            if let Some(end) = end {
                let expected = SeriesLine { severity: Warning, failures: 1, lasted: end.lasted };
                assert_eq!((end, end.lasted.as_secs_f64().round()), (expected, 1.0));
                said.push(second);
            }
        }
        assert_eq!(said, [0, 60, 120]);
    }
}
