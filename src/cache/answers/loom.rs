//! Every interleaving of threads that count and one that sums up. `util/single_flight/loom.rs` says how to run loom.

use ::loom::thread;

use super::*;

/// Threads count and end while another one sums up twice: no sum goes down or is too large, and the last is exact.
#[test]
fn loom_no_answer_is_lost_or_counted_twice_when_its_thread_ends() {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let answers = ::loom::sync::Arc::new(Answers::new());
        let counters: Vec<_> = (0..2)
            .map(|_| {
                let answers = answers.clone();
                thread::spawn(move || {
                    let counts = answers.register();
                    counts.add_one(Answered::Fresh);
                    counts.add_one(Answered::Fresh);
                })
            })
            .collect();
        let first = answers.totals()[0];
        let second = answers.totals()[0];
        assert!(first <= second && second <= 4, "{first} {second}");
        counters.into_iter().for_each(|counter| counter.join().unwrap());
        assert!(answers.totals()[0] == 4 && answers.totals()[0] == 4);
    });
}

/// A thread that ended is moved to the past with all its counts, though only its reference count says that it ended.
#[test]
fn loom_ended_thread_has_left_all_its_counts() {
    ::loom::model(|| {
        let answers = ::loom::sync::Arc::new(Answers::new());
        let counts = answers.register();
        let counter = thread::spawn(move || {
            counts.add_one(Answered::Stale);
            drop(counts);
        });
        let seen = answers.totals()[1];
        let has_ended = answers.threads.lock().living.is_empty();
        assert!(!has_ended || seen == 1, "it has ended, and its answer is in the past");
        counter.join().unwrap();
        answers.add_one(Answered::Stale);
        assert_eq!(answers.totals(), [0, 2, 0, 0]);
    });
}
