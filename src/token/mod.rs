//! The bearer token: its source, its rotation after a 401, and its redaction from other texts.

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod mistake;
mod redact;
mod reserve;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::RwLock;

use crate::error::Error;
use crate::util::clock::Deadline;
use crate::util::log_safe::log_safe;
use crate::util::panic::{self, Panicked};
use crate::util::thread_group::ThreadGroup;
use file::MAX_BYTES;
pub(crate) use reserve::ReservedTokenFile;

/// The token in use, and its source.
#[derive(Debug)]
pub(crate) struct TokenStore {
    source: TokenSource,
    current: RwLock<Option<Token>>,
    /// Number of times that the token was replaced.
    replaced: AtomicU64,
    readers: Arc<file::ReaderCount>,
    /// Threads that are in the token function.
    callers: ThreadGroup,
}

impl TokenStore {
    /// Reads the first token. A source without a token is no error.
    ///
    /// # Errors
    ///
    /// As [`TokenSource::read`].
    pub(crate) fn open(source: TokenSource) -> Result<Self, Error> {
        let current = RwLock::new(source.read()?);
        Ok(TokenStore {
            source,
            current,
            replaced: AtomicU64::new(0),
            readers: Arc::default(),
            callers: ThreadGroup::default(),
        })
    }

    pub(crate) fn current(&self) -> Option<Token> {
        self.current.read().clone()
    }

    /// Returns the number of the token in use, which is another one for each that replaced one.
    pub(crate) fn number(&self) -> u64 {
        self.replaced.load(SeqCst)
    }

    /// Returns the name of the source, for log lines: fixed words, or the path of a file.
    pub(crate) fn source(&self) -> String {
        match &self.source {
            TokenSource::None => "none is set".to_owned(),
            TokenSource::Value(_) => "it was given as a text".to_owned(),
            TokenSource::Variable(_) => "it is from MOLECULE_WORKSPACE_TOKEN".to_owned(),
            TokenSource::Function(_) => "it came from a function".to_owned(),
            TokenSource::Files(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                format!("it is from {}", paths.join(", else "))
            }
        }
    }

    /// Reads the token again, after the platform refused `used`. Returns the token if it is another one.
    ///
    /// A file is read until the deadline at the latest. A token function is not interrupted, and not called by a request
    /// that it makes itself. Where the source cannot be read, the current token stays, with a warning: the file may be in
    /// the middle of a rotation.
    pub(crate) fn rotated(&self, used: Option<&Token>, deadline: Deadline) -> Option<Token> {
        let read = match &self.source {
            TokenSource::None | TokenSource::Value(_) | TokenSource::Variable(_) => return None,
            TokenSource::Function(_) => self.read_function()?,
            TokenSource::Files(_) => {
                let source = self.source.clone();
                file::read_in_time(deadline, &self.readers, move || source.read())
            }
        };
        match read {
            Ok(Some(token)) if Some(&token) != used => {
                self.replace(token.clone());
                Some(token)
            }
            Ok(_) => None,
            Err(error) => {
                log_safe!(warn, "the platform refused the token, and it cannot be read again: {error}");
                None
            }
        }
    }

    pub(crate) fn is_from_file(&self) -> bool {
        matches!(self.source, TokenSource::Files(_))
    }

    /// Reads the token file, in at most `timeout`. Returns whether it has another token, which is the current one then.
    ///
    /// A file that cannot be read counts as unchanged. It may be in the middle of a rotation, and the next 401 logs it.
    pub(crate) fn has_changed(&self, timeout: Duration) -> bool {
        let source = self.source.clone();
        let read = file::read_in_time(Deadline::after(timeout), &self.readers, move || source.read());
        match read {
            Ok(Some(token)) => self.replace(token),
            Ok(None) => false,
            Err(error) => {
                log_safe!(debug, "the refused token cannot be read again: {error}");
                false
            }
        }
    }

    /// Makes `token` the current one. Returns whether it is another one than before.
    fn replace(&self, token: Token) -> bool {
        let mut current = self.current.write();
        let is_new = current.as_ref() != Some(&token);
        if is_new {
            *current = Some(token);
            self.replaced.fetch_add(1, SeqCst);
        }
        is_new
    }

    /// Creates the token file, the preferred one where there are several, empty, for a token that is to come.
    ///
    /// # Errors
    ///
    /// There is no token file to put it in: none is set, or there is a file already.
    pub(crate) fn reserve(&self) -> Result<ReservedTokenFile, Error> {
        let path = if let TokenSource::Files(paths) = &self.source { paths.first() } else { None };
        match path {
            Some(path) => ReservedTokenFile::create(path),
            None => Err(Error::config(
                "token_file: not set, so that the token that the platform issues could not be kept: set \
                 ClientBuilder::token_file, and no token",
            )),
        }
    }

    /// Writes `token` to the token file, and uses it from now on.
    ///
    /// # Errors
    ///
    /// The file cannot be written. The token is used all the same.
    pub(crate) fn keep(&self, token: Token, file: ReservedTokenFile) -> Result<(), Error> {
        let written = file.write(token.expose());
        self.replace(token);
        written
    }

    /// Calls the token function. Returns `None` in a thread that is in it, or that works for one that is.
    fn read_function(&self) -> Option<Result<Option<Token>, Error>> {
        if self.callers.contains_this_thread() {
            return None;
        }
        let _caller = self.callers.enter();
        Some(self.source.read())
    }
}

/// The source of tokens.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// No token.
    None,
    Value(String),
    /// The value of `MOLECULE_WORKSPACE_TOKEN`.
    Variable(String),
    Function(Arc<dyn Fn() -> Option<String> + Send + Sync>),
    /// The first of these files that has a token.
    Files(Vec<PathBuf>),
}

impl TokenSource {
    /// Returns the source's token, or `None` where it is blank or no file has one.
    ///
    /// # Errors
    ///
    /// A text that is no token, a file that cannot be read, or a function that panicked.
    fn read(&self) -> Result<Option<Token>, Error> {
        match self {
            TokenSource::None => Ok(None),
            TokenSource::Value(text) => Token::new(text, "ClientBuilder::token"),
            TokenSource::Variable(text) => Token::new(text, "MOLECULE_WORKSPACE_TOKEN"),
            TokenSource::Function(function) => match panic::catch(|| function()) {
                Ok(text) => Token::new(&text.unwrap_or_default(), "ClientBuilder::token_fn"),
                Err(Panicked) => Err(Error::config(
                    "token_fn: the function given to ClientBuilder::token_fn panicked; return None for no token",
                )),
            },
            TokenSource::Files(paths) => {
                for path in paths {
                    let text = file::read(path)?.unwrap_or_default();
                    if let Some(token) = Token::new(&text, &path.display().to_string())? {
                        return Ok(Some(token));
                    }
                }
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::None => f.write_str("None"),
            TokenSource::Value(_) => f.write_str("Value(hidden)"),
            TokenSource::Variable(_) => f.write_str("Variable(hidden)"),
            TokenSource::Function(_) => f.write_str("Function"),
            TokenSource::Files(paths) => f.debug_tuple("Files").field(paths).finish(),
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
    /// A text that is too long, or that is no token: see [`mistake`].
    pub(crate) fn new(text: &str, source: &str) -> Result<Option<Self>, Error> {
        let text = text.trim();
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::config(format!(
                "the token from {source} is longer than {MAX_BYTES} bytes; check that it is the token"
            )));
        }
        if text.is_empty() {
            return Ok(None);
        }
        match mistake::mistake(text) {
            None => Ok(Some(Token(text.into()))),
            Some(words) => Err(Error::config(format!("the token from {source} {words}"))),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the start of `text` with each occurrence of the token replaced by `[token]`: what begins in the first
    /// `max_bytes` bytes. See [`redact`](redact::redact) for the forms that are found.
    pub(crate) fn cut_from(&self, text: &str, max_bytes: usize) -> String {
        redact::redact(self.0.as_bytes(), text, max_bytes)
    }

    /// Returns the length of the token with each character escaped, in bytes.
    pub(crate) fn longest_form(&self) -> usize {
        self.0.len() * redact::LONGEST_ESCAPE
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
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
    fn debug_hides_the_token() {
        let store = TokenStore::open(TokenSource::Value("hush".into())).unwrap();
        assert!(!format!("{store:?} {:?}", store.current()).contains("hush"));
    }
}
