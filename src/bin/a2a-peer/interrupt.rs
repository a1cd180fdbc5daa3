//! Ctrl-C.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, exit};

/// Has `end` called at the first Ctrl-C (SIGTERM and SIGHUP are the same to us), on a thread of its own. The second ends
/// the process at once: whatever it is that keeps us, it can wait no longer.
pub(crate) fn on_interrupt(end: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let asked = AtomicBool::new(false);
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            process::exit(exit::INTERRUPTED.into());
        }
        end();
    };
    ctrlc::set_handler(handler).map_err(|why| Failure::Internal(format!("Ctrl-C cannot be caught: {why}")))
}
