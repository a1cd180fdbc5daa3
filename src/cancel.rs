//! Ending a send from another thread.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Ends a send from another thread, at once, whatever it is doing.
///
/// Its clones are one token. It stays cancelled: a send that starts with a cancelled token ends before
/// anything is sent. One token may be given to several sends.
///
/// ```
/// use a2a_blocking::CancelToken;
///
/// let token = CancelToken::new();
/// let held_elsewhere = token.clone();
/// held_elsewhere.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<State>>);

type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    cancelled: bool,
    hooks: Vec<(u64, Hook)>,
    next: u64,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Ends the sends that have this token. It does not wait for them.
    pub fn cancel(&self) {
        let hooks = {
            let mut state = self.0.lock();
            state.cancelled = true;
            std::mem::take(&mut state.hooks)
        };
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Whether [`cancel`](CancelToken::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.lock().cancelled
    }

    /// Has `hook` called when the token is cancelled, or now if it is, until the registration is dropped.
    pub(crate) fn register(&self, hook: impl Fn() + Send + Sync + 'static) -> Registration {
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            hook();
        } else {
            state.hooks.push((id, Arc::new(hook)));
        }
        Registration { token: self.clone(), id }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CancelToken({})", if self.is_cancelled() { "cancelled" } else { "open" })
    }
}

/// A hook's stay with a token.
pub(crate) struct Registration {
    token: CancelToken,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.token.0.lock().hooks.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn a_hook_is_called_once_and_not_after_its_registration() {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let hook = || {
            let calls = calls.clone();
            move || {
                calls.fetch_add(1, SeqCst);
            }
        };
        let _kept = token.register(hook());
        drop(token.register(hook()));
        token.cancel();
        token.cancel();
        assert_eq!(calls.load(SeqCst), 1);
        let _late = token.register(hook());
        assert_eq!(calls.load(SeqCst), 2, "a cancelled token calls at once");
    }
}
