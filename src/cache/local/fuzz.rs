#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use super::raw_key::{RawKey, is_equal, of_id};
use crate::peer::PeerId;

/// Checks that no text finds what a thread keeps of an id without a text, and that keys are equal as their bytes are.
pub(crate) fn raw_key(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let key = <&RawKey>::try_from(text.as_bytes()).ok();
    if let Some(id) = PeerId::from_text(text) {
        let id_key = of_id(id);
        assert!(std::str::from_utf8(&id_key).is_err());
        assert!(key.is_none_or(|key| !is_equal(key, &id_key)));
    }
    for (start, key) in key.into_iter().flat_map(|key| (0..36).map(move |start| (start, key))) {
        let mut other = *key;
        assert!(is_equal(key, &other));
        other[start] ^= 1;
        assert!(!is_equal(key, &other), "{start}");
    }
}
