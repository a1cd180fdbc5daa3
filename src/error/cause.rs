//! The cause of an error, in words that are safe to show.

use std::error::Error as StdError;
use std::fmt;

use crate::util::text::Untrusted;

/// Longest text of a cause, in characters.
const MAX_CHARS: usize = 1_000;
/// Number of causes of a cause that are kept.
const MAX_DEPTH: usize = 8;

/// An error of another library, as a cause of ours.
///
/// Programs print the causes of an error as they are. The words of a TLS library have a certificate's names in them, which
/// may be anything, so that they are escaped and bounded here. The type of the other library's error is not kept: it is no
/// part of this crate's interface.
pub(crate) struct ErrorCause {
    text: String,
    debug: String,
    source: Option<Box<ErrorCause>>,
}

impl ErrorCause {
    pub(crate) fn new(error: &(dyn StdError + 'static)) -> Self {
        ErrorCause::at_depth(error, MAX_DEPTH)
    }

    fn at_depth(error: &(dyn StdError + 'static), depth: usize) -> Self {
        let depth = depth.saturating_sub(1);
        let source = error.source().filter(|_| depth > 0);
        ErrorCause {
            text: Untrusted::new(error).up_to(MAX_CHARS).to_string(),
            debug: Untrusted::new(format_args!("{error:?}")).up_to(MAX_CHARS).to_string(),
            source: source.map(|source| Box::new(ErrorCause::at_depth(source, depth))),
        }
    }
}

impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.debug)
    }
}

impl StdError for ErrorCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Forged(Option<Box<Forged>>);

    impl fmt::Display for Forged {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a\n[ERROR] \u{1b}[2J")
        }
    }

    impl StdError for Forged {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.0.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn cause_and_its_causes_are_escaped_and_bounded() {
        let deep = (0..20).fold(Forged(None), |source, _| Forged(Some(Box::new(source))));
        let cause = ErrorCause::new(&deep);
        let (mut next, mut count): (Option<&dyn StdError>, _) = (Some(&cause), 0);
        while let Some(cause) = next {
            assert_eq!(cause.to_string(), r"a\n[ERROR] \u{1b}[2J");
            assert!(format!("{cause:?}").starts_with("Forged("));
            (next, count) = (cause.source(), count + 1);
        }
        assert_eq!(count, MAX_DEPTH);
        let long = std::io::Error::other("x".repeat(100_000));
        assert_eq!(ErrorCause::new(&long).to_string().len(), MAX_CHARS);
    }
}
