//! The exchange that a thread is in, for the layers of the transport below it.
//!
//! `ureq` passes nothing of a request down to its connectors and transports. It makes each request in the thread that
//! asked for it, so the context is kept in a thread-local. A `ureq` that
//! passed a request's extensions to its transport would make this module unnecessary.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind, guard};
use crate::http::upload::RequestBody;
use crate::token::Token;
use crate::util::clock::Deadline;
use crate::util::random::fresh_id;
use crate::util::single_flight::as_leader;

/// The token's header line up to the token, as `ureq` writes it.
const AUTHORIZATION: &str = "authorization: Bearer ";

thread_local! {
    static CURRENT: RefCell<Option<Rc<ExchangeContext>>> = const { RefCell::new(None) };
}

/// Says whether a pool is shut down. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct ShutdownFlag(Arc<AtomicBool>);

impl ShutdownFlag {
    /// Says that the pool is shut down. Call it before the sockets are shut down: a socket that connects meanwhile is
    /// either shut down with them, or finds the flag set.
    pub(in crate::http) fn set(&self) {
        self.0.store(true, SeqCst);
    }
}

/// The state of one exchange that the transport reads and updates.
pub(in crate::http) struct ExchangeContext {
    token: Option<Token>,
    /// The token's header line as `ureq` writes it, with the placeholder and the line's end. Empty without a token.
    placeholder_line: String,
    placeholder_state: Cell<PlaceholderState>,
    /// The request's body, until the request is written.
    body: RefCell<Option<RequestBody>>,
    deadline: Deadline,
    /// Time by which the reads of the response's body that are under way end, if it is sooner.
    reads_end: Cell<Option<Deadline>>,
    shutdown: ShutdownFlag,
}

impl ExchangeContext {
    /// Searches the next bytes of the request for the token's header line.
    ///
    /// Returns the placeholder's offset in `bytes`, and the token to write there. It does so once, and in the head
    /// only: neither a body nor another header's value is taken for the token's line.
    pub(super) fn locate_placeholder(&self, bytes: &[u8]) -> Option<(usize, &[u8])> {
        let in_head = self.placeholder_state.get() == PlaceholderState::InHead;
        let token = self.token.as_ref().filter(|_| in_head)?;
        // `ureq` never splits a header line over two writes.
        let mut start = 0;
        while start < bytes.len() {
            let rest = &bytes[start..];
            if rest.starts_with(b"\r\n") {
                self.placeholder_state.set(PlaceholderState::Missing);
                return None;
            }
            if rest.starts_with(self.placeholder_line.as_bytes()) {
                self.placeholder_state.set(PlaceholderState::Found);
                return Some((start + AUTHORIZATION.len(), token.expose().as_bytes()));
            }
            start += rest.iter().position(|byte| *byte == b'\n')? + 1;
        }
        None
    }

    /// Returns the bytes that stand in the token's place: as many as the token has. Empty without a token.
    pub(super) fn placeholder(&self) -> &[u8] {
        let line = self.placeholder_line.as_bytes();
        line.get(AUTHORIZATION.len()..line.len().saturating_sub(2)).unwrap_or_default()
    }

    /// Records that a write failed. If the request was still being written, its body cannot have been sent whole.
    pub(super) fn mark_write_failed(&self) {
        if let Some(body) = &*self.body.borrow() {
            body.break_off();
        }
    }

    /// Records that the transport has accepted the whole request. A later failed write says nothing of it.
    pub(super) fn mark_request_written(&self) {
        self.body.take();
    }

    /// Returns the time left until the exchange's deadline, or until that of its reads.
    pub(super) fn time_left(&self) -> Duration {
        let left = self.deadline.left();
        self.reads_end.get().map_or(left, |end| left.min(end.left()))
    }
}

/// The progress of the search for the placeholder.
#[derive(Clone, Copy, PartialEq)]
enum PlaceholderState {
    /// The end of the request's head has not been written.
    InHead,
    /// The token's line was found.
    Found,
    /// The head ended without the token's line.
    Missing,
}

/// Sets the exchange that this thread is in. Dropped, it sets the one before: a logger may make requests, too.
pub(in crate::http) struct ExchangeGuard {
    context: Rc<ExchangeContext>,
    outer: Option<Rc<ExchangeContext>>,
}

impl ExchangeGuard {
    /// Begins an exchange with these parts, over a pool with this `shutdown`.
    pub(in crate::http) fn begin(
        token: Option<&Token>,
        body: Option<&RequestBody>,
        deadline: Deadline,
        shutdown: &ShutdownFlag,
    ) -> Self {
        let placeholder_line = token.map_or_else(String::new, |token| {
            let placeholder = placeholder_text().chars().cycle().take(token.expose().len());
            AUTHORIZATION.chars().chain(placeholder).chain("\r\n".chars()).collect()
        });
        let context = Rc::new(ExchangeContext {
            token: token.cloned(),
            placeholder_line,
            placeholder_state: Cell::new(PlaceholderState::InHead),
            body: RefCell::new(body.cloned()),
            deadline,
            reads_end: Cell::new(None),
            shutdown: shutdown.clone(),
        });
        let outer = CURRENT.replace(Some(context.clone()));
        ExchangeGuard { context, outer }
    }

    /// Returns the value of the `Authorization` header to give to `ureq`: as long as the real one, and no secret.
    ///
    /// Returns `None` without a token. `ureq` shows all that it writes in its trace log.
    pub(in crate::http) fn authorization_placeholder(&self) -> Option<&str> {
        self.context.token.as_ref()?;
        self.context.placeholder_line.strip_prefix("authorization: ").map(str::trim_end)
    }

    /// Returns whether a request's head was written with the placeholder in the token's place.
    pub(in crate::http) fn sent_without_token(&self) -> bool {
        self.context.token.is_some() && self.context.placeholder_state.get() == PlaceholderState::Missing
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        CURRENT.set(self.outer.take());
    }
}

/// Returns the exchange that this thread is in.
///
/// Returns `None` in a thread whose thread-locals are being destroyed, which may still close a connection.
pub(super) fn current_exchange() -> Option<Rc<ExchangeContext>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Bounds the reads from the socket that this thread makes from now on. One read of a body may take any number of them.
pub(in crate::http) fn end_reads_by(deadline: Deadline) {
    if let Some(exchange) = current_exchange() {
        exchange.reads_end.set(Some(deadline));
    }
}

/// Returns an error if the pool of this thread's exchange is shut down.
pub(super) fn check_not_shut_down() -> io::Result<()> {
    match current_exchange().is_some_and(|exchange| exchange.shutdown.0.load(SeqCst)) {
        true => Err(io::Error::new(io::ErrorKind::NotConnected, "the connections are shut down")),
        false => Ok(()),
    }
}

/// Runs an exchange in this thread, or in a new one where this thread's locals are already destroyed.
///
/// They are destroyed for a request that the destructor of another thread-local makes, or one at the process's exit.
///
/// # Errors
///
/// Those of the exchange; [`ErrorKind::Internal`] for a panic in it, or where no thread can be started.
pub(in crate::http) fn run<T: Send>(exchange: impl Fn() -> Result<T, Error> + Sync) -> Result<T, Error> {
    let exchange = || guard(&exchange);
    if CURRENT.try_with(|_| ()).is_ok() {
        return exchange();
    }
    let internal = |why: String| Error::new(ErrorKind::Internal, why);
    guard(|| {
        thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, as_leader(exchange)) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(internal("the exchange's thread panicked".to_owned()))),
            Err(why) => Err(internal(format!("cannot start a thread for the exchange: {why}"))),
        })
    })
}

/// Returns the text that placeholders are made of: a random one, the same for the whole process.
fn placeholder_text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    // A guessable text does no harm: the placeholder is found by its whole line, in the head only.
    TEXT.get_or_init(|| fresh_id().map_or_else(|| "token-".to_owned(), |id| id.simple().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{TokenSource, TokenStore};

    fn token(text: &str) -> Option<Token> {
        TokenStore::open(TokenSource::Value(text.to_owned())).unwrap().current()
    }

    fn begin(token: Option<&Token>) -> ExchangeGuard {
        ExchangeGuard::begin(token, None, Deadline::after(Duration::from_secs(60)), &ShutdownFlag::default())
    }

    #[test]
    fn placeholder_is_found_once_and_only_in_the_head() {
        for text in ["t", "tok-123", &"long".repeat(4_000)] {
            let guard = begin(token(text).as_ref());
            let value = guard.authorization_placeholder().unwrap().to_owned();
            assert_eq!(value.len(), "Bearer ".len() + text.len());
            assert!(!value.contains(text) || text.len() < 8, "{value}");
            let exchange = current_exchange().unwrap();
            let line = format!("authorization: {value}\r\n");
            // Neither a path nor another header's value is the line.
            let before = format!("GET /{line}x: authorization: {value}\r\n").replace("\r\n", "  ") + "\r\n";
            assert!(exchange.locate_placeholder(before.as_bytes()).is_none() && !guard.sent_without_token());
            let head = format!("{before}{line}y: z\r\n\r\n");
            let (start, found) = exchange.locate_placeholder(head.as_bytes()).unwrap();
            assert_eq!(&head[start..start + found.len()], &value["Bearer ".len()..]);
            assert_eq!((found, found.len()), (text.as_bytes(), exchange.placeholder().len()));
            assert!(exchange.locate_placeholder(head.as_bytes()).is_none(), "a body with the same bytes");
            assert!(!guard.sent_without_token());
        }
    }

    #[test]
    fn body_is_not_searched_and_a_head_without_the_placeholder_is_noticed() {
        let guard = begin(token("tok").as_ref());
        let line = format!("authorization: {}\r\n", guard.authorization_placeholder().unwrap());
        let exchange = current_exchange().unwrap();
        let request = format!("POST / HTTP/1.1\r\nx: y\r\n\r\n{line}");
        assert!(exchange.locate_placeholder(request.as_bytes()).is_none());
        assert!(exchange.locate_placeholder(line.as_bytes()).is_none(), "the head is over");
        assert!(guard.sent_without_token());
    }

    #[test]
    fn without_a_token_there_is_no_placeholder() {
        let guard = begin(None);
        assert!(guard.authorization_placeholder().is_none());
        assert!(current_exchange().unwrap().locate_placeholder(b"GET / HTTP/1.1\r\n\r\n").is_none());
        assert!(!guard.sent_without_token());
    }

    /// As where a logger makes a request while another one is under way.
    #[test]
    fn nested_exchange_has_its_own_token_and_restores_the_outer_one() {
        let located = || {
            let exchange = current_exchange().unwrap();
            let line = exchange.placeholder_line.clone();
            exchange.locate_placeholder(line.as_bytes()).map(|(_, token)| token.to_vec()).unwrap()
        };
        let outer = begin(token("outer").as_ref());
        drop(begin(token("inner").as_ref()));
        let inner = begin(token("other").as_ref());
        assert_eq!(located(), b"other");
        drop(inner);
        assert_eq!(located(), b"outer");
        drop(outer);
        assert!(current_exchange().is_none());
    }
}
