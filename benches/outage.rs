//! The cost of a dead registry to a poller: `enrich` and `enrich_nonblocking` beside the algorithm of the Python module
//! `a2a_client`, over real sockets.
//!
//! `cargo bench --bench outage` measures; with `-- --test` it makes a small run, which only shows that it works. Lookups
//! time out after 50 ms instead of 2 s, so that the Python algorithm's part does not take an hour. Stalls scale with
//! that.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{CircuitState, Client, ClientBuilder, PeerId};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_millis(50);
/// Time that the scheduler of a shared machine may add to a timeout.
const SLACK: Duration = Duration::from_millis(30);
/// First and longest backoff of the circuit breaker, on the same scale.
const CIRCUIT_BACKOFF: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(750));

fn peer(n: usize) -> String {
    format!("{n:08x}-0000-4000-8000-{:012x}", n * 7)
}

// The registry.

/// The registry's behaviour.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    /// It accepts connections and answers nothing.
    Silent,
    /// It answers 503 at once.
    Busy,
    Healthy,
    /// It answers after 200 ms.
    Slow,
    /// It is silent every other quarter of a second.
    Flapping,
}

struct Registry {
    url: String,
    behaviour: Arc<Mutex<Behaviour>>,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Registry {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Registry {
            url: format!("http://{}", listener.local_addr().unwrap()),
            behaviour: Arc::new(Mutex::new(behaviour)),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (behaviour, connections, requests) =
            (registry.behaviour.clone(), registry.connections.clone(), registry.requests.clone());
        let start = Instant::now();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, SeqCst);
                let (behaviour, requests) = (behaviour.clone(), requests.clone());
                thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || serve(&stream, &behaviour, &requests, start))
                    .unwrap();
            }
        });
        registry
    }

    fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }
}

fn serve(mut stream: &TcpStream, behaviour: &Mutex<Behaviour>, requests: &AtomicUsize, start: Instant) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if !line.is_empty() {
            continue;
        }
        requests.fetch_add(1, SeqCst);
        let behaviour = *behaviour.lock().unwrap();
        let is_answered = match behaviour {
            Behaviour::Silent => false,
            Behaviour::Flapping => start.elapsed().as_millis() / 250 % 2 == 1,
            Behaviour::Busy | Behaviour::Healthy | Behaviour::Slow => true,
        };
        if !is_answered {
            // Until the client closes the connection.
            let _ = lines.next();
            return;
        }
        if behaviour == Behaviour::Slow {
            thread::sleep(Duration::from_millis(200));
        }
        let (status, body) =
            if behaviour == Behaviour::Busy { (503, "{}") } else { (200, r#"{"name":"ops-agent","role":"sre"}"#) };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

// The candidates.

/// The algorithm of the Python module `a2a_client`: a map behind a lock, and a blocking lookup for a peer that is not in
/// it.
///
/// It shares no lookups, and has no circuit breaker and no bound. Its HTTP client bounds a lookup by the same time as
/// ours, which the Python module's does not.
struct PythonAlgorithm {
    cache: Mutex<HashMap<PeerId, (Instant, Option<Value>)>>,
    agent: ureq::Agent,
    url: String,
}

impl PythonAlgorithm {
    fn new(url: &str) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
        PythonAlgorithm { cache: Mutex::default(), agent: config.build().into(), url: url.to_owned() }
    }

    fn enrich(&self, id: &str) -> Option<Value> {
        let peer = PeerId::parse(id).ok()?;
        if let Some((at, record)) = self.cache.lock().unwrap().get(&peer) {
            if at.elapsed() < Duration::from_secs(300) {
                return record.clone();
            }
        }
        let record = self.fetch(&peer);
        self.cache.lock().unwrap().insert(peer, (Instant::now(), record.clone()));
        record
    }

    fn fetch(&self, peer: &PeerId) -> Option<Value> {
        let mut reply = self.agent.get(format!("{}/registry/discover/{peer}", self.url)).call().ok()?;
        let text = reply.body_mut().read_to_string().ok()?;
        (reply.status() == 200).then(|| serde_json::from_str(&text).ok()).flatten()
    }
}

fn builder(url: &str) -> ClientBuilder {
    Client::builder()
        .platform_url(url)
        .workspace_id("bench")
        .lookup_timeout(TIMEOUT)
        .circuit_backoff(CIRCUIT_BACKOFF.0, CIRCUIT_BACKOFF.1)
}

#[derive(Clone, Copy)]
enum Candidate {
    Python,
    Enrich,
    Nonblocking,
}

/// The times that pollers lost.
struct Stall {
    /// Time that the callbacks of one thread took in all: that of the thread with the longest.
    worst_thread: Duration,
    /// Time that each callback took, the shortest first.
    callbacks: Vec<Duration>,
}

impl Stall {
    fn quantile(&self, share: f64) -> Duration {
        let last = self.callbacks.len() - 1;
        self.callbacks[(last as f64 * share) as usize]
    }
}

/// Runs one callback for each of the peers. Each poller has a thread and an equal part of the peers.
fn poll(candidate: Candidate, url: &str, pollers: usize, peers: usize) -> Stall {
    let (python, client) = (PythonAlgorithm::new(url), builder(url).build().unwrap());
    let all = Mutex::new(Vec::new());
    let worst = Mutex::new(Duration::ZERO);
    thread::scope(|scope| {
        for poller in 0..pollers {
            let (python, client, all, worst) = (&python, &client, &all, &worst);
            scope.spawn(move || {
                let (mut took, mut total) = (Vec::new(), Duration::ZERO);
                for n in (poller..peers).step_by(pollers) {
                    let id = peer(n);
                    let start = Instant::now();
                    match candidate {
                        Candidate::Python => drop(python.enrich(&id)),
                        Candidate::Enrich => drop(client.enrich(&id)),
                        Candidate::Nonblocking => drop(client.enrich_nonblocking(&id)),
                    }
                    took.push(start.elapsed());
                    total += start.elapsed();
                }
                all.lock().unwrap().extend(took);
                let mut worst = worst.lock().unwrap();
                *worst = total.max(*worst);
            });
        }
    });
    let mut callbacks = all.into_inner().unwrap();
    callbacks.sort_unstable();
    Stall { worst_thread: worst.into_inner().unwrap(), callbacks }
}

// The table.

/// The number of targets, and of those that were met.
#[derive(Default)]
struct Targets {
    met: usize,
    all: usize,
}

impl Targets {
    fn check(&mut self, target: &str, met: bool) {
        self.all += 1;
        self.met += usize::from(met);
        println!("    target: {target}: {}", if met { "met" } else { "NOT MET" });
    }
}

fn compare(title: &str, behaviour: Behaviour, pollers: usize, peers: usize, targets: Option<&mut Targets>) {
    println!("\n{title} ({pollers} pollers, {peers} peers)");
    println!(
        "    {:22} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "", "worst thread", "p50", "p99.9", "slowest", "connections"
    );
    let mut worst = Vec::new();
    for (name, candidate) in [
        ("a2a_client's algorithm", Candidate::Python),
        ("enrich", Candidate::Enrich),
        ("enrich_nonblocking", Candidate::Nonblocking),
    ] {
        let registry = Registry::start(behaviour);
        let stall = poll(candidate, &registry.url, pollers, peers);
        let connections = registry.connections.load(SeqCst);
        let [p50, p999, slowest] = [0.5, 0.999, 1.0].map(|share| stall.quantile(share));
        let total = stall.worst_thread;
        println!("    {name:22} {total:>12.1?} {p50:>12.1?} {p999:>12.1?} {slowest:>12.1?} {connections:>12}");
        worst.push((total, slowest));
    }
    if let Some(targets) = targets {
        let bound = 3 * TIMEOUT + SLACK;
        let rest = peers as u32 / pollers as u32 * Duration::from_micros(20);
        targets.check("enrich stalls no thread for more than three lookups", worst[1].0 <= bound + rest);
        targets.check("enrich_nonblocking makes no waiting call", worst[2].1 < TIMEOUT / 2);
    }
}

/// Measures with a port on which nothing listens.
fn refused(peers: usize) {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    println!("\n3. a registry that refuses connections (1 pollers, {peers} peers)");
    for (name, candidate) in [
        ("a2a_client's algorithm", Candidate::Python),
        ("enrich", Candidate::Enrich),
        ("enrich_nonblocking", Candidate::Nonblocking),
    ] {
        let stall = poll(candidate, &url, 1, peers);
        println!("    {name:22} {:>12.1?} in all, slowest {:.1?}", stall.worst_thread, stall.quantile(1.0));
    }
}

fn recovery(targets: &mut Targets, peers: usize) {
    println!(
        "\nrecovery: a silent registry becomes healthy ({peers} peers were asked for, and are not asked for again)"
    );
    let registry = Registry::start(Behaviour::Silent);
    let client = builder(&registry.url).build().unwrap();
    (0..peers).for_each(|n| drop(client.enrich(peer(n))));
    thread::sleep(Duration::from_millis(300));
    registry.set(Behaviour::Healthy);
    let healthy = Instant::now();
    while client.stats().circuit != CircuitState::Closed {
        thread::sleep(Duration::from_micros(200));
    }
    let closed = healthy.elapsed();
    let _ = client.wait_until_idle(Duration::from_secs(20));
    let all = healthy.elapsed();
    let known = (0..peers).filter(|n| client.enrich_nonblocking(peer(*n)).is_some()).count();
    println!("    the circuit is closed after {closed:.1?}, {known} of {peers} records are cached after {all:.1?}");
    // The longest backoff with its jitter, and the lookup that was still unanswered.
    targets
        .check("the circuit closes within one probe interval", closed <= CIRCUIT_BACKOFF.1 * 5 / 4 + TIMEOUT + SLACK);
    targets.check("every peer has its record", known == peers);
}

fn one_cold_peer(targets: &mut Targets) {
    let registry = Registry::start(Behaviour::Slow);
    let client = builder(&registry.url).lookup_timeout(Duration::from_secs(2)).build().unwrap();
    let slowest = Mutex::new(Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let start = Instant::now();
                client.enrich(peer(1)).unwrap();
                let mut slowest = slowest.lock().unwrap();
                *slowest = start.elapsed().max(*slowest);
            });
        }
    });
    let gets = registry.requests.load(SeqCst);
    println!(
        "\n64 threads, one cold peer, a 200 ms registry: {gets} GETs, slowest wait {:.1?}",
        slowest.into_inner().unwrap()
    );
    targets.check("one GET", gets == 1);
}

fn busy_peer(targets: &mut Targets) {
    let ttl = Duration::from_millis(500);
    let registry = Registry::start(Behaviour::Healthy);
    let client = builder(&registry.url).lookup_timeout(Duration::from_secs(2)).ttl(ttl).build().unwrap();
    let (start, mut calls, mut waited) = (Instant::now(), 0, 0);
    while start.elapsed() < 3 * ttl {
        calls += 1;
        waited += usize::from(!client.lookup(peer(1)).from_cache);
        thread::sleep(Duration::from_micros(500));
    }
    println!("\na busy peer over three TTLs of {ttl:?}: {waited} of {calls} callbacks waited");
    targets.check("none after the first", waited == 1);
}

fn strangers(targets: &mut Targets, messages: usize) {
    let registry = Registry::start(Behaviour::Healthy);
    let client = builder(&registry.url).lookup_timeout(Duration::from_secs(5)).build().unwrap();
    for n in 0..100 {
        client.enrich(peer(n));
        client.enrich(peer(n));
    }
    let (mut hits, mut asked) = (0, 0);
    let (mut early, mut seed) = (0, 0x9e37_79b9_7f4a_7c15_u64);
    for n in 0..messages {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        client.enrich_nonblocking(format!("{:08x}-0000-4000-9000-{:012x}", seed >> 32, seed & 0xffff_ffff));
        if n % 100 == 0 {
            asked += 1;
            hits += usize::from(client.enrich_nonblocking(peer(n / 100 % 100)).is_some());
        }
        // The background threads look up a limited number per second, and a fleet's messages do not come faster.
        if n % 512 == 0 {
            let _ = client.wait_until_idle(Duration::from_secs(5));
        }
        if n == messages / 10 {
            early = client.stats().bytes;
        }
    }
    let stats = client.stats();
    let rate = 100.0 * hits as f64 / asked as f64;
    println!("\n{messages} messages from strangers beside 100 busy peers: hit rate of the busy peers {rate:.2} %");
    println!(
        "    {} evictions, {} peers and {} KiB held ({} KiB after a tenth)",
        stats.evictions,
        stats.entries,
        stats.bytes / 1024,
        early / 1024
    );
    targets.check("hit rate at least 99 %", rate >= 99.0);
    targets.check("memory flat", stats.entries <= 10_000 && stats.bytes <= 2 * early.max(stats.entries * 600));
}

fn main() {
    // `cargo bench` passes `--bench`. `-- --test` asks for a run that only shows that it works.
    let small = std::env::args().any(|arg| arg == "--test");
    let (peers, messages) = if small { (60, 2_000) } else { (2_000, 1_000_000) };
    println!(
        "lookups time out after {TIMEOUT:?} (2 s by default: stalls are then 40 times these); backoff {CIRCUIT_BACKOFF:?}"
    );
    let mut targets = Targets::default();
    compare("1. a registry that accepts and answers nothing", Behaviour::Silent, 1, peers, Some(&mut targets));
    compare("2. the same with 16 pollers", Behaviour::Silent, 16, peers, Some(&mut targets));
    compare("3. a registry that answers 503 at once", Behaviour::Busy, 1, peers.min(500), None);
    refused(peers.min(500));
    compare(
        "3. a registry that is silent every other quarter of a second",
        Behaviour::Flapping,
        1,
        peers.min(500),
        None,
    );
    recovery(&mut targets, peers.min(1_000));
    one_cold_peer(&mut targets);
    busy_peer(&mut targets);
    strangers(&mut targets, messages);
    println!("\ntargets met: {} of {}", targets.met, targets.all);
}
