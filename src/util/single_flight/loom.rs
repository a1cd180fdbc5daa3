//! Every interleaving of those who share a lookup: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use std::time::Duration;

use ::loom::thread;

use super::*;

const PEER: &str = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";

/// What is filed, and how many lookups were made.
#[derive(Default)]
struct World {
    filed: Option<u32>,
    lookups: u32,
}

/// One caller: it leads, waits, or finds it filed. `lands`: whether its lookup ends, or panics.
fn call(flights: &SingleFlight<u32>, world: &Mutex<World>, lands: bool) -> Option<u32> {
    let peer = PeerId::parse(PEER).unwrap();
    match flights.join(peer, || world.lock().filed) {
        Joined::Known(answer) => Some(answer),
        Joined::Waiter(flight) => flight.wait(Deadline::after(Duration::from_secs(1))),
        Joined::Leader(leader) => {
            let answer = {
                let mut world = world.lock();
                world.lookups += 1;
                world.lookups
            };
            if !lands {
                // As a panic does.
                drop(leader);
                return None;
            }
            leader.complete(&answer, |answer| world.lock().filed = Some(*answer));
            Some(answer)
        }
    }
}

fn with_threads(threads: usize, lands: fn(usize) -> bool, after: fn(Vec<Option<u32>>, &World)) {
    let mut model = ::loom::model::Builder::new();
    // With three threads there are too many interleavings; most faults show with two preemptions.
    model.preemption_bound = (threads > 2).then_some(2);
    model.check(move || {
        let flights = ::loom::sync::Arc::new(SingleFlight::new());
        let world = ::loom::sync::Arc::new(Mutex::new(World::default()));
        let callers: Vec<_> = (0..threads)
            .map(|n| {
                let (flights, world) = (flights.clone(), world.clone());
                thread::spawn(move || call(&flights, &world, lands(n)))
            })
            .collect();
        let answers = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        after(answers, &world.lock());
        assert!(flights.under_way.lock().is_empty(), "nothing stays under way");
    });
}

#[test]
fn loom_callers_share_one_lookup_and_all_hear_of_it() {
    with_threads(
        3,
        |_| true,
        |answers, world| {
            assert_eq!((answers, world.lookups, world.filed), (vec![Some(1); 3], 1, Some(1)));
        },
    );
}

#[test]
fn loom_a_leader_that_panics_releases_its_waiters() {
    with_threads(
        2,
        |n| n != 0,
        |answers, world| {
            // The first panics if it leads; whoever came after it leads anew, or was released with nothing.
            assert!(world.lookups <= 2 && answers.iter().all(|answer| answer.is_none_or(|n| n <= 2)));
        },
    );
}

#[test]
fn loom_what_was_begun_before_a_forget_is_not_filed_after_it() {
    ::loom::model(|| {
        let flights = ::loom::sync::Arc::new(SingleFlight::new());
        let world = ::loom::sync::Arc::new(Mutex::new(World::default()));
        let caller = {
            let (flights, world) = (flights.clone(), world.clone());
            thread::spawn(move || call(&flights, &world, true))
        };
        let began = flights.forget(PeerId::parse(PEER).unwrap(), || {
            let mut world = world.lock();
            world.filed = None;
            world.lookups
        });
        assert_eq!(caller.join().unwrap(), Some(1));
        // Begun after it, the lookup is filed; begun before it, it is not.
        let world = world.lock();
        assert!(if began == 0 { true } else { world.filed.is_none() }, "begun before, filed after");
    });
}
