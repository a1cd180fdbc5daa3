//! Calls beside the pollers: messages with retries, budgets and cancels, replies, and short-lived clients that are
//! dropped in the middle of their work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, Delivery, Error, InboxMessage, InboxMessageKind, Message, Reply, RetryPolicy, SendOptions,
};
use parking_lot::Mutex;

use super::counters::Violation;
use super::script::Random;
use super::soak::Soak;
use super::state::{PEERS, WORKSPACES, peer_id};

/// Number of the next message.
static NEXT_MESSAGE: AtomicU64 = AtomicU64::new(1);
/// Bound of a reply and of a notice.
const REPLY_BUDGET: Duration = Duration::from_secs(30);

/// Returns the text of a message, by which the platform recognises it.
fn text(message: u64) -> String {
    format!("soak:{message:016x} on it")
}

/// Sends one message to a random peer, as a callback does, and checks the outcome.
pub fn send_from_callback(soak: &Soak, client: &Client, random: &mut Random) {
    let budget = Duration::from_millis(300 + random.below(700));
    let policy = RetryPolicy::new().with_budget(budget).with_base(Duration::from_millis(50));
    send(soak, client, random, budget, SendOptions::new().retry(policy));
}

fn send(soak: &Soak, client: &Client, random: &mut Random, budget: Duration, options: SendOptions) {
    let message = NEXT_MESSAGE.fetch_add(1, Relaxed);
    let peer = peer_id(random.below(PEERS as u64) as usize);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    let options = {
        let steps = steps.clone();
        options.on_progress(move |at| steps.lock().push((begin.elapsed(), at.attempt, at.pause)))
    };
    let outcome = client.send_with(peer, &Message::from(text(message)), &options);
    let took = begin.elapsed();
    let describe = || format!("{options:?}, in these steps: {:?}", steps.lock());
    check_send(soak, message, took, budget, describe, outcome.map(Some));
}

/// Checks that a send kept its budget, and that it reported the right delivery and answer.
fn check_send(
    soak: &Soak,
    message: u64,
    took: Duration,
    budget: Duration,
    describe: impl FnOnce() -> String,
    outcome: Result<Option<Reply>, Error>,
) {
    soak.counters.sends.add(took);
    soak.counters.record_overrun(took.saturating_sub(budget), || {
        format!("message {message:x} took {took:?} of {budget:?}: {outcome:?} by {}", describe())
    });
    let was_accepted = soak.platform.state.has_accepted(message);
    let wrong = |why: String| soak.counters.violation(Violation::Delivery, || why);
    match outcome {
        Ok(_) if !was_accepted => wrong(format!("message {message:x} was answered, and never arrived")),
        Ok(Some(reply)) if !reply.text().contains(&format!("{message:016x}")) => {
            wrong(format!("message {message:x} has the answer to another: {}", reply.text()));
        }
        Ok(_) => {}
        Err(error) => {
            soak.counters.sends_failed.fetch_add(1, Relaxed);
            soak.counters.check_error("send", &error);
            if error.delivery() == Delivery::NotSent && was_accepted {
                wrong(format!("message {message:x} arrived, and is reported as not sent: {error}"));
            }
        }
    }
}

/// Sends messages with random options until the run is over, through the client of a random workspace.
pub fn run_sender(soak: &Soak, number: u64) {
    let mut random = Random::stream(soak.seed, 100 + number);
    while !soak.is_over.load(SeqCst) {
        thread::sleep(Duration::from_millis(20 + random.below(200)));
        let client = soak.clients.lock()[random.below(WORKSPACES as u64) as usize].clone();
        let Some(client) = client else { continue };
        let budget = Duration::from_millis(200 + random.below(2_800));
        let base = Duration::from_millis(20 + random.below(300));
        let mut policy = RetryPolicy::new().with_budget(budget).with_base(base);
        if random.one_in(2) {
            policy = policy.honor_retry_after();
        }
        if random.one_in(3) {
            policy = policy.only_undelivered();
        }
        if random.one_in(4) {
            policy = policy.with_silence(Duration::from_millis(100 + random.below(400)));
        }
        let options = SendOptions::new().retry(policy);
        if random.one_in(2) {
            send(soak, &client, &mut random, budget, options);
        } else {
            let cancel_after = Duration::from_millis(random.below(300));
            send_and_cancel(soak, &client, &mut random, budget, options, cancel_after);
        }
    }
}

/// Sends a message, and cancels the send after a time. Records the time from the cancel to the send's end.
fn send_and_cancel(
    soak: &Soak,
    client: &Client,
    random: &mut Random,
    budget: Duration,
    options: SendOptions,
    cancel_after: Duration,
) {
    let token = CancelToken::new();
    let options = options.cancel(&token);
    thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            thread::sleep(cancel_after);
            let at = Instant::now();
            token.cancel();
            at
        });
        send(soak, client, random, budget, options);
        let end = Instant::now();
        // Most sends have ended before the cancel.
        if let Some(took) = canceller.join().ok().and_then(|at| end.checked_duration_since(at)) {
            soak.counters.cancels.add(took);
        }
    });
}

/// Replies to messages until their channel is closed. Each fourth gets a notice to the human instead.
pub fn run_replier(soak: &Soak, messages: &Receiver<InboxMessage>) {
    for (n, message) in messages.iter().enumerate() {
        let begin = Instant::now();
        if n % 4 == 0 || message.kind() != InboxMessageKind::Peer {
            let client = soak.clients.lock()[0].clone();
            let outcome = client.map(|client| client.notify("soak"));
            let overrun = begin.elapsed().saturating_sub(REPLY_BUDGET);
            soak.counters.record_overrun(overrun, || format!("a notice: {outcome:?}"));
            if let Some(Err(error)) = outcome {
                soak.counters.check_error("notify", &error);
            }
            continue;
        }
        let number = NEXT_MESSAGE.fetch_add(1, Relaxed);
        let outcome = message.reply(text(number));
        check_send(soak, number, begin.elapsed(), REPLY_BUDGET, || "a reply".to_owned(), outcome);
    }
}

/// Uses one short-lived client after another until the run is over.
pub fn run_short_lived_clients(soak: &Arc<Soak>) {
    let mut random = Random::stream(soak.seed, 200);
    while !soak.is_over.load(SeqCst) {
        thread::sleep(Duration::from_millis(100 + random.below(500)));
        use_short_lived_client(soak, &mut random);
    }
}

/// Makes a client, a call of each kind on it, and drops it with lookups still queued.
pub fn use_short_lived_client(soak: &Soak, random: &mut Random) {
    let client = soak.new_client(random.below(WORKSPACES as u64) as usize);
    let mut peer = || peer_id(random.below(PEERS as u64) as usize);
    let found = client.discover(peer());
    let _ = found.map_err(|error| soak.counters.check_error("discover", &error));
    let (a, b) = (peer(), peer());
    thread::scope(|scope| {
        // Two threads that miss the same peers together.
        scope.spawn(|| [&a, &b].map(|peer| client.enrich(peer)));
        drop([&b, &a].map(|peer| client.enrich(peer)));
    });
    let _ = client.peers().map_err(|error| soak.counters.check_error("peers", &error));
    let _ = client.workspace().map_err(|error| soak.counters.check_error("workspace", &error));
    // These are queued or under way when the client is dropped.
    (0..8).for_each(|_| drop(client.enrich_nonblocking(peer())));
}
