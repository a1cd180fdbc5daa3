//! One lookup per peer at a time: whoever asks meanwhile waits for it and shares its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::peer::PeerId;
use crate::util::clock::Deadline;
use crate::util::sync::{Condvar, Mutex, wait_while};

/// The lookups under way.
///
/// Its lock is taken before the cache's, and held while an answer is filed or forgotten: so there is no
/// moment in which a peer is neither under way nor filed, and none in which a lookup from before a
/// `forget` can still file. Nothing slow happens under it.
pub(crate) struct SingleFlight<T> {
    under_way: Mutex<HashMap<PeerId, Arc<Flight<T>>>>,
    /// How often something was forgotten.
    epoch: AtomicU64,
}

/// One lookup under way.
pub(crate) struct Flight<T> {
    state: Mutex<State<T>>,
    ended: Condvar,
}

enum State<T> {
    UnderWay,
    Landed(T),
    /// The leader's thread panicked.
    Abandoned,
}

/// The part that a caller has in a flight.
pub(crate) enum Joined<'a, T: Clone, K> {
    /// It has to make the lookup.
    Leader(Leader<'a, T>),
    /// Another thread makes it.
    Waiter(Arc<Flight<T>>),
    /// The answer was filed in between.
    Known(K),
}

/// The duty to end a flight. Dropped without having landed, it releases the waiters with nothing.
pub(crate) struct Leader<'a, T: Clone> {
    flights: &'a SingleFlight<T>,
    flight: Arc<Flight<T>>,
    peer: PeerId,
}

impl<T: Clone> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        SingleFlight { under_way: Mutex::new(HashMap::new()), epoch: AtomicU64::new(0) }
    }

    /// Joins the peer's flight, or starts it unless the answer is `known` by now.
    pub(crate) fn join<K>(&self, peer: PeerId, known: impl FnOnce() -> Option<K>) -> Joined<'_, T, K> {
        let mut under_way = self.under_way.lock();
        if let Some(flight) = under_way.get(&peer) {
            return Joined::Waiter(flight.clone());
        }
        if let Some(answer) = known() {
            return Joined::Known(answer);
        }
        let flight = Arc::new(Flight { state: Mutex::new(State::UnderWay), ended: Condvar::new() });
        under_way.insert(peer, flight.clone());
        Joined::Leader(Leader { flights: self, flight, peer })
    }

    /// The peer's flight, if one is under way.
    pub(crate) fn under_way(&self, peer: PeerId) -> Option<Arc<Flight<T>>> {
        self.under_way.lock().get(&peer).cloned()
    }

    /// Keeps the peer's flight under way, if any, from filing its answer, and removes what is filed.
    pub(crate) fn forget<R>(&self, peer: PeerId, remove: impl FnOnce() -> R) -> R {
        let mut under_way = self.under_way.lock();
        under_way.remove(&peer);
        self.epoch.fetch_add(1, Relaxed);
        remove()
    }

    /// The same for all peers.
    pub(crate) fn forget_all<R>(&self, remove: impl FnOnce() -> R) -> R {
        let mut under_way = self.under_way.lock();
        under_way.clear();
        self.epoch.fetch_add(1, Relaxed);
        remove()
    }

    /// A mark for [`unless_forgotten`](SingleFlight::unless_forgotten).
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Files what came for many peers at once, unless any was forgotten since the mark was taken.
    pub(crate) fn unless_forgotten<R>(&self, mark: u64, file: impl FnOnce() -> R) -> Option<R> {
        let _held = self.under_way.lock();
        (self.epoch() == mark).then(file)
    }
}

impl<T: Clone> Leader<'_, T> {
    /// Ends the flight with an answer: files it, unless the peer was forgotten meanwhile, and wakes the
    /// waiters.
    pub(crate) fn complete<R>(self, answer: &T, file: impl FnOnce(&T) -> R) -> Option<R> {
        let filed = {
            let mut under_way = self.flights.under_way.lock();
            self.is_known(&under_way).then(|| {
                let filed = file(answer);
                under_way.remove(&self.peer);
                filed
            })
        };
        self.flight.end(State::Landed(answer.clone()));
        filed
    }

    fn is_known(&self, under_way: &HashMap<PeerId, Arc<Flight<T>>>) -> bool {
        under_way.get(&self.peer).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
    }
}

impl<T: Clone> Drop for Leader<'_, T> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        if self.is_known(&under_way) {
            under_way.remove(&self.peer);
        }
        drop(under_way);
        self.flight.end(State::Abandoned);
    }
}

impl<T: Clone> Flight<T> {
    /// The answer, if the flight ends with one by the deadline.
    pub(crate) fn wait(&self, deadline: Deadline) -> Option<T> {
        let under_way = |state: &State<T>| matches!(state, State::UnderWay);
        let state = wait_while(&self.ended, self.state.lock(), under_way, Some(deadline));
        match &*state {
            State::Landed(answer) => Some(answer.clone()),
            State::UnderWay | State::Abandoned => None,
        }
    }

    /// Only the first end counts.
    fn end(&self, end: State<T>) {
        let mut state = self.state.lock();
        if matches!(*state, State::UnderWay) {
            *state = end;
            self.ended.notify_all();
        }
    }
}

#[cfg(not(a2a_loom))]
#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn peer() -> PeerId {
        PeerId::parse("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap()
    }

    fn lead(flights: &SingleFlight<u32>) -> Leader<'_, u32> {
        match flights.join(peer(), || None::<u32>) {
            Joined::Leader(leader) => leader,
            _ => panic!("not the leader"),
        }
    }

    fn wait(flights: &SingleFlight<u32>) -> Arc<Flight<u32>> {
        match flights.join(peer(), || -> Option<u32> { panic!("asked what is known while a flight is under way") }) {
            Joined::Waiter(flight) => flight,
            _ => panic!("not a waiter"),
        }
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn waiters_share_the_leaders_answer() {
        let flights = SingleFlight::new();
        let leader = lead(&flights);
        let boarded = Barrier::new(9);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let flight = wait(&flights);
                        boarded.wait();
                        flight.wait(soon())
                    })
                })
                .collect();
            boarded.wait();
            assert_eq!(leader.complete(&7, |answer| *answer), Some(7));
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Some(7));
            }
        });
        assert!(matches!(flights.join(peer(), || Some(7)), Joined::Known(7)));
    }

    #[test]
    fn a_flight_is_under_way_until_it_ends() {
        let flights = SingleFlight::new();
        assert!(flights.under_way(peer()).is_none());
        let leader = lead(&flights);
        let aboard = flights.under_way(peer()).expect("the leader's");
        leader.complete(&7, |_| ());
        assert_eq!(aboard.wait(soon()), Some(7));
        assert!(flights.under_way(peer()).is_none());
    }

    /// Of a list of peers that was asked for before a `forget` nothing is filed, whoever was forgotten.
    #[test]
    fn what_was_asked_for_before_anything_was_forgotten_is_not_filed_after() {
        let flights = SingleFlight::<u32>::new();
        for all in [false, true] {
            let begun = flights.epoch();
            assert_eq!(flights.unless_forgotten(begun, || 7), Some(7));
            if all {
                flights.forget_all(|| ())
            } else {
                flights.forget(peer(), || ())
            }
            assert_eq!(flights.unless_forgotten(begun, || -> u32 { panic!("filed") }), None);
            assert_eq!(flights.unless_forgotten(flights.epoch(), || 8), Some(8));
        }
    }

    #[test]
    fn a_panicking_leader_releases_its_waiters_and_its_place() {
        let flights = SingleFlight::new();
        let leader = lead(&flights);
        let flight = wait(&flights);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _leader = leader;
            panic!("in the lookup");
        }));
        assert!(panicked.is_err());
        assert_eq!(flight.wait(soon()), None);
        assert_eq!(lead(&flights).complete(&1, |answer| *answer), Some(1));
    }

    #[test]
    fn a_panic_while_filing_releases_them_too() {
        let flights = SingleFlight::new();
        let leader = lead(&flights);
        let flight = wait(&flights);
        let panicked = catch_unwind(AssertUnwindSafe(|| leader.complete(&1, |_| panic!("in the cache"))));
        assert!(panicked.is_err());
        assert_eq!(flight.wait(soon()), None);
        lead(&flights);
    }

    #[test]
    fn a_waiter_has_a_deadline_of_its_own() {
        let flights = SingleFlight::new();
        let _leader = lead(&flights);
        assert_eq!(wait(&flights).wait(Deadline::after(Duration::from_millis(1))), None);
    }

    #[test]
    fn a_forgotten_flight_files_nothing_and_still_answers_those_aboard() {
        for all in [false, true] {
            let flights = SingleFlight::new();
            let old = lead(&flights);
            let aboard = wait(&flights);
            if all {
                flights.forget_all(|| ())
            } else {
                flights.forget(peer(), || ())
            }
            let new = lead(&flights);
            assert_eq!(old.complete(&1, |_| panic!("filed")), None::<()>);
            assert_eq!(aboard.wait(soon()), Some(1));
            assert_eq!(new.complete(&2, |answer| *answer), Some(2));
        }
    }
}

#[cfg(a2a_loom)]
#[cfg(test)]
mod loom;
