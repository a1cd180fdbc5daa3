//! Every interleaving of a cancellation: see `enrich/flight_loom.rs`.

use ::loom::sync::atomic::AtomicUsize;
use ::loom::sync::atomic::Ordering::SeqCst;
use ::loom::thread;

use super::*;

fn counted(token: &CancelToken, calls: &Arc<AtomicUsize>) -> Registration {
    let calls = calls.clone();
    token.register(move || {
        calls.fetch_add(1, SeqCst);
    })
}

#[test]
fn loom_a_hook_is_called_once_whoever_comes_first() {
    ::loom::model(|| {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let cancellers: Vec<_> = (0..2)
            .map(|_| {
                let token = token.clone();
                thread::spawn(move || token.cancel())
            })
            .collect();
        let _kept = counted(&token, &calls);
        cancellers.into_iter().for_each(|canceller| canceller.join().unwrap());
        assert!(calls.load(SeqCst) == 1 && token.is_cancelled());
    });
}

#[test]
fn loom_a_hook_that_is_withdrawn_is_called_once_at_the_most_and_not_after() {
    ::loom::model(|| {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        drop(counted(&token, &calls));
        canceller.join().unwrap();
        assert!(calls.load(SeqCst) <= 1 && token.0.state.lock().hooks.is_empty());
        token.cancel();
        assert!(calls.load(SeqCst) <= 1);
    });
}

#[test]
fn loom_no_waiter_sleeps_through_a_cancellation() {
    ::loom::model(|| {
        let token = CancelToken::new();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let token = token.clone();
                thread::spawn(move || token.wait(Duration::MAX))
            })
            .collect();
        token.cancel();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
    });
}
