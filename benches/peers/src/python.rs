//! The hit of the Python module `a2a_client`, timed by Python's `timeit`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::repetition::Repetition;

pub const PLAIN: &str = "a2a_client (Python)";
pub const LRU: &str = "its later LRU (Python)";

/// The code of a hit in the module: strip, regular expression, lower case, monotonic clock, dict.
///
/// A later version of the module keeps the order of use under a lock. For each line with a number the script makes that
/// many calls. It prints the seconds that they took, and the share of them in which the thread had a core.
const SCRIPT: &str = r#"
import collections, json, re, sys, threading, time, timeit

UUID = re.compile(r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")
TTL = 300.0

def canonical(peer_id):
    if not isinstance(peer_id, str):
        return None
    text = peer_id.strip()
    return text.lower() if UUID.match(text) else None

plain_cache = {}
ordered_cache, lock = collections.OrderedDict(), threading.Lock()

def ordered_get(peer):
    with lock:
        entry = ordered_cache.get(peer)
        if entry is not None:
            ordered_cache.move_to_end(peer)
        return entry

def enrich(peer_id, get, *, now=None):
    peer = canonical(peer_id)
    if peer is None:
        return None
    current = now if now is not None else time.monotonic()
    entry = get(peer)
    if entry is not None:
        fetched, record = entry
        if current - fetched < TTL:
            return record
    raise SystemExit("a miss is not what is measured")

def plain(peer_id):
    return enrich(peer_id, plain_cache.get)

def ordered(peer_id):
    return enrich(peer_id, ordered_get)

peer_id = sys.argv[2]
timer = timeit.Timer(f"{sys.argv[1]}(peer_id)", globals=globals())
for line in sys.stdin:
    plain_cache[peer_id] = ordered_cache[peer_id] = (time.monotonic(), json.loads(sys.argv[3]))
    cpu, wall = time.thread_time(), time.perf_counter()
    seconds = timer.timeit(int(line))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    print(seconds, cpu / wall, flush=True)
"#;

/// A Python process that waits for the next measurement.
pub struct Python {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    calls: u32,
}

impl Python {
    /// Starts the process. Returns `None` if there is no `python3`, or if it cannot run the script.
    pub fn start(function: &str, id: &str, record: &str, calls: u32) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, function, id, record]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let (stdin, stdout) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut python = Python { child, stdin, stdout, calls };
        python.try_measure().map(|_| python)
    }

    fn try_measure(&mut self) -> Option<Repetition> {
        writeln!(self.stdin, "{}", self.calls).ok()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line).ok()?;
        let (seconds, busy) = line.trim().split_once(' ')?;
        let seconds: f64 = seconds.parse().ok()?;
        Some(Repetition { nanos: seconds * 1e9 / f64::from(self.calls), busy: busy.parse().ok()? })
    }

    pub fn measure(&mut self) -> Repetition {
        self.try_measure().unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
