//! The polled workspaces: each has a client and one or two pollers, which are stopped and started again all the while.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{InboxMessage, InboxPoller, PollerHandle, RetryPolicy, Verdict};
use parking_lot::Mutex;

use super::checked_client::{CheckedClient, StallCounter};
use super::counters::Violation;
use super::script::Random;
use super::soak::Soak;
use super::state::{SHARED, WORKSPACES, number, row_number};
use super::traffic;

/// Number of deliveries of a row before it is dead-lettered.
const ATTEMPTS: u32 = 5;

/// The position of one poller in its inbox, over all its restarts.
#[derive(Default)]
pub struct Position {
    /// Number of the next row that it must deliver.
    pub next: u64,
    /// Number of times that the next row was delivered already.
    attempts: u32,
}

impl Position {
    fn advance(&mut self) {
        self.next += 1;
        self.attempts = 0;
    }
}

/// The position of a poller, with the number of its workspace.
pub type WorkspacePosition = (usize, Arc<Mutex<Position>>);

pub struct Workspace {
    number: usize,
    /// One for each poller.
    positions: Vec<Arc<Mutex<Position>>>,
    pollers: Vec<PollerHandle>,
}

impl Workspace {
    pub fn new(number: usize) -> Self {
        let pollers = if number < SHARED { 2 } else { 1 };
        Workspace { number, positions: (0..pollers).map(|_| Arc::default()).collect(), pollers: Vec::new() }
    }

    pub fn positions(&self) -> impl Iterator<Item = WorkspacePosition> + '_ {
        self.positions.iter().map(|position| (self.number, position.clone()))
    }

    /// Starts the pollers with a new client. `generation` determines the callbacks' random choices.
    fn start(&mut self, soak: &Arc<Soak>, generation: u64) {
        let client = Arc::new(CheckedClient::new(soak.new_client(self.number)));
        for (n, position) in self.positions.iter().enumerate() {
            let file: PathBuf = soak.dir.join(format!("cursor-{}-{n}", self.number));
            let retry = RetryPolicy::new()
                .with_attempts(ATTEMPTS)
                .with_base(Duration::from_millis(5))
                .with_cap(Duration::from_millis(20));
            let builder = InboxPoller::builder(client.client.clone()).cursor_file(file).retry(retry).page_size(50);
            let builder = builder.interval(Duration::from_millis(200)).heartbeat(Some(Duration::from_secs(2)));
            let (dead, shared) = (position.clone(), soak.clone());
            let builder = builder.on_dead_letter(move |_| {
                shared.counters.dead_letters.fetch_add(1, Relaxed);
                dead.lock().advance();
            });
            let stream = generation << 16 | (self.number as u64) << 8 | n as u64;
            let mut callback = Callback {
                soak: soak.clone(),
                workspace: self.number,
                position: position.clone(),
                client: client.clone(),
                stalls: StallCounter::default(),
                random: Random::stream(soak.seed, stream),
            };
            match builder.spawn(move |message| callback.handle(message)) {
                Ok(poller) => self.pollers.push(poller),
                Err(error) => soak.counters.check_error("spawn", &error),
            }
        }
        soak.clients.lock()[self.number] = Some(client.client.clone());
    }

    /// Starts the pollers and stops them, so that everything that the process keeps once is allocated.
    pub fn warm_up(&mut self, soak: &Arc<Soak>) {
        self.start(soak, 0);
        thread::sleep(Duration::from_millis(20));
        self.stop(soak);
    }

    fn stop(&mut self, soak: &Soak) {
        soak.clients.lock()[self.number] = None;
        for poller in self.pollers.drain(..) {
            let begin = Instant::now();
            poller.stop();
            soak.counters.stops.add(begin.elapsed());
        }
    }
}

/// Polls all workspaces until the run is over, and restarts a random one about twice a second.
pub fn run(soak: &Arc<Soak>, mut workspaces: Vec<Workspace>) {
    let mut random = Random::stream(soak.seed, 1);
    workspaces.iter_mut().for_each(|workspace| workspace.start(soak, 0));
    for generation in 1.. {
        thread::sleep(Duration::from_millis(300 + random.below(600)));
        if soak.is_over.load(SeqCst) {
            break;
        }
        if soak.is_draining.load(SeqCst) {
            continue;
        }
        let workspace = &mut workspaces[random.below(WORKSPACES as u64) as usize];
        workspace.stop(soak);
        workspace.start(soak, generation);
    }
    workspaces.iter_mut().for_each(|workspace| workspace.stop(soak));
}

/// A poller's callback: checks the order of the rows, enriches the sender, and ends in all the ways that it may.
struct Callback {
    soak: Arc<Soak>,
    workspace: usize,
    position: Arc<Mutex<Position>>,
    client: Arc<CheckedClient>,
    stalls: StallCounter,
    random: Random,
}

impl Callback {
    fn handle(&mut self, message: &InboxMessage) -> Verdict {
        let row = row_number(message.activity_id()).unwrap_or(u64::MAX);
        self.check_order(row, message.delivery_attempt());
        let Callback { soak, workspace, position, client, stalls, random } = self;
        let peer = message.peer().and_then(|peer| number(&peer.to_string())).unwrap_or_default();
        if peer % 3 == 0 {
            client.enrich_nonblocking(soak, peer);
        } else {
            client.enrich(soak, peer, stalls);
        }
        match random.below(3_000) {
            0 => client.clear(),
            1..10 => client.forget(peer),
            10..60 => traffic::send_from_callback(soak, &client.client, random),
            60..120 => drop(soak.to_reply.lock().as_ref().map(|to_reply| to_reply.try_send(message.clone()))),
            _ => {}
        }
        // Some rows fail at each delivery, so that they are dead-lettered.
        let mut of_row = Random::stream(soak.seed, row << 8 | *workspace as u64);
        if of_row.one_in(800) || random.one_in(60) {
            return Verdict::Retry;
        }
        if random.one_in(1_500) {
            // A panic whose payload is no text.
            resume_unwind(Box::new(()));
        }
        position.lock().advance();
        soak.counters.acked.fetch_add(1, Relaxed);
        Verdict::Ack
    }

    /// Checks that it is this row's turn, and that it is delivered again only if it was not acknowledged.
    fn check_order(&self, row: u64, attempt: u32) {
        let counters = &self.soak.counters;
        let mut position = self.position.lock();
        let Position { next, attempts } = *position;
        let describe = || {
            let workspace = self.workspace;
            format!(
                "workspace {workspace}: row {row}, attempt {attempt}; expected row {next} after {attempts} attempts"
            )
        };
        if row < next || (row == next && attempt != attempts + 1) {
            counters.violation(Violation::Repeat, describe);
        } else if row > next {
            counters.violation(Violation::Order, describe);
            position.next = row;
        }
        position.attempts = attempt;
        counters.retried.fetch_add(u64::from(attempts > 0), Relaxed);
    }
}
