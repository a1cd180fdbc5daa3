//! Every interleaving of lookups that the circuit admits: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use ::loom::sync::Arc;
use ::loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use ::loom::thread;

use super::*;

const KEY: u32 = 1;

fn circuit(threshold: u32) -> Circuit<u32> {
    let backoff = Duration::from_secs(1);
    Circuit::new(CircuitPolicy { threshold, first_backoff: backoff, max_backoff: backoff * 4 })
}

fn fail(circuit: &Circuit<u32>, now: CoarseInstant) {
    if let Some(permit) = circuit.admit(KEY, now, true) {
        permit.report(Report::Unanswered, 0.5);
    }
}

/// Asks for two permits at once, and asserts that at most one is in use at a time.
fn assert_one_at_a_time(circuit: fn() -> Circuit<u32>, now: CoarseInstant) {
    ::loom::model(move || {
        let shared = Arc::new((circuit(), AtomicUsize::new(0)));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (circuit, in_flight) = &*shared;
                    if let Some(permit) = circuit.admit(KEY, now, true) {
                        assert_eq!(in_flight.fetch_add(1, SeqCst), 0, "two at once");
                        in_flight.fetch_sub(1, SeqCst);
                        permit.report(Report::Unanswered, 0.5);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn loom_degraded_circuit_admits_one_lookup_at_a_time() {
    assert_one_at_a_time(
        || {
            let circuit = circuit(9);
            fail(&circuit, CoarseInstant::START);
            circuit
        },
        CoarseInstant::START,
    );
}

#[test]
fn loom_open_circuit_admits_one_probe_at_a_time() {
    assert_one_at_a_time(
        || {
            let circuit = circuit(1);
            fail(&circuit, CoarseInstant::START);
            circuit
        },
        CoarseInstant::START.plus(Duration::from_secs(2)),
    );
}

/// Permits are answered, not answered, and dropped by a panic, in any order.
#[test]
fn loom_circuit_admits_a_lookup_again_after_any_reports() {
    ::loom::model(|| {
        let circuit = Arc::new(circuit(2));
        let callers: Vec<_> = (0..3)
            .map(|n| {
                let circuit = circuit.clone();
                thread::spawn(move || {
                    let Some(permit) = circuit.admit(KEY, CoarseInstant::START, true) else { return };
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
        assert!(circuit.admit(KEY, later, true).is_some());
    });
}
