//! Single flight: one lookup per key at a time, whose answer all callers share.
//!
//! Lock order: the lock of [`SingleFlight`], then that of the cache. It is held while an answer is stored or removed.
//! So a key is in flight or stored at every moment, and a lookup from before a `forget` cannot store its answer after
//! it. Nothing slow runs under the lock.
//!
//! A thread that leads a flight must not wait for one: see [`is_leading`].
//!
//! The name is that of Go's package: <https://pkg.go.dev/golang.org/x/sync/singleflight>.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::util::clock::Deadline;
use crate::util::sync::{Condvar, Mutex, thread_local, wait_while};

thread_local! {
    /// Number of flights, of any group, that this thread leads.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const block")]
    static LED: Cell<u32> = Cell::new(0);
}

/// Returns whether this thread leads a flight, of this group or another.
///
/// It must then wait for none. In the lookup it may call a logger or a token function, which may ask for a key again. For the
/// same key it would wait for itself. For another one its leader may wait for this thread.
pub(crate) fn is_leading() -> bool {
    LED.try_with(Cell::get).is_ok_and(|led| led > 0)
}

/// Returns `work` to be run on a helper thread, which leads a flight while this thread does.
///
/// This thread waits for its helper, so what the helper calls must not wait for this thread.
pub(crate) fn as_leader<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
    struct Scope(i32);
    impl Drop for Scope {
        fn drop(&mut self) {
            count_led(-self.0);
        }
    }
    let led = i32::from(is_leading());
    move || {
        count_led(led);
        let _scope = Scope(led);
        work()
    }
}

/// Adds to the number of flights that this thread leads. It stays as it is in a thread that is ending.
fn count_led(change: i32) {
    let _ = LED.try_with(|led| led.set(led.get().saturating_add_signed(change)));
}

/// The lookups in flight, by key.
pub(crate) struct SingleFlight<K, T> {
    in_flight: Mutex<HashMap<K, Arc<Flight<T>>>>,
    /// Number of calls of [`forget`](Self::forget) and [`forget_all`](Self::forget_all).
    epoch: AtomicU64,
}

impl<K: Copy + Eq + Hash, T: Clone> SingleFlight<K, T> {
    pub(crate) fn new() -> Self {
        SingleFlight { in_flight: Mutex::new(HashMap::new()), epoch: AtomicU64::new(0) }
    }

    /// Joins the flight of `key`, or starts one.
    ///
    /// Before it starts one, it asks `stored`: another thread may have stored the answer since the caller missed it.
    pub(crate) fn join<S>(&self, key: K, stored: impl FnOnce() -> Option<S>) -> Joined<'_, K, T, S> {
        let mut in_flight = self.in_flight.lock();
        if let Some(flight) = in_flight.get(&key) {
            return Joined::Waiter(flight.clone());
        }
        if let Some(answer) = stored() {
            return Joined::Stored(answer);
        }
        let flight = Arc::new(Flight { state: Mutex::new(FlightState::InFlight), ended: Condvar::new() });
        in_flight.insert(key, flight.clone());
        count_led(1);
        Joined::Leader(Leader { flights: self, flight, key, thread: PhantomData })
    }

    /// Returns the flight of `key`, if there is one.
    pub(crate) fn get(&self, key: K) -> Option<Arc<Flight<T>>> {
        self.in_flight.lock().get(&key).cloned()
    }

    /// Calls `remove`, which removes the stored answer, and keeps the flight of `key` from storing its own.
    ///
    /// Callers that wait for the flight still get its answer.
    pub(crate) fn forget<R>(&self, key: K, remove: impl FnOnce() -> R) -> R {
        let mut in_flight = self.in_flight.lock();
        in_flight.remove(&key);
        self.epoch.fetch_add(1, Relaxed);
        remove()
    }

    /// Like [`forget`](Self::forget), for all keys.
    pub(crate) fn forget_all<R>(&self, remove: impl FnOnce() -> R) -> R {
        let mut in_flight = self.in_flight.lock();
        in_flight.clear();
        self.epoch.fetch_add(1, Relaxed);
        remove()
    }

    /// Returns the current epoch, for [`store_since`](Self::store_since).
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Calls `store`, which stores the answers of many keys, unless any key was forgotten since `epoch`.
    pub(crate) fn store_since<R>(&self, epoch: u64, store: impl FnOnce() -> R) -> Option<R> {
        let _held = self.in_flight.lock();
        (self.epoch() == epoch).then(store)
    }
}

/// The role of a caller in a flight.
pub(crate) enum Joined<'a, K: Copy + Eq + Hash, T: Clone, S> {
    /// The caller makes the lookup.
    Leader(Leader<'a, K, T>),
    /// Another thread makes the lookup.
    Waiter(Arc<Flight<T>>),
    /// The answer was stored in between.
    Stored(S),
}

/// The duty to end a flight. Dropped without [`complete`](Self::complete), it releases the waiters with no answer.
pub(crate) struct Leader<'a, K: Copy + Eq + Hash, T: Clone> {
    flights: &'a SingleFlight<K, T>,
    flight: Arc<Flight<T>>,
    key: K,
    /// It stays in the thread that leads: not `Send`.
    thread: PhantomData<*const ()>,
}

impl<K: Copy + Eq + Hash, T: Clone> Leader<'_, K, T> {
    /// Returns the key of the flight.
    pub(crate) fn key(&self) -> K {
        self.key
    }

    /// Ends the flight with an answer: calls `store`, unless the key was forgotten meanwhile, and wakes the waiters.
    ///
    /// Returns the result of `store`, or `None` where it was not called.
    pub(crate) fn complete<R>(self, answer: &T, store: impl FnOnce(&T) -> R) -> Option<R> {
        let stored = {
            let mut in_flight = self.flights.in_flight.lock();
            self.is_registered(&in_flight).then(|| {
                let stored = store(answer);
                in_flight.remove(&self.key);
                stored
            })
        };
        self.flight.end(FlightState::Complete(answer.clone()));
        stored
    }

    /// Returns whether callers still find this flight. After a `forget`, the key may have another one.
    fn is_registered(&self, in_flight: &HashMap<K, Arc<Flight<T>>>) -> bool {
        in_flight.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Drop for Leader<'_, K, T> {
    fn drop(&mut self) {
        count_led(-1);
        let mut in_flight = self.flights.in_flight.lock();
        if self.is_registered(&in_flight) {
            in_flight.remove(&self.key);
        }
        drop(in_flight);
        self.flight.end(FlightState::Abandoned);
    }
}

/// One lookup in flight.
pub(crate) struct Flight<T> {
    state: Mutex<FlightState<T>>,
    ended: Condvar,
}

enum FlightState<T> {
    InFlight,
    Complete(T),
    /// The leader was dropped without an answer, as by a panic.
    Abandoned,
}

impl<T: Clone> Flight<T> {
    /// Blocks until the flight ends or the deadline passes. Returns its answer, if it has one by then.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<T> {
        let in_flight = |state: &FlightState<T>| matches!(state, FlightState::InFlight);
        let state = wait_while(&self.ended, self.state.lock(), in_flight, Some(deadline));
        match &*state {
            FlightState::Complete(answer) => Some(answer.clone()),
            FlightState::InFlight | FlightState::Abandoned => None,
        }
    }

    /// Ends the flight and wakes its waiters. Does nothing if it has ended already.
    fn end(&self, end: FlightState<T>) {
        let mut state = self.state.lock();
        if matches!(*state, FlightState::InFlight) {
            *state = end;
            self.ended.notify_all();
        }
    }
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests;

#[cfg(a2a_loom)]
#[cfg(test)]
mod loom;
