//! The life of a poller: stop, drop, heartbeat, and the removal of its workspace.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use a2a_blocking::{CancelToken, ErrorKind, Message, PollerHandle, RetryPolicy, SendOptions, StopReason, Verdict};
use serde_json::Value;

use crate::poller::{TIMEOUT, eventually, fast_poller, promptly, recorder};
use crate::support::platform::Platform;
use crate::support::{self, Dir, PEER, Reaction, Server, SilentListener, WORKSPACE, client};

#[test]
fn stop_ends_a_wait_at_once() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-wait"));
    let server = platform.serve();
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).interval(Duration::from_secs(600)).spawn(callback).unwrap();
    eventually("the first poll", || !platform.state().polls.is_empty());
    promptly(|| poller.stop());
    assert!(poller.is_finished());
}

#[test]
fn stop_ends_a_poll_and_a_connect_at_once() {
    let dir = Dir::new("inbox-stop-wire");
    let (reached, ready) = mpsc::channel();
    let server = Server::decide(move |_, _| {
        reached.send(()).unwrap();
        Reaction::Hang
    });
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).spawn(callback).unwrap();
    ready.recv_timeout(TIMEOUT).unwrap();
    promptly(|| poller.stop());

    let silent = SilentListener::new();
    for _ in 0..20 {
        let (_, callback) = recorder();
        let builder = fast_poller(silent.client().build().unwrap(), &dir).heartbeat(Some(Duration::from_secs(1)));
        let poller = builder.spawn(callback).unwrap();
        #[cfg(target_os = "linux")]
        eventually("a connect of the poll and one of the heartbeat", || silent.connecting() >= 2);
        promptly(|| poller.stop());
    }
    #[cfg(target_os = "linux")]
    promptly(|| eventually("no socket that still connects", || silent.connecting() == 0));
}

#[test]
fn stop_during_a_backoff_leaves_the_cursor_exact() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-retry"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let patient = RetryPolicy::new().with_base(Duration::from_secs(600)).with_cap(Duration::from_secs(600));
    let (tried, tries) = mpsc::channel();
    let poller = fast_poller(client(&server), &dir).retry(patient).spawn(move |message| {
        tried.send((message.text().to_owned(), message.delivery_attempt())).unwrap();
        if message.text() == "message 1" { Verdict::Ack } else { Verdict::Retry }
    });
    let poller = poller.unwrap();
    assert_eq!(tries.recv_timeout(TIMEOUT).unwrap(), ("message 1".to_owned(), 1));
    assert_eq!(tries.recv_timeout(TIMEOUT).unwrap(), ("message 2".to_owned(), 1));
    assert!(tries.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
    promptly(|| poller.stop());
    // The acked row is not repeated. The other one is, and its first attempt counts.
    let mut again = Vec::new();
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    let polled = poller.poll_once(|message| {
        again.push((message.text().to_owned(), message.delivery_attempt()));
        Verdict::Ack
    });
    polled.unwrap();
    assert_eq!(again, [("message 2".to_owned(), 2)]);
}

#[test]
fn stop_waits_for_the_callback_unless_called_from_it() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-stop-inside"));
    platform.fill(1, 3, PEER);
    let server = platform.serve();
    let handle: Arc<OnceLock<PollerHandle>> = Arc::default();
    let (inside, (report, reported)) = (handle.clone(), mpsc::channel());
    let (set, is_set) = mpsc::channel::<()>();
    let poller = fast_poller(client(&server), &dir).spawn(move |message| {
        let _ = is_set.recv();
        inside.get().unwrap().stop();
        report.send(message.text().to_owned()).unwrap();
        Verdict::Ack
    });
    let handle = handle.get_or_init(|| poller.unwrap());
    drop(set);
    assert_eq!(reported.recv_timeout(TIMEOUT).unwrap(), "message 1");
    assert_eq!(promptly(|| handle.join()), Some(StopReason::Stopped));
    assert!(reported.try_recv().is_err(), "no message after the stop");

    let running = Arc::new(AtomicBool::new(false));
    let (started, (begun, has_begun)) = (running.clone(), mpsc::channel());
    let poller = fast_poller(client(&server), &dir).spawn(move |_| {
        started.store(true, SeqCst);
        begun.send(()).unwrap();
        thread::sleep(Duration::from_millis(100));
        started.store(false, SeqCst);
        Verdict::Ack
    });
    let poller = poller.unwrap();
    has_begun.recv_timeout(TIMEOUT).unwrap();
    poller.stop();
    assert!(!running.load(SeqCst));
    // The running message is acked, and so is the first one.
    let (texts, callback) = recorder();
    fast_poller(client(&server), &dir).build().unwrap().poll_once(callback).unwrap();
    assert_eq!(*texts.lock().unwrap(), ["message 3"]);
}

/// A function of the user's runs in the poller's thread and in those of its requests. Each would wait for itself.
#[test]
fn join_and_stop_do_not_block_on_any_thread_of_the_poller() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-join-inside"));
    platform.fill(1, 1, PEER);
    let inner = platform.clone();
    // The token function is called at each 401. Every other poll lists the message.
    let polls = AtomicUsize::new(0);
    let server = Server::decide(move |_, request| match request.path.contains("/activity?") {
        true if polls.fetch_add(1, SeqCst) % 2 == 1 => inner.answer(request),
        _ => Reaction::reply(401, r#"{"error":"invalid caller auth token"}"#),
    });
    type Report = (String, Option<StopReason>);
    let handle: Arc<OnceLock<PollerHandle>> = Arc::default();
    let (ended, ends) = mpsc::channel::<Report>();
    let wait = {
        let handle = handle.clone();
        move |place: &str| {
            let Some(handle) = handle.get() else { return };
            let thread = thread::current().name().unwrap_or_default().to_owned();
            ended.send((format!("{thread} {place}"), handle.join())).unwrap();
        }
    };
    let (in_token, tokens) = (wait.clone(), AtomicUsize::new(0));
    let client = support::builder(&server).token_fn(move || {
        in_token("token");
        Some(format!("token-{}", tokens.fetch_add(1, SeqCst)))
    });
    let client = client.build().unwrap();
    let (sender, (in_callback, in_dead_letter)) = (client.clone(), (wait.clone(), wait));
    let builder = fast_poller(client, &dir).heartbeat(Some(Duration::from_millis(5)));
    let builder = builder.on_dead_letter(move |_| in_dead_letter("dead letter"));
    let once = RetryPolicy::new().with_attempts(1);
    let (set, is_set) = mpsc::channel::<()>();
    let poller = builder.retry(once).spawn(move |_| {
        let _ = is_set.recv();
        in_callback("callback");
        let options = SendOptions::new().retry(once).cancel(&CancelToken::new());
        let _ = sender.send_with(PEER, &Message::from("hi"), &options);
        Verdict::Retry
    });
    let handle = handle.get_or_init(|| poller.unwrap());
    drop(set);
    let own = format!("a2a-in-{}", &WORKSPACE[..8]);
    let own = [format!("{own} callback"), format!("{own} dead letter")];
    let requests = ["a2a-inbox-get token", "a2a-heartbeat-1 token", "a2a-send token"].map(str::to_owned);
    let mut missing: Vec<String> = own.into_iter().chain(requests).collect();
    eventually("a return on each thread", || {
        let Ok((place, reason)) = ends.recv_timeout(TIMEOUT) else { panic!("no return: {missing:?}") };
        assert_eq!(reason, None, "{place}");
        missing.retain(|other| *other != place);
        missing.is_empty()
    });
    promptly(|| handle.stop());
    assert_eq!(handle.join(), Some(StopReason::Stopped));
}

#[test]
fn dropped_handle_ends_the_poller_without_waiting() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-drop"));
    platform.fill(1, 2, PEER);
    let server = platform.serve();
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (ended, has_ended) = mpsc::channel();
    struct Ends(mpsc::Sender<()>);
    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let ends = Ends(ended);
    let poller = fast_poller(client(&server), &dir).spawn(move |message| {
        let _ = &ends;
        begun.send(message.text().to_owned()).unwrap();
        let _ = released.recv();
        Verdict::Ack
    });
    assert_eq!(has_begun.recv_timeout(TIMEOUT).unwrap(), "message 1");
    promptly(|| drop(poller));
    assert!(has_ended.try_recv().is_err(), "the callback is still running");
    release.send(()).unwrap();
    has_ended.recv_timeout(TIMEOUT).unwrap();
    assert!(has_begun.try_recv().is_err(), "no message after the drop");
}

#[test]
fn heartbeat_is_sent_during_a_slow_callback() {
    let (platform, dir) = (Platform::new(), Dir::new("inbox-heart"));
    platform.fill(1, 1, PEER);
    let server = platform.serve();
    let (release, released) = mpsc::channel::<()>();
    let builder = fast_poller(client(&server), &dir).heartbeat(Some(Duration::from_millis(5)));
    let poller = builder.spawn(move |message| {
        let _ = released.recv();
        if message.delivery_attempt() == 1 { Verdict::Retry } else { Verdict::Ack }
    });
    let beats = |test: &dyn Fn(&Value) -> bool| platform.state().heartbeats.iter().any(test);
    eventually("a heartbeat during the callback", || beats(&|beat| beat["active_tasks"] == 1));
    release.send(()).unwrap();
    eventually("a heartbeat that reports the failed attempt", || beats(&|beat| beat["error_rate"] == 1.0));
    drop(release);
    let before = platform.state().heartbeats.len();
    eventually("a heartbeat without active tasks", || {
        platform.state().heartbeats[before..].iter().any(|beat| beat["active_tasks"] == 0)
    });
    promptly(|| poller.unwrap().stop());
    let beat = platform.state().heartbeats[0].clone();
    assert_eq!((&beat["workspace_id"], &beat["current_task"]), (&WORKSPACE.into(), &"".into()));
    assert!(beat["uptime_seconds"].is_u64() && beat["error_rate"] == 0.0, "{beat}");

    let count = platform.state().heartbeats.len();
    let (_, callback) = recorder();
    let poller = fast_poller(client(&server), &dir).heartbeat(None).spawn(callback).unwrap();
    let polls = platform.state().polls.len();
    eventually("some polls", || platform.state().polls.len() > polls + 3);
    poller.stop();
    assert_eq!(platform.state().heartbeats.len(), count, "turned off");
}

#[test]
fn removed_workspace_ends_the_poller_with_the_reason() {
    let gone = r#"{"error":"removed","id":"w","removed_at":"2026-05-01T00:00:00Z","hint":"make another"}"#;
    for by_heartbeat in [false, true] {
        let (platform, dir) = (Platform::new(), Dir::new("inbox-removed"));
        let inner = platform.clone();
        let server = Server::decide(move |_, request| match request.path.starts_with("/registry") == by_heartbeat {
            true => Reaction::reply(410, gone),
            false => inner.answer(request),
        });
        let (_, callback) = recorder();
        let builder = fast_poller(client(&server), &dir).heartbeat(by_heartbeat.then_some(Duration::from_millis(20)));
        let poller = builder.spawn(callback).unwrap();
        eventually("its end", || poller.is_finished());
        let Some(StopReason::Removed(removed)) = promptly(|| poller.join()) else { panic!("{poller:?}") };
        assert_eq!((removed.id.as_str(), removed.hint.as_str()), ("w", "make another"));
        assert_eq!(poller.reason(), Some(StopReason::Removed(removed)));
        poller.stop();
    }
    let (server, dir) = (Server::play([Reaction::reply(410, gone)]), Dir::new("inbox-removed-once"));
    let mut poller = fast_poller(client(&server), &dir).build().unwrap();
    assert_eq!(poller.poll_once(|_| Verdict::Ack).unwrap_err().kind(), ErrorKind::Removed);
}

#[test]
fn several_workspaces_are_polled_in_parallel() {
    let dir = Dir::new("inbox-several");
    let platforms: Vec<Platform> = (0..4).map(|_| Platform::new()).collect();
    let pollers: Vec<_> = platforms
        .iter()
        .enumerate()
        .map(|(n, platform)| {
            platform.fill(1, 20 + n as i64, PEER);
            let (server, (texts, callback)) = (platform.serve(), recorder());
            let builder = fast_poller(client(&server), &dir).cursor_file(dir.file(&format!("cursor-{n}")));
            (builder.spawn(callback).unwrap(), texts, server)
        })
        .collect();
    for (n, (poller, texts, _server)) in pollers.iter().enumerate() {
        eventually("its rows", || texts.lock().unwrap().len() == 20 + n);
        poller.stop();
    }
}
