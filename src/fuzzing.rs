//! The fuzz targets by name. A target takes any bytes, and panics where a promise is broken.
//!
//! Each is in the file `fuzz.rs` beside the code that it checks. They exist in a build for fuzzing and in the tests, which
//! run each target over the inputs in `fuzz/corpus`. They are not part of the public API.

pub use crate::cache::fuzz::cache;
pub use crate::cache::sieve::fuzz::sieve;
pub use crate::http::response::fuzz::answer as response;
pub use crate::http::route::fuzz::url;
pub use crate::inbox::envelope::fuzz::notification as envelope;
pub use crate::inbox::feed::cursor::fuzz::cursor;
pub use crate::inbox::feed::fuzz::activity_rows;
pub use crate::inbox::store::fuzz::cursor_file;
pub use crate::platform::response::fuzz::reply;
pub use crate::token::fuzz::token;
pub use crate::wire::record::fuzz::record;
pub use crate::wire::time::fuzz::{moment, time};

/// The id of a peer, and the key under which a thread keeps its answers.
pub fn peer_id(data: &[u8]) {
    crate::peer::id::fuzz::peer_id(data);
    crate::cache::local::fuzz::raw_key(data);
}

/// A fuzz target.
pub type Body = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("response", response),
    ("activity", activity_rows),
    ("cache", cache),
    ("cursor", cursor),
    ("cursor_file", cursor_file),
    ("envelope", envelope),
    ("peer_id", peer_id),
    ("record", record),
    ("reply", reply),
    ("sieve", sieve),
    ("time", time),
    ("token", token),
    ("url", url),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::Path;

    use super::*;

    #[test]
    fn targets_hold_for_every_input_of_the_corpus() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.is_dir() {
            // The published package has no corpus.
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
