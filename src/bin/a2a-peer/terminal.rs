//! What the terminal is: whether it takes colours, and how wide it is.

use std::env;
use std::io::{self, IsTerminal};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Effects, Style};

/// Colours, or none: by `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, `TERM` and whether it is a terminal, as clap decides
/// for its own texts.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn stdout() -> Self {
        Paint::of(&io::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Paint::of(&io::stderr())
    }

    fn of(stream: &impl RawStream) -> Self {
        Paint { on: AutoStream::choice(stream) != ColorChoice::Never }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.in_style(Effects::BOLD.into(), text)
    }

    pub(crate) fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.in_style(colour.on_default(), text)
    }

    fn in_style(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// How many columns a line may take: the terminal's, else `COLUMNS` (as `watch` sets it), else any number, so that
/// nothing is lost for a program that reads it.
pub(crate) fn width() -> Option<usize> {
    let stdout = io::stdout();
    let terminal = if stdout.is_terminal() { terminal_size::terminal_size_of(stdout) } else { None };
    let terminal = terminal.map(|(terminal_size::Width(columns), _)| usize::from(columns));
    let variable = || env::var("COLUMNS").ok()?.trim().parse().ok();
    // One that does not know its size says zero.
    terminal.filter(|columns| *columns > 0).or_else(variable).filter(|columns| *columns > 0)
}

/// Whether a line on standard error can be drawn over.
pub(crate) fn redraws() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}
