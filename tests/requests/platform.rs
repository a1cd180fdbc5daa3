//! The calls against the platform in process.

use std::io::Cursor;

use a2a_blocking::testing::Platform;
use a2a_blocking::{Client, Delivery, ErrorKind, NewRequest, Notice, RequestAction};

use crate::support::eventually;

/// Two workspaces and their clients.
fn pair() -> (Platform, Client, Client) {
    let platform = Platform::start().unwrap();
    let client = |name| platform.workspace(name).client().build().unwrap();
    let (asker, doer) = (client("asker"), client("doer"));
    (platform, asker, doer)
}

#[test]
fn task_is_asked_about_answered_and_done() {
    let (_platform, asker, doer) = pair();
    let task = NewRequest::task("Count").detail("to three").to_agent(doer.workspace_id()).unwrap();
    let id = asker.request(&task).unwrap();
    assert_eq!(doer.pending_requests().unwrap()[0].id(), id);
    doer.request_message(&id, "from one?").unwrap();
    assert_eq!(doer.pending_requests().unwrap(), [], "it waits for an answer");
    assert_eq!(doer.request_inbox().unwrap()[0].status(), Some("info_requested"));
    asker.request_message(&id, "yes").unwrap();
    let wrong = doer.respond(&id, RequestAction::Approved).unwrap_err();
    assert!(wrong.to_string().contains("invalid action for this request kind"), "{wrong}");
    assert_eq!((wrong.kind(), wrong.delivery()), (ErrorKind::Status, Delivery::NotSent));
    doer.respond(&id, RequestAction::Done).unwrap();
    let details = asker.request_details(&id).unwrap();
    assert_eq!((details.request.status(), details.messages.len()), (Some("done"), 2));
    let over = doer.respond(&id, RequestAction::Done).unwrap_err();
    assert_eq!(over.kind(), ErrorKind::NotFound);
    assert_eq!(asker.cancel_request(&id).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn request_that_is_taken_back_is_over() {
    let (_platform, asker, doer) = pair();
    let id = asker.request(&NewRequest::approval("Deploy?").to_agent(doer.workspace_id()).unwrap()).unwrap();
    assert_eq!(doer.cancel_request(&id).unwrap_err().status(), Some(403));
    asker.cancel_request(&id).unwrap();
    assert_eq!(asker.requests().unwrap()[0].status(), Some("cancelled"));
    assert_eq!(doer.respond(&id, RequestAction::Approved).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn text_with_nul_and_blank_text_are_not_sent() {
    let (platform, asker, doer) = pair();
    let id = asker.request(&NewRequest::task("Count").to_agent(doer.workspace_id()).unwrap()).unwrap();
    let before = platform.ledger().len();
    let refused = [
        asker.request(&NewRequest::task("a\0b")).err(),
        asker.request(&NewRequest::task("a").detail("\0")).err(),
        asker.request(&NewRequest::task("a").to_user("\0")).err(),
        asker.request(&NewRequest::task(" ")).err(),
        asker.request_message(&id, "\0").err(),
        asker.request_message(&id, " ").err(),
        asker.notify("a\0b").err(),
        asker.notify(Notice::new("x").attach_link("u", "\0")).err(),
        asker.upload("\0", "text/plain", Cursor::new("x")).err(),
        asker.delegate(doer.workspace_id(), "a\0b").err(),
        asker.delegate(doer.workspace_id(), "").err(),
        asker.complete_delegation("d", "\0").err(),
        asker.fail_delegation("d", "\0").err(),
        asker.respond("", RequestAction::Done).err(),
        asker.cancel_request("..").err(),
    ];
    for (at, error) in refused.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("{at} was sent"));
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::InvalidMessage, Delivery::NotSent), "{at}: {error}");
    }
    assert_eq!((platform.ledger().len(), asker.requests().unwrap().len()), (before, 1));
}

#[test]
fn id_is_one_part_of_the_path() {
    let (_platform, asker, _) = pair();
    for id in ["../state", "x/respond", "a?b", "%2e%2e", "é"] {
        let refused = asker.request_details(id).unwrap_err();
        assert_eq!((refused.kind(), refused.status()), (ErrorKind::InvalidMessage, None), "{id}: {refused}");
    }
    let missing = asker.request_details("urn:x;y=1&z+").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

#[test]
fn delegation_to_oneself_is_not_sent_and_one_to_nobody_fails_later() {
    let (platform, asker, _) = pair();
    let own = asker.delegate(asker.workspace_id().to_uppercase(), "x").unwrap_err();
    assert_eq!((own.kind(), own.delivery()), (ErrorKind::InvalidMessage, Delivery::NotSent), "{own}");
    assert_eq!(platform.ledger().len(), 0);
    let receipt = asker.delegate("9d2fabaf-2494-41b9-be68-638a17c36d03", "x").unwrap();
    eventually("the delegation fails", || {
        let listed = asker.delegations().unwrap();
        let mut own = listed.iter().filter(|entry| entry.delegation_id() == Some(&receipt.delegation_id));
        own.any(|entry| entry.status() == Some("failed") && entry.error().unwrap().contains("access denied"))
    });
}

#[test]
fn caller_ends_its_delegation() {
    let (platform, asker, doer) = pair();
    platform.hold_background(true);
    let first = asker.delegate(doer.workspace_id(), "count").unwrap().delegation_id;
    asker.complete_delegation(&first, "1 2 3").unwrap();
    let second = asker.delegate(doer.workspace_id(), "count").unwrap().delegation_id;
    asker.fail_delegation(&second, "no time").unwrap();
    let listed = asker.delegations().unwrap();
    let of = |id: &str, status| {
        listed.iter().any(|entry| entry.delegation_id() == Some(id) && entry.status() == Some(status))
    };
    assert!(of(&first, "completed") && of(&second, "failed"), "{listed:?}");
}

#[test]
fn uploaded_file_is_in_the_notice() {
    let (platform, asker, _) = pair();
    let odd = "a \"b\" \\ é.txt";
    let file = asker.upload(odd, "text/plain; charset=utf-8", Cursor::new("hello")).unwrap();
    assert_eq!((file.size, file.media_type.as_deref()), (Some(5), Some("text/plain; charset=utf-8")));
    assert!(file.uri.starts_with(&format!("platform-pending:{}/", asker.workspace_id())), "{}", file.uri);
    asker.notify(Notice::new("see").attach(&file)).unwrap();
    let sent = platform.sent();
    assert_eq!((sent.len(), sent[0].text.as_str()), (1, "see"));
    let empty = asker.upload("empty", "text/plain", Cursor::new("")).unwrap();
    assert_eq!(empty.size, Some(0));
}

#[test]
fn notice_takes_every_kind_of_text() {
    let (platform, asker, _) = pair();
    let text = "t".to_owned();
    asker.notify("t").unwrap();
    asker.notify(&text).unwrap();
    asker.notify(std::borrow::Cow::from("t")).unwrap();
    asker.notify(Box::<str>::from("t")).unwrap();
    asker.notify(text).unwrap();
    asker.notify(Notice::from("t")).unwrap();
    assert_eq!(platform.sent().len(), 6);
}
