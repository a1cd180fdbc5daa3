//! Logging that cannot panic.

/// Logs at a level of the `log` crate, as in `log_safe!(warn, "text {value}")`. Catches a panic of the logger or of a
/// formatted value.
///
/// The target is the module that calls it.
macro_rules! log_safe {
    ($level:ident, $($words:tt)+) => {{
        // There is no other place to report the logger's panic to.
        let _ = crate::util::panic::catch(|| log::$level!($($words)+));
    }};
}

pub(crate) use log_safe;
