//! The bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. They stand beside what
//! they hold to account (`…_fuzz.rs`), and are there in a build for fuzzing and in the tests, which run each of
//! them over the inputs that are kept in `fuzz/corpus`. No part of the library's surface.

pub use crate::cache::cache_fuzz::cache;
pub use crate::cache::sieve_fuzz::sieve;
pub use crate::http::answer_fuzz::answer;
pub use crate::http::url_fuzz::url;
pub use crate::inbox::activity_fuzz::activity_rows;
pub use crate::inbox::cursor_fuzz::cursor;
pub use crate::inbox::file_fuzz::cursor_file;
pub use crate::inbox::notification_fuzz::notification;
pub use crate::peer::id_fuzz::peer_id;
pub use crate::token::token_fuzz::token;
pub use crate::wire::record_fuzz::record;
pub use crate::wire::reply_fuzz::reply;
pub use crate::wire::time_fuzz::{moment, time};

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// A target's body.
pub type Body = fn(&[u8]);

/// All of them by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("answer", answer),
    ("activity", activity_rows),
    ("cache", cache),
    ("cursor", cursor),
    ("cursor_file", cursor_file),
    ("notification", notification),
    ("peer_id", peer_id),
    ("record", record),
    ("reply", reply),
    ("sieve", sieve),
    ("time", time),
    ("token", token),
    ("url", url),
];

/// Bytes that are taken for choices, one by one; zeros when they are used up.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is 256 at the most.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }
}

/// A directory of this process's own, in memory where the system has such files.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn with<R>(work: impl FnOnce(&Path) -> R) -> R {
        thread_local! {
            static DIR: Scratch = Scratch::new();
        }
        DIR.with(|dir| work(&dir.0))
    }

    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let shared = Path::new("/dev/shm");
        let below = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let dir = below.join(format!("a2a-fuzz-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        // Where it cannot be made nothing can be written to it, and a target says so.
        let _ = std::fs::create_dir_all(&dir);
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The bytes before and after the first 0xff, which is in no UTF-8 text.
pub(crate) fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0xff);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_kept_input_holds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.is_dir() {
            // As in the published package.
            return;
        }
        for (name, body) in TARGETS {
            let corpus = fuzz.join("corpus").join(name);
            let mut inputs = 0;
            for input in fs::read_dir(&corpus).unwrap() {
                let path = input.unwrap().path();
                let data = fs::read(&path).unwrap();
                let held = catch_unwind(|| body(&data));
                assert!(held.is_ok(), "{name} does not hold for {}", path.display());
                inputs += 1;
            }
            assert!(inputs > 0, "{name} has no corpus");
            body(&[]);
        }
    }
}
