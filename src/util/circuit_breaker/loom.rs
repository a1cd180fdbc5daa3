//! Every interleaving of those whom the circuit lets through: see `flight_loom.rs`.

use ::loom::sync::Arc;
use ::loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use ::loom::thread;

use super::*;

fn peer() -> PeerId {
    PeerId::parse("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap()
}

fn circuit(threshold: u32) -> Circuit {
    let wait = Duration::from_secs(1);
    Circuit::new(CircuitPolicy { threshold, first_backoff: wait, max_backoff: wait * 4 })
}

fn fail(circuit: &Circuit, now: CoarseInstant) {
    if let Some(permit) = circuit.admit(peer(), now, true) {
        permit.report(Report::Unanswered, 0.5);
    }
}

/// Two ask at once, in a state where one may: how many are under way together at the most.
fn most_at_once(circuit: fn() -> Circuit, now: CoarseInstant) {
    ::loom::model(move || {
        let shared = Arc::new((circuit(), AtomicUsize::new(0)));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (circuit, under_way) = &*shared;
                    if let Some(permit) = circuit.admit(peer(), now, true) {
                        assert_eq!(under_way.fetch_add(1, SeqCst), 0, "two at once");
                        under_way.fetch_sub(1, SeqCst);
                        permit.report(Report::Unanswered, 0.5);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn loom_after_a_failure_one_is_under_way_at_a_time() {
    most_at_once(
        || {
            let circuit = circuit(9);
            fail(&circuit, CoarseInstant::START);
            circuit
        },
        CoarseInstant::START,
    );
}

#[test]
fn loom_one_probe_is_made_at_a_time() {
    most_at_once(
        || {
            let circuit = circuit(1);
            fail(&circuit, CoarseInstant::START);
            circuit
        },
        CoarseInstant::START.plus(Duration::from_secs(2)),
    );
}

/// Passes that are answered, not answered and lost in a panic, in any order: it is never stuck.
#[test]
fn loom_it_lets_somebody_through_again_whatever_happens() {
    ::loom::model(|| {
        let circuit = Arc::new(circuit(2));
        let callers: Vec<_> = (0..3)
            .map(|n| {
                let circuit = circuit.clone();
                thread::spawn(move || {
                    let Some(permit) = circuit.admit(peer(), CoarseInstant::START, true) else { return };
                    match n {
                        0 => drop(permit),
                        1 => drop(permit.report(Report::Answered, 0.5)),
                        _ => drop(permit.report(Report::Unanswered, 0.5)),
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let later = CoarseInstant::START.plus(Duration::from_secs(100));
        assert!(circuit.admit(peer(), later, true).is_some());
    });
}
