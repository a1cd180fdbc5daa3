use std::net::TcpListener;

use super::*;
use crate::client::Client;

/// Makes a lister of the platform at `url`, with a backlog of 600 s.
fn lister(url: &str, timeout: Duration, page: usize) -> Lister {
    let client = Client::builder().platform_url(url).workspace_id("w").build().unwrap();
    Lister::new(client.http(), &CancelToken::new(), timeout, page, Duration::from_secs(600))
}

/// A smaller page takes less time. After any other failure the page size stays.
#[test]
fn page_size_is_quartered_after_a_timeout() {
    // The kernel accepts the connection, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = lister(&format!("http://{}", silent.local_addr().unwrap()), Duration::from_millis(50), 64);
    for rows in [16, 4] {
        let Err(error) = slow.next_batch(&mut Cursor::default()) else { panic!("listed") };
        assert_eq!((error.kind(), slow.fetcher.page_size.rows), (ErrorKind::Timeout, rows));
    }
    let mut refused = lister("http://127.0.0.1:1", Duration::from_secs(20), 64);
    assert!(refused.next_batch(&mut Cursor::default()).is_err());
    assert_eq!(refused.fetcher.page_size.rows, 64);
}

#[test]
fn newest_row_is_replaced_only_by_a_newer_one() {
    let second = Duration::from_secs(1);
    let at = |secs: u32| CoarseInstant::START.plus(secs * second);
    let (old, new) = (Some(Timestamp::from_nanos(1)), Some(Timestamp::from_nanos(2)));
    let mut newest = NewestTime::default();
    for (known, now, unchanged) in
        [(None, 1, 0), (None, 5, 0), (old, 7, 0), (old, 9, 2), (old, 20, 13), (new, 21, 0), (new, 24, 3)]
    {
        assert_eq!(newest.unchanged_for(known, at(now)), unchanged * second, "at {now}");
    }
}

/// Starts a platform that takes too long for pages of more than 40 rows. Its rows are a second apart.
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

/// If the page size grew after each page of a look back, one of its pages would always be too slow.
#[test]
fn look_back_over_a_slow_platform_terminates() {
    let mut lister = lister(&slow_platform(300), Duration::from_secs(1), 100);
    let mut cursor = Cursor::default();
    let mut page_sizes = Vec::new();
    for _ in 0..25 {
        match lister.next_batch(&mut cursor) {
            Ok(batch) => return assert_eq!(batch.rows.len(), 300),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
        }
        page_sizes.push(lister.fetcher.page_size.rows);
    }
    panic!("nothing in 25 polls; the page sizes were {page_sizes:?}");
}
