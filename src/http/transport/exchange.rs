//! The exchange that a thread is in, as the transport below it has to know it: the HTTP client hands the one
//! nothing of the other, makes each request in the thread that asked for it, and starts only DNS elsewhere.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind, guard};
use crate::http::upload::RequestBody;
use crate::token::Token;
use crate::util::clock::Deadline;
use crate::util::random::fresh_id;

/// The token's header line up to the token, as the HTTP client writes it.
const AUTHORIZATION: &str = "authorization: Bearer ";

thread_local! {
    static CURRENT: RefCell<Option<Rc<ExchangeContext>>> = const { RefCell::new(None) };
}

/// What the transport has to know.
pub(in crate::http) struct ExchangeContext {
    token: Option<Token>,
    /// The token's line as the HTTP client writes it, with what stands there in the token's place.
    line: String,
    /// Whether the head of the request is not out yet.
    in_head: Cell<bool>,
    placed: Cell<bool>,
    /// The body, until the answer is waited for.
    upload: RefCell<Option<RequestBody>>,
    deadline: Deadline,
}

/// The stay of an exchange in its thread. The one before it comes back after it: a logger may make requests, too.
pub(in crate::http) struct ExchangeGuard {
    current: Rc<ExchangeContext>,
    before: Option<Rc<ExchangeContext>>,
}

impl ExchangeGuard {
    pub(in crate::http) fn begin(token: Option<&Token>, upload: Option<&RequestBody>, deadline: Deadline) -> Self {
        let line = token.map_or_else(String::new, |token| {
            let stand_in = stand_in().chars().cycle().take(token.expose().len());
            AUTHORIZATION.chars().chain(stand_in).chain("\r\n".chars()).collect()
        });
        let current = Rc::new(ExchangeContext {
            token: token.cloned(),
            line,
            in_head: Cell::new(true),
            placed: Cell::new(false),
            upload: RefCell::new(upload.cloned()),
            deadline,
        });
        let before = CURRENT.replace(Some(current.clone()));
        ExchangeGuard { current, before }
    }

    /// The value of the header that the HTTP client is given: as long as the real one, and worth nothing. The
    /// client's trace log shows all that it writes.
    pub(in crate::http) fn authorization(&self) -> Option<&str> {
        self.current.token.as_ref()?;
        self.current.line.strip_prefix("authorization: ").map(str::trim_end)
    }

    /// Whether a request went out that should have had the token, and had what stands for it.
    pub(in crate::http) fn lost_the_token(&self) -> bool {
        self.current.token.is_some() && !self.current.in_head.get() && !self.current.placed.get()
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// The exchange that this thread is in. None in a thread that is ending, which may still close a connection.
pub(in crate::http) fn current() -> Option<Rc<ExchangeContext>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Runs an exchange: in this thread, or where that has come to its end and has no place for one any more (a request from
/// a destructor of another of its own values, or at the process's exit), in one of its own.
///
/// # Errors
///
/// Those of the exchange; a panic in it, or no thread to be had, as [`ErrorKind::Internal`].
pub(in crate::http) fn run<T: Send>(exchange: impl Fn() -> Result<T, Error> + Sync) -> Result<T, Error> {
    let exchange = || guard(&exchange);
    if CURRENT.try_with(|_| ()).is_ok() {
        return exchange();
    }
    guard(|| {
        thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, exchange) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a panic"))),
            Err(why) => Err(Error::new(ErrorKind::Internal, format!("no thread to be had: {why}"))),
        })
    })
}

impl ExchangeContext {
    /// Where in these bytes of a request the token is to stand, and the token. Once, and in the head only: nothing
    /// that a body or another header says is taken for its line.
    pub(in crate::http) fn place(&self, bytes: &[u8]) -> Option<(usize, &[u8])> {
        let token = self.token.as_ref().filter(|_| self.in_head.get())?;
        // The client never splits a line over two writes.
        let mut start = 0;
        while start < bytes.len() {
            let rest = &bytes[start..];
            if rest.starts_with(b"\r\n") {
                self.in_head.set(false);
                return None;
            }
            if rest.starts_with(self.line.as_bytes()) {
                self.placed.set(true);
                self.in_head.set(false);
                return Some((start + AUTHORIZATION.len(), token.expose().as_bytes()));
            }
            start += rest.iter().position(|byte| *byte == b'\n')? + 1;
        }
        None
    }

    /// What stands in the token's place.
    pub(in crate::http) fn stand_in(&self) -> &[u8] {
        self.line.as_bytes().get(AUTHORIZATION.len()..self.line.len().saturating_sub(2)).unwrap_or_default()
    }

    /// A write broke: while the request is being sent, the peer cannot have all of it.
    pub(in crate::http) fn broke(&self) {
        if let Some(upload) = &*self.upload.borrow() {
            upload.break_off();
        }
    }

    /// How long the exchange may still take.
    pub(in crate::http) fn left(&self) -> Duration {
        self.deadline.left()
    }

    /// All that there is to be sent was taken by the transport.
    pub(in crate::http) fn is_sent(&self) {
        self.upload.take();
    }
}

/// A text that nobody can guess, the same for the process.
fn stand_in() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    // Without random numbers it stands there all the same: its place is found by its line.
    TEXT.get_or_init(|| fresh_id().map_or_else(|| "token-".to_owned(), |id| id.simple().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{TokenSource, TokenStore};

    fn token(text: &str) -> Option<Token> {
        TokenStore::open(TokenSource::Value(text.to_owned())).unwrap().current()
    }

    #[test]
    fn the_token_has_one_place_in_a_request_and_that_is_in_its_head() {
        for text in ["t", "tok-123", &"long".repeat(4_000)] {
            let exchanging = begin(token(text).as_ref());
            let stand_in = exchanging.authorization().unwrap().to_owned();
            assert_eq!(stand_in.len(), "Bearer ".len() + text.len());
            assert!(!stand_in.contains(text) || text.len() < 8, "{stand_in}");
            let current = current().unwrap();
            let line = format!("authorization: {stand_in}\r\n");
            // Neither a path nor another header's value is the line.
            let before = format!("GET /{line}x: authorization: {stand_in}\r\n").replace("\r\n", "  ") + "\r\n";
            assert!(current.place(before.as_bytes()).is_none() && !exchanging.lost_the_token());
            let head = format!("{before}{line}y: z\r\n\r\n");
            let (at, placed) = current.place(head.as_bytes()).unwrap();
            assert_eq!(&head[at..at + placed.len()], &stand_in["Bearer ".len()..]);
            assert_eq!((placed, placed.len()), (text.as_bytes(), current.stand_in().len()));
            assert!(current.place(head.as_bytes()).is_none(), "a body that says the same");
            assert!(!exchanging.lost_the_token());
        }
    }

    #[test]
    fn a_body_is_never_searched_and_a_head_without_a_place_is_noticed() {
        let exchanging = begin(token("tok").as_ref());
        let line = format!("authorization: {}\r\n", exchanging.authorization().unwrap());
        let current = current().unwrap();
        assert!(current.place(format!("POST / HTTP/1.1\r\nx: y\r\n\r\n{line}").as_bytes()).is_none());
        assert!(current.place(line.as_bytes()).is_none(), "the head is over");
        assert!(exchanging.lost_the_token());
    }

    #[test]
    fn without_a_token_there_is_nothing_to_place() {
        let exchanging = begin(None);
        assert!(exchanging.authorization().is_none() && current().unwrap().place(b"GET / HTTP/1.1\r\n\r\n").is_none());
        assert!(!exchanging.lost_the_token());
    }

    fn begin(token: Option<&Token>) -> ExchangeGuard {
        ExchangeGuard::begin(token, None, Deadline::after(Duration::from_secs(60)))
    }

    /// A logger that makes a request of its own in the middle of another.
    #[test]
    fn an_exchange_inside_another_has_its_own_token_and_gives_the_thread_back() {
        let placed = || {
            let current = current().unwrap();
            let line = current.line.clone();
            current.place(line.as_bytes()).map(|(_, token)| token.to_vec()).unwrap()
        };
        let outer = begin(token("outer").as_ref());
        drop(begin(token("inner").as_ref()));
        let inner = begin(token("other").as_ref());
        assert_eq!(placed(), b"other");
        drop(inner);
        assert_eq!(placed(), b"outer");
        drop(outer);
        assert!(current().is_none());
    }
}
