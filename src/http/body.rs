//! Bodies of responses: read whole up to a limit, or handed on as they come.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use super::errors::{failure, stalled, undecodable};
use super::transport::exchange::end_reads_by;
use crate::error::{Error, ErrorKind};
use crate::util::clock::{CoarseInstant, Deadline};

/// Takes the bytes of a body as they come, and says whether it wants more.
pub(crate) type BodySink<'a> = &'a mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send);

/// A sink that the guarded part of an exchange can use. One thread at a time does.
pub(super) struct SharedSink<'a>(Mutex<BodySink<'a>>);

impl<'a> SharedSink<'a> {
    pub(super) fn new(sink: BodySink<'a>) -> Self {
        SharedSink(Mutex::new(sink))
    }

    /// Calls `work` with the sink.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut BodySink<'a>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Most bytes that are read of a body of which only the start is wanted.
const MAX_START: usize = 1_024;
/// Bytes that are read of a body at a time. A body that is handed on has at most that many read from the socket and not
/// looked at.
const CHUNK: usize = 64 * 1024;
/// Time over which a body that is handed on has to progress.
const PROGRESS_TIME: Duration = Duration::from_secs(10);
/// Bytes that have to come in [`PROGRESS_TIME`]: 64 KiB a second.
const LEAST_PROGRESS: u64 = 10 * 64 * 1024;

/// Largest body that is read, and the setting that it comes from, if it does.
#[derive(Clone, Copy)]
pub(super) struct SizeLimit {
    pub(super) bytes: u64,
    pub(super) setting: Option<&'static str>,
    /// True where only the bytes that arrive first are read, of a body that need not end.
    pub(super) is_start: bool,
}

impl SizeLimit {
    const NONE: SizeLimit = SizeLimit { bytes: u64::MAX, setting: None, is_start: false };
}

/// The reason why a body was not read.
pub(super) enum BodyFailure {
    /// It is not in its encoding, which is this one.
    Undecodable(String),
    Other(Error),
}

/// Reads a body whole, up to its limit, or its start.
pub(super) fn read_body(
    target: &str,
    body: &mut Body,
    deadline: Deadline,
    SizeLimit { bytes: max_bytes, setting, is_start }: SizeLimit,
) -> Result<Vec<u8>, BodyFailure> {
    let cut_off = |why| body_failure(target, why, deadline);
    if is_start {
        let mut bytes = vec![0; MAX_START];
        let count = body.as_reader().read(&mut bytes).map_err(cut_off)?;
        bytes.truncate(count);
        return Ok(bytes);
    }
    // Nothing is read of a body whose head says that it is too long.
    if body.content_length().is_some_and(|length| length > max_bytes) {
        return Err(too_large(target, max_bytes, setting));
    }
    let mut bytes = Vec::new();
    // Not ureq's `limit`: it refuses a body of exactly that length, and counts compressed bytes.
    let read = body.as_reader().take(max_bytes + 1).read_to_end(&mut bytes);
    read.map_err(cut_off)?;
    if bytes.len() as u64 > max_bytes { Err(too_large(target, max_bytes, setting)) } else { Ok(bytes) }
}

/// Hands a body on as it comes, until it ends or the sink has enough. One that has to be `whole` is at most that long, and
/// says where it ends.
pub(super) fn pass_on_body(
    target: &str,
    response: &mut Response<Body>,
    deadline: Deadline,
    sink: &mut BodySink<'_>,
    whole: Option<SizeLimit>,
) -> Result<(), BodyFailure> {
    let SizeLimit { bytes: max_bytes, setting, .. } = whole.unwrap_or(SizeLimit::NONE);
    if whole.is_some() && !says_its_end(response.headers()) {
        let detail = "the body has no length: its end looks like that of a broken connection";
        return Err(BodyFailure::Other(Error::new(ErrorKind::Malformed, detail).with_target(target)));
    }
    let body = response.body_mut();
    if body.content_length().is_some_and(|length| length > max_bytes) {
        return Err(too_large(target, max_bytes, setting));
    }
    let (mut reader, mut chunk) = (body.as_reader(), vec![0; CHUNK]);
    let (mut progress, mut room) = (Progress::new(CoarseInstant::now()), max_bytes);
    loop {
        // The sizes of chunks and what follows the last one are no bytes of the body, and may come for ever.
        end_reads_by(Deadline::after(PROGRESS_TIME));
        let length = reader.read(&mut chunk).map_err(|why| body_failure(target, why, deadline))?;
        let came = CoarseInstant::now();
        room = room.checked_sub(length as u64).ok_or_else(|| too_large(target, max_bytes, setting))?;
        if length == 0 || sink(&chunk[..length]).is_break() {
            return Ok(());
        }
        if progress.is_stalled(length as u64, came) {
            return Err(BodyFailure::Other(stalled(target)));
        }
        progress.pause(CoarseInstant::now().since(came));
    }
}

/// Returns whether a body has a length, or comes in chunks, of which the last one is marked. Otherwise it ends with its
/// connection: RFC 9112, section 6.3, <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>.
fn says_its_end(headers: &HeaderMap) -> bool {
    match headers.get("Transfer-Encoding") {
        Some(coding) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        None => headers.contains_key("Content-Length"),
    }
}

fn too_large(target: &str, max_bytes: u64, setting: Option<&str>) -> BodyFailure {
    let mut detail = format!("the body is above {max_bytes} bytes");
    if let Some(setting) = setting {
        detail += &format!(", the limit of this client: `{setting}` sets it");
    }
    BodyFailure::Other(Error::new(ErrorKind::TooLarge, detail).with_target(target))
}

fn body_failure(target: &str, why: std::io::Error, deadline: Deadline) -> BodyFailure {
    let why = ureq::Error::from(why);
    let other = |why| BodyFailure::Other(failure(target, why, deadline));
    undecodable(&why).map_or_else(|| other(why), BodyFailure::Undecodable)
}

/// Measures whether a body comes fast enough.
struct Progress {
    since: CoarseInstant,
    /// Bytes that came since then.
    bytes: u64,
}

impl Progress {
    fn new(now: CoarseInstant) -> Self {
        Progress { since: now, bytes: 0 }
    }

    /// Counts bytes that came. Returns whether too few came in the last 10 s.
    fn is_stalled(&mut self, bytes: u64, now: CoarseInstant) -> bool {
        self.bytes += bytes;
        if self.bytes >= LEAST_PROGRESS {
            *self = Progress::new(now);
        }
        now.since(self.since) >= PROGRESS_TIME
    }

    /// Leaves out a time in which nothing was read: the sink's own.
    fn pause(&mut self, time: Duration) {
        self.since = self.since.plus(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_stalled_below_64_kib_a_second_over_ten_seconds() {
        let start = CoarseInstant::now();
        let at = |secs| start.plus(Duration::from_secs(secs));
        let mut progress = Progress::new(start);
        assert!(!progress.is_stalled(LEAST_PROGRESS - 1, at(9)));
        assert!(!progress.is_stalled(1, at(11)), "it has come just now");
        assert!(!progress.is_stalled(LEAST_PROGRESS - 1, at(20)));
        assert!(progress.is_stalled(0, at(21)));
    }

    #[test]
    fn time_of_a_slow_sink_is_no_stall() {
        let start = CoarseInstant::now();
        let mut progress = Progress::new(start);
        progress.pause(Duration::from_secs(60));
        assert!(!progress.is_stalled(1, start.plus(Duration::from_secs(69))));
        assert!(progress.is_stalled(1, start.plus(Duration::from_secs(71))));
    }

    #[test]
    fn body_says_its_end_by_a_length_or_by_chunks() {
        let says = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            says_its_end(&headers)
        };
        assert!(says("content-length", "0") && says("transfer-encoding", " Chunked"));
        assert!(!says("transfer-encoding", "gzip") && !says("connection", "close"));
    }
}
