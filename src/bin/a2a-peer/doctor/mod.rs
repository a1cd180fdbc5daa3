//! `doctor`: finds out step by step why the platform cannot be used.

mod access;
mod feed;
mod local;
mod network;
mod step;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_blocking::ErrorKind;
use serde_json::json;

use crate::advice;
use crate::args::Args;
use crate::exit::{CommandFailure, ExitStatus};
use crate::report::ErrorReport;
use crate::terminal::Styling;
use crate::text::{cell, json_line, millis};
use step::{Finding, StepResult, StepStatus, run_within};

/// Runs the steps in order, each for at most `limit`. Returns the exit status of the first step that failed, if any.
///
/// The cursor is not on the way to the platform: no step waits for it.
pub(crate) fn run(args: &Arc<Args>, limit: Duration, out: &mut impl Write) -> Result<ExitStatus, CommandFailure> {
    let mut doctor = Doctor { args, limit, out, exit: ExitStatus::Done };
    let settings = doctor.step("settings", Some(()), |(), args| network::settings(args))?;
    let (tokenless, route) = settings.unzip();
    let client = doctor.step("token", tokenless.clone(), |_, args| local::token(args))?;
    doctor.step("cursor", client.clone(), |client, args| local::cursor(&client, args))?;
    let resolved = route.clone().filter(|_| client.is_some());
    let addresses = doctor.step("dns", resolved, |route, args| network::dns(&route, args))?;
    let connected = doctor.step("tcp", addresses, move |addresses, args| network::tcp(&addresses, limit, args))?;
    let secured = connected.and(tokenless.zip(route));
    let secured = doctor.step("tls", secured, |(tokenless, route), args| network::tls(&tokenless, &route, args))?;
    let answer = doctor.step("http", secured.and(client.clone()), |client, args| access::http(&client, args))?;
    let answer = client.clone().zip(answer);
    let answer =
        doctor.step("organisation", answer, |(client, answer), args| access::organisation(&client, answer, args))?;
    let answer = doctor.step("workspace", answer, access::workspace)?;
    let answer = client.clone().zip(answer);
    let found =
        doctor.step("authorisation", answer, |(client, answer), args| access::authorisation(&client, answer, args))?;
    let found = doctor.step("registration", found, |found, _| access::registration(found))?;
    let found = doctor.step("state", found, |found, _| access::state(&found))?;
    let listed = doctor.step("peers", found.and(client.clone()), |client, args| feed::peers(&client, args))?;
    let polled = doctor.step("inbox", listed.and(client.clone()), |client, args| feed::inbox(&client, args))?;
    doctor.step("events", polled.and(client), move |client, args| feed::events(&client, limit, args))?;
    Ok(doctor.exit)
}

/// The run of all steps.
struct Doctor<'a, W> {
    args: &'a Arc<Args>,
    limit: Duration,
    out: &'a mut W,
    /// Status of the first step that failed, or `Done`.
    exit: ExitStatus,
}

/// The report of one step.
struct StepReport<'a> {
    name: &'a str,
    status: StepStatus,
    took: Duration,
    detail: &'a str,
    next: Option<&'a str>,
    error: Option<&'a ErrorReport>,
}

impl<W: Write> Doctor<'_, W> {
    /// Runs a step on `input`, which earlier steps have found, and prints its report.
    ///
    /// Returns what it finds, or `None` if it fails. Without `input` it is skipped.
    fn step<A: Send + 'static, T: Send + 'static>(
        &mut self,
        name: &str,
        input: Option<A>,
        work: impl FnOnce(A, &Args) -> StepResult<T> + Send + 'static,
    ) -> io::Result<Option<T>> {
        let Some(input) = input else {
            let detail = "an earlier step failed";
            let (status, took) = (StepStatus::Skipped, Duration::ZERO);
            self.print(&StepReport { name, status, took, detail, next: None, error: None })?;
            return Ok(None);
        };
        let (start, args) = (Instant::now(), self.args.clone());
        let result = run_within(self.limit, self.timeout_report(name), move || work(input, &args));
        let took = start.elapsed();
        match result {
            Ok(Finding { value, status, detail, next }) => {
                self.print(&StepReport { name, status, took, detail: &detail, next: next.as_deref(), error: None })?;
                Ok(Some(value))
            }
            Err(error) => {
                if self.exit == ExitStatus::Done {
                    self.exit = error.exit;
                }
                let (detail, next) = (error.message.as_str(), error.next.as_deref());
                let status = StepStatus::Failed;
                self.print(&StepReport { name, status, took, detail, next, error: Some(&error) })?;
                Ok(None)
            }
        }
    }

    /// Returns the report of a step that takes longer than the limit.
    fn timeout_report(&self, name: &str) -> ErrorReport {
        let message = format!("no result within {} s", self.limit.as_secs_f64());
        let (exit, next) = match name {
            "settings" | "token" => {
                (ExitStatus::Usage, "check that the file system of the token file responds".to_owned())
            }
            _ => (ExitStatus::Unreachable, advice::timeout(&self.args.connection)),
        };
        ErrorReport { next: Some(next), ..ErrorReport::new(exit, ErrorKind::Timeout.as_str(), message) }
    }

    fn print(&mut self, report: &StepReport<'_>) -> io::Result<()> {
        let StepReport { name, status, took, detail, next, error } = *report;
        let word = status.as_str();
        if self.args.json {
            let ms = millis(took);
            let mut line = json!({ "step": name, "status": word, "ms": ms, "detail": detail, "next": next });
            if let Some(error) = error {
                line["error"] = error.as_json();
            }
            writeln!(self.out, "{}", json_line(&line))?;
        } else {
            let word = Styling::stdout().colour(status.colour(), &format!("{word:7}"));
            let took = format!("{} ms", took.as_millis());
            writeln!(self.out, "{word}  {name:13}  {took:>8}  {}", cell(detail, None))?;
            if let Some(next) = next {
                writeln!(self.out, "         next: {}", cell(next, None))?;
            }
        }
        // The next step can take seconds.
        self.out.flush()
    }
}
