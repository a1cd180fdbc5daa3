//! The delivery that this thread makes: which row it is, and the failure that its verdict was made of.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;

thread_local! {
    static CURRENT: RefCell<Option<CurrentDelivery>> = const { RefCell::new(None) };
}

/// A call of the callback.
struct CurrentDelivery {
    /// Id of the row.
    id: Arc<str>,
    /// The last failure that the callback asked to be tried again after.
    failure: Option<Error>,
}

/// Calls `body`, which does not unwind, as the delivery of row `id`. Returns its result, and the failure that was recorded
/// last.
///
/// A callback may poll another inbox: the outer delivery is the current one again afterwards.
pub(super) fn run<T>(id: &Arc<str>, body: impl FnOnce() -> T) -> (T, Option<Error>) {
    let outer = replace(Some(CurrentDelivery { id: id.clone(), failure: None }));
    let result = body();
    let ended = replace(outer);
    (result, ended.and_then(|delivery| delivery.failure))
}

/// Records a failure of the current delivery, if this thread makes one.
pub(super) fn set_failure(error: Error) {
    let earlier = CURRENT.try_with(|current| match &mut *current.borrow_mut() {
        Some(delivery) => delivery.failure.replace(error),
        None => None,
    });
    // Dropped here, where nothing is borrowed.
    drop(earlier);
}

/// Returns the name of the current delivery's message in a log line.
pub(super) fn subject() -> DeliverySubject {
    let id = CURRENT.try_with(|current| current.borrow().as_ref().map(|delivery| delivery.id.clone()));
    DeliverySubject(id.ok().flatten())
}

/// Replaces the current delivery. There is none in a thread whose thread-locals are gone.
fn replace(delivery: Option<CurrentDelivery>) -> Option<CurrentDelivery> {
    CURRENT.try_with(|current| current.replace(delivery)).ok().flatten()
}

/// The id of a row in quotes, or "a message" where no delivery is known, as on a thread of the user's.
pub(super) struct DeliverySubject(Option<Arc<str>>);

impl fmt::Display for DeliverySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(id) => write!(f, "{id:?}"),
            None => f.write_str("a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn inner_delivery_leaves_the_outer_one_as_it_was() {
        assert_eq!(subject().to_string(), "a message");
        set_failure(Error::new(ErrorKind::Connect, "of nobody"));
        let ((), failure) = run(&"outer".into(), || {
            set_failure(Error::new(ErrorKind::Connect, "of the outer"));
            let ((), inner) = run(&"inner".into(), || assert_eq!(subject().to_string(), "\"inner\""));
            assert!(inner.is_none());
            assert_eq!(subject().to_string(), "\"outer\"");
        });
        assert_eq!(failure.map(|error| error.to_string()).as_deref(), Some("of the outer"));
        assert_eq!(subject().to_string(), "a message");
    }
}
