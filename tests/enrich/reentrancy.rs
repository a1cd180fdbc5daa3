//! Code of the user that runs inside a lookup, a logger or a token function, and calls the client again.
//!
//! The logger is process-wide. It calls a test's hook for the records of that test.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CancelToken, Client, ClientBuilder, ErrorKind, Lookup, LookupSource, Message, SendOptions};

use crate::support::{Dir, PEER, RECORD, Reaction, Server, builder};

/// Timeout of a lookup, and of what else could wait. A test that waits for one of them fails.
const TIMEOUT: Duration = Duration::from_secs(60);

type Hook = Arc<dyn Fn() + Send + Sync>;

static HOOKS: Mutex<Vec<(String, Hook)>> = Mutex::new(Vec::new());

thread_local! {
    /// True while this thread runs a hook. What it logs then calls none.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

struct CallingLogger;

impl log::Log for CallingLogger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("a2a_blocking")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) || IN_HOOK.replace(true) {
            return;
        }
        let text = record.args().to_string();
        let hooks = HOOKS.lock().unwrap().clone();
        let hooks = hooks.iter().filter(|(part, _)| text.contains(part)).map(|(_, hook)| hook);
        hooks.for_each(|hook| hook());
        IN_HOOK.set(false);
    }

    fn flush(&self) {}
}

/// Calls `hook` for each record of this crate that names the server.
fn on_log(server: &Server, hook: impl Fn() + Send + Sync + 'static) {
    on_record(format!("{}/", server.url()), hook);
}

/// Calls `hook` for each record of this crate with this text.
fn on_record(text: String, hook: impl Fn() + Send + Sync + 'static) {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        log::set_logger(&CallingLogger).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    HOOKS.lock().unwrap().push((text, Arc::new(hook)));
}

/// A client that the hooks of a test can call, too.
fn shared(builder: ClientBuilder) -> &'static Client {
    Box::leak(Box::new(builder.lookup_timeout(TIMEOUT).build().unwrap()))
}

/// Runs `call`, which must not wait for a timeout.
fn at_once<T>(call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = call();
    assert!(start.elapsed() < TIMEOUT / 2, "{:?}", start.elapsed());
    done
}

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

#[test]
fn logger_that_asks_for_the_peer_being_looked_up_does_not_wait_for_it() {
    let server = Server::play([Reaction::reply(500, "{}")]);
    let client = shared(builder(&server));
    let (tell, told) = channel();
    on_log(&server, move || tell.send(client.lookup(PEER)).unwrap());
    let outer = at_once(|| client.lookup(PEER));
    assert_eq!(outer.source, LookupSource::Failed);
    let inner: Vec<Lookup> = told.try_iter().collect();
    assert!(!inner.is_empty());
    assert!(inner.iter().all(|lookup| lookup.source == LookupSource::Shed && lookup.from_cache), "{inner:?}");
    assert_eq!((server.requests().len(), client.stats().shed), (1, inner.len() as u64));
}

#[test]
fn logger_in_a_lookup_gets_the_older_record() {
    let server = Server::play([Reaction::reply(200, RECORD), Reaction::reply(500, "{}")]);
    let client = shared(builder(&server).background_threads(0));
    let later = Instant::now() + Duration::from_secs(301);
    client.enrich(PEER).unwrap();
    let (tell, told) = channel();
    on_log(&server, move || tell.send(client.lookup_at(PEER, later)).unwrap());
    assert_eq!(at_once(|| client.lookup_at(PEER, later)).source, LookupSource::Stale);
    assert!(told.try_iter().all(|inner| inner.source == LookupSource::Stale && inner.peer.is_some()));
}

/// Another peer is looked up as ever, by the same thread.
#[test]
fn logger_that_asks_for_another_peer_gets_its_record() {
    let server = Server::decide(|_, request| {
        if request.path.ends_with(PEER) { Reaction::reply(500, "{}") } else { Reaction::reply(200, RECORD) }
    });
    let client = shared(builder(&server));
    let (tell, told) = channel();
    on_log(&server, move || tell.send(client.lookup(peer(1)).source).unwrap());
    at_once(|| client.lookup(PEER));
    assert_eq!(told.try_iter().next(), Some(LookupSource::Fetched));
}

/// Each of two threads makes a lookup, and its logger asks for the peer that the other one looks up.
#[test]
fn two_lookups_do_not_wait_for_each_other() {
    let server = Server::play([Reaction::reply(500, "{}")]);
    let client = shared(builder(&server));
    thread_local!(static OTHER: Cell<usize> = const { Cell::new(0) });
    let both = Arc::new(Barrier::new(2));
    let (tell, told) = channel();
    on_log(&server, move || {
        // The first record of each thread. Both are in their lookups then.
        if OTHER.get() > 0 {
            both.wait();
            tell.send(client.lookup(peer(OTHER.take())).source).unwrap();
            both.wait();
        }
    });
    at_once(|| {
        thread::scope(|scope| {
            for (own, other) in [(1, 2), (2, 1)] {
                scope.spawn(move || {
                    OTHER.set(other);
                    client.lookup(peer(own))
                });
            }
        });
    });
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [LookupSource::Shed; 2]);
}

#[test]
fn logger_in_a_background_thread_does_not_wait_for_its_lookup() {
    let server = Server::play([Reaction::reply(500, "{}")]);
    let client = shared(builder(&server));
    let (tell, told) = channel();
    on_log(&server, move || {
        let name = thread::current().name().unwrap_or_default().to_owned();
        tell.send((name, client.lookup(PEER).source)).unwrap();
    });
    at_once(|| {
        assert_eq!(client.enrich_nonblocking(PEER), None);
        assert!(client.wait_until_idle(TIMEOUT));
    });
    let (name, source) = told.try_iter().next().unwrap();
    assert!(name.starts_with("a2a-refresh-"), "{name}");
    assert_eq!(source, LookupSource::Shed);
}

/// After an outage the background threads make the probe, and its logger calls the client.
#[test]
fn logger_in_a_probe_does_not_wait() {
    let server = Server::play([Reaction::Close, Reaction::Close, Reaction::reply(500, "{}")]);
    let backoff = Duration::from_millis(1);
    let client = shared(builder(&server).circuit_threshold(1).circuit_backoff(backoff, backoff));
    let (tell, told) = channel();
    on_log(&server, move || tell.send(client.lookup(PEER)).unwrap());
    at_once(|| {
        client.lookup(PEER);
        client.lookup(peer(1));
        assert!(client.wait_until_idle(TIMEOUT));
    });
    assert!(told.try_iter().count() > 1);
}

#[test]
fn token_function_that_calls_the_client_does_not_wait_for_its_own_lookup() {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let server = Server::play([Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#)]);
    let (tell, told) = channel();
    let token = move || {
        if let Some(client) = CLIENT.get() {
            tell.send((client.lookup(PEER).source, client.wait_until_idle(TIMEOUT))).unwrap();
        }
        Some("token".to_owned())
    };
    let client = builder(&server).token_fn(token).lookup_timeout(TIMEOUT).build().unwrap();
    let client = CLIENT.get_or_init(|| client);
    assert_eq!(at_once(|| client.lookup(PEER)).source, LookupSource::Failed);
    assert_eq!(told.try_iter().next(), Some((LookupSource::Shed, true)));
}

/// Its own requests are refused as well, and must not call it again and again. A send that can be cancelled makes its
/// request on another thread.
#[test]
fn token_function_is_not_called_by_its_own_requests() {
    let workspace = |client: &Client| client.workspace().unwrap_err().kind();
    let send = |client: &Client| {
        let cancel = CancelToken::new();
        client.send_with(PEER, &Message::from("x"), &SendOptions::new().cancel(&cancel)).unwrap_err().kind()
    };
    for call in [workspace as fn(&Client) -> ErrorKind, send] {
        let server = Server::play([Reaction::reply(401, r#"{"error":"invalid caller auth token"}"#)]);
        let own = Arc::new(OnceLock::<Client>::new());
        let (tell, told) = channel();
        let token = {
            let own = own.clone();
            move || {
                if let Some(client) = own.get() {
                    tell.send(call(client)).unwrap();
                }
                Some("token".to_owned())
            }
        };
        let client = own.get_or_init(|| builder(&server).token_fn(token).build().unwrap());
        assert_eq!(client.workspace().unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [ErrorKind::Unauthorized]);
    }
}

/// A logger in a lookup sends, and a logger in the thread of that send looks the same peer up.
#[test]
fn logger_in_the_thread_of_a_send_does_not_wait_for_the_lookup_that_sends() {
    let reply = r#"{"jsonrpc":"2.0","id":"another","result":{"parts":[{"kind":"text","text":"r"}]}}"#;
    let server = Server::play([Reaction::reply(500, "boom"), Reaction::reply(200, reply)]);
    let client = shared(builder(&server));
    let (is_first, (tell, told)) = (AtomicBool::new(true), channel());
    on_log(&server, move || {
        if is_first.swap(false, SeqCst) {
            let cancel = CancelToken::new();
            client.send_with(PEER, &Message::from("x"), &SendOptions::new().cancel(&cancel)).unwrap();
        } else {
            let name = thread::current().name().unwrap_or_default().to_owned();
            tell.send((name, client.lookup(PEER).source)).unwrap();
        }
    });
    assert_eq!(at_once(|| client.lookup(PEER)).source, LookupSource::Failed);
    assert_eq!(told.try_iter().next(), Some(("a2a-send".to_owned(), LookupSource::Shed)));
}

/// The file is read again after a 401, on another thread, which warns that others may use it.
#[cfg(unix)]
#[test]
fn logger_in_the_thread_that_reads_the_token_does_not_wait_for_the_lookup() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new("reentrant-token");
    let path = dir.file("token");
    fs::write(&path, "token").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::play([Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#)]);
    let client = shared(builder(&server).token_file(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (tell, told) = channel();
    on_record(path.display().to_string(), move || {
        let name = thread::current().name().unwrap_or_default().to_owned();
        tell.send((name, client.lookup(PEER).source)).unwrap();
    });
    assert_eq!(at_once(|| client.lookup(PEER)).source, LookupSource::Failed);
    assert_eq!(told.try_iter().next(), Some(("a2a-token".to_owned(), LookupSource::Shed)));
}
