//! Every interleaving of a cancellation: `RUSTFLAGS='--cfg a2a_loom' cargo test --lib --release loom`.

use ::loom::sync::atomic::AtomicUsize;
use ::loom::sync::atomic::Ordering::SeqCst;
use ::loom::thread;

use super::*;

fn register_counter(token: &CancelToken, calls: &Arc<AtomicUsize>) -> Registration {
    let calls = calls.clone();
    token.register(move || {
        calls.fetch_add(1, SeqCst);
    })
}

#[test]
fn loom_hook_is_called_once_in_any_order() {
    ::loom::model(|| {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let cancellers: Vec<_> = (0..2)
            .map(|_| {
                let token = token.clone();
                thread::spawn(move || token.cancel())
            })
            .collect();
        let _kept = register_counter(&token, &calls);
        cancellers.into_iter().for_each(|canceller| canceller.join().unwrap());
        assert!(calls.load(SeqCst) == 1 && token.is_cancelled());
    });
}

#[test]
fn loom_removed_hook_is_called_at_most_once_and_not_later() {
    ::loom::model(|| {
        let (token, calls) = (CancelToken::new(), Arc::new(AtomicUsize::new(0)));
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        drop(register_counter(&token, &calls));
        canceller.join().unwrap();
        assert!(calls.load(SeqCst) <= 1 && token.0.state.lock().hooks.is_empty());
        token.cancel();
        assert!(calls.load(SeqCst) <= 1);
    });
}

#[test]
fn loom_cancelling_wakes_every_waiter() {
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
