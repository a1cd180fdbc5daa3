//! The process of a poller, which is killed and started again.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use a2a_blocking::{Client, InboxMessage, InboxPoller, StopReason, Verdict};

/// Exit status of a child whose workspace was removed.
const REMOVED: i32 = 7;

/// Returns the time since 1970 in microseconds, which all processes share.
pub fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

pub fn write_settings(dir: &Path, url: &str, workspace: &str, late: Duration, max_row: usize) {
    fs::write(dir.join("settings"), format!("{url} {workspace} {} {max_row}", late.as_millis())).unwrap();
}

/// Replaces the token as an operator does: at once.
pub fn write_token(dir: &Path, token: &str) {
    fs::write(dir.join("token.new"), token).unwrap();
    fs::rename(dir.join("token.new"), dir.join("token")).unwrap();
}

/// Polls until the process is killed or the workspace is removed. Ends the process.
pub fn run(dir: &Path) -> ! {
    let settings = fs::read_to_string(dir.join("settings")).unwrap();
    let words: Vec<&str> = settings.split(' ').collect();
    let client = Client::builder().platform_url(words[0]).workspace_id(words[1]).token_file(dir.join("token"));
    let builder = InboxPoller::builder(client.build().unwrap()).cursor_file(dir.join("cursor")).register(false);
    let late = Duration::from_millis(words[2].parse().unwrap());
    let builder = builder.interval(Duration::from_millis(500)).late(late).max_row(words[3].parse().unwrap());
    let (mut log, mut dead) = (journal(dir), journal(dir));
    let note = |log: &mut File, what: &str, message: &InboxMessage| {
        let id = message.message_id().unwrap_or("-");
        log.write_all(format!("{what} {} {id} {}\n", message.activity_id(), micros()).as_bytes()).unwrap();
    };
    let builder = builder.on_dead_letter(move |message| note(&mut dead, "dead", message));
    let poller = builder.spawn(move |message| {
        note(&mut log, "got", message);
        Verdict::Ack
    });
    let reason = poller.unwrap().join();
    process::exit(if matches!(reason, Some(StopReason::Removed(_))) { REMOVED } else { 1 });
}

fn journal(dir: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(dir.join("journal")).unwrap()
}

/// The child that runs.
pub struct Child {
    dir: PathBuf,
    command: fn(&Path) -> Command,
    running: process::Child,
}

impl Child {
    pub fn new(dir: &Path, command: fn(&Path) -> Command) -> Child {
        Child { dir: dir.to_owned(), command, running: start(dir, command) }
    }

    /// Kills the process with SIGKILL, and starts the next one.
    pub fn replace(&mut self) {
        self.kill();
        self.running = start(&self.dir, self.command);
    }

    fn kill(&mut self) {
        self.running.kill().unwrap();
        self.running.wait().unwrap();
    }

    /// Returns how long the child goes on after its workspace was removed, or `None` if it ends otherwise or not in time.
    pub fn end_by_removal(&mut self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.running.try_wait().unwrap() {
                return (status.code() == Some(REMOVED)).then(|| start.elapsed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

fn start(dir: &Path, command: fn(&Path) -> Command) -> process::Child {
    let log = OpenOptions::new().create(true).append(true).open(dir.join("stderr")).unwrap();
    command(dir).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
