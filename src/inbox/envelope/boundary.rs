//! The boundary that fences a body.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::Error;
use crate::util::random::fresh_id;

/// Shortest boundary, in characters.
const MIN_LENGTH: usize = 16;
/// Longest boundary, as in a MIME message: RFC 2046, section 5.1.1, <https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1>.
const MAX_LENGTH: usize = 70;
/// Least number of different characters. A rule of dashes has one.
const MIN_DIFFERENT: usize = 8;
/// Text in place of a boundary in a name or a body. The parentheses keep the pieces around it from forming another.
const IN_PLACE: &str = "(boundary)";

/// A line that fences the body of a [`PromptEnvelope`](crate::PromptEnvelope), so that an agent's model sees where
/// another's words begin and end.
///
/// The fence is as in a MIME message: the line `--BOUNDARY` before the body, and the line `--BOUNDARY--` after it. The
/// body cannot contain the boundary: where it does, in letters of either case, `(boundary)` stands in its place.
///
/// [`random`](Boundary::random) returns one that no sender can know. Make one for each prompt, and name it in the
/// instructions that the model gets from you. A boundary that a sender has seen is still cut out of the sender's words,
/// but a model may take a text that is only similar for it.
///
/// ```
/// use a2a_blocking::Boundary;
///
/// let boundary = Boundary::random()?;
/// assert_eq!(boundary.as_str().len(), 32);
/// assert_ne!(boundary, Boundary::random()?);
/// assert!(Boundary::new("inbox-7f3a9c51e08d").is_ok());
/// assert!(Boundary::new("----------------").is_err());
/// # Ok::<(), a2a_blocking::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Boundary(String);

impl Boundary {
    /// Returns a new random boundary: 32 hexadecimal digits, of which 122 bits are random.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal): the system gives no random numbers.
    pub fn random() -> Result<Self, Error> {
        let id = fresh_id().ok_or_else(Error::no_random_numbers)?;
        Ok(Boundary(id.simple().to_string()))
    }

    /// Returns `text` as a boundary. It should be as hard to guess as a random one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config): `text` is not 16 to 70 characters of `A-Z a-z 0-9 - _`, or has
    /// fewer than eight different ones.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&text.len()) || !text.chars().all(is_allowed) {
            return Err(Error::config(format!(
                "boundary: it takes {MIN_LENGTH} to {MAX_LENGTH} characters of A-Z a-z 0-9 - _; Boundary::random makes one"
            )));
        }
        if text.chars().collect::<BTreeSet<_>>().len() < MIN_DIFFERENT {
            return Err(Error::config(format!(
                "boundary: it has fewer than {MIN_DIFFERENT} different characters, as a text may by chance; \
                 Boundary::random makes one"
            )));
        }
        Ok(Boundary(text))
    }

    /// Returns the boundary, without the dashes of its lines.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the body between the two lines of the fence.
    pub(super) fn fence(&self, body: &str) -> String {
        format!("--{self}\n{}\n--{self}--", self.cut_from(body))
    }

    /// Returns `text` with `(boundary)` in place of each occurrence of the boundary, in letters of either case.
    pub(super) fn cut_from(&self, text: &str) -> String {
        // The bytes of a text in lower-case ASCII are where they were.
        let (lower, boundary) = (text.to_ascii_lowercase(), self.0.to_ascii_lowercase());
        let (mut out, mut end) = (String::with_capacity(text.len()), 0);
        for (start, found) in lower.match_indices(&boundary) {
            out.push_str(&text[end..start]);
            out.push_str(IN_PLACE);
            end = start + found.len();
        }
        out + &text[end..]
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundary_that_a_text_may_have_by_chance_is_refused() {
        let random = Boundary::random().unwrap();
        assert_eq!(Boundary::new(random.as_str()).unwrap(), random);
        assert_ne!(Boundary::random().unwrap(), random);
        assert_eq!(format!("{random} {random:>34}"), format!("{0}   {0}", random.as_str()));
        let fine = "abcdefgh-_012345";
        for text in [fine.to_owned(), format!("{fine}{}", "x".repeat(54))] {
            assert_eq!(Boundary::new(text.clone()).unwrap().as_str(), text);
        }
        for (text, why) in [
            (String::new(), "it takes 16 to 70 characters"),
            (fine[1..].to_owned(), "it takes 16 to 70 characters"),
            (format!("{fine}{}", "x".repeat(55)), "it takes 16 to 70 characters"),
            (format!("{fine} "), "it takes 16 to 70 characters"),
            (format!("{fine}\n"), "it takes 16 to 70 characters"),
            (format!("{fine}é"), "it takes 16 to 70 characters"),
            ("-".repeat(20), "it has fewer than 8 different characters"),
            ("abcdefg".repeat(3), "it has fewer than 8 different characters"),
        ] {
            let error = Boundary::new(text).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config);
            assert!(error.to_string().starts_with(&format!("boundary: {why}")), "{error}");
        }
    }
}
