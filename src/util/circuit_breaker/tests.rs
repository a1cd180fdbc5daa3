use std::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// The random number that gives no jitter.
const MIDDLE: f64 = 0.5;

fn circuit() -> Circuit<u32> {
    Circuit::new(CircuitPolicy { threshold: 3, first_backoff: SECOND, max_backoff: 30 * SECOND })
}

fn at(secs: u64) -> CoarseInstant {
    static START: once_cell::sync::Lazy<CoarseInstant> =
        once_cell::sync::Lazy::new(|| CoarseInstant::at(Instant::now()));
    START.plus(Duration::from_secs(secs))
}

fn state(circuit: &Circuit<u32>) -> CircuitState {
    circuit.observe().0
}

fn fail(circuit: &Circuit<u32>, now: CoarseInstant) {
    let permit = circuit.admit(1, now, true).expect("a permit");
    assert_eq!(permit.report(Report::Unanswered, MIDDLE), None);
}

fn opened(now: CoarseInstant) -> Circuit<u32> {
    let circuit = circuit();
    (0..3).for_each(|_| fail(&circuit, now));
    assert_eq!(circuit.observe(), (CircuitState::Open, 1));
    circuit
}

#[test]
fn degraded_circuit_admits_one_lookup_at_a_time() {
    let circuit = circuit();
    let (first, second) = (circuit.admit(1, at(0), false), circuit.admit(2, at(0), false));
    assert!(first.is_some() && second.is_some(), "a closed circuit admits every lookup");
    first.unwrap().report(Report::Unanswered, MIDDLE);
    assert_eq!(state(&circuit), CircuitState::Degraded);
    let only = circuit.admit(3, at(0), false).expect("the single permit");
    assert!(!circuit.would_admit() && circuit.admit(4, at(0), true).is_none());
    // A lookup that was admitted before the first failure does not make room for another.
    second.unwrap().report(Report::Unanswered, MIDDLE);
    assert!(circuit.admit(4, at(0), true).is_none());
    assert_eq!(only.report(Report::Answered, MIDDLE), Some(Duration::ZERO), "the first answer after an outage");
    assert!(circuit.is_closed() && circuit.would_admit());
}

#[test]
fn circuit_opens_after_three_unanswered_lookups_until_its_backoff_has_passed() {
    let circuit = opened(at(0));
    let nano = Duration::from_nanos(1);
    let (before, due) = (CoarseInstant::START.plus(at(1).since(CoarseInstant::START) - nano), at(1).plus(nano));
    assert!(circuit.admit(2, at(0), true).is_none());
    assert!(circuit.admit(2, before, true).is_none());
    assert!(circuit.admit(2, due, false).is_none(), "a background thread makes the probe");
    let probe = circuit.admit(2, due, true).expect("the probe");
    assert_eq!(state(&circuit), CircuitState::HalfOpen);
    assert!(circuit.admit(3, at(9), true).is_none(), "one probe is enough");
    assert_eq!(probe.report(Report::Answered, MIDDLE), Some(due.since(at(0))), "the length of the outage");
    assert!(circuit.is_closed());
}

#[test]
fn accessors_match_each_state() {
    let view = |circuit: &Circuit<u32>| (state(circuit), circuit.is_closed(), circuit.is_open(), circuit.would_admit());
    let circuit = circuit();
    assert_eq!(view(&circuit), (CircuitState::Closed, true, false, true));
    fail(&circuit, at(0));
    assert_eq!(view(&circuit), (CircuitState::Degraded, false, false, true));
    let only = circuit.admit(1, at(0), true).unwrap();
    assert_eq!(view(&circuit), (CircuitState::Degraded, false, false, false));
    only.report(Report::Unanswered, MIDDLE);
    fail(&circuit, at(0));
    assert_eq!(view(&circuit), (CircuitState::Open, false, true, false));
    let probe = circuit.admit(1, at(2), true).unwrap();
    assert_eq!(view(&circuit), (CircuitState::HalfOpen, false, true, false));
    probe.report(Report::Answered, MIDDLE);
    assert_eq!(view(&circuit), (CircuitState::Closed, true, false, true));
}

/// As in the child of a fork, where the parent's lookups never report.
#[test]
fn reset_forgets_lookups_in_flight_and_the_probe_key() {
    let one = circuit();
    fail(&one, at(0));
    std::mem::forget(one.admit(1, at(0), true));
    let open = opened(at(0));
    let probing = opened(at(0));
    std::mem::forget(probing.admit(1, at(2), true));
    for circuit in [one, open, probing] {
        assert!(!circuit.would_admit());
        circuit.reset();
        assert!(circuit.is_closed() && circuit.would_admit());
        assert_eq!(circuit.next_probe(at(9)), NextProbe::Never);
        assert!(circuit.admit(2, at(0), false).is_some());
    }
}

#[test]
fn answer_resets_the_count_of_unanswered_lookups() {
    let circuit = circuit();
    for _ in 0..5 {
        fail(&circuit, at(0));
        fail(&circuit, at(0));
        let ended = circuit.admit(1, at(0), true).unwrap().report(Report::Answered, MIDDLE);
        assert!(ended.is_some() && circuit.is_closed());
    }
    let answered = circuit.admit(1, at(0), true).unwrap().report(Report::Answered, MIDDLE);
    assert_eq!(answered, None, "there was no outage");
}

#[test]
fn backoff_doubles_up_to_the_maximum_with_jitter() {
    let circuit = opened(at(0));
    let mut now = at(0);
    for backoff in [1, 2, 4, 8, 16, 30, 30] {
        let NextProbe::After(left) = circuit.next_probe(now) else { panic!("{:?}", circuit.next_probe(now)) };
        assert!((left.as_secs_f64() - backoff as f64).abs() < 0.001, "{left:?}, not {backoff} s");
        now = now.plus(left);
        assert_eq!(circuit.next_probe(now), NextProbe::Now(1));
        assert_eq!(circuit.admit(1, now, true).unwrap().report(Report::Unanswered, MIDDLE), None);
    }
    assert_eq!(circuit.observe(), (CircuitState::Open, 1), "it opened once");
    for (random, factor) in [(0.0, 0.75), (1.0, 1.25)] {
        assert_eq!(jittered(8 * SECOND, random), (8 * SECOND).mul_f64(factor));
    }
}

#[test]
fn probe_key_is_the_last_refused_key() {
    let circuit = opened(at(0));
    assert_eq!(circuit.next_probe(at(2)), NextProbe::Now(1), "without one, the first unanswered key");
    assert!(circuit.admit(7, at(0), false).is_none());
    assert_eq!(circuit.next_probe(at(2)), NextProbe::Now(7));
}

#[test]
fn retry_after_opens_the_circuit_for_at_most_a_minute() {
    for (asked, granted) in [(5, 5), (3_600, 60), (0, 1)] {
        let circuit = circuit();
        let ended = circuit.admit(1, at(0), true).unwrap().report(Report::RetryAfter(asked * SECOND), MIDDLE);
        assert_eq!(ended, None);
        assert_eq!(state(&circuit), CircuitState::Open);
        assert!(circuit.admit(1, at(granted - 1), true).is_none());
        let answered = circuit.admit(1, at(granted + 1), true).unwrap().report(Report::Answered, MIDDLE);
        assert_eq!(answered, Some(Duration::from_secs(granted + 1)), "it counts as an outage");
    }
}

#[test]
fn outage_lasts_while_the_circuit_is_not_closed() {
    let circuit = circuit();
    circuit.admit(1, at(5), true).unwrap().report(Report::Answered, MIDDLE);
    (10..13).for_each(|secs| fail(&circuit, at(secs)));
    assert_eq!(circuit.admit(1, at(20), true).unwrap().report(Report::Unanswered, MIDDLE), None);
    let retry_after = Report::RetryAfter(7 * SECOND);
    let ended = circuit.admit(1, at(30), true).unwrap().report(retry_after, MIDDLE);
    assert_eq!(ended, Some(20 * SECOND), "since the first unanswered lookup");
    let ended = circuit.admit(1, at(40), true).unwrap().report(Report::Answered, MIDDLE);
    assert_eq!(ended, Some(10 * SECOND), "`Retry-After` began another one");
}

#[test]
fn late_reports_do_not_reopen_the_circuit() {
    let circuit = circuit();
    let late: Vec<_> = (0..3).map(|_| circuit.admit(1, at(0), true).unwrap()).collect();
    (0..3).for_each(|_| fail(&circuit, at(0)));
    let due = circuit.next_probe(at(0));
    let mut late = late.into_iter();
    late.next().unwrap().report(Report::Unanswered, MIDDLE);
    assert_eq!(circuit.next_probe(at(0)), due, "the backoff is not extended");
    assert!(late.next().unwrap().report(Report::Answered, MIDDLE).is_some(), "a late answer closes it");
    assert!(circuit.is_closed());
    drop(late.next());
    assert_eq!(state(&circuit), CircuitState::Degraded, "a permit that a panic dropped counts as unanswered");
}

#[test]
fn released_permit_is_available_again() {
    let circuit = circuit();
    fail(&circuit, at(0));
    circuit.admit(1, at(0), true).unwrap().release();
    assert!(circuit.would_admit());
    let circuit = opened(at(0));
    circuit.admit(1, at(2), true).unwrap().release();
    let again = circuit.admit(1, at(2), true);
    assert!(again.is_some() && circuit.admit(1, at(2), true).is_none());
}

#[test]
fn backoff_counts_from_the_end_of_the_lookup() {
    let circuit = circuit();
    for _ in 0..3 {
        circuit.admit(1, at(0), true).unwrap().after(2 * SECOND).report(Report::Unanswered, MIDDLE);
    }
    assert!(circuit.admit(1, at(2), true).is_none());
    assert!(circuit.admit(1, at(4), true).is_some());
}
