//! The bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. They stand beside what
//! they hold to account (`fuzz.rs`), and are there in a build for fuzzing and in the tests, which run each of
//! them over the inputs that are kept in `fuzz/corpus`. No part of the library's surface.

pub use crate::cache::fuzz::cache;
pub use crate::cache::sieve::fuzz::sieve;
pub use crate::http::response::fuzz::answer;
pub use crate::http::route::fuzz::url;
pub use crate::inbox::envelope::fuzz::notification;
pub use crate::inbox::feed::cursor::fuzz::cursor;
pub use crate::inbox::feed::fuzz::activity_rows;
pub use crate::inbox::store::fuzz::cursor_file;
pub use crate::token::fuzz::token;
pub use crate::wire::record::fuzz::record;
pub use crate::wire::reply::fuzz::reply;
pub use crate::wire::time::fuzz::{moment, time};

/// The id of a peer, and the key under which a thread keeps its answers.
pub fn peer_id(data: &[u8]) {
    crate::peer::id::fuzz::peer_id(data);
    crate::cache::local::fuzz::raw_key(data);
}

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
