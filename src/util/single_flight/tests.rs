use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use super::*;

const KEY: &str = "ops";

type Flights = SingleFlight<&'static str, u32>;

fn lead(flights: &Flights) -> Leader<'_, &'static str, u32> {
    match flights.join(KEY, || None::<u32>) {
        Joined::Leader(leader) => leader,
        _ => panic!("not the leader"),
    }
}

fn join_as_waiter(flights: &Flights) -> Arc<Flight<u32>> {
    match flights.join(KEY, || -> Option<u32> { panic!("asked for a stored answer while a lookup is in flight") }) {
        Joined::Waiter(flight) => flight,
        _ => panic!("not a waiter"),
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

#[test]
fn waiters_share_the_leaders_answer() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let joined = Barrier::new(9);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let flight = join_as_waiter(&flights);
                    joined.wait();
                    flight.wait(soon())
                })
            })
            .collect();
        joined.wait();
        assert_eq!(leader.complete(&7, |answer| *answer), Some(7));
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(7));
        }
    });
    assert!(matches!(flights.join(KEY, || Some(7)), Joined::Stored(7)));
}

#[test]
fn flight_is_found_until_it_ends() {
    let flights = Flights::new();
    assert!(flights.get(KEY).is_none());
    let leader = lead(&flights);
    let flight = flights.get(KEY).expect("the leader's flight");
    leader.complete(&7, |_| ());
    assert_eq!(flight.wait(soon()), Some(7));
    assert!(flights.get(KEY).is_none());
}

/// Of a list that was requested before a `forget`, no entry is stored, whichever key was forgotten.
#[test]
fn list_from_before_a_forget_is_not_stored_after_it() {
    let flights = Flights::new();
    for all in [false, true] {
        let epoch = flights.epoch();
        assert_eq!(flights.store_since(epoch, || 7), Some(7));
        if all {
            flights.forget_all(|| ())
        } else {
            flights.forget(KEY, || ())
        }
        assert_eq!(flights.store_since(epoch, || -> u32 { panic!("stored") }), None);
        assert_eq!(flights.store_since(flights.epoch(), || 8), Some(8));
    }
}

#[test]
fn panic_of_the_leader_releases_its_waiters_and_its_key() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let flight = join_as_waiter(&flights);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _leader = leader;
        panic!("in the lookup");
    }));
    assert!(panicked.is_err());
    assert_eq!(flight.wait(soon()), None);
    assert_eq!(lead(&flights).complete(&1, |answer| *answer), Some(1));
}

#[test]
fn panic_while_storing_releases_the_waiters() {
    let flights = Flights::new();
    let leader = lead(&flights);
    let flight = join_as_waiter(&flights);
    let panicked = catch_unwind(AssertUnwindSafe(|| leader.complete(&1, |_| panic!("in the cache"))));
    assert!(panicked.is_err());
    assert_eq!(flight.wait(soon()), None);
    lead(&flights);
}

#[test]
fn each_waiter_has_its_own_deadline() {
    let flights = Flights::new();
    let _leader = lead(&flights);
    assert_eq!(join_as_waiter(&flights).wait(Deadline::after(Duration::from_millis(1))), None);
}

#[test]
fn thread_leads_from_the_start_of_its_flights_to_their_ends() {
    let (flights, others) = (Flights::new(), Flights::new());
    assert!(!is_leading());
    let (leader, inner) = (lead(&flights), lead(&others));
    assert!(is_leading());
    thread::scope(|scope| scope.spawn(|| assert!(!is_leading())).join().unwrap());
    // A helper leads while it works for this thread.
    let work = as_leader(|| assert!(is_leading()));
    let helper = || {
        work();
        assert!(!is_leading());
    };
    thread::scope(|scope| scope.spawn(helper).join().unwrap());
    drop(join_as_waiter(&flights));
    inner.complete(&1, |_| ());
    assert!(is_leading(), "the outer one");
    drop(leader);
    assert!(!is_leading());
    // One that was forgotten leads until its end.
    let leader = lead(&flights);
    flights.forget_all(|| ());
    assert!(is_leading());
    leader.complete(&1, |_| ());
    assert!(!is_leading());
}

#[test]
fn forgotten_flight_stores_nothing_and_answers_its_waiters() {
    for all in [false, true] {
        let flights = Flights::new();
        let old = lead(&flights);
        let waiter = join_as_waiter(&flights);
        if all {
            flights.forget_all(|| ())
        } else {
            flights.forget(KEY, || ())
        }
        let new = lead(&flights);
        assert_eq!(old.complete(&1, |_| panic!("stored")), None::<()>);
        assert_eq!(waiter.wait(soon()), Some(1));
        assert_eq!(new.complete(&2, |answer| *answer), Some(2));
    }
}
