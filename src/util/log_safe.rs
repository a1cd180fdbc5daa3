//! Logging that cannot panic, and whose lines nobody else can forge.

/// Logs at a level of the `log` crate, as in `log_safe!(warn, "text {value}")`. Catches a panic of the logger or of a
/// formatted value.
///
/// The line is shown as [`Untrusted`](crate::util::text::Untrusted): it is one line, whatever is formatted into it. A text
/// of others is given as `Untrusted`, too, which bounds its length. Nothing is formatted that is not logged.
///
/// The target is the module that calls it, unless one is given: `log_safe!(warn, target: "a", "text {value}")`.
macro_rules! log_safe {
    ($level:ident, target: $target:expr, $($words:tt)+) => {{
        // There is no other place to report the logger's panic to.
        let _ = crate::util::panic::catch(|| {
            log::$level!(target: $target, "{}", crate::util::text::Untrusted::line(format_args!($($words)+)));
        });
    }};
    ($level:ident, $($words:tt)+) => { log_safe!($level, target: module_path!(), $($words)+) };
}

pub(crate) use log_safe;
