//! A proxy is used only where the client's settings ask for it, and it learns no more than it needs.

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use a2a_blocking::{
    CancelToken, Client, ClientBuilder, Delivery, ErrorKind, LookupSource, Message, RetryPolicy, SendOptions,
};

use crate::connect_proxy::Proxy;
use crate::support::{PEER, RECORD, Reaction, Server, builder};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::tls_server;

const TOKEN: &str = "tok-of-the-proxy-tests";

fn ok() -> Reaction {
    Reaction::reply(200, r#"{"result":{"parts":[{"kind":"text","text":"hello"}]}}"#)
}

#[test]
fn every_call_uses_the_configured_proxy() {
    let proxy = Proxy::working();
    let server = Server::decide(|_, request| if request.method == "GET" { Reaction::reply(200, RECORD) } else { ok() });
    let client = builder(&server).token(TOKEN).proxy(proxy.url("me:p%40ss@")).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    client.discover(PEER).unwrap();
    client.discover(PEER).unwrap();
    assert_eq!(client.send(PEER, "x".repeat(300_000)).unwrap().text(), "hello");
    let cancellable = SendOptions::new().cancel(&CancelToken::new());
    client.send_with(PEER, &Message::from("hi"), &cancellable).unwrap();
    let heads = proxy.heads();
    // One for the lookup, one for the pooled calls, and one for each message.
    assert_eq!(heads.len(), 4, "{heads:?}");
    let address = server.url().replace("http://", "");
    for head in heads {
        assert!(head.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n"), "{head}");
        assert!(!head.contains(TOKEN), "{head}");
    }
    assert_eq!(server.requests().len(), 5);
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert_eq!(request.header("proxy-authorization"), None);
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn proxy_sees_only_the_host_over_https() {
    let (proxy, authority) = (Proxy::working(), tls_server::Authority::new());
    let answer = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{RECORD}", RECORD.len()).into_bytes();
    let (server, seen) = tls_server::answering(authority.certify(), true, move |_| answer.clone());
    let client = Client::builder().platform_url(tls_server::https(&server)).workspace_id("me").token(TOKEN);
    let client = client.root_certificates(authority.pem()).proxy(proxy.url("")).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    assert!(seen.text().contains(&format!("authorization: Bearer {TOKEN}\r\n")), "{}", seen.text());
    let heads = proxy.heads();
    assert!(heads.len() == 1 && heads[0].starts_with("CONNECT localhost:") && !heads[0].contains(TOKEN), "{heads:?}");
    assert!(!String::from_utf8_lossy(&proxy.through.lock().unwrap()).contains(&TOKEN[..8]));
    assert!(!heads[0].contains("Proxy-Authorization"), "no password was set: {heads:?}");
}

#[test]
fn refusing_proxy_is_a_connect_error() {
    let refused = format!("http://me:hush@{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let forbids = Proxy::new("407 Proxy Authentication Required");
    let server = Server::play([ok()]);
    let policy = RetryPolicy::new().with_base(Duration::from_millis(1)).with_attempts(2);
    for (url, words) in [(refused, "refused"), (forbids.url("me:hush@"), "407")] {
        let client = builder(&server).token(TOKEN).proxy(url).build().unwrap();
        let error = client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?} {client:?}").contains("hush"), "{error:?}");
    }
    assert_eq!(server.connections(), 0, "no connection bypasses the proxy");
    assert!(forbids.through.lock().unwrap().is_empty());
}

#[test]
fn silent_proxy_cannot_exceed_the_timeout() {
    let silent = Server::play([Reaction::Hang]);
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let bound = Duration::from_millis(300);
    let client = builder(&server).proxy(silent.url()).lookup_timeout(bound).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert!(start.elapsed() < bound + Duration::from_secs(10), "{:?}", start.elapsed());
}

/// The proxy answers byte by byte, so that each read alone is in time.
#[test]
fn trickling_proxy_cannot_exceed_the_timeout() {
    let slow = Server::raw(|_, mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 Connected\r\nX-Slow: ");
        // It ends at some time, so that a client without a timeout fails the test rather than hangs.
        for _ in 0..600 {
            thread::sleep(Duration::from_millis(50));
            if stream.write_all(b"y").is_err() {
                return;
            }
        }
    });
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let bound = Duration::from_millis(300);
    let client = builder(&server).proxy(slow.url()).lookup_timeout(bound).build().unwrap();
    let start = Instant::now();
    assert_eq!(client.lookup(PEER).source, LookupSource::Failed);
    assert!(start.elapsed() < bound + Duration::from_secs(10), "{:?}", start.elapsed());
    let start = Instant::now();
    let policy = RetryPolicy::new().with_budget(bound);
    let error = client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent), "{error:?}");
    assert!(start.elapsed() < bound + Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn invalid_proxy_url_is_refused_and_its_password_is_not_shown() {
    let base = |url: &str| -> ClientBuilder { Client::builder().workspace_id("w").proxy(url) };
    for url in ["", "me:hush@proxy", "socks5://me:hush@proxy", "http://me:hush@proxy:99999", "http://me:hush@proxy/x"] {
        let error = base(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with("proxy: "), "{error}");
        assert!(!format!("{error:?} {error}").contains("hush"), "{error:?}");
    }
    let fine = base(" http://me:hush@proxy:3128 ");
    assert!(!format!("{fine:?} {:?}", fine.clone().build().unwrap()).contains("hush"));
}
