//! The bearer token: its source, its rotation after a 401, and its redaction from other texts.

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::RwLock;

use crate::error::Error;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::sync::Mutex;
use file::MAX_BYTES;

/// The token in use, and its source.
#[derive(Debug)]
pub(crate) struct TokenStore {
    source: TokenSource,
    current: RwLock<Option<Token>>,
    readers: Arc<file::ReaderCount>,
    /// Threads that are in the token function.
    callers: Mutex<Vec<ThreadId>>,
}

impl TokenStore {
    /// Reads the first token. A source without a token is no error.
    ///
    /// # Errors
    ///
    /// As [`TokenSource::read`].
    pub(crate) fn open(source: TokenSource) -> Result<Self, Error> {
        let current = RwLock::new(source.read()?);
        Ok(TokenStore { source, current, readers: Arc::default(), callers: Mutex::default() })
    }

    pub(crate) fn current(&self) -> Option<Token> {
        self.current.read().clone()
    }

    /// Reads the token again, after the platform refused `used`. Returns the token if it is another one.
    ///
    /// A file is read until the deadline at the latest. A token function is not interrupted, and not called by a request
    /// that it makes itself. Where the source cannot be read, the current token stays, with a warning: the file may be in
    /// the middle of a rotation.
    pub(crate) fn rotated(&self, used: Option<&Token>, deadline: Deadline) -> Option<Token> {
        let read = match &self.source {
            TokenSource::None | TokenSource::Value(_) => return None,
            TokenSource::Function(_) => self.read_function()?,
            TokenSource::File(_) => {
                let source = self.source.clone();
                file::read_in_time(deadline, &self.readers, move || source.read())
            }
        };
        match read {
            Ok(Some(token)) if Some(&token) != used => {
                *self.current.write() = Some(token.clone());
                Some(token)
            }
            Ok(_) => None,
            Err(error) => {
                log_safe!(warn, "the platform refused the token, and it cannot be read again: {error}");
                None
            }
        }
    }

    /// Calls the token function. Returns `None` in a thread that is in it.
    fn read_function(&self) -> Option<Result<Option<Token>, Error>> {
        let thread = thread::current().id();
        let mut callers = self.callers.lock();
        if callers.contains(&thread) {
            return None;
        }
        callers.push(thread);
        drop(callers);
        // It catches a panic of the function.
        let read = self.source.read();
        self.callers.lock().retain(|caller| *caller != thread);
        Some(read)
    }
}

/// The source of tokens.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// No token.
    None,
    Value(String),
    Function(Arc<dyn Fn() -> Option<String> + Send + Sync>),
    File(PathBuf),
}

impl TokenSource {
    /// Returns the source's token, or `None` where it is blank or the file does not exist.
    ///
    /// # Errors
    ///
    /// A token that cannot be a header's value, a file that cannot be read, or a function that panicked.
    fn read(&self) -> Result<Option<Token>, Error> {
        match self {
            TokenSource::None => Ok(None),
            TokenSource::Value(text) => Token::new(text, "ClientBuilder::token"),
            TokenSource::Function(function) => match panic::catch(|| function()) {
                Ok(text) => Token::new(&text.unwrap_or_default(), "ClientBuilder::token_fn"),
                Err(Panicked) => Err(Error::config(
                    "token_fn: the function given to ClientBuilder::token_fn panicked; return None for no token",
                )),
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
            TokenSource::None => f.write_str("None"),
            TokenSource::Value(_) => f.write_str("Value(hidden)"),
            TokenSource::Function(_) => f.write_str("Function"),
            TokenSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A token that can be a header's value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Arc<str>);

impl Token {
    /// Returns the trimmed `text` as a token, or `None` where it is blank. `source` is named in an error.
    ///
    /// # Errors
    ///
    /// A text that is too long, or has more than one line or other characters than printable ASCII.
    fn new(text: &str, source: &str) -> Result<Option<Self>, Error> {
        let text = text.trim();
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::config(format!(
                "the token from {source} is longer than {MAX_BYTES} bytes; check that it is the token"
            )));
        }
        match text.chars().position(|c| !matches!(c, ' '..='~' | '\t')) {
            None if text.is_empty() => Ok(None),
            None => Ok(Some(Token(text.into()))),
            Some(at) => Err(Error::config(format!(
                "the token from {source} cannot be sent: its character {} is not printable ASCII; \
                 give one line of printable ASCII",
                at + 1
            ))),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns `text` with each occurrence of the token replaced by `[token]`.
    ///
    /// It finds the token plain and as JSON or a URL escapes it: RFC 8259, section 7,
    /// <https://www.rfc-editor.org/rfc/rfc8259#section-7>, and RFC 3986, section 2.1,
    /// <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>.
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

    /// Returns the text after the token, if the text starts with the token.
    fn strip_from<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut chars = self.0.chars();
        // Several readings may match so far: a `%` is the character itself or begins an escape.
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Returns the text after the character `c`, once for each way of writing `c` that the text starts with.
fn strip_char(text: &str, c: char) -> impl Iterator<Item = &str> {
    let escaped = || text.strip_prefix('\\')?.strip_prefix(c);
    [text.strip_prefix(c), escaped(), strip_code(text, "\\u", 4, c), strip_code(text, "%", 2, c)].into_iter().flatten()
}

/// Returns the text after `prefix` and the character's code in hex `digits`, if the text starts with them.
fn strip_code<'a>(text: &'a str, prefix: &str, digits: usize, c: char) -> Option<&'a str> {
    let rest = text.strip_prefix(prefix)?;
    let code = rest.get(..digits)?;
    (u32::from_str_radix(code, 16) == Ok(u32::from(c))).then(|| &rest[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_trimmed_and_blank_means_none() {
        assert_eq!(Token::new(" tok-123\r\n", "x").unwrap().unwrap().expose(), "tok-123");
        assert_eq!(Token::new(" \n", "x").unwrap(), None);
    }

    #[test]
    fn token_that_cannot_be_a_header_is_refused_and_not_shown() {
        for bad in ["se\ncret", "se\0cret", "secr\u{e9}t", "secret\u{7f}"] {
            let error = Token::new(bad, "the file x").unwrap_err();
            assert!(error.to_string().contains("the file x"), "{error}");
            assert!(!format!("{error:?}").contains("cret"), "{error:?}");
        }
    }

    #[test]
    fn token_is_redacted_in_each_of_its_escaped_forms() {
        let token = Token::new("aB/c=", "x").unwrap().unwrap();
        for text in ["<aB/c=>", r"<aB\/c=>", r"<aB\u002fc\u003D>", "<aB%2Fc%3d>", r"<\u0061B/c=>"] {
            assert_eq!(token.cut_from(text), "<[token]>", "{text}");
        }
        for text in ["aB/c", r"aB\u00", "é%é", "%2", "", "aB/C="] {
            assert_eq!(token.cut_from(text), text);
        }
        assert_eq!(token.cut_from("aB/c=aB/c=é"), "[token][token]é");
        // A token that contains the characters that begin an escape.
        let token = Token::new(r"a%25\u0b", "x").unwrap().unwrap();
        for text in [r"<a%25\u0b>", r"<a%2525%5Cu0b>", r"<a%25\\u0b>", r"<a\u002525\u005cu0b>", r"<a%2525\u0b>"] {
            assert_eq!(token.cut_from(text), "<[token]>", "{text}");
        }
    }

    #[test]
    fn debug_hides_the_token() {
        let store = TokenStore::open(TokenSource::Value("hush".into())).unwrap();
        assert!(!format!("{store:?} {:?}", store.current()).contains("hush"));
    }
}
