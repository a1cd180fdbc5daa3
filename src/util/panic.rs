//! The panic boundary: the only place that catches panics.
//!
//! Under `panic = "abort"` nothing is caught, and a panic ends the process.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A panic that was caught. Its payload has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls `call` and catches a panic in it.
///
/// The caller answers for unwind safety: the locks of this crate are not poisoned, so what `call` changes under a lock
/// must be whole at each point where it can panic.
///
/// # Errors
///
/// [`Panicked`], after the payload was dropped. A payload may panic in its own `Drop`; that panic is caught too, and
/// its payload is leaked, because dropping it could panic again.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(second);
        }
        Panicked
    })
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics with another one of its kind when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }

    #[test]
    fn payload_that_panics_in_drop_does_not_escape() {
        assert_eq!(catch(|| 1), Ok(1));
        assert_eq!(catch(|| panic_any(Bomb)), Err::<(), _>(Panicked));
    }
}
