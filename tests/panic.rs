//! Panics in the user's code (a logger, a token function) and in the HTTP client do not reach the caller.
//!
//! Each payload panics again when it is dropped, so it must be dropped inside the boundary too. The logger is
//! process-wide: these tests are a separate binary, and run one after the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, Delivery, Error, ErrorKind, Lookup, LookupSource, Message, RetryPolicy, SendOptions, global,
};
use support::{Act, PEER, RECORD, Server, builder};

/// A payload that panics when it is dropped.
struct Bomb;

/// The payload of that second panic, which is harmless.
struct Fragment;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Fragment);
    }
}

/// A logger that panics at some records.
struct PanickingLogger;

/// The records that the logger panics at.
static PANICS_AT: Mutex<PanicsAt> = Mutex::new(PanicsAt::Nothing);
/// Number of panics of the logger in the current test.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone, Copy, PartialEq)]
enum PanicsAt {
    Nothing,
    /// The records of this crate.
    OurRecords,
    /// The record that the HTTP client logs after the head of an answer.
    Answers,
}

impl log::Log for PanickingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let panics_at = *PANICS_AT.lock().unwrap_or_else(PoisonError::into_inner);
        let panics = match panics_at {
            PanicsAt::Nothing => false,
            PanicsAt::OurRecords => record.target().starts_with("a2a_blocking"),
            PanicsAt::Answers => record.target() == "ureq::run" && record.args().to_string().starts_with("Response"),
        };
        if panics {
            PANICS.fetch_add(1, SeqCst);
            panic_any(Bomb);
        }
    }

    fn flush(&self) {}
}

/// Starts a test, in which the logger panics at these records.
fn begin(panics_at: PanicsAt) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static SET_UP: Once = Once::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    SET_UP.call_once(|| {
        log::set_logger(&PanickingLogger).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        let default = take_hook();
        set_hook(Box::new(move |info| {
            // The expected ones are not shown.
            if !info.payload().is::<Bomb>() && !info.payload().is::<Fragment>() {
                default(info);
            }
        }));
    });
    *PANICS_AT.lock().unwrap() = panics_at;
    PANICS.store(0, SeqCst);
    turn
}

/// Makes a call, and fails the test where a panic reaches the caller.
fn contained<T>(call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload: Box<dyn Any + Send>| {
        // To drop it might panic.
        std::mem::forget(payload);
        panic!("a panic reached the caller");
    })
}

fn kind<T: Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn two_attempts() -> SendOptions {
    SendOptions::new().retry(RetryPolicy::new().with_attempts(2).with_base(Duration::from_millis(1)))
}

/// A client whose token function gives a token once, to `build`, and panics after that.
fn client_with_panicking_token_fn(server: &Server) -> Client {
    let calls = AtomicUsize::new(0);
    let token = move || if calls.fetch_add(1, SeqCst) == 0 { Some("token".to_owned()) } else { panic_any(Bomb) };
    builder(server).token_fn(token).build().unwrap()
}

fn refusing_server() -> Server {
    Server::play([Act::reply(401, r#"{"error": "invalid caller auth token"}"#)])
}

#[test]
fn panicking_lookup_fails_and_releases_its_waiters() {
    let _turn = begin(PanicsAt::Answers);
    let server = Server::play([Act::reply(200, RECORD).after(Duration::from_millis(200))]);
    // A waiter that was not released would wait for all of it.
    let timeout = Duration::from_secs(60);
    let client = builder(&server).lookup_timeout(timeout).build().unwrap();
    let (barrier, start) = (Barrier::new(8), Instant::now());
    let answers: Vec<Lookup> = thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            contained(|| client.lookup(PEER))
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.source == LookupSource::Failed), "{answers:?}");
    assert!(start.elapsed() < timeout / 2, "{:?}", start.elapsed());
    assert!(client.lookup(PEER).from_cache);
    assert_eq!((server.requests().len(), client.stats().failed_internal), (1, 1));
    assert!(PANICS.load(SeqCst) > 0);
}

#[test]
fn panic_in_the_http_client_is_an_internal_error() {
    let _turn = begin(PanicsAt::Answers);
    let server = Server::play([Act::reply(200, "[]")]);
    let client = builder(&server).build().unwrap();
    assert_eq!(kind(contained(|| client.peers())), ErrorKind::Internal);
    assert_eq!(kind(contained(|| client.workspace())), ErrorKind::Internal);
    let error = contained(|| client.discover(PEER)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(error.delivery(), Delivery::NotSent, "there was nothing to deliver");
    // With a cancel token, the attempt is made on another thread.
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        let error = contained(|| client.send_with(PEER, &Message::from("hi"), &options)).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Internal, Delivery::Unknown), "{error}");
    }
}

#[test]
fn build_contains_a_panic_of_the_token_function() {
    let _turn = begin(PanicsAt::Nothing);
    let server = refusing_server();
    let error = contained(|| builder(&server).token_fn(|| panic_any(Bomb)).build()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().starts_with("token_fn: "), "{error}");
}

#[test]
fn build_contains_a_panic_of_the_logger() {
    let _turn = begin(PanicsAt::OurRecords);
    let dir = support::Dir::new("panic");
    let path = dir.file("token");
    std::fs::write(&path, "token").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let server = refusing_server();
    contained(|| builder(&server).token_file(path).build()).unwrap();
    // That others may use the file is a warning on Unix.
    assert_eq!(PANICS.load(SeqCst), usize::from(cfg!(unix)));
}

#[test]
fn enrich_and_lookup_contain_a_panic_of_the_token_function() {
    let _turn = begin(PanicsAt::Nothing);
    let server = refusing_server();
    let client = client_with_panicking_token_fn(&server);
    assert_eq!(contained(|| client.enrich(PEER)), None);
    assert_eq!(contained(|| client.lookup(PEER)).source, LookupSource::Failed);
    client.forget(PEER);
    let lookup = contained(|| client.lookup(PEER));
    assert_eq!((lookup.source, lookup.from_cache), (LookupSource::Failed, false));
    client.forget(PEER);
    assert_eq!(contained(|| client.enrich_nonblocking(PEER)), None);
    assert!(client.wait_until_idle(support::SOON));
    assert_eq!((server.requests().len(), client.stats().failed_status), (3, 3), "a 401 is what it was");
}

#[test]
fn enrich_and_lookup_contain_a_panic_of_the_logger() {
    let _turn = begin(PanicsAt::OurRecords);
    let server = refusing_server();
    // Its token function panics too, and the logger at the warning that follows.
    for client in [builder(&server).build().unwrap(), client_with_panicking_token_fn(&server)] {
        assert_eq!(contained(|| client.enrich(PEER)), None);
        client.forget(PEER);
        assert_eq!(contained(|| client.lookup(PEER)).source, LookupSource::Failed);
        client.forget(PEER);
        assert_eq!(contained(|| client.enrich_nonblocking(PEER)), None);
        assert!(client.wait_until_idle(support::SOON));
        assert_eq!(client.stats().failed_status, 3, "the logger does not change an answer");
    }
    assert!(PANICS.load(SeqCst) >= 6, "{PANICS:?}");
}

#[test]
fn other_calls_contain_a_panic_of_the_token_function() {
    let _turn = begin(PanicsAt::Nothing);
    let server = refusing_server();
    let client = client_with_panicking_token_fn(&server);
    assert_eq!(kind(contained(|| client.discover(PEER))), ErrorKind::Unauthorized);
    assert_eq!(kind(contained(|| client.peers())), ErrorKind::Unauthorized);
    assert_eq!(kind(contained(|| client.workspace())), ErrorKind::Unauthorized);
    assert_eq!(kind(contained(|| client.notify("hi"))), ErrorKind::Unauthorized);
    for options in [two_attempts(), two_attempts().cancel(&CancelToken::new())] {
        let sent = contained(|| client.send_with(PEER, &Message::from("hi"), &options));
        assert_eq!(kind(sent), ErrorKind::Unauthorized);
    }
}

#[test]
fn peers_contains_a_panic_of_the_logger() {
    let _turn = begin(PanicsAt::OurRecords);
    let server = Server::play([Act::reply(200, "[7]")]);
    let client = builder(&server).build().unwrap();
    assert_eq!(contained(|| client.peers()).unwrap(), [], "the entry that is no object is left out and logged");
    assert_eq!((client.stats().skipped, PANICS.load(SeqCst)), (1, 1));
}

/// A panic of the logger never reaches the caller. It does not change the answer either, or else is an internal error.
#[test]
fn other_calls_contain_a_panic_of_the_logger() {
    let _turn = begin(PanicsAt::OurRecords);
    let server = Server::decide(|n, request| match (request.method.as_str(), n) {
        // The connection is pooled after the first answer, and its loss is logged.
        ("GET", 0) => Act::reply(200, "[]"),
        ("GET", 1) => Act::Close,
        // The answer's id is not the request's, which is logged.
        _ => Act::reply(200, r#"{"result": {}}"#),
    });
    let client = builder(&server).build().unwrap();
    contained(|| client.peers()).unwrap();
    contained(|| client.discover(PEER)).unwrap();
    for options in [SendOptions::new(), SendOptions::new().cancel(&CancelToken::new())] {
        contained(|| client.send_with(PEER, &Message::from("hi"), &options)).unwrap();
    }
    assert!(PANICS.load(SeqCst) >= 3, "{PANICS:?}");
}

#[test]
fn progress_callback_may_panic() {
    let _turn = begin(PanicsAt::Nothing);
    let server = Server::play([Act::reply(200, r#"{"result": {}}"#)]);
    let client = builder(&server).build().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let options = SendOptions::new().on_progress(move |_| {
        counted.fetch_add(1, SeqCst);
        panic_any(Bomb);
    });
    let error = contained(|| client.send_with(PEER, &Message::from("hi"), &options)).unwrap_err();
    assert_eq!((error.kind(), calls.load(SeqCst)), (ErrorKind::Internal, 1));
}

/// The environment of the tests has no workspace id. That is logged as an error, once.
#[test]
fn global_contains_a_panic_of_the_logger() {
    let _turn = begin(PanicsAt::OurRecords);
    assert_eq!(contained(|| global::enrich_peer_metadata(PEER)), None);
    assert_eq!(PANICS.load(SeqCst), 1);
    assert_eq!(contained(|| global::enrich_peer_metadata_nonblocking(PEER)), None);
    assert_eq!(contained(|| global::discover_peer(PEER)), None);
    assert!(contained(|| global::send_a2a_message(PEER, "hi")).starts_with("[A2A_ERROR] "));
    assert!(contained(global::get_peers_with_diagnostic).1.is_some());
    assert!(contained(global::get_workspace_info)["error"].is_string());
}
