//! How soon polls go on after an outage of the platform, with the default settings of a poller.
//!
//! `cargo bench --bench recovery` takes two minutes. Several pollers meet each kind of outage, each at another moment of its
//! interval. Printed is the time from the platform's return to the callback of a message that was sent then.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::testing::Platform;
use a2a_blocking::{InboxPoller, Verdict};

/// Longest time until polls go on, which the documentation promises.
const TARGET: Duration = Duration::from_secs(10);
const POLLERS: u32 = 6;

#[derive(Debug, Clone, Copy)]
enum Outage {
    /// Connections are refused, as while a server starts again.
    Refused,
    /// Nothing arrives any more, not even a reset, as behind a cut cable.
    Silent,
}

fn main() {
    let is_test = env::args().any(|arg| arg == "--test");
    let lasts = Duration::from_secs(if is_test { 1 } else { 90 });
    let mut missed = 0;
    for outage in [Outage::Refused, Outage::Silent] {
        let pollers = if is_test { 1 } else { POLLERS };
        let step = Duration::from_secs(5) / POLLERS;
        let runs: Vec<_> = (0..pollers).map(|n| thread::spawn(move || go_on_after(outage, lasts, step * n))).collect();
        let mut times: Vec<Duration> = runs.into_iter().map(|run| run.join().unwrap()).collect();
        times.sort_unstable();
        let longest = times[times.len() - 1];
        missed += usize::from(longest > TARGET);
        println!("{outage:?} for {lasts:?}: median {:.1?}, longest {longest:.1?}", times[times.len() / 2]);
    }
    println!("targets met: {} of 2 (at most {TARGET:?})", 2 - missed);
    process::exit(i32::from(missed > 0));
}

/// Returns the time from the platform's return to the callback of a message that is sent at that moment.
fn go_on_after(outage: Outage, lasts: Duration, shift: Duration) -> Duration {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("recovery-{}-{}", process::id(), NEXT.fetch_add(1, SeqCst));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    let platform = Platform::start().unwrap();
    let (ops, dev) = (platform.workspace("ops"), platform.workspace("dev"));
    let cable = Cable::lay(platform.url().trim_start_matches("http://"));
    let client = ops.client().platform_url(cable.url()).build().unwrap();
    let (report, reports) = mpsc::channel();
    let builder = InboxPoller::builder(client).cursor_file(dir.join("cursor")).heartbeat(None).register(false);
    let poller = builder.spawn(move |message| {
        let _ = report.send(message.text().to_owned());
        Verdict::Ack
    });
    let poller = poller.unwrap();
    platform.send(&dev, &ops, "before").unwrap();
    assert_eq!(reports.recv().unwrap(), "before");
    thread::sleep(shift);
    match outage {
        Outage::Refused => platform.offline(true),
        Outage::Silent => cable.cut(),
    }
    thread::sleep(lasts);
    match outage {
        Outage::Refused => platform.offline(false),
        Outage::Silent => cable.mend(),
    }
    let returned = Instant::now();
    platform.send(&dev, &ops, "after").unwrap();
    assert_eq!(reports.recv().unwrap(), "after");
    let took = returned.elapsed();
    poller.stop();
    let _ = fs::remove_dir_all(&dir);
    took
}

/// A relay that can lose everything. A connection from before it was mended stays dead.
struct Cable {
    address: SocketAddr,
    state: Arc<AtomicUsize>,
}

impl Cable {
    fn lay(platform: &str) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state, platform) =
            (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default(), platform.to_owned());
        let seen = state.clone();
        thread::spawn(move || {
            let mut dead = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                let at = seen.load(SeqCst);
                match TcpStream::connect(&platform) {
                    // Odd while it is cut.
                    _ if at % 2 == 1 => dead.push(client),
                    Ok(server) => {
                        let (back, forth) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                        let (one, other) = (seen.clone(), seen.clone());
                        thread::spawn(move || copy(client, server, &one, at));
                        thread::spawn(move || copy(forth, back, &other, at));
                    }
                    Err(_) => drop(client),
                }
            }
        });
        Cable { address, state }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn cut(&self) {
        self.state.fetch_add(1, SeqCst);
    }

    fn mend(&self) {
        self.state.fetch_add(1, SeqCst);
    }
}

/// Copies while the cable is as it was, and then neither copies nor closes.
fn copy(mut from: TcpStream, mut to: TcpStream, state: &AtomicUsize, at: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if state.load(SeqCst) != at {
            loop {
                thread::park();
            }
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if state.load(SeqCst) == at {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
