#![no_main]
//! Beside the calendar that the crate's own tests have, another's: chrono's.

use a2a_blocking::fuzzing::{moment, time};
use chrono::{DateTime, SecondsFormat, Utc};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    time(data);
    for text in String::from_utf8_lossy(data).split('\n') {
        let theirs = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        let theirs = theirs.and_then(|time| time.timestamp_nanos_opt());
        let Some((nanos, shown)) = moment(text) else { continue };
        // They take more than we do, as small letters and spaces; never another time.
        assert_eq!(theirs, Some(nanos), "{text:?}");
        assert_eq!(DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true), shown);
    }
});
