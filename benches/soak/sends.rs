//! Who sends, and who comes by: messages with retries, budgets and cancels, answers to pushes, and clients that
//! are made for a few calls and dropped in the middle of their work.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, Delivery, Error, InboxMessage, InboxMessageKind, Message, Reply, RetryPolicy, SendOptions,
};

use super::ledger::{PEERS, WORKSPACES, peer_id};
use super::script::Dice;
use super::station::{client, lock};
use super::tally::Wrong;
use super::world::Soak;

static MESSAGES: AtomicU64 = AtomicU64::new(1);
/// The bound of an answer to a push, and of a notice.
const REPLY: Duration = Duration::from_secs(30);

fn text(message: u64) -> String {
    format!("soak:{message:016x} on it")
}

/// One message, from inside a callback.
pub fn send(soak: &Soak, client: &Client, dice: &mut Dice) {
    let budget = Duration::from_millis(300 + dice.roll(700));
    let policy = RetryPolicy::new().with_budget(budget).with_base(Duration::from_millis(50));
    post(soak, client, dice, budget, SendOptions::new().retry(policy));
}

fn post(soak: &Soak, client: &Client, dice: &mut Dice, budget: Duration, options: SendOptions) {
    let message = MESSAGES.fetch_add(1, Relaxed);
    let peer = peer_id(dice.roll(PEERS as u64) as usize);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    let options = {
        let steps = steps.clone();
        options.on_progress(move |at| lock(&steps).push((begin.elapsed(), at.attempt, at.pause)))
    };
    let outcome = client.send_with(peer, &Message::from(text(message)), &options);
    let took = begin.elapsed();
    let how = || format!("{options:?}, in these steps: {:?}", lock(&steps));
    told(soak, message, took, budget, how, outcome.map(Some));
}

/// Whether a send's word is true, and it was in time.
fn told(
    soak: &Soak,
    message: u64,
    took: Duration,
    budget: Duration,
    how: impl FnOnce() -> String,
    outcome: Result<Option<Reply>, Error>,
) {
    soak.tally.sends.add(took);
    soak.tally.beyond(took.saturating_sub(budget), || {
        format!("message {message:x} took {took:?} of {budget:?}: {outcome:?} by {}", how())
    });
    let taken = soak.platform.ledger.has_taken(message);
    let wrong = |what: String| soak.tally.wrong(Wrong::Delivery, || what);
    match outcome {
        Ok(_) if !taken => wrong(format!("message {message:x} was answered, and never arrived")),
        Ok(Some(reply)) if !reply.text().contains(&format!("{message:016x}")) => {
            wrong(format!("message {message:x} has the answer to another: {}", reply.text()));
        }
        Ok(_) => {}
        Err(error) => {
            soak.tally.sends_failed.fetch_add(1, Relaxed);
            soak.tally.error("send", &error);
            if error.delivery() == Delivery::NotSent && taken {
                wrong(format!("message {message:x} arrived, and is said to be not sent: {error}"));
            }
        }
    }
}

/// Sends of all kinds, one after another, by whatever client there is.
pub fn run_sender(soak: &Soak, number: u64) {
    let mut dice = Dice::of(soak.seed, 100 + number);
    while !soak.is_over.load(SeqCst) {
        thread::sleep(Duration::from_millis(20 + dice.roll(200)));
        let client = lock(&soak.clients)[dice.roll(WORKSPACES as u64) as usize].clone();
        let Some(client) = client else { continue };
        let budget = Duration::from_millis(200 + dice.roll(2_800));
        let mut policy = RetryPolicy::new().with_budget(budget).with_base(Duration::from_millis(20 + dice.roll(300)));
        if dice.one_in(2) {
            policy = policy.honor_retry_after();
        }
        if dice.one_in(3) {
            policy = policy.only_undelivered();
        }
        if dice.one_in(4) {
            policy = policy.with_silence(Duration::from_millis(100 + dice.roll(400)));
        }
        let options = SendOptions::new().retry(policy);
        if dice.one_in(2) {
            post(soak, &client, &mut dice, budget, options);
            continue;
        }
        let (token, wait) = (CancelToken::new(), Duration::from_millis(dice.roll(300)));
        let options = options.cancel(&token);
        thread::scope(|scope| {
            let canceller = scope.spawn(|| {
                thread::sleep(wait);
                let at = Instant::now();
                token.cancel();
                at
            });
            post(soak, &client, &mut dice, budget, options);
            let end = Instant::now();
            // Most sends are over by then.
            if let Some(took) = canceller.join().ok().and_then(|at| end.checked_duration_since(at)) {
                soak.tally.cancels.add(took);
            }
        });
    }
}

/// Answers pushes: a peer by a message, and now and then the human by a notice.
pub fn run_answerer(soak: &Soak, pushes: &Receiver<InboxMessage>) {
    for (n, push) in pushes.iter().enumerate() {
        let begin = Instant::now();
        if n % 4 == 0 || push.kind() != InboxMessageKind::PeerAgent {
            let client = lock(&soak.clients)[0].clone();
            let outcome = client.map(|client| client.notify("soak"));
            soak.tally.beyond(begin.elapsed().saturating_sub(REPLY), || format!("a notice: {outcome:?}"));
            if let Some(Err(error)) = outcome {
                soak.tally.error("notify", &error);
            }
            continue;
        }
        let message = MESSAGES.fetch_add(1, Relaxed);
        let outcome = push.reply(text(message));
        told(soak, message, begin.elapsed(), REPLY, || "a reply".to_owned(), outcome);
    }
}

/// Clients that stay for a few calls.
pub fn run_visitors(soak: &Arc<Soak>) {
    let mut dice = Dice::of(soak.seed, 200);
    while !soak.is_over.load(SeqCst) {
        thread::sleep(Duration::from_millis(100 + dice.roll(500)));
        visit(soak, &mut dice);
    }
}

pub fn visit(soak: &Soak, dice: &mut Dice) {
    let visitor = client(soak, dice.roll(WORKSPACES as u64) as usize);
    let mut peer = || peer_id(dice.roll(PEERS as u64) as usize);
    let found = visitor.discover(peer());
    let _ = found.map_err(|error| soak.tally.error("discover", &error));
    let (a, b) = (peer(), peer());
    thread::scope(|scope| {
        // Two threads that miss the same peers together.
        scope.spawn(|| [&a, &b].map(|peer| visitor.enrich(peer)));
        drop([&b, &a].map(|peer| visitor.enrich(peer)));
    });
    let _ = visitor.peers().map_err(|error| soak.tally.error("peers", &error));
    let _ = visitor.workspace().map_err(|error| soak.tally.error("workspace", &error));
    // Dropped with these queued and under way.
    (0..8).for_each(|_| drop(visitor.enrich_nonblocking(peer())));
}
