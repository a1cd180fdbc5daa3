//! The terminal: its colours, its width, and notes on standard error.

use std::io::{self, IsTerminal, Write};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Effects, Style};

use crate::environment;
use crate::text::escape_lines;

/// The styles of one stream, or none where it takes no colours.
///
/// `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, `TERM` and the kind of stream decide, by the same rules as in clap's own
/// texts.
#[derive(Clone, Copy)]
pub(crate) struct Styling {
    is_enabled: bool,
}

impl Styling {
    pub(crate) fn stdout() -> Self {
        Styling::of_stream(&io::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Styling::of_stream(&io::stderr())
    }

    fn of_stream(stream: &impl RawStream) -> Self {
        Styling { is_enabled: AutoStream::choice(stream) != ColorChoice::Never }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.apply(Effects::BOLD.into(), text)
    }

    pub(crate) fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.apply(colour.on_default(), text)
    }

    fn apply(self, style: Style, text: &str) -> String {
        if self.is_enabled { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns the number of columns that a line of standard output may take.
///
/// It is the terminal's width, or else `COLUMNS`. `None` is no limit, so that a program that reads the output loses
/// nothing.
pub(crate) fn width() -> Option<usize> {
    let stdout = io::stdout();
    let terminal = if stdout.is_terminal() { terminal_size::terminal_size_of(stdout) } else { None };
    let columns = terminal.map(|(terminal_size::Width(columns), _)| usize::from(columns));
    // A terminal that does not know its size reports 0.
    columns.filter(|columns| *columns > 0).or_else(environment::columns).filter(|columns| *columns > 0)
}

/// Returns true where a line on standard error can be overwritten.
pub(crate) fn can_redraw() -> bool {
    io::stderr().is_terminal() && !environment::is_dumb_terminal()
}

/// Prints a note on standard error, with the name of the program before it.
///
/// Further lines of a text begin with `  | `: a peer's words cannot imitate a line of the program.
pub(crate) fn note(text: &str) {
    let (name, text) = (Styling::stderr().bold("a2a-peer:"), escape_lines(text).replace('\n', "\n  | "));
    // Nothing can be done about a standard error that is closed.
    let _ = writeln!(io::stderr(), "{name} {text}");
}
