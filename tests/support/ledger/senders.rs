//! The senders of a storm.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::testing::{Platform, WorkspaceHandle};

use super::Storm;
use super::child::micros;
use crate::dice::Dice;

/// What a row adds to the message's own text, at most: it has the parts twice, and the names of fields.
const ROW_OVERHEAD: usize = 4_096;
/// Bytes that the platform writes for a `<`.
const ESCAPED: usize = 6;
/// Depth at which a field cannot be read any more.
const TOO_DEEP: usize = 9_900;

/// A message that the platform accepted.
#[derive(Debug, Clone)]
pub struct Sent {
    pub message_id: String,
    /// When its sender had the answer, in microseconds since 1970. Its row was committed before.
    pub at: u64,
}

/// The senders, which post to the platform as other programs do.
pub struct Senders<'a> {
    storm: &'a Storm,
    platform: &'a Platform,
    address: String,
    to: String,
    from: Vec<(WorkspaceHandle, String)>,
    begun: AtomicUsize,
    sent: Mutex<Vec<Sent>>,
}

impl<'a> Senders<'a> {
    pub fn new(storm: &'a Storm, platform: &'a Platform, to: &WorkspaceHandle) -> Self {
        let from = (0..storm.senders).map(|n| platform.workspace(&format!("sender-{n}")));
        let from = from.map(|from| (from.clone(), from.token().unwrap())).collect();
        let address = platform.url().trim_start_matches("http://").to_owned();
        let (begun, sent) = (AtomicUsize::new(0), Mutex::default());
        Senders { storm, platform, address, to: to.id().to_owned(), from, begun, sent }
    }

    /// Returns the number of messages that were begun.
    pub fn progress(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub fn into_sent(self) -> Vec<Sent> {
        self.sent.into_inner().unwrap()
    }

    /// Sends all messages, and returns when the last one was answered.
    pub fn run(&self) {
        let start = Instant::now();
        thread::scope(|scope| {
            for sender in 0..self.from.len() {
                scope.spawn(move || {
                    let mut dice = Dice(self.storm.seed ^ sender as u64);
                    for n in (sender..self.storm.messages).step_by(self.from.len()) {
                        let due = Duration::from_secs(1) * n as u32 / self.storm.rate;
                        thread::sleep(due.saturating_sub(start.elapsed()));
                        self.begun.fetch_add(1, SeqCst);
                        let is_late = dice.roll(30) == 0;
                        if is_late {
                            let late = self.storm.late.as_millis() as u64;
                            self.platform.late_rows(1, Duration::from_millis(dice.roll(late)));
                        }
                        let body = self.message(n, &mut dice);
                        let repeats = dice.roll(40) == 0;
                        // An answer may wait for a late row, of this sender or of another.
                        scope.spawn(move || self.send(sender, n, &body, repeats));
                    }
                });
            }
        });
    }

    /// Returns the body of message `n`.
    fn message(&self, n: usize, dice: &mut Dice) -> Vec<u8> {
        let every = self.storm.messages / (self.storm.large.len() + 1);
        let size = n.checked_rem(every).filter(|rest| *rest == every / 2).and_then(|_| self.storm.large.get(n / every));
        let text = match size {
            // The row repeats no text, but writes each of these characters as six bytes.
            Some(size) => "<".repeat(size.saturating_sub(ROW_OVERHEAD) / ESCAPED),
            None => "x".repeat(dice.roll(2_000) as usize + 1),
        };
        let metadata = if dice.roll(200) == 0 {
            format!("{}{}", "[".repeat(TOO_DEEP), "]".repeat(TOO_DEEP))
        } else {
            "null".to_owned()
        };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"{n}","method":"message/send","params":{{"message":{{"role":"user","kind":"message","messageId":"{}","parts":[{{"kind":"text","text":"{text}"}}],"metadata":{{"deep":{metadata}}}}}}}}}"#,
            message_id(n)
        );
        body.into_bytes()
    }

    /// Sends a message until the platform has it, as a sender does that was told nothing of it.
    fn send(&self, sender: usize, n: usize, body: &[u8], repeats: bool) {
        let (from, token) = &self.from[sender];
        let mut times = 0;
        while times < 1 + usize::from(repeats) {
            match post(&self.address, &self.to, from.id(), token, body) {
                // A push target that nobody registered: queued, or 503. Either way there are rows.
                Some(200 | 202 | 503) => {
                    if times == 0 {
                        self.sent.lock().unwrap().push(Sent { message_id: message_id(n), at: micros() });
                    }
                    times += 1;
                }
                // The platform is down.
                _ => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

fn message_id(n: usize) -> String {
    format!("storm-{n}")
}

/// Posts a message. Returns the status, or `None` where there was no whole answer.
fn post(address: &str, to: &str, from: &str, token: &str, body: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!(
        "POST /workspaces/{to}/a2a HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nX-Workspace-ID: {from}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()?;
    let (mut reader, mut line, mut rest) = (BufReader::new(stream), String::new(), Vec::new());
    reader.read_line(&mut line).ok()?;
    reader.read_to_end(&mut rest).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}
