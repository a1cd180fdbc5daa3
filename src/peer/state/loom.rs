//! Every interleaving of those who have a state: see `enrich/flight_loom.rs`.

use ::loom::sync::Arc;
use ::loom::sync::atomic::AtomicBool;
use ::loom::sync::atomic::Ordering::{Acquire, Release};
use ::loom::thread;

use super::*;

#[test]
fn loom_what_was_called_back_never_counts_again() {
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
        let (mark, returned) = &*shared;
        // Who hears that the call has returned is told no other than that.
        if returned.load(Acquire) {
            assert!(!mark.is_visited_record() && !mark.visit() && !mark.is_live());
        }
        writer.join().unwrap();
        visitor.join().unwrap();
        assert!(!mark.is_visited_record() && !mark.visit() && !mark.is_live() && mark.negative().is_none());
    });
}

#[test]
fn loom_no_visit_is_lost_to_the_sieve() {
    ::loom::model(|| {
        let mark = Arc::new(EntryState::new(None));
        let visitor = {
            let mark = mark.clone();
            thread::spawn(move || assert!(mark.visit()))
        };
        let taken = mark.take_visited();
        visitor.join().unwrap();
        assert!(taken != mark.take_visited(), "it is seen once");
        assert!(mark.is_live() && !mark.take_visited());
    });
}

/// As an entry does that files another answer.
#[test]
fn loom_a_visit_goes_over_to_what_takes_the_place_or_came_too_late_for_it() {
    ::loom::model(|| {
        let marks = Arc::new([EntryState::new(None), EntryState::new(Some(Negative::Absent))]);
        let visitor = {
            let marks = marks.clone();
            thread::spawn(move || marks[0].visit())
        };
        let [old, new] = &*marks;
        let visited = old.take_visited();
        if visited {
            new.visit();
        }
        old.invalidate();
        let counted = visitor.join().unwrap();
        // One that was told it counts, and no trace of it, was after the new one took over.
        assert!(visited == new.take_visited() && (visited || old.take_visited()));
        assert!(counted || !visited, "told no, and carried over");
        assert_eq!((old.negative(), new.negative()), (None, Some(Negative::Absent)));
    });
}
