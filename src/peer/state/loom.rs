//! Every interleaving of threads that share a state. `util/single_flight/loom.rs` says how to run loom.

use ::loom::sync::Arc;
use ::loom::sync::atomic::AtomicBool;
use ::loom::sync::atomic::Ordering::{Acquire, Release};
use ::loom::thread;

use super::*;

#[test]
fn loom_invalidated_value_is_never_live_again() {
    ::loom::model(|| {
        let shared = Arc::new((EntryState::new(None), AtomicBool::new(false)));
        let writer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.0.invalidate();
                shared.1.store(true, Release);
            })
        };
        let visitor = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.0.visit();
            })
        };
        let (state, returned) = &*shared;
        // A thread that learns that the writer's call has returned sees the invalidation.
        if returned.load(Acquire) {
            assert!(!state.is_visited_record() && !state.visit() && !state.is_live());
        }
        writer.join().unwrap();
        visitor.join().unwrap();
        assert!(!state.is_visited_record() && !state.visit() && !state.is_live() && state.negative().is_none());
    });
}

#[test]
fn loom_sieve_loses_no_visit() {
    ::loom::model(|| {
        let state = Arc::new(EntryState::new(None));
        let visitor = {
            let state = state.clone();
            thread::spawn(move || assert!(state.visit()))
        };
        let taken = state.take_visited();
        visitor.join().unwrap();
        assert!(taken != state.take_visited(), "it is seen once");
        assert!(state.is_live() && !state.take_visited());
    });
}

/// Does what an entry does when its value is replaced.
#[test]
fn loom_visit_moves_to_the_new_value_or_came_after_it() {
    ::loom::model(|| {
        let states = Arc::new([EntryState::new(None), EntryState::new(Some(Negative::Absent))]);
        let visitor = {
            let states = states.clone();
            thread::spawn(move || states[0].visit())
        };
        let [old, new] = &*states;
        let visited = old.take_visited();
        if visited {
            new.visit();
        }
        old.invalidate();
        let was_live = visitor.join().unwrap();
        // A visit that the new value did not get is still on the old one: it came after the value was replaced.
        assert!(visited == new.take_visited() && (visited || old.take_visited()));
        assert!(was_live || !visited, "not live, but its visit was moved");
        assert_eq!((old.negative(), new.negative()), (None, Some(Negative::Absent)));
    });
}
