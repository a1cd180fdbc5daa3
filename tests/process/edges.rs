//! The edges of a process: forks while calls are under way, threads that end, signals, and the exit.
//!
//! What would end the test's own process runs in a child process, which is this binary again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, ClientBuilder, ErrorKind, InboxPoller, Message, Peer, PollerHandle, RetryPolicy, SendOptions,
    Verdict,
};

use crate::alone;
use crate::support::platform::{Platform, SECOND};
use crate::support::{Dir, PEER, RECORD, Reaction, Request, Server, TIMEOUT, WORKSPACE, eventually};

/// Longer than any test takes. A test that waits for it has failed.
const LONG: Duration = Duration::from_secs(600);

fn peer_id(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

/// Returns the answer of a platform that works.
fn healthy(request: &Request) -> Reaction {
    match request.path.as_str() {
        path if path.starts_with("/registry/discover") => Reaction::reply(200, RECORD),
        path if path.ends_with("/peers") || path.contains("/activity") => Reaction::reply(200, "[]"),
        path if path.ends_with("/a2a") => Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"hi"}]}}"#),
        _ => Reaction::reply(200, "{}"),
    }
}

fn builder_of(url: &str) -> ClientBuilder {
    Client::builder().platform_url(url).workspace_id(WORKSPACE).ttl_spread(0.0).lookup_timeout(LONG)
}

fn poller_of(client: &Client, file: &Path) -> InboxPoller {
    InboxPoller::builder(client.clone()).cursor_file(file).build().unwrap()
}

/// Returns a command that runs one part in a child process.
fn part(name: &str, url: &str, dir: &Dir) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "edges::child", "--nocapture", "--test-threads", "1"]);
    command.env("A2A_TEST_PART", name).env("A2A_TEST_URL", url).env("A2A_TEST_DIR", &dir.0);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until the child ends by itself.
fn wait_for_end(mut command: Command) -> Output {
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > LONG / 4 {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Runs a part of a test in a child process.
#[test]
fn child() {
    let Ok(name) = env::var("A2A_TEST_PART") else { return };
    let (url, dir) = (env::var("A2A_TEST_URL").unwrap(), PathBuf::from(env::var("A2A_TEST_DIR").unwrap()));
    match name.as_str() {
        "exit" => exit(&url, &dir),
        "at exit" => at_exit(&url, &dir),
        "storm" => storm(&url, &dir),
        peer_id => panic!("{peer_id}"),
    }
}

/// Starts every kind of call and a poller. The server answers none of them.
fn hang(client: &Client, file: &Path) -> PollerHandle {
    let poller = poller_of(client, file).spawn(|_| Verdict::Ack).unwrap();
    for n in 0..4 {
        let client = client.clone();
        thread::spawn(move || client.enrich(peer_id(n)));
    }
    client.enrich_nonblocking(peer_id(9));
    for token in [None, Some(CancelToken::new())] {
        let client = client.clone();
        thread::spawn(move || {
            let options = token.iter().fold(SendOptions::new(), |options, token| options.cancel(token));
            client.send_with(PEER, &Message::from("hi"), &options)
        });
    }
    poller
}

fn exit(url: &str, dir: &Path) {
    let client = builder_of(url).build().unwrap();
    let _poller = hang(&client, &dir.join("c.json"));
    // The parent writes a line when all of them have arrived.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    process::exit(7);
}

/// The process exits with a lookup, a refresh, sends, a poll and a heartbeat on the wire.
#[test]
fn exit_waits_for_no_call_and_keeps_its_code() {
    let _alone = alone();
    let server = Server::play([Reaction::Hang]);
    let dir = Dir::new("edges-exit");
    let mut child = part("exit", &server.url(), &dir).stdin(Stdio::piped()).spawn().unwrap();
    let arrived = |path: &str| server.requests().iter().any(|request| request.path.contains(path));
    eventually("all of it is under way", || {
        ["discover", "/a2a", "/activity", "/heartbeat"].iter().all(|path| arrived(path))
    });
    let start = Instant::now();
    drop(child.stdin.take());
    eventually("it ended", || child.try_wait().unwrap().is_some());
    println!("the exit took {:?}", start.elapsed());
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

static CLIENT: OnceLock<(Client, PathBuf)> = OnceLock::new();

/// Makes every call and returns whether all answers are right. It does not panic, because a panic aborts where it is
/// used.
fn every_call(client: &Client, file: &Path, unknown: &str) -> bool {
    let peer = client.enrich(PEER);
    let all = [
        peer.as_ref().and_then(Peer::name) == Some("ops-agent"),
        client.enrich(unknown).is_some(),
        client.discover(PEER).is_ok(),
        client.enrich_nonblocking(PEER).is_some(),
        client.peer_name(PEER).as_deref() == Some("ops-agent"),
        client.peers().is_ok(),
        client.workspace().is_ok(),
        client.send(PEER, "hi").is_ok_and(|reply| reply.text() == "hi"),
        client.notify("hi").is_ok(),
        client.stats().to_string().contains("lookups") || client.stats().lookups > 0,
        InboxPoller::builder(client.clone())
            .cursor_file(file)
            .build()
            .is_ok_and(|mut poller| poller.poll_once(|_| Verdict::Ack).is_ok()),
    ];
    client.forget(unknown);
    if all.contains(&false) {
        println!("{all:?}");
    }
    !all.contains(&false)
}

extern "C" fn call_everything() {
    let (client, file) = CLIENT.get().unwrap();
    if !every_call(client, file, &peer_id(1)) {
        // SAFETY: this ends the process at once.
        unsafe { libc::_exit(9) };
    }
}

fn at_exit(url: &str, dir: &Path) {
    let client = builder_of(url).build().unwrap();
    client.enrich(PEER).unwrap();
    client.enrich_nonblocking(peer_id(2));
    assert!(client.wait_until_idle(TIMEOUT));
    CLIENT.set((client, dir.join("c.json"))).ok().unwrap();
    // SAFETY: the function has the C calling convention and lasts as long as the process.
    assert_eq!(unsafe { libc::atexit(call_everything) }, 0);
    process::exit(7);
}

#[test]
fn calls_work_in_an_atexit_handler() {
    let _alone = alone();
    let server = Server::decide(|_, request| healthy(request));
    let output = wait_for_end(part("at exit", &server.url(), &Dir::new("edges-at-exit")));
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

/// Makes every call when its thread ends, and records whether all was right.
struct Late(Client, PathBuf, usize, Option<Peer>);

static LATE: Mutex<Vec<bool>> = Mutex::new(Vec::new());

impl Drop for Late {
    fn drop(&mut self) {
        let Late(client, file, n, peer) = self;
        // A record whose thread-local cache may be gone by now.
        let named = peer.take().is_none_or(|peer| peer.name() == Some("ops-agent"));
        let all = named && (0..200).all(|_| client.enrich(PEER).is_some()) && every_call(client, file, &peer_id(*n));
        LATE.lock().unwrap().push(all);
    }
}

thread_local! {
    static BEFORE: RefCell<Option<Late>> = const { RefCell::new(None) };
    static AFTER: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// The system chooses the order in which destructors of thread-locals run. One of the two runs after the cache's own.
#[test]
fn calls_work_in_destructors_of_thread_locals() {
    let _alone = alone();
    let server = Server::decide(|_, request| healthy(request));
    let dir = Dir::new("edges-late");
    let client = builder_of(&server.url()).build().unwrap();
    for n in 0..8 {
        let (client, file) = (client.clone(), dir.file(&format!("{n}.json")));
        let work = move || {
            BEFORE.set(Some(Late(client.clone(), file.clone(), n, None)));
            // Some threads have cached nothing yet.
            if n % 2 == 0 {
                (0..200).for_each(|_| drop(client.enrich(PEER)));
                let before = client.enrich(PEER);
                BEFORE.with_borrow_mut(|late| late.as_mut().unwrap().3 = before);
            }
            AFTER.set(Some(Late(client.clone(), file, 100 + n, client.enrich(PEER))));
        };
        thread::spawn(work).join().unwrap();
    }
    assert_eq!(*LATE.lock().unwrap(), [true; 16]);
    // Each answer was counted, also after the thread's counters were gone.
    let stats = client.stats();
    // Three of the calls fetch a record, which counts as fresh, too.
    let (hits, expected) = (stats.fresh, 16 * (200 + 3) + 8 + 4 * 201);
    assert_eq!(hits, expected, "{stats:?}");
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// Returns the other threads of this process.
fn other_threads() -> Vec<libc::pid_t> {
    // SAFETY: this only reads an id.
    let own = unsafe { libc::gettid() };
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    ids.filter(|id| *id != own).collect()
}

/// Sends a signal to every thread each millisecond. The handler makes interrupted system calls fail. A signal to the
/// process would go to its first thread, which is idle.
fn storm(url: &str, dir: &Path) {
    // SAFETY: all zeros is a valid value: an empty mask and no flags. `SA_RESTART` must not be set.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler only counts, and the structure outlives the call.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
    // SAFETY: this only reads an id.
    let process = unsafe { libc::getpid() };
    thread::spawn(move || {
        loop {
            for thread in other_threads() {
                // SAFETY: a thread that has ended meanwhile is an error that does not matter.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let client = builder_of(url).build().unwrap();
    let no_retry = SendOptions::new().retry(RetryPolicy::new().with_attempts(1));
    thread::scope(|scope| {
        for first in [0, 1_000] {
            let (client, no_retry) = (&client, &no_retry);
            scope.spawn(move || {
                for n in first..first + 100 {
                    assert!(client.discover(peer_id(n)).is_ok(), "{n}: {:?}", client.discover(peer_id(n)));
                    assert!(client.enrich(peer_id(n)).is_some());
                    let sent = client.send_with(PEER, &Message::from("hi"), no_retry);
                    assert!(sent.is_ok(), "{n}: {sent:?}");
                }
            });
        }
        let client = &client;
        scope.spawn(move || (5_000..5_100).for_each(|n| drop(client.enrich_nonblocking(peer_id(n)))));
        let seen = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let all = seen.clone();
        let poller = InboxPoller::builder(client.clone()).cursor_file(dir.join("c.json"));
        let poller = poller.interval(Duration::from_millis(20)).heartbeat(Some(Duration::from_millis(20)));
        let handle = poller.spawn(move |message| {
            *all.lock().unwrap().entry(message.activity_id().to_owned()).or_default() += 1;
            Verdict::Ack
        });
        let handle = handle.unwrap();
        eventually("all rows", || seen.lock().unwrap().len() == 300);
        handle.stop();
        assert!(seen.lock().unwrap().values().all(|times| *times == 1));
    });
    assert!(client.wait_until_idle(TIMEOUT));
    let stats = client.stats();
    assert_eq!((stats.lookups, stats.found), (300, 300), "{stats:?}");
    assert!(SIGNALS.load(SeqCst) > 100, "there was no storm");
    // The cursor file that was written during the signals is complete.
    let mut again = poller_of(&client, &dir.join("c.json"));
    again.poll_once(|message| panic!("{message:?} again")).unwrap();
    println!("all of it ran");
}

#[test]
fn signals_to_all_threads_break_nothing() {
    let _alone = alone();
    let platform = Platform::new();
    (0..300).for_each(|n| drop(platform.add(n * SECOND, PEER, "hi")));
    let inbox = platform.clone();
    let server = Server::decide(move |_, request| match request.path.contains("/activity") {
        true => inbox.answer(request),
        false => healthy(request),
    });
    let output = wait_for_end(part("storm", &server.url(), &Dir::new("edges-storm")));
    let (text, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("all of it ran"), "{:?} {text}\n{why}", output.status);
    let beats = server.requests().iter().filter(|request| request.path.contains("heartbeat")).count();
    assert!(beats > 1, "{beats} heartbeats");
}

/// Returns whether all other threads of this process sleep.
fn all_asleep() -> bool {
    let stat = |thread| fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    other_threads().into_iter().all(|thread| stat(thread).rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
}

/// Runs `work` in a forked child and returns its result. The child ends by `_exit` at once.
fn in_a_fork(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses nothing of the test harness, and ends by `_exit`. All other threads of this process wait
    // for an answer and hold no lock.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: this ends the process if it hangs.
        unsafe { libc::alarm(120) };
        let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: this ends the process.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: this waits for our own child, and writes to one integer of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

/// The parent has lookups, sends, a refresh and a poll on the wire, and threads that wait for them.
#[test]
fn forked_child_is_not_blocked_by_its_parents_calls() {
    let _alone = alone();
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let server = Server::decide(move |_, request| if gate.load(SeqCst) { healthy(request) } else { Reaction::Hang });
    let dir = Dir::new("edges-fork");
    let client = builder_of(&server.url()).build().unwrap();
    let poller = hang(&client, &dir.file("parent.json"));
    // Two more threads join a lookup that is under way.
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.enrich(peer_id(0)))
        })
        .collect();
    let arrived = |path: &str| server.requests().iter().filter(|request| request.path.contains(path)).count();
    eventually("all of it is under way", || {
        arrived("discover") >= 5 && arrived("/a2a") == 2 && arrived("/activity") == 1 && arrived("/heartbeat") == 1
    });
    eventually("they wait", || client.stats().coalesced == 2);
    open.store(true, SeqCst);
    eventually("nobody does anything", all_asleep);
    let (file, parents) = (dir.file("child.json"), dir.file("parent.json"));
    let ok = in_a_fork(|| {
        // For one of them the parent has a lookup under way, which never ends in the child.
        let lookups = (0..20).all(|n| client.enrich(peer_id(n)).is_some());
        let calls = every_call(&client, &file, &peer_id(50));
        client.enrich_nonblocking(peer_id(60));
        let refreshed = client.wait_until_idle(TIMEOUT) && client.enrich_nonblocking(peer_id(60)).is_some();
        let options = SendOptions::new().cancel(&CancelToken::new());
        let sent = client.send_with(PEER, &Message::from("hi"), &options).is_ok();
        // The parent's poller does not run in the child: nothing waits for it, and it is not ended.
        poller.stop();
        let none = poller.join().is_none() && poller.is_finished() && poller.reason().is_none();
        let refused = InboxPoller::builder(client.clone()).cursor_file(&parents).build();
        let locked = refused.err().is_some_and(|error| error.kind() == ErrorKind::Config);
        let own = InboxPoller::builder(client.clone()).cursor_file(&file).spawn(|_| Verdict::Ack).unwrap();
        own.stop();
        lookups && calls && refreshed && sent && none && locked
    });
    assert!(ok, "the child");
    assert!(!poller.is_finished() && poller.reason().is_none(), "the parent's poller goes on");
    drop((poller, waiting));
}

/// A forked child shares the locked cursor file of its parent. It must neither keep the lock nor release it.
#[test]
fn cursor_lock_belongs_to_its_process() {
    let _alone = alone();
    let server = Server::decide(|_, request| healthy(request));
    let (client, dir) = (builder_of(&server.url()).build().unwrap(), Dir::new("edges-lock"));
    let open = || InboxPoller::builder(client.clone()).cursor_file(dir.file("c.json")).build();
    let mut poller = Some(open().unwrap());
    // A child that drops its copy of the poller.
    assert!(in_a_fork(|| {
        drop(poller.take());
        true
    }));
    assert_eq!(open().err().map(|error| error.kind()), Some(ErrorKind::Config), "it is locked still");
    // This child outlives the poller.
    let mut ends = [0; 2];
    // SAFETY: this writes two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child reads from the pipe and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the child closes its own end of the pipe, so that it sees the parent close the other. Then it ends.
        unsafe {
            libc::close(ends[1]);
            libc::read(ends[0], (&raw mut ends).cast(), 1);
            libc::_exit(0);
        }
    }
    drop(poller.take());
    let reopened = open();
    // SAFETY: the descriptors and the child are ours.
    unsafe {
        libc::close(ends[1]);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::close(ends[0]);
    }
    assert!(reopened.is_ok(), "{:?}", reopened.err());
}

#[test]
fn panic_in_a_caller_leaves_the_client_usable() {
    let _alone = alone();
    let server = Server::decide(|_, request| healthy(request));
    let client = builder_of(&server.url()).build().unwrap();
    client.enrich(PEER).unwrap();
    for _ in 0..20 {
        let client = client.clone();
        let ended = thread::spawn(move || {
            let held = (0..100).map(|_| client.enrich(PEER).unwrap()).collect::<Vec<_>>();
            assert!(held.is_empty(), "a panic with handles held");
        });
        assert!(ended.join().is_err());
    }
    assert!(every_call(&client, &Dir::new("edges-panic").file("c.json"), &peer_id(1)));
    assert_eq!(client.stats().fresh, 1 + 20 * 100 + 3);
}
