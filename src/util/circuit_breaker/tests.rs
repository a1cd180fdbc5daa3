use std::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// No jitter.
const MIDDLE: f64 = 0.5;

fn circuit() -> Circuit {
    Circuit::new(CircuitPolicy { threshold: 3, first_backoff: SECOND, max_backoff: 30 * SECOND })
}

fn peer(n: u32) -> PeerId {
    PeerId::parse(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
}

fn at(secs: u64) -> CoarseInstant {
    static START: once_cell::sync::Lazy<CoarseInstant> =
        once_cell::sync::Lazy::new(|| CoarseInstant::at(Instant::now()));
    START.plus(Duration::from_secs(secs))
}

fn state(circuit: &Circuit) -> CircuitState {
    circuit.observe().0
}

fn fail(circuit: &Circuit, now: CoarseInstant) {
    let permit = circuit.admit(peer(1), now, true).expect("leave");
    assert_eq!(permit.report(Report::Unanswered, MIDDLE), None);
}

fn opened(now: CoarseInstant) -> Circuit {
    let circuit = circuit();
    (0..3).for_each(|_| fail(&circuit, now));
    assert_eq!(circuit.observe(), (CircuitState::Open, 1));
    circuit
}

#[test]
fn after_one_unanswered_lookup_one_is_made_at_a_time() {
    let circuit = circuit();
    let (first, second) = (circuit.admit(peer(1), at(0), false), circuit.admit(peer(2), at(0), false));
    assert!(first.is_some() && second.is_some(), "closed, it lets all through");
    first.unwrap().report(Report::Unanswered, MIDDLE);
    assert_eq!(state(&circuit), CircuitState::Degraded);
    let only = circuit.admit(peer(3), at(0), false).expect("the one");
    assert!(!circuit.would_admit() && circuit.admit(peer(4), at(0), true).is_none());
    // One from before the first failure does not free the place of the one.
    second.unwrap().report(Report::Unanswered, MIDDLE);
    assert!(circuit.admit(peer(4), at(0), true).is_none());
    assert_eq!(only.report(Report::Answered, MIDDLE), Some(Duration::ZERO), "the first answer after an outage");
    assert!(circuit.is_closed() && circuit.would_admit());
}

#[test]
fn after_three_in_a_row_it_is_open_until_its_wait_is_over() {
    let circuit = opened(at(0));
    let nano = Duration::from_nanos(1);
    let (before, due) = (CoarseInstant::START.plus(at(1).since(CoarseInstant::START) - nano), at(1).plus(nano));
    assert!(circuit.admit(peer(2), at(0), true).is_none());
    assert!(circuit.admit(peer(2), before, true).is_none());
    assert!(circuit.admit(peer(2), due, false).is_none(), "the probe is a background thread's to make");
    let probe = circuit.admit(peer(2), due, true).expect("the probe");
    assert_eq!(state(&circuit), CircuitState::HalfOpen);
    assert!(circuit.admit(peer(3), at(9), true).is_none(), "one probe is enough");
    assert_eq!(probe.report(Report::Answered, MIDDLE), Some(due.since(at(0))), "as long as it lasted");
    assert!(circuit.is_closed());
}

/// What others ask of it, in each of its states: closed, open, and whether it would let one through.
#[test]
fn each_state_is_told_as_what_it_is() {
    let told = |circuit: &Circuit| (state(circuit), circuit.is_closed(), circuit.is_open(), circuit.would_admit());
    let circuit = circuit();
    assert_eq!(told(&circuit), (CircuitState::Closed, true, false, true));
    fail(&circuit, at(0));
    assert_eq!(told(&circuit), (CircuitState::Degraded, false, false, true));
    let only = circuit.admit(peer(1), at(0), true).unwrap();
    assert_eq!(told(&circuit), (CircuitState::Degraded, false, false, false));
    only.report(Report::Unanswered, MIDDLE);
    fail(&circuit, at(0));
    assert_eq!(told(&circuit), (CircuitState::Open, false, true, false));
    let probe = circuit.admit(peer(1), at(2), true).unwrap();
    assert_eq!(told(&circuit), (CircuitState::HalfOpen, false, true, false));
    probe.report(Report::Answered, MIDDLE);
    assert_eq!(told(&circuit), (CircuitState::Closed, true, false, true));
}

/// As after a fork: what was under way is so in the other process only.
#[test]
fn a_reset_leaves_nothing_under_way_and_nobody_to_probe_for() {
    let one = circuit();
    fail(&one, at(0));
    std::mem::forget(one.admit(peer(1), at(0), true));
    let open = opened(at(0));
    let probing = opened(at(0));
    std::mem::forget(probing.admit(peer(1), at(2), true));
    for circuit in [one, open, probing] {
        assert!(!circuit.would_admit());
        circuit.reset();
        assert!(circuit.is_closed() && circuit.would_admit());
        assert_eq!(circuit.next_probe(at(9)), NextProbe::Never);
        assert!(circuit.admit(peer(2), at(0), false).is_some());
    }
}

#[test]
fn an_answer_in_between_starts_the_count_anew() {
    let circuit = circuit();
    for _ in 0..5 {
        fail(&circuit, at(0));
        fail(&circuit, at(0));
        let ended = circuit.admit(peer(1), at(0), true).unwrap().report(Report::Answered, MIDDLE);
        assert!(ended.is_some() && circuit.is_closed());
    }
    let answered = circuit.admit(peer(1), at(0), true).unwrap().report(Report::Answered, MIDDLE);
    assert_eq!(answered, None, "there was no outage");
}

#[test]
fn each_wait_is_twice_the_one_before_up_to_the_longest_with_jitter() {
    let circuit = opened(at(0));
    let mut now = at(0);
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        let NextProbe::After(left) = circuit.next_probe(now) else { panic!("{:?}", circuit.next_probe(now)) };
        assert!((left.as_secs_f64() - wait as f64).abs() < 0.001, "{left:?}, not {wait} s");
        now = now.plus(left);
        assert_eq!(circuit.next_probe(now), NextProbe::Now(peer(1)));
        assert_eq!(circuit.admit(peer(1), now, true).unwrap().report(Report::Unanswered, MIDDLE), None);
    }
    assert_eq!(circuit.observe(), (CircuitState::Open, 1), "it opened once");
    for (random, factor) in [(0.0, 0.75), (1.0, 1.25)] {
        assert_eq!(jittered(8 * SECOND, random), (8 * SECOND).mul_f64(factor));
    }
}

#[test]
fn a_probe_is_for_whom_a_miss_asked_last() {
    let circuit = opened(at(0));
    assert_eq!(circuit.next_probe(at(2)), NextProbe::Now(peer(1)), "or else for whom the last lookup asked");
    assert!(circuit.admit(peer(7), at(0), false).is_none());
    assert_eq!(circuit.next_probe(at(2)), NextProbe::Now(peer(7)));
}

#[test]
fn a_registry_that_asks_for_patience_has_it_for_a_minute_at_most() {
    for (asked, held) in [(5, 5), (3_600, 60), (0, 1)] {
        let circuit = circuit();
        let ended = circuit.admit(peer(1), at(0), true).unwrap().report(Report::RetryAfter(asked * SECOND), MIDDLE);
        assert_eq!(ended, None);
        assert_eq!(state(&circuit), CircuitState::Open);
        assert!(circuit.admit(peer(1), at(held - 1), true).is_none());
        let answered = circuit.admit(peer(1), at(held + 1), true).unwrap().report(Report::Answered, MIDDLE);
        assert_eq!(answered, Some(Duration::from_secs(held + 1)), "to whoever asks, it is an outage");
    }
}

#[test]
fn an_outage_is_as_long_as_it_is_not_closed() {
    let circuit = circuit();
    circuit.admit(peer(1), at(5), true).unwrap().report(Report::Answered, MIDDLE);
    (10..13).for_each(|secs| fail(&circuit, at(secs)));
    assert_eq!(circuit.admit(peer(1), at(20), true).unwrap().report(Report::Unanswered, MIDDLE), None);
    let held = Report::RetryAfter(7 * SECOND);
    let ended = circuit.admit(peer(1), at(30), true).unwrap().report(held, MIDDLE);
    assert_eq!(ended, Some(20 * SECOND), "from the first that was not answered");
    let ended = circuit.admit(peer(1), at(40), true).unwrap().report(Report::Answered, MIDDLE);
    assert_eq!(ended, Some(10 * SECOND), "the wish to be left alone began another");
}

#[test]
fn late_reports_from_before_do_no_harm() {
    let circuit = circuit();
    let late: Vec<_> = (0..3).map(|_| circuit.admit(peer(1), at(0), true).unwrap()).collect();
    (0..3).for_each(|_| fail(&circuit, at(0)));
    let due = circuit.next_probe(at(0));
    let mut late = late.into_iter();
    late.next().unwrap().report(Report::Unanswered, MIDDLE);
    assert_eq!(circuit.next_probe(at(0)), due, "it opens no further");
    assert!(late.next().unwrap().report(Report::Answered, MIDDLE).is_some(), "an answer is an answer");
    assert!(circuit.is_closed());
    drop(late.next());
    assert_eq!(state(&circuit), CircuitState::Degraded, "a permit that was lost in a panic counts as unanswered");
}

#[test]
fn a_leave_that_was_not_used_is_there_for_the_next() {
    let circuit = circuit();
    fail(&circuit, at(0));
    circuit.admit(peer(1), at(0), true).unwrap().release();
    assert!(circuit.would_admit());
    let circuit = opened(at(0));
    circuit.admit(peer(1), at(2), true).unwrap().release();
    let again = circuit.admit(peer(1), at(2), true);
    assert!(again.is_some() && circuit.admit(peer(1), at(2), true).is_none());
}

#[test]
fn a_wait_counts_from_the_end_of_the_lookup() {
    let circuit = circuit();
    for _ in 0..3 {
        circuit.admit(peer(1), at(0), true).unwrap().after(2 * SECOND).report(Report::Unanswered, MIDDLE);
    }
    assert!(circuit.admit(peer(1), at(2), true).is_none());
    assert!(circuit.admit(peer(1), at(4), true).is_some());
}
