//! The bearer token: where it comes from, and its rotation. It is shown nowhere.

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::Error;
use crate::util::clock::Deadline;
use crate::util::panic::{self, Panicked};

/// The longest token, and token file, in bytes. A header of 16 KiB is beyond what servers take.
const MAX_BYTES: u64 = 16 * 1024;

/// A token that can stand in a header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<str>);

impl Token {
    /// The trimmed `text` as a token; `None` where nothing is left of it.
    fn new(text: &str, origin: &str) -> Result<Option<Self>, Error> {
        let text = text.trim();
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::config(format!("the token from {origin} is longer than {MAX_BYTES} bytes")));
        }
        match text.chars().position(|c| !matches!(c, ' '..='~' | '\t')) {
            None if text.is_empty() => Ok(None),
            None => Ok(Some(Token(text.into()))),
            Some(at) => Err(Error::config(format!(
                "the token from {origin} cannot be sent: its character {} is not printable ASCII; \
                 it must be one line of it",
                at + 1
            ))),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Token {
    /// The text with the token cut out wherever it stands, plainly or as JSON or a URL escapes it.
    pub(crate) fn cut_from(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(first) = rest.chars().next() {
            match self.strip_from(rest) {
                Some(after) => {
                    out.push_str("[token]");
                    rest = after;
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }

    /// What follows the token at the start of the text, if it stands there.
    fn strip_from<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut chars = self.0.chars();
        // More than one reading may fit so far: a `%` is itself, or begins an escape.
        let mut rests: Vec<&str> = strip_char(text, chars.next()?).collect();
        while !rests.is_empty() {
            let Some(c) = chars.next() else { break };
            rests = rests.into_iter().flat_map(|rest| strip_char(rest, c)).collect();
            rests.sort_unstable_by_key(|rest| rest.len());
            rests.dedup_by_key(|rest| rest.len());
        }
        rests.into_iter().min_by_key(|rest| rest.len())
    }
}

/// What may follow the character at the start of the text, in each way in which it may be spelt.
fn strip_char(text: &str, c: char) -> impl Iterator<Item = &str> {
    let escaped = || text.strip_prefix('\\')?.strip_prefix(c);
    [text.strip_prefix(c), escaped(), strip_code(text, "\\u", 4, c), strip_code(text, "%", 2, c)].into_iter().flatten()
}

/// What follows an escape of so many hex digits, if it is that character's.
fn strip_code<'a>(text: &'a str, prefix: &str, digits: usize, c: char) -> Option<&'a str> {
    let rest = text.strip_prefix(prefix)?;
    let code = rest.get(..digits)?;
    (u32::from_str_radix(code, 16) == Ok(u32::from(c))).then(|| &rest[digits..])
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum TokenSource {
    Nowhere,
    Value(String),
    Function(Arc<dyn Fn() -> Option<String> + Send + Sync>),
    File(PathBuf),
}

impl TokenSource {
    /// # Errors
    ///
    /// A token that cannot stand in a header, a file that is there but cannot be read, a function that panicked.
    fn read(&self) -> Result<Option<Token>, Error> {
        match self {
            TokenSource::Nowhere => Ok(None),
            TokenSource::Value(text) => Token::new(text, "ClientBuilder::token"),
            TokenSource::Function(function) => match panic::catch(|| function()) {
                Ok(text) => Token::new(&text.unwrap_or_default(), "ClientBuilder::token_fn"),
                Err(Panicked) => Err(Error::config("the function given to ClientBuilder::token_fn panicked")),
            },
            TokenSource::File(path) => match file::read(path)? {
                Some(text) => Token::new(&text, &path.display().to_string()),
                None => Ok(None),
            },
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::Nowhere => f.write_str("Nowhere"),
            TokenSource::Value(_) => f.write_str("Value(hidden)"),
            TokenSource::Function(_) => f.write_str("Function"),
            TokenSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The token in use, and the way to the next one.
#[derive(Debug)]
pub(crate) struct TokenStore {
    source: TokenSource,
    current: RwLock<Option<Token>>,
    readers: Arc<file::Readers>,
}

impl TokenStore {
    /// # Errors
    ///
    /// As [`TokenSource::read`]. An absent token is none.
    pub(crate) fn open(source: TokenSource) -> Result<Self, Error> {
        let current = RwLock::new(source.read()?);
        Ok(TokenStore { source, current, readers: Arc::default() })
    }

    pub(crate) fn current(&self) -> Option<Token> {
        self.current.read().clone()
    }

    /// Reads the token again after the platform refused the `used` one: the new one, if it is another. A file has
    /// until the `deadline`; a function takes what it takes.
    ///
    /// What cannot be read now leaves the old one in place, with a warning: a rotation may be half done.
    pub(crate) fn rotated(&self, used: Option<&Token>, deadline: Deadline) -> Option<Token> {
        let read = match &self.source {
            TokenSource::Nowhere | TokenSource::Value(_) => return None,
            TokenSource::Function(_) => self.source.read(),
            TokenSource::File(_) => {
                let source = self.source.clone();
                file::in_time(deadline, &self.readers, move || source.read())
            }
        };
        match read {
            Ok(Some(token)) if Some(&token) != used => {
                *self.current.write() = Some(token.clone());
                Some(token)
            }
            Ok(_) => None,
            Err(error) => {
                log::warn!("the platform refused the token, and it cannot be read again: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_absent_when_blank() {
        assert_eq!(Token::new(" tok-123\r\n", "x").unwrap().unwrap().expose(), "tok-123");
        assert_eq!(Token::new(" \n", "x").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_and_not_shown() {
        for bad in ["se\ncret", "se\0cret", "secr\u{e9}t", "secret\u{7f}"] {
            let error = Token::new(bad, "the file x").unwrap_err();
            assert!(error.to_string().contains("the file x"), "{error}");
            assert!(!format!("{error:?}").contains("cret"), "{error:?}");
        }
    }

    #[test]
    fn it_is_cut_out_in_each_of_its_spellings() {
        let token = Token::new("aB/c=", "x").unwrap().unwrap();
        for text in ["<aB/c=>", r"<aB\/c=>", r"<aB\u002fc\u003D>", "<aB%2Fc%3d>", r"<\u0061B/c=>"] {
            assert_eq!(token.cut_from(text), "<[token]>", "{text}");
        }
        for text in ["aB/c", r"aB\u00", "é%é", "%2", "", "aB/C="] {
            assert_eq!(token.cut_from(text), text);
        }
        assert_eq!(token.cut_from("aB/c=aB/c=é"), "[token][token]é");
        // One that has in it what escapes begin with.
        let token = Token::new(r"a%25\u0b", "x").unwrap().unwrap();
        for text in [r"<a%25\u0b>", r"<a%2525%5Cu0b>", r"<a%25\\u0b>", r"<a\u002525\u005cu0b>", r"<a%2525\u0b>"] {
            assert_eq!(token.cut_from(text), "<[token]>", "{text}");
        }
    }

    #[test]
    fn debug_hides_it() {
        let store = TokenStore::open(TokenSource::Value("hush".into())).unwrap();
        assert!(!format!("{store:?} {:?}", store.current()).contains("hush"));
    }
}
