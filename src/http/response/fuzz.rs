#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::time::Duration;

use super::Response;
use super::retry_after;
use crate::error::ErrorKind;
use crate::test_util::halves;
use crate::token::Token;

const SECRET: &str = "s3cr3t-T0ken/+=";

/// Checks texts that are made of a response's headers and body: a wait is bounded, and no text shows the token or a control
/// character.
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

    // Each 0xfe stands for the token, which the platform echoes there.
    let parts: Vec<&[u8]> = body.split(|byte| *byte == 0xfe).collect();
    let response = Response {
        retry_after: wait,
        encoding: Some(header.clone().into_owned()),
        token: Some(Token::for_fuzzing(SECRET)),
        ..Response::for_test(500, parts.join(SECRET.as_bytes()))
    };
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let texts = [(response.excerpt(), 200), (response.excerpt_of(&text), 200), (response.safe_text(&text), 4_000)];
    for (shown, most) in texts {
        assert!(!shown.contains(SECRET), "{shown}");
        let mut controls = shown.chars().filter(|c| c.is_control());
        assert!(controls.all(|c| most > 200 && matches!(c, '\n' | '\t')), "{shown:?}");
        // An escape has at most ten characters.
        assert!(shown.chars().count() <= most * 10);
    }
    let error = response.error(ErrorKind::Status, "detail");
    assert!(!format!("{error} {error:?}").contains(SECRET));
    assert_eq!(error.retry_after(), wait);
    let encoding = header.trim();
    let is_identity = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    assert_eq!(response.foreign_encoding().is_none(), is_identity);
}
