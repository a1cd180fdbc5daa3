//! The attempts of a send: policy, budget, delivery.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::cancel::{CancelToken, Registration};
use crate::error::{Delivery, Error, ErrorKind};
use crate::http::{Http, Wire};
use crate::peer::PeerId;
use crate::platform::{Failed, Outgoing, RetryHint};
use crate::retry::RetryPolicy;
use crate::util::clock::Deadline;
use crate::util::random::random;
use crate::wire::{Message, Reply};

/// How one send goes about it. The default is [`RetryPolicy::new`], no token, and nobody watching:
///
/// ```
/// use a2a_blocking::{RetryPolicy, SendOptions};
///
/// let shown = format!("{:?}", SendOptions::new());
/// assert_eq!(shown, format!("SendOptions {{ retry: {:?}, cancel: None, on_progress: false }}", RetryPolicy::new()));
/// ```
///
/// ```no_run
/// use a2a_blocking::{CancelToken, Client, Message, SendOptions};
///
/// # let peer = "3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c";
/// let token = CancelToken::new();
/// let options = SendOptions::new().cancel(&token).on_progress(|now| eprintln!("attempt {}", now.attempt));
/// std::thread::spawn(move || token.cancel());
/// let outcome = Client::from_env()?.send_with(peer, &Message::from("hello"), &options);
/// println!("{outcome:?}");
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct SendOptions {
    retry: RetryPolicy,
    cancel: Option<CancelToken>,
    progress: Option<Arc<dyn Fn(SendProgress) + Send + Sync>>,
}

/// Where a send is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SendProgress {
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// How many there will be at the most.
    pub max_attempts: u32,
    /// How long the pause before the next attempt is; `None` while an attempt is under way.
    pub pause: Option<Duration>,
}

impl SendOptions {
    /// The default.
    pub fn new() -> Self {
        SendOptions::default()
    }

    /// When to try again, and the budget.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// What ends the send from another thread. Such a send makes each attempt on a thread of its own, so
    /// that it ends at once even while it connects.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// A function that is told of each attempt and each pause, in the sending thread. It must not block:
    /// its time counts against the budget.
    pub fn on_progress(mut self, watch: impl Fn(SendProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(watch));
        self
    }
}

impl fmt::Debug for SendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SendOptions { retry, cancel, progress } = self;
        let mut shown = f.debug_struct("SendOptions");
        shown.field("retry", retry).field("cancel", cancel).field("on_progress", &progress.is_some()).finish()
    }
}

/// Sends a message, in as many attempts as the policy allows, inside its budget.
///
/// # Errors
///
/// The last attempt's, with what is known of the delivery over all of them.
pub(crate) fn send(http: &Arc<Http>, peer: PeerId, message: &Message, options: &SendOptions) -> Result<Reply, Error> {
    let policy = options.retry;
    let deadline = Deadline::after(policy.budget());
    let outgoing = Outgoing::new(http, peer, message, policy.silence())?;
    let line = AttemptRunner::new(http, options.cancel.as_ref(), policy.budget());
    let mut delivery = Delivery::NotSent;

    if options.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
        return Err(cancelled(&outgoing, "before it was sent"));
    }
    for attempt in 1.. {
        let progress = |pause| SendProgress { attempt, max_attempts: policy.attempts(), pause };
        let told = |error: Error, delivery| error.with_delivery(delivery).with_attempts(attempt);
        options.tell(progress(None));
        let Failed { error, again } = match line.post(http, &outgoing, deadline) {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let error = told(error, delivery);
        delivery = error.delivery();

        let pause = pause_after(attempt, again, policy, delivery);
        // A pause past the budget would end in an attempt that has no time.
        let Some(pause) = pause.filter(|pause| *pause < deadline.left()) else { return Err(error) };
        log::debug!("send: {error}; again in {pause:?}");
        options.tell(progress(Some(pause)));
        if line.pause(pause) == Paused::Cancelled {
            return Err(told(cancelled(&outgoing, "before the next attempt"), delivery));
        }
    }
    // The loop has no other end than those above: its counter is bounded by the policy.
    Err(Error::new(ErrorKind::Internal, "the attempts ran out").with_target(outgoing.target))
}

/// How long to wait before the next attempt; `None` where there is to be none.
fn pause_after(attempt: u32, again: RetryHint, policy: RetryPolicy, delivery: Delivery) -> Option<Duration> {
    if attempt >= policy.attempts() {
        return None;
    }
    let backoff = || policy.backoff(attempt, random());
    match again {
        RetryHint::No => None,
        RetryHint::Transport if policy.retries_only_undelivered() && delivery != Delivery::NotSent => None,
        RetryHint::Transport => Some(backoff()),
        RetryHint::Asked(_) if !policy.honors_retry_after() || delivery > Delivery::Unknown => None,
        RetryHint::Asked(_) if policy.retries_only_undelivered() && delivery != Delivery::NotSent => None,
        RetryHint::Asked(wait) => Some(wait.unwrap_or_else(backoff)),
    }
}

fn cancelled(outgoing: &Outgoing, when: &str) -> Error {
    Error::new(ErrorKind::Cancelled, format!("cancelled {when}")).with_target(outgoing.target.as_str())
}

impl SendOptions {
    fn tell(&self, progress: SendProgress) {
        if let Some(watch) = &self.progress {
            watch(progress);
        }
    }
}

/// How a send reaches the platform and waits: plainly, or so that a token can end it at once.
enum AttemptRunner {
    Plain,
    Cancellable { token: CancelToken, wire: Wire, events: Receiver<Event>, report: Sender<Event>, _hook: Registration },
}

enum Event {
    Ended(Result<Reply, Failed>),
    Cancelled,
}

#[derive(PartialEq)]
enum Paused {
    Whole,
    Cancelled,
}

impl AttemptRunner {
    fn new(http: &Http, cancel: Option<&CancelToken>, budget: Duration) -> Self {
        let Some(token) = cancel else { return AttemptRunner::Plain };
        let (report, events) = mpsc::channel();
        let wire = http.wire(budget);
        let hook = {
            let (wire, report) = (wire.clone(), report.clone());
            move || {
                wire.clone().shut_down();
                // Nobody listens any more where the send has ended by itself.
                let _ = report.send(Event::Cancelled);
            }
        };
        AttemptRunner::Cancellable { token: token.clone(), wire, events, report, _hook: token.register(hook) }
    }

    fn post(&self, http: &Arc<Http>, outgoing: &Outgoing, deadline: Deadline) -> Result<Reply, Failed> {
        let AttemptRunner::Cancellable { token, wire, events, report, .. } = self else {
            return outgoing.post(http, deadline, None);
        };
        let ended = |error| Failed { error, again: RetryHint::No };
        let on_the_wire = || Err(ended(cancelled(outgoing, "on the wire").with_delivery(outgoing.delivery())));
        let attempt = {
            let (http, outgoing, wire, report) = (http.clone(), outgoing.clone(), wire.clone(), report.clone());
            move || {
                let outcome = outgoing.post_guarded(&http, deadline, &wire);
                // Nobody listens any more where the send was cancelled.
                let _ = report.send(Event::Ended(outcome));
            }
        };
        if thread::Builder::new().name("a2a-send".to_owned()).spawn(attempt).is_err() {
            // Without a thread to be had a cancel breaks the wire all the same, but for a connect.
            return outgoing.post(http, deadline, Some(wire)).map_err(|failed| match token.is_cancelled() {
                true => ended(cancelled(outgoing, "on the wire").with_delivery(failed.error.delivery())),
                false => failed,
            });
        }
        match events.recv_timeout(deadline.left()) {
            // What has come is not thrown away for a cancel that came as late.
            Ok(Event::Ended(outcome)) => match outcome {
                Err(failed) if failed.again == RetryHint::Transport && token.is_cancelled() => on_the_wire(),
                outcome => outcome,
            },
            Ok(Event::Cancelled) => match events.try_recv() {
                Ok(Event::Ended(Ok(reply))) => Ok(reply),
                // The hook has shut the wire down: what was not handed over by now will not be sent.
                _ => on_the_wire(),
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                wire.clone().shut_down();
                let error = Error::new(ErrorKind::Timeout, "ReadTimeout: no answer in time");
                Err(ended(error.with_target(outgoing.target.as_str()).with_delivery(outgoing.delivery())))
            }
        }
    }

    fn pause(&self, wait: Duration) -> Paused {
        match self {
            AttemptRunner::Plain => thread::sleep(wait),
            AttemptRunner::Cancellable { events, .. } => match events.recv_timeout(wait) {
                Ok(_) => return Paused::Cancelled,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            },
        }
        Paused::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::wire;

    fn pause(attempt: u32, again: RetryHint, policy: RetryPolicy, delivery: Delivery) -> Option<Duration> {
        pause_after(attempt, again, policy.with_jitter(0.0), delivery)
    }

    #[test]
    fn what_is_tried_again_and_after_how_long() {
        let (plain, second) = (RetryPolicy::new(), Duration::from_secs(1));
        let asked = RetryHint::Asked(Some(second * 7));
        let (not_sent, unknown) = (Delivery::NotSent, Delivery::Unknown);
        assert_eq!(pause(1, RetryHint::Transport, plain, unknown), Some(second));
        assert_eq!(pause(4, RetryHint::Transport, plain, unknown), Some(second * 8));
        assert_eq!(pause(5, RetryHint::Transport, plain, unknown), None);
        assert_eq!(pause(1, RetryHint::No, plain.honor_retry_after(), not_sent), None);
        assert_eq!(pause(1, RetryHint::Transport, plain.only_undelivered(), unknown), None);
        assert_eq!(pause(1, RetryHint::Transport, plain.only_undelivered(), not_sent), Some(second));
        assert_eq!(pause(1, asked, plain, not_sent), None);
        assert_eq!(pause(1, asked, plain.honor_retry_after(), not_sent), Some(second * 7));
        // What an earlier attempt may have delivered is tried again, as after a failure of the transport.
        assert_eq!(pause(1, asked, plain.honor_retry_after(), unknown), Some(second * 7));
        assert_eq!(pause(1, asked, plain.honor_retry_after().only_undelivered(), unknown), None);
        assert_eq!(pause(1, asked, plain.honor_retry_after().only_undelivered(), not_sent), Some(second * 7));
        assert_eq!(pause(1, asked, plain.honor_retry_after(), Delivery::Delivered), None);
        assert_eq!(pause(2, RetryHint::Asked(None), plain.honor_retry_after(), not_sent), Some(second * 2));
    }

    /// What the attempt of a cancellable send comes to where this is heard of it, in this order. Nobody is at its
    /// address, and nobody listens to what its own thread reports later.
    fn heard(token: &CancelToken, events: impl FnOnce(&Sender<Event>)) -> Result<Reply, Failed> {
        let client = Client::builder().platform_url("http://127.0.0.1:1").workspace_id("w").build().unwrap();
        let peer = PeerId::parse("3f2b8c1a-5d4e-4f6a-9b7c-8d9e0f1a2b3c").unwrap();
        let bound = Duration::from_secs(20);
        let outgoing = Outgoing::new(client.http(), peer, &Message::from("hi"), bound).unwrap();
        let line = AttemptRunner::new(client.http(), Some(token), bound);
        let AttemptRunner::Cancellable { report, .. } = &line else { panic!("a plain one") };
        events(report);
        line.post(client.http(), &outgoing, Deadline::after(bound))
    }

    fn failed(kind: ErrorKind, again: RetryHint) -> Event {
        Event::Ended(Err(Failed { error: Error::new(kind, "for the test"), again }))
    }

    #[test]
    fn a_reply_that_comes_with_a_cancel_is_not_thrown_away() {
        let body = br#"{"result":{"parts":[{"kind":"text","text":"done"}]}}"#;
        let reply = || wire::read(200, body, String::new, str::to_owned).unwrap_or_else(|_| panic!("no reply"));
        for cancel_first in [false, true] {
            let token = CancelToken::new();
            let outcome = heard(&token, |report| {
                if cancel_first {
                    token.cancel();
                }
                report.send(Event::Ended(Ok(reply()))).unwrap();
                token.cancel();
            });
            assert_eq!(outcome.map(|reply| reply.text().into_owned()).ok().as_deref(), Some("done"));
        }
    }

    /// The wire that a cancel shuts down fails: that is the cancel's doing. What the platform said is not.
    #[test]
    fn a_cancel_is_told_from_a_failure() {
        for (kind, again, cancelled, told) in [
            (ErrorKind::Disconnected, RetryHint::Transport, true, ErrorKind::Cancelled),
            (ErrorKind::Disconnected, RetryHint::Transport, false, ErrorKind::Disconnected),
            (ErrorKind::Rpc, RetryHint::No, true, ErrorKind::Rpc),
            (ErrorKind::Platform, RetryHint::Asked(None), true, ErrorKind::Platform),
        ] {
            let token = CancelToken::new();
            let outcome = heard(&token, |report| {
                report.send(failed(kind, again)).unwrap();
                if cancelled {
                    token.cancel();
                }
            });
            let Err(failed) = outcome else { panic!("a reply") };
            let again = if told == ErrorKind::Cancelled { RetryHint::No } else { again };
            assert_eq!((failed.error.kind(), failed.again), (told, again));
        }
    }

    #[test]
    fn its_options_can_be_looked_at() {
        let options = SendOptions::new().cancel(&CancelToken::new()).on_progress(|_| ());
        let shown = format!("{options:?}");
        assert!(shown.starts_with("SendOptions { retry: RetryPolicy {"), "{shown}");
        assert!(shown.ends_with(", cancel: Some(CancelToken(open)), on_progress: true }"), "{shown}");
    }
}
