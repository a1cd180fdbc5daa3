//! Helpers of the fuzz targets: choices made by bytes, and a directory for files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that are used as choices, one after the other. After the last one, each is zero.
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

    /// Returns a number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }
}

/// A directory of one thread of this process. It is in memory where the system has `/dev/shm`.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Calls `work` with the directory of this thread.
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
        // A failure shows when a target writes to it.
        let _ = std::fs::create_dir_all(&dir);
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the bytes before and after the first 0xff, which no UTF-8 text contains.
pub(crate) fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0xff);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
