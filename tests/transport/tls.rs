//! TLS: whom a client trusts, what it says of those that it does not, and that nobody is told the token before
//! the certificate was checked. The server records all that it decrypts.

use std::env;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use a2a_blocking::{
    Client, ClientBuilder, Delivery, Error, ErrorKind, LookupSource, Message, RetryPolicy, SendOptions,
};
use rcgen::date_time_ymd;
#[cfg(feature = "rustls")]
use rcgen::{BasicConstraints, IsCa};
use rustls::ServerConfig;

use crate::support::{Dir, PEER, RECORD, Server, WORKSPACE};
use crate::tls_server::{self, Authority, Seen, answering, https, self_signed};

const TOKEN: &str = "tok-of-the-tls-tests";

fn base(url: String) -> ClientBuilder {
    Client::builder().platform_url(url).workspace_id(WORKSPACE).token(TOKEN)
}

/// A client of the server that trusts the authority alone.
fn trusting(authority: &Authority, server: &Server) -> ClientBuilder {
    base(https(server)).root_certificates(authority.pem())
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a send with a brief policy comes to, and that it kept its bounds.
fn send(client: &Client) -> Error {
    let (start, budget) = (Instant::now(), Duration::from_secs(60));
    let policy = RetryPolicy::new()
        .with_base(Duration::from_millis(1))
        .with_budget(budget)
        .with_silence(Duration::from_millis(300));
    let error = client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)).unwrap_err();
    assert!(start.elapsed() < budget, "{error}");
    error
}

#[test]
fn a_platform_of_the_authority_that_was_given_is_talked_to() {
    let authority = Authority::new();
    let (server, seen) = answering(authority.certify(), true, |request| match request.method.as_str() {
        "GET" => answer(200, RECORD),
        _ => answer(200, r#"{"result":{"parts":[{"kind":"text","text":"hello"}]}}"#),
    });
    let client = trusting(&authority, &server).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    assert_eq!(client.send(PEER, "x".repeat(500_000)).unwrap().text(), "hello");
    let text = seen.text();
    assert_eq!(text.matches(&format!("authorization: Bearer {TOKEN}\r\n")).count(), 2, "{text:.400}");
    let origin = format!("origin: {}\r\n", https(&server));
    assert_eq!(text.to_lowercase().matches(&origin).count(), 2, "over https the origin is told");
}

#[test]
fn others_are_not_told_the_token_and_not_tried_again_and_the_error_says_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let past = authority.certify_as("localhost", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let future = authority.certify_as("localhost", |params| params.not_before = date_time_ymd(2999, 1, 1));
    let elsewhere = authority.certify_as("elsewhere.example", |_| {});
    for (config, why) in [
        (past, "the platform's certificate has expired"),
        (future, "the platform's certificate is not valid yet: is this machine's clock right?"),
        (elsewhere, "the platform's certificate is for another host"),
        (self_signed(), "ClientBuilder::root_certificates"),
        (stranger.certify(), "ClientBuilder::root_certificates"),
    ] {
        let (server, seen) = answering(config, true, |_| answer(200, RECORD));
        let client = trusting(&authority, &server).build().unwrap();
        let error = send(&client);
        let said = (error.kind(), error.is_transient(), error.attempts(), error.delivery());
        assert_eq!(said, (ErrorKind::Tls, false, 1, Delivery::NotSent), "{why}: {error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("POST {}/", https(&server))) && text.contains(why), "{why}: {text}");
        assert_eq!(server.connections(), 1, "{why}");
        assert_eq!(client.lookup(PEER).source, LookupSource::Failed, "{why}");
        assert_eq!(client.discover(PEER).unwrap_err().kind(), ErrorKind::Tls, "{why}");
        assert_eq!(seen.text(), "", "{why}");
    }
}

/// As `openssl req -x509` makes it by default: OpenSSL takes it of a host, rustls does not, however much it is trusted.
#[cfg(feature = "rustls")]
#[test]
fn an_authoritys_own_certificate_is_none_of_a_host() {
    let authority = Authority::new();
    let its_own = authority.certify_as("localhost", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let (server, seen) = answering(its_own, true, |_| answer(200, RECORD));
    let error = trusting(&authority, &server).build().unwrap().discover(PEER).unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Tls, false), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("make one with CA:FALSE") && !text.contains("root_certificates"), "{text}");
    assert_eq!(seen.text(), "");
}

#[test]
fn the_authorities_that_are_given_are_the_only_ones() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, seen) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let kind = |builder: ClientBuilder| builder.build().unwrap().discover(PEER).map_err(|error| error.kind());
    assert_eq!(kind(base(https(&server))), Err(ErrorKind::Tls), "nobody's, by default");
    assert_eq!(kind(base(https(&server)).root_certificates(other.pem())), Err(ErrorKind::Tls));
    assert_eq!(seen.text(), "");
    let both = format!("# ours\n{}\n# and theirs\r\n{}", other.pem(), authority.pem());
    assert!(kind(base(https(&server)).root_certificates(both)).is_ok());
}

#[test]
fn what_is_no_certificate_is_refused_when_the_client_is_built() {
    let pem = Authority::new().pem();
    let body = pem.lines().nth(1).unwrap();
    for (text, why) in [
        (String::new(), "it holds no certificate"),
        ("/etc/ssl/our-ca.pem".to_owned(), "it holds no certificate"),
        (pem.replace("END CERTIFICATE", "END"), "it is damaged after 0 certificates"),
        (pem.replace(body, "!!!"), "it is damaged after 0 certificates"),
        (format!("{pem}{}", pem.replacen(body, "", 1)), "its certificate 2 is damaged"),
        (pem.replace("CERTIFICATE", "PRIVATE KEY"), "it holds a private key"),
        (pem.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "it holds no certificate"),
    ] {
        let error = base("https://localhost".to_owned()).root_certificates(text).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let said = format!("root_certificates: {why}");
        assert!(error.to_string().starts_with(&said), "{said}: {error}");
        assert!(!format!("{error:?}").contains(body));
    }
}

/// A handshake that does not come about may come about another time.
#[test]
fn a_handshake_that_breaks_off_is_tried_again_inside_its_bound() {
    let authority = Authority::new();
    let hello = [0x16, 3, 3, 0, 90, 2];
    type Break = Box<dyn Fn(&mut std::net::TcpStream) + Send + Sync>;
    let breaks: [(&str, Break); 4] = [
        ("close", Box::new(|stream| drop(stream.shutdown(Shutdown::Both)))),
        (
            "close inside the hello",
            Box::new(move |stream| {
                stream.write_all(&hello).unwrap();
                let _ = stream.shutdown(Shutdown::Both);
            }),
        ),
        ("reset", Box::new(|stream| socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap())),
        ("silence", Box::new(|stream| drop(std::io::copy(stream, &mut std::io::sink())))),
    ];
    for (what, act) in breaks {
        let server = Server::raw(move |_, mut stream| {
            let _ = stream.read(&mut [0; 2048]);
            act(&mut stream);
        });
        let bound = Duration::from_millis(400);
        let client = trusting(&authority, &server).lookup_timeout(bound).build().unwrap();
        let start = Instant::now();
        assert_eq!(client.lookup(PEER).source, LookupSource::Failed, "{what}");
        assert!(start.elapsed() < bound + Duration::from_secs(10), "{what}");
        let budget = if what == "silence" { bound * 2 } else { Duration::from_secs(60) };
        let policy = RetryPolicy::new().with_base(Duration::from_millis(1)).with_attempts(2).with_budget(budget);
        let error = client.send_with(PEER, &Message::from("hi"), &SendOptions::new().retry(policy)).unwrap_err();
        let kind = if what == "silence" { ErrorKind::Timeout } else { ErrorKind::Disconnected };
        assert_eq!(
            (error.kind(), error.delivery(), error.is_transient()),
            (kind, Delivery::NotSent, true),
            "{what} {error:?}"
        );
        assert_eq!(error.attempts(), if what == "silence" { 1 } else { 2 }, "{what} {error}");
    }
}

#[test]
fn http_where_tls_is_wanted_and_tls_where_http_is_are_told_apart() {
    let plain = Server::raw(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let error = send(&trusting(&Authority::new(), &plain).build().unwrap());
    let said = (error.kind(), error.is_transient(), error.attempts(), error.delivery());
    assert_eq!(said, (ErrorKind::Tls, false, 1, Delivery::NotSent), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS: is its URL http://?"), "{error}");
    assert_eq!(plain.connections(), 1);

    let (server, seen) = answering(Authority::new().certify(), true, |_| answer(200, RECORD));
    let error = send(&base(server.url()).build().unwrap());
    assert_eq!((error.kind(), error.is_transient(), error.attempts()), (ErrorKind::Protocol, false, 1), "{error:?}");
    assert!(error.to_string().contains("is its URL https://?"), "{error}");
    assert_eq!((server.connections(), seen.text().as_str()), (1, ""));
}

/// A connection that ends without TLS's own word for it may have been cut by anybody. A JSON text says itself
/// where it ends.
#[test]
fn a_body_that_is_cut_off_is_never_taken_for_a_whole_one() {
    let half = &RECORD[..RECORD.len() / 2];
    let length = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{half}", RECORD.len());
    let chunked = format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n", half.len());
    let to_the_end = format!("HTTP/1.1 200 X\r\n\r\n{half}");
    let authority = Authority::new();
    let config = authority.certify();
    let asked = |notify, bytes: String| {
        let (server, _) = answering(config.clone(), notify, move |_| bytes.clone().into_bytes());
        trusting(&authority, &server).build().unwrap().discover(PEER)
    };
    for notify in [false, true] {
        for (bytes, kind) in [
            (&length, ErrorKind::Disconnected),
            (&chunked, ErrorKind::Disconnected),
            (&to_the_end, ErrorKind::Malformed),
        ] {
            let error = asked(notify, bytes.clone()).unwrap_err();
            assert_eq!((error.kind(), error.status()), (kind, Some(200)), "{notify} {bytes}: {error:?}");
            assert_eq!(error.is_transient(), kind == ErrorKind::Disconnected);
        }
        for whole in [length.replace(half, RECORD), to_the_end.replace(half, RECORD)] {
            assert_eq!(asked(notify, whole).unwrap().name(), Some("ops-agent"));
        }
    }
}

/// An upload that breaks on an answer that came early, behind TLS.
#[cfg(target_os = "linux")] // Elsewhere a reset may throw away what came before it.
#[test]
fn an_early_answer_is_seen_through_tls() {
    let (authority, seen) = (Authority::new(), Seen::default());
    let config: Arc<ServerConfig> = authority.certify();
    let server = Server::raw(move |_, stream| {
        let mut tls = tls_server::Tls::new(config.clone(), stream, &seen);
        let _ = tls.read(&mut [0; 64]);
        tls.write(&answer(413, "too large"));
    });
    let client = trusting(&authority, &server).build().unwrap();
    for _ in 0..8 {
        let error = client.send(PEER, "x".repeat(1_000_000)).unwrap_err();
        let said = (error.kind(), error.status(), error.attempts(), error.delivery());
        assert_eq!(said, (ErrorKind::Status, Some(413), 1, Delivery::NotSent), "{error:?}");
    }
}

/// Not a test of its own: what [`in_an_environment`] runs.
#[test]
fn child() {
    if let Ok(url) = env::var("A2A_TEST_URL") {
        let builder = base(url);
        let builder = match env::var("A2A_TEST_ROOTS") {
            Ok(pem) => builder.root_certificates(pem),
            Err(_) => builder,
        };
        println!("said: {:?}", builder.build().unwrap().discover(PEER).map(|peer| peer.name().map(str::to_owned)));
    }
}

fn in_an_environment(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    let output = child.args(["--exact", "tls::child", "--nocapture"]).envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The environment's proxies are dead ones, in every spelling: whoever used one would reach nobody.
#[test]
fn the_environments_proxy_is_not_used_for_https_either() {
    let authority = Authority::new();
    let (server, _) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let (url, pem) = (https(&server), authority.pem());
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"];
    let mut variables: Vec<_> = names.map(|name| (name, "http://127.0.0.1:9")).to_vec();
    variables.extend([("A2A_TEST_URL", url.as_str()), ("A2A_TEST_ROOTS", &pem)]);
    let said = in_an_environment(&variables);
    assert!(said.contains(r#"said: Ok(Some("ops-agent"))"#), "{said}");
}

/// The system's trust store counts where the build says so, and only there.
#[cfg(target_os = "linux")] // Elsewhere it is not named by an environment variable.
#[test]
fn the_systems_trust_store_is_asked_by_the_builds_that_say_so() {
    let authority = Authority::new();
    let (server, seen) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let (dir, url) = (Dir::new("trust"), https(&server));
    let store = dir.file("ca.pem");
    std::fs::write(&store, authority.pem()).unwrap();
    let said = in_an_environment(&[("A2A_TEST_URL", url.as_str()), ("SSL_CERT_FILE", store.to_str().unwrap())]);
    if cfg!(all(feature = "rustls", not(feature = "platform-verifier"))) {
        assert!(said.contains("said: Err(") && seen.text().is_empty(), "{said}");
    } else {
        assert!(said.contains(r#"said: Ok(Some("ops-agent"))"#), "{said}");
    }
}
