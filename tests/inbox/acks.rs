//! The ack: up to where a poller acknowledges its inbox, and where one without a cursor goes on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use a2a_blocking::{ErrorKind, InboxPoller, Verdict};
use serde_json::{Value, json};

use crate::poll::{capture_log, drain, logged};
use crate::support::platform as scripted;
use crate::support::{self, Dir, PEER, Reaction, Server, WORKSPACE};
use crate::world::World;

/// Returns a platform; the log is captured.
fn world() -> World {
    capture_log();
    World::new("acks")
}

impl World {
    /// Starts a poller anew, polls until there is nothing more, and returns the texts.
    fn run(&self, late: Duration) -> Vec<String> {
        drain(&mut self.builder().late(late).build().unwrap())
    }

    /// Sends a message and returns the `seq` of its row.
    fn send_row(&self, text: &str) -> u64 {
        self.send(text);
        self.seq(text)
    }

    /// Sends a message as if so many seconds ago.
    fn send_at(&self, seconds: i64, text: &str) -> u64 {
        self.platform.skew_rows(seconds);
        let seq = self.send_row(text);
        self.platform.skew_rows(0);
        seq
    }

    fn seq(&self, text: &str) -> u64 {
        self.platform.ledger().iter().rev().find(|entry| entry.text == text).map(|entry| entry.seq).unwrap()
    }

    /// Acknowledges the rows up to a `seq` as another program does, and returns what is acknowledged.
    fn ack(&self, seq: u64) -> u64 {
        let answer = self.request("POST", "activity/ack", &json!({ "acked_seq": seq }).to_string());
        answer["last_acked_seq"].as_u64().unwrap()
    }

    fn acked(&self) -> u64 {
        self.ack(0)
    }

    fn request(&self, method: &str, call: &str, body: &str) -> Value {
        let answer = self.call(method, (&self.ops, call), &self.ops.token().unwrap(), body);
        serde_json::from_str(&answer[answer.find('{').unwrap()..=answer.rfind('}').unwrap()]).unwrap()
    }
}

#[test]
fn handled_messages_are_acknowledged_once_they_are_settled() {
    let world = world();
    assert_eq!((world.run(Duration::ZERO), world.acked()), (Vec::new(), 0));
    for n in 0..3 {
        let texts = [format!("message {n}"), format!("another {n}")];
        let seq = texts.each_ref().map(|text| world.send_row(text))[1];
        assert_eq!(world.run(Duration::ZERO), texts);
        assert_eq!((world.run(Duration::ZERO), world.acked()), (Vec::new(), seq));
        let saved = fs::read_to_string(world.cursor()).unwrap();
        assert_eq!(saved.matches(&format!(r#"{{"acked_seq":{seq}}}"#)).count(), 1);
    }
}

/// A row that took a lower number and is committed later would not be delivered by a poller that goes on behind the ack.
#[test]
fn message_that_is_not_settled_is_not_acknowledged() {
    let world = world();
    let late = Duration::from_secs(60);
    assert_eq!(world.run(late).len(), 0);
    world.platform.late_rows(1, Duration::from_secs(3_600));
    world.send("late");
    world.send("on time");
    assert_eq!(world.run(late), ["on time"]);
    assert_eq!((world.run(late).len(), world.acked()), (0, 0));
    world.platform.commit_late_rows();
    fs::remove_file(world.cursor()).unwrap();
    assert_eq!(world.run(late), ["late", "on time"], "nothing is lost with the cursor");
}

/// A row that is too large for the tail to list everything behind it is acknowledged by the next head.
#[test]
fn large_message_is_acknowledged_in_a_quiet_inbox() {
    let world = world();
    world.send(&"x".repeat(300 << 10));
    let seq = world.platform.ledger()[0].seq;
    assert_eq!((world.run(Duration::ZERO).len(), world.acked()), (1, seq));
}

#[test]
fn poller_without_a_cursor_goes_on_behind_the_ack() {
    let world = world();
    world.send_at(-86_400, "long ago");
    world.send_at(-7_200, "old");
    let acked = world.send_at(-7_100, "acknowledged");
    // Its number is higher, and its time is before that.
    world.send_at(-7_130, "began earlier");
    world.send_at(-7_050, "older than the backlog");
    world.send("new");
    assert_eq!(world.ack(acked), acked);
    let late = Duration::from_secs(60);
    assert_eq!(world.run(late), ["began earlier", "older than the backlog", "new"]);
    assert_eq!(logged(&["INFO", "going on behind what was acknowledged", &acked.to_string()]), 1);
    assert_eq!(logged(&["are not delivered: PollerBuilder::backlog"]), 0);
    assert_eq!(world.run(late), [""; 0], "what was acknowledged counts as handled after a restart, too");
    world.send("newer");
    assert_eq!(world.run(late), ["newer"]);
}

#[test]
fn poller_whose_cursor_is_lost_goes_on_where_it_was() {
    let world = world();
    for n in 0..3 {
        let texts = [0, 1].map(|m| format!("message {n} {m}"));
        for text in &texts {
            world.send(text);
        }
        assert_eq!((world.run(Duration::ZERO), world.run(Duration::ZERO).len()), (texts.to_vec(), 0));
        fs::remove_file(world.cursor()).unwrap();
    }
    assert_eq!(world.run(Duration::ZERO), [""; 0]);
}

#[test]
fn rows_older_than_the_backlog_are_skipped_with_a_line_where_nothing_was_acknowledged() {
    for ack in [true, false] {
        let world = world();
        let old = world.send_at(-7_200, "old");
        world.send("new");
        let builder = || world.builder().late(Duration::ZERO).ack(ack);
        let before = logged(&["INFO", "older than 600 s are not delivered", "PollerBuilder::backlog"]);
        assert_eq!(drain(&mut builder().build().unwrap()), ["new"]);
        assert_eq!(logged(&["INFO", "older than 600 s are not delivered", "PollerBuilder::backlog"]), before + 1);
        let mode = world.request("GET", "mail/summary", "")["mode"].clone();
        assert_eq!(mode, if ack { "acked_seq" } else { "queued_backlog" }, "it was not even asked");
        // Told of an ack, or that there is one, it makes no difference.
        world.ack(old);
        fs::remove_file(world.cursor()).unwrap();
        let texts = drain(&mut builder().build().unwrap());
        assert_eq!(texts, if ack { vec![] } else { vec!["new"] });
    }
}

#[test]
fn ack_waits_while_little_of_the_rate_limit_is_left() {
    let world = world();
    let first = world.send_row("first");
    assert_eq!((world.run(Duration::ZERO).len(), world.acked()), (1, first));
    let second = world.send_row("second");
    let quiet = || world.builder().late(Duration::ZERO).ack(false).build().unwrap();
    assert_eq!((drain(&mut quiet()), world.acked()), (vec!["second".to_owned()], first));
    // Two to four requests, and then an ack is due. The last three of a window are for sends and heartbeats alone.
    world.platform.rate_limit(5);
    assert_eq!(world.run(Duration::ZERO), [""; 0]);
    world.platform.rate_limit(None);
    assert_eq!(world.acked(), first);
    let third = world.send_row("third");
    assert_eq!((world.run(Duration::ZERO).len(), world.run(Duration::ZERO).len()), (1, 0));
    assert!(second < third && world.acked() == third);
}

/// A platform whose rows have numbers, and which answers acks as it is told.
fn scripted(answer: impl Fn() -> Reaction + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
    let platform = scripted::Platform::new();
    let body = json!({ "params": { "message": { "parts": [{ "kind": "text", "text": "hello" }] } } });
    for seq in [7, 9] {
        let row = json!({ "source_id": PEER, "method": "message/send", "request_body": body, "seq": seq });
        platform.add_row(seq * scripted::SECOND, row);
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let server = Server::decide(move |_, request| {
        if request.path == format!("/workspaces/{WORKSPACE}/activity/ack") {
            assert_eq!(request.method, "POST");
            counter.fetch_add(1, SeqCst);
            return answer();
        }
        platform.answer(request)
    });
    (server, asked)
}

fn poller(server: &Server, dir: &Dir) -> InboxPoller {
    capture_log();
    let builder = InboxPoller::builder(support::client(server)).cursor_file(dir.file("cursor")).late(Duration::ZERO);
    builder.build().unwrap()
}

#[test]
fn platform_without_acks_is_sent_one_and_no_more() {
    for status in [404, 405, 501] {
        let dir = Dir::new("no-acks");
        let (server, asked) = scripted(move || Reaction::reply(status, r#"{"error":"no such endpoint"}"#));
        let mut poller = poller(&server, &dir);
        assert_eq!(drain(&mut poller).len(), 2);
        assert_eq!(
            (drain(&mut poller).len(), asked.load(SeqCst)),
            (0, 2),
            "{status}: the question at the start, and an ack"
        );
    }
}

#[test]
fn ack_that_fails_disturbs_no_delivery_and_is_not_repeated_at_once() {
    for answer in [
        Reaction::reply(500, "{}"),
        Reaction::reply(429, r#"{"error":"rate limit exceeded","retry_after":59}"#),
        Reaction::reply(200, r#"{"last_acked_seq":"9"}"#),
        Reaction::Close,
    ] {
        let (dir, calls) = (Dir::new("ack-fails"), AtomicUsize::new(0));
        let (server, asked) = scripted(move || match calls.fetch_add(1, SeqCst) {
            0 => Reaction::reply(200, r#"{"last_acked_seq":0}"#),
            _ => answer.clone(),
        });
        let mut poller = poller(&server, &dir);
        assert_eq!(drain(&mut poller).len(), 2);
        let tried = asked.load(SeqCst);
        assert!(tried >= 2, "the question at the start, and an ack");
        assert_eq!((drain(&mut poller).len(), asked.load(SeqCst)), (0, tried));
    }
}

#[test]
fn silent_ack_delays_the_next_poll_by_5_seconds_at_most() {
    let (dir, calls) = (Dir::new("ack-silent"), AtomicUsize::new(0));
    let (server, _) = scripted(move || match calls.fetch_add(1, SeqCst) {
        0 => Reaction::reply(200, r#"{"last_acked_seq":0}"#),
        _ => Reaction::Hang,
    });
    let (mut poller, start) = (poller(&server, &dir), Instant::now());
    assert_eq!(drain(&mut poller).len(), 2);
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

/// It would deliver what was handled before, or skip what was not.
#[test]
fn poller_without_a_cursor_does_not_start_before_it_knows_what_was_acknowledged() {
    let (dir, calls) = (Dir::new("ack-unknown"), AtomicUsize::new(0));
    let (server, _) = scripted(move || match calls.fetch_add(1, SeqCst) {
        0 => Reaction::reply(503, "{}"),
        1 => Reaction::reply(401, r#"{"error":"invalid workspace auth token"}"#),
        _ => Reaction::reply(200, r#"{"last_acked_seq":7}"#),
    });
    let mut poller = poller(&server, &dir);
    let failed = [0; 2].map(|_| poller.poll_once(|_| Verdict::Ack).unwrap_err().kind());
    assert_eq!(failed, [ErrorKind::Status, ErrorKind::Unauthorized]);
    assert_eq!(drain(&mut poller).len(), 1, "row 7 was acknowledged");
}

#[test]
fn question_that_always_fails_does_not_stop_the_poller() {
    let dir = Dir::new("ack-broken");
    let (server, _) = scripted(|| Reaction::reply(500, r#"{"error":"ack failed"}"#));
    let mut poller = poller(&server, &dir);
    let failed = [0; 2].map(|_| poller.poll_once(|_| Verdict::Ack).unwrap_err().status());
    assert_eq!(failed, [Some(500); 2]);
    assert_eq!(drain(&mut poller).len(), 2);
    assert_eq!(logged(&["WARN", "it is not known what was acknowledged before", "starting from the backlog"]), 1);
}
