#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::time::Duration;

use super::Response;
use super::retry_after;
use crate::error::ErrorKind;
use crate::test_util::halves;
use crate::token::Token;

const SECRET: &str = "s3cr3t-T0ken/+=";

/// What an answer's headers and body come to: a wait that is bounded, and words that show no token and move no cursor.
pub fn answer(data: &[u8]) {
    let (header, body) = halves(data);
    let header = String::from_utf8_lossy(header);
    let wait = retry_after(&header);
    let digits = header.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    assert_eq!(wait.is_some(), is_number, "{header:?}");
    if let Some(wait) = wait {
        let day = 86_400;
        let asked = digits.trim_start_matches('0');
        let secs = if asked.len() > 5 { day } else { asked.parse().unwrap_or(0).min(day) };
        assert_eq!(wait, Duration::from_secs(secs), "{header:?}");
    }

    let token = Token::for_fuzzing(SECRET);
    // Each 0xfe is where the platform says the token again.
    let parts: Vec<&[u8]> = body.split(|byte| *byte == 0xfe).collect();
    let body = parts.join(SECRET.as_bytes());
    let reply = Response {
        status: 500,
        retry_after: wait,
        encoding: Some(header.clone().into_owned()),
        body,
        target: "GET http://p".to_owned(),
        token: Some(token),
    };
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    for (shown, most) in [(reply.excerpt(), 200), (reply.shown(&text), 200), (reply.words(&text), 4_000)] {
        assert!(!shown.contains(SECRET), "{shown}");
        let controls = shown.chars().filter(|c| c.is_control());
        assert!(controls.clone().count() == 0 || (most > 200 && controls.clone().all(|c| matches!(c, '\n' | '\t'))));
        // An escape is ten characters at the most.
        assert!(shown.chars().count() <= most * 10);
    }
    let error = reply.error(ErrorKind::Status, "detail");
    assert!(!format!("{error} {error:?}").contains(SECRET));
    assert_eq!(error.retry_after(), wait);
    let encoding = header.trim();
    assert_eq!(reply.foreign_encoding().is_some(), !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity"));
}
