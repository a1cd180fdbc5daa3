//! Every interleaving of callers that share a lookup: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use std::time::Duration;

use ::loom::thread;

use super::*;

const KEY: &str = "ops";

type Flights = SingleFlight<&'static str, u32>;

/// The stored answer, and the number of lookups made.
#[derive(Default)]
struct Stored {
    answer: Option<u32>,
    lookups: u32,
}

/// Makes one call, which leads, waits or finds the answer stored. Where it leads, its lookup panics if `panics`.
fn call(flights: &Flights, store: &Mutex<Stored>, panics: bool) -> Option<u32> {
    match flights.join(KEY, || store.lock().answer) {
        Joined::Stored(answer) => Some(answer),
        Joined::Waiter(flight) => flight.wait(Deadline::after(Duration::from_secs(1))),
        Joined::Leader(leader) => {
            let answer = {
                let mut store = store.lock();
                store.lookups += 1;
                store.lookups
            };
            if panics {
                // An unwinding stack drops the leader.
                drop(leader);
                return None;
            }
            leader.complete(&answer, |answer| store.lock().answer = Some(*answer));
            Some(answer)
        }
    }
}

fn with_threads(threads: usize, panics: fn(usize) -> bool, check: fn(Vec<Option<u32>>, &Stored)) {
    let mut model = ::loom::model::Builder::new();
    // With three threads there are too many interleavings; most faults show with two preemptions.
    model.preemption_bound = (threads > 2).then_some(2);
    model.check(move || {
        let flights = ::loom::sync::Arc::new(SingleFlight::new());
        let store = ::loom::sync::Arc::new(Mutex::new(Stored::default()));
        let callers: Vec<_> = (0..threads)
            .map(|n| {
                let (flights, store) = (flights.clone(), store.clone());
                thread::spawn(move || call(&flights, &store, panics(n)))
            })
            .collect();
        let answers = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        check(answers, &store.lock());
        assert!(flights.in_flight.lock().is_empty(), "no lookup stays in flight");
    });
}

#[test]
fn loom_callers_share_one_lookup() {
    with_threads(
        3,
        |_| false,
        |answers, store| {
            assert_eq!((answers, store.lookups, store.answer), (vec![Some(1); 3], 1, Some(1)));
        },
    );
}

#[test]
fn loom_panicking_leader_releases_its_waiters() {
    with_threads(
        2,
        |n| n == 0,
        |answers, store| {
            // The first caller panics if it leads. The second then leads a new lookup, or was released with no answer.
            assert!(store.lookups <= 2 && answers.iter().all(|answer| answer.is_none_or(|n| n <= 2)));
        },
    );
}

#[test]
fn loom_lookup_from_before_a_forget_is_not_stored_after_it() {
    ::loom::model(|| {
        let flights = ::loom::sync::Arc::new(SingleFlight::new());
        let store = ::loom::sync::Arc::new(Mutex::new(Stored::default()));
        let caller = {
            let (flights, store) = (flights.clone(), store.clone());
            thread::spawn(move || call(&flights, &store, false))
        };
        let lookups_before = flights.forget(KEY, || {
            let mut store = store.lock();
            store.answer = None;
            store.lookups
        });
        assert_eq!(caller.join().unwrap(), Some(1));
        // A lookup that began after it is stored; one that began before it is not.
        assert!(lookups_before == 0 || store.lock().answer.is_none(), "begun before, stored after");
    });
}
