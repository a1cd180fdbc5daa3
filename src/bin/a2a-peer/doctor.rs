//! `doctor`: why it does not work, step by step.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::ErrorKind;
use clap::builder::styling::AnsiColor;
use serde_json::json;

use crate::advice::late;
use crate::args::Args;
use crate::failure::{Failure, Trouble, exit};
use crate::probe::{self, Found, Outcome, Status};
use crate::route;
use crate::terminal::Paint;
use crate::text::{cell, json_line, lines, millis};

/// Runs the steps, each for so long at the most: the exit status of the first failure.
pub(crate) fn examine(args: &Arc<Args>, limit: Duration, out: &mut impl Write) -> Result<u8, Failure> {
    let mut doctor = Doctor { args, limit, out, exit: exit::DONE };
    let bare = doctor.step("settings", Some(()), |(), args| route::settings(args))?;
    let (bare, route) = bare.unzip();
    let client = doctor.step("token", bare.clone(), |_, args| probe::token_file(args))?;
    let asked = route.clone().filter(|_| client.is_some());
    let addresses = doctor.step("dns", asked, |route, args| route::dns(&route, args))?;
    let connected = doctor.step("tcp", addresses, move |addresses, args| route::tcp(&addresses, limit, args))?;
    let before = connected.and(bare.zip(route));
    let encrypted = doctor.step("tls", before, |(bare, route), args| route::tls(&bare, &route, args))?;
    let answer = doctor.step("http", encrypted.and(client.clone()), |client, args| probe::http(&client, args))?;
    let answer = doctor.step("authorisation", answer, probe::authorisation)?;
    let registered = doctor.step("registration", answer, probe::registration)?;
    doctor.step("peers", registered.and(client), |client, args| probe::peers(&client, args))?;
    Ok(doctor.exit)
}

struct Doctor<'a, W> {
    args: &'a Arc<Args>,
    limit: Duration,
    out: &'a mut W,
    exit: u8,
}

/// What came of a step.
struct Line<'a> {
    name: &'a str,
    status: Status,
    took: Duration,
    detail: &'a str,
    next: Option<&'a str>,
    trouble: Option<&'a Trouble>,
}

impl<W: Write> Doctor<'_, W> {
    /// Runs a step on what the one before it has found, and says what came of it: what it has found, unless it failed
    /// or there is nothing to run it on.
    fn step<A: Send + 'static, T: Send + 'static>(
        &mut self,
        name: &str,
        before: Option<A>,
        work: impl FnOnce(A, &Args) -> Outcome<T> + Send + 'static,
    ) -> io::Result<Option<T>> {
        let Some(before) = before else {
            let detail = "an earlier step failed";
            let (status, took) = (Status::Skipped, Duration::ZERO);
            self.tell(&Line { name, status, took, detail, next: None, trouble: None })?;
            return Ok(None);
        };
        let (start, args) = (Instant::now(), self.args.clone());
        let outcome = within(self.limit, self.late(name), move || work(before, &args));
        let took = start.elapsed();
        match outcome {
            Ok(Found { value, status, detail, next }) => {
                self.tell(&Line { name, status, took, detail: &detail, next: next.as_deref(), trouble: None })?;
                Ok(Some(value))
            }
            Err(trouble) => {
                self.exit = trouble.exit;
                let (status, detail, next) = (Status::Failed, trouble.message.as_str(), trouble.next.as_deref());
                self.tell(&Line { name, status, took, detail, next, trouble: Some(&trouble) })?;
                Ok(None)
            }
        }
    }

    /// What is said of a step that takes too long.
    fn late(&self, name: &str) -> Trouble {
        let (seconds, local) = (self.limit.as_secs_f64(), matches!(name, "settings" | "token"));
        let what = format!("nothing came of it within {seconds} s");
        let (exit, next) = match local {
            true => (exit::USAGE, "is the token file on a file system that does not answer?".to_owned()),
            false => (exit::UNREACHABLE, late(&self.args.setup)),
        };
        Trouble { next: Some(next), ..Trouble::new(exit, ErrorKind::Timeout.as_str(), what) }
    }

    fn tell(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Line { name, status, took, detail, next, trouble } = *line;
        let (word, colour) = match status {
            Status::Ok => ("ok", AnsiColor::Green),
            Status::Warning => ("warning", AnsiColor::Yellow),
            Status::Skipped => ("skipped", AnsiColor::BrightBlack),
            Status::Failed => ("failed", AnsiColor::Red),
        };
        if self.args.json {
            let ms = millis(took);
            let mut line = json!({ "step": name, "status": word, "ms": ms, "detail": detail, "next": next });
            if let Some(trouble) = trouble {
                line["error"] = trouble.as_json();
            }
            writeln!(self.out, "{}", json_line(&line))?;
        } else {
            let word = Paint::stdout().colour(colour, &format!("{word:7}"));
            let took = format!("{} ms", took.as_millis());
            writeln!(self.out, "{word}  {name:13}  {took:>8}  {}", cell(detail, None))?;
            if let Some(next) = next {
                writeln!(self.out, "         next: {}", lines(next))?;
            }
        }
        // A step at a time: the next one may take its seconds.
        self.out.flush()
    }
}

/// What the work comes to, unless it takes longer: then it is left to itself, and ends with the process.
fn within<T: Send + 'static>(
    limit: Duration,
    late: Trouble,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let internal = |why: String| Err(Trouble::internal(why));
    let (done, result) = mpsc::channel();
    // Nobody listens any more where it took too long.
    let worker = thread::Builder::new().name("step".to_owned()).spawn(move || drop(done.send(work())));
    if let Err(why) = worker {
        return internal(format!("no thread is to be had: {why}"));
    }
    match result.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(late),
        Err(RecvTimeoutError::Disconnected) => internal("the step panicked".to_owned()),
    }
}
