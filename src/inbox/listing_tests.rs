use std::net::TcpListener;

use super::*;
use crate::client::Client;

fn lister(url: &str, timeout: Duration, page: usize) -> Lister {
    let client = Client::builder().platform_url(url).workspace_id("w").build().unwrap();
    Lister::new(client.http(), &CancelToken::new(), timeout, page, Duration::from_secs(600))
}

/// Fewer rows are there sooner. Any other failure is no reason to ask for fewer.
#[test]
fn after_a_page_that_was_too_slow_half_of_it_is_asked_for() {
    // The kernel takes the connection, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = lister(&format!("http://{}", silent.local_addr().unwrap()), Duration::from_millis(50), 64);
    for rows in [32, 16] {
        let Err(error) = slow.list(&mut Cursor::default()) else { panic!("listed") };
        assert_eq!((error.kind(), slow.limit.rows), (ErrorKind::Timeout, rows));
    }
    let mut refused = lister("http://127.0.0.1:1", Duration::from_secs(20), 64);
    assert!(refused.list(&mut Cursor::default()).is_err());
    assert_eq!(refused.limit.rows, 64);
}

#[test]
fn the_newest_row_stands_from_when_it_is_known_until_a_newer_one_is() {
    let second = Duration::from_secs(1);
    let at = |secs: u32| Tick::START.plus(secs * second);
    let (old, new) = (Some(Moment::from_nanos(1)), Some(Moment::from_nanos(2)));
    let mut newest = Newest::default();
    for (known, now, stands_for) in
        [(None, 1, 0), (None, 5, 0), (old, 7, 0), (old, 9, 2), (old, 20, 13), (new, 21, 0), (new, 24, 3)]
    {
        assert_eq!(newest.stands_for(known, at(now)), stands_for * second, "at {now}");
    }
}
