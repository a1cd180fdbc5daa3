use std::net::TcpListener;

use super::*;
use crate::client::Client;

fn lister(url: &str, timeout: Duration, page: usize) -> Lister {
    let client = Client::builder().platform_url(url).workspace_id("w").build().unwrap();
    Lister::new(client.http(), &CancelToken::new(), timeout, page, Duration::from_secs(600))
}

/// Fewer rows are there sooner. Any other failure is no reason to ask for fewer.
#[test]
fn after_a_page_that_was_too_slow_a_quarter_of_it_is_asked_for() {
    // The kernel takes the connection, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = lister(&format!("http://{}", silent.local_addr().unwrap()), Duration::from_millis(50), 64);
    for rows in [16, 4] {
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
    let at = |secs: u32| CoarseInstant::START.plus(secs * second);
    let (old, new) = (Some(Timestamp::from_nanos(1)), Some(Timestamp::from_nanos(2)));
    let mut newest = Newest::default();
    for (known, now, stands_for) in
        [(None, 1, 0), (None, 5, 0), (old, 7, 0), (old, 9, 2), (old, 20, 13), (new, 21, 0), (new, 24, 3)]
    {
        assert_eq!(newest.stands_for(known, at(now)), stands_for * second, "at {now}");
    }
}

/// A platform whose pages of more than 40 rows take too long. It has so many, a second apart.
fn slow_platform(rows: i64) -> String {
    use std::io::{BufRead, BufReader, Write};
    const START: i64 = 1_777_550_400_000_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let query = head.split([' ', '?']).nth(2).unwrap();
                    let param = |name| query.split('&').find_map(|pair| pair.strip_prefix(name));
                    let limit: usize = param("limit=").unwrap().parse().unwrap();
                    if limit > 40 {
                        std::thread::sleep(Duration::from_secs(9));
                        return;
                    }
                    let before = param("before_ts=").map(|at| Timestamp::parse(&at.replace("%3A", ":")).unwrap());
                    let page = (0..rows).rev().map(|n| (n, Timestamp::from_nanos(START + n * 1_000_000_000)));
                    let page = page.filter(|(_, at)| before.is_none_or(|before| *at < before)).take(limit);
                    let page: Vec<String> =
                        page.map(|(n, at)| format!(r#"{{"id":"{n}","created_at":"{at}"}}"#)).collect();
                    let body = format!("[{}]", page.join(","));
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                }
            });
        }
    });
    url
}

/// Were whole pages asked for again after each page that came, one of them would always be too slow.
#[test]
fn a_look_back_over_a_slow_platform_comes_to_an_end() {
    let mut lister = lister(&slow_platform(300), Duration::from_secs(1), 100);
    let mut cursor = Cursor::default();
    let mut limits = Vec::new();
    for _ in 0..25 {
        match lister.list(&mut cursor) {
            Ok(batch) => return assert_eq!(batch.rows.len(), 300),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
        }
        limits.push(lister.limit.rows);
    }
    panic!("nothing in 25 polls; the next page would have been {limits:?}");
}
