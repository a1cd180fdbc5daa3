//! Says series of failures in the log: each series once, and then less and less often.

use std::fmt::Arguments;

use super::{Error, ErrorKind};
use crate::util::clock::CoarseInstant;
use crate::util::failure_series::{FailureSeries, SeriesLine, Severity};
use crate::util::log_safe::log_safe;

/// The log of one kind of call: [`FailureSeries`] decides which failures are said. The others are logged at debug level.
///
/// Nothing is locked while it logs: a logger is the user's code, and may make the same call.
pub(crate) struct FailureLog {
    /// Target of the lines.
    target: &'static str,
    /// Beginning of each line, with the consequence of a failure: "inbox: nothing is delivered".
    heading: &'static str,
    /// Beginning of the line at the end of a series: "inbox: http://h answers again".
    ended: String,
    series: FailureSeries,
}

impl FailureLog {
    pub(crate) fn new(target: &'static str, heading: &'static str, ended: impl Into<String>) -> Self {
        FailureLog { target, heading, ended: ended.into(), series: FailureSeries::default() }
    }

    /// Logs a failure. `next` follows the error.
    pub(crate) fn failed(&self, severity: Severity, error: &Error, next: Arguments<'_>) {
        self.log(self.add(severity), error, next);
    }

    /// Adds a failure to the series. Returns the line that says it, for [`log`](Self::log).
    pub(crate) fn add(&self, severity: Severity) -> Option<SeriesLine> {
        self.series.add(severity, CoarseInstant::now())
    }

    /// Logs a failure that was added, at debug level without a `line`.
    pub(crate) fn log(&self, line: Option<SeriesLine>, error: &Error, next: Arguments<'_>) {
        let FailureLog { target, heading, .. } = *self;
        match line {
            None => log_safe!(debug, target: target, "{heading}: {error}{next}"),
            Some(SeriesLine { severity: Severity::Warning, .. }) => {
                log_safe!(warn, target: target, "{heading}: {error}{next}");
            }
            Some(SeriesLine { failures: 1, .. }) => log_safe!(error, target: target, "{heading}: {error}{next}"),
            Some(SeriesLine { failures, lasted, .. }) => {
                log_safe!(error, target: target, "{heading} for {lasted:.0?} ({failures} failures): {error}{next}");
            }
        }
    }

    /// Ends a series by a success. If a failure of it was said, so is its end: as a warning after an error, else at info
    /// level.
    pub(crate) fn succeeded(&self) {
        let line = self.series.end(CoarseInstant::now());
        let FailureLog { target, ended, .. } = self;
        let Some(SeriesLine { severity, failures, lasted }) = line else { return };
        let count = if failures == 1 { "1 failure".to_owned() } else { format!("{failures} failures") };
        match severity {
            Severity::Warning => log_safe!(info, target: target, "{ended}, after {count} in {lasted:.1?}"),
            Severity::Error => log_safe!(warn, target: target, "{ended}, after {count} in {lasted:.1?}"),
        }
    }
}

/// Returns the severity of a lookup that fails so. One peer's record may be at fault. A refused token concerns them all.
pub(crate) fn severity_of_lookup(error: &Error) -> Severity {
    if error.kind() == ErrorKind::Unauthorized { Severity::Error } else { Severity::Warning }
}

/// Returns the severity of a call for our own workspace that fails so.
///
/// It is an error where the call cannot succeed until somebody acts: a request or a token that is refused, a workspace that
/// is not registered, a certificate, a limit, this process.
pub(crate) fn severity(error: &Error) -> Severity {
    match (error.kind(), error.status()) {
        (_, Some(400 | 401 | 403 | 404)) => Severity::Error,
        (ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::Removed | ErrorKind::Config, _) => Severity::Error,
        (ErrorKind::Tls | ErrorKind::TooLarge | ErrorKind::Internal, _) => Severity::Error,
        _ => Severity::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_that_lasts_until_somebody_acts_is_an_error() {
        let of_status = |kind, status| severity(&Error::new(kind, "").with_status(status));
        for status in [400, 401, 403, 404] {
            assert_eq!(of_status(ErrorKind::Status, status), Severity::Error);
        }
        assert_eq!(of_status(ErrorKind::Status, 500), Severity::Warning);
        for kind in [ErrorKind::Connect, ErrorKind::Disconnected, ErrorKind::Timeout, ErrorKind::Malformed] {
            assert_eq!(severity(&Error::new(kind, "")), Severity::Warning);
        }
        for kind in [ErrorKind::Unauthorized, ErrorKind::Tls, ErrorKind::TooLarge, ErrorKind::Internal] {
            assert_eq!(severity(&Error::new(kind, "")), Severity::Error);
        }
    }
}
