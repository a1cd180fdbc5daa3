#![no_main]
//! Compares the parser of times with that of `chrono`, besides what the target's body checks.

use a2a_blocking::fuzzing::{moment, time};
use chrono::{DateTime, SecondsFormat, Utc};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    time(data);
    for text in String::from_utf8_lossy(data).split('\n') {
        let expected = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        let expected = expected.and_then(|time| time.timestamp_nanos_opt());
        let Some((nanos, shown)) = moment(text) else { continue };
        // Each accepts forms that the other refuses, such as a time without a zone. Where both accept, the times are equal.
        assert!(expected.is_none_or(|expected| expected == nanos), "{text:?}");
        assert_eq!(DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true), shown);
    }
});
