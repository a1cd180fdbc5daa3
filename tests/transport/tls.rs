//! TLS: which servers a client trusts, the errors for others, and that no token is sent before the certificate is
//! checked.
//!
//! The server records all that it decrypts.

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

/// Returns a client of the server that trusts only this authority.
fn trusting(authority: &Authority, server: &Server) -> ClientBuilder {
    base(https(server)).root_certificates(authority.pem())
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends with a short policy, checks that its bounds held, and returns the error.
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
fn platform_of_a_given_authority_is_trusted() {
    let authority = Authority::new();
    let (server, seen) = answering(authority.certify(), true, |request| match request.method.as_str() {
        "GET" => answer(200, RECORD),
        _ => answer(200, r#"{"result":{"parts":[{"kind":"text","text":"hello"}]}}"#),
    });
    let client = trusting(&authority, &server).org_id("org-7").build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    assert_eq!(client.send(PEER, "x".repeat(500_000)).unwrap().text(), "hello");
    let text = seen.text();
    assert_eq!(text.matches(&format!("authorization: Bearer {TOKEN}\r\n")).count(), 2, "{text:.400}");
    let origin = format!("origin: {}\r\n", https(&server));
    assert_eq!(text.to_lowercase().matches(&origin).count(), 2, "for an organisation the origin is sent over https");
    assert!(!text.to_lowercase().contains("\nreferer:"), "{text:.400}");
    let client = trusting(&authority, &server).build().unwrap();
    assert_eq!(client.lookup(PEER).source, LookupSource::Fetched);
    assert_eq!(seen.text().to_lowercase().matches("origin: ").count(), 2, "and not without one");
}

#[test]
fn untrusted_platform_gets_no_token_and_no_retry_and_the_error_says_why() {
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
        let output = (error.kind(), error.is_transient(), error.attempts(), error.delivery());
        assert_eq!(output, (ErrorKind::Tls, false, 1, Delivery::NotSent), "{why}: {error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("POST {}/", https(&server))) && text.contains(why), "{why}: {text}");
        assert_eq!(server.connections(), 1, "{why}");
        assert_eq!(client.lookup(PEER).source, LookupSource::Failed, "{why}");
        assert_eq!(client.discover(PEER).unwrap_err().kind(), ErrorKind::Tls, "{why}");
        assert_eq!(seen.text(), "", "{why}");
    }
}

/// `openssl req -x509` makes such a certificate by default. OpenSSL accepts it for a host and rustls does not, however
/// much it is trusted.
#[cfg(feature = "rustls")]
#[test]
fn authoritys_own_certificate_is_refused_for_a_host() {
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
fn given_authorities_replace_the_default_ones() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, seen) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let kind = |builder: ClientBuilder| builder.build().unwrap().discover(PEER).map_err(|error| error.kind());
    assert_eq!(kind(base(https(&server))), Err(ErrorKind::Tls), "not trusted by default");
    assert_eq!(kind(base(https(&server)).root_certificates(other.pem())), Err(ErrorKind::Tls));
    assert_eq!(seen.text(), "");
    let both = format!("# ours\n{}\n# and theirs\r\n{}", other.pem(), authority.pem());
    assert!(kind(base(https(&server)).root_certificates(both)).is_ok());
}

#[test]
fn invalid_certificates_are_refused_at_build() {
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
        let output = format!("root_certificates: {why}");
        assert!(error.to_string().starts_with(&output), "{output}: {error}");
        assert!(!format!("{error:?}").contains(body));
    }
}

/// A handshake that fails on the transport may succeed another time.
#[test]
fn broken_handshake_is_retried_within_its_timeout() {
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
fn plain_http_and_tls_mixed_up_are_reported_as_such() {
    let plain = Server::raw(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let error = send(&trusting(&Authority::new(), &plain).build().unwrap());
    let output = (error.kind(), error.is_transient(), error.attempts(), error.delivery());
    assert_eq!(output, (ErrorKind::Tls, false, 1, Delivery::NotSent), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS: is its URL http://?"), "{error}");
    assert_eq!(plain.connections(), 1);

    let (server, seen) = answering(Authority::new().certify(), true, |_| answer(200, RECORD));
    let error = send(&base(server.url()).build().unwrap());
    assert_eq!((error.kind(), error.is_transient(), error.attempts()), (ErrorKind::Protocol, false, 1), "{error:?}");
    assert!(error.to_string().contains("is its URL https://?"), "{error}");
    assert_eq!((server.connections(), seen.text().as_str()), (1, ""));
}

/// A connection that ends without TLS's closing alert may have been cut by an attacker. The JSON text itself shows
/// whether it is complete.
#[test]
fn truncated_body_is_never_taken_for_a_complete_one() {
    let half = &RECORD[..RECORD.len() / 2];
    let length = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{half}", RECORD.len());
    let chunked = format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n", half.len());
    let to_the_end = format!("HTTP/1.1 200 X\r\n\r\n{half}");
    let authority = Authority::new();
    let config = authority.certify();
    let discover_from = |notify, bytes: String| {
        let (server, _) = answering(config.clone(), notify, move |_| bytes.clone().into_bytes());
        trusting(&authority, &server).build().unwrap().discover(PEER)
    };
    for notify in [false, true] {
        for (bytes, kind) in [
            (&length, ErrorKind::Disconnected),
            (&chunked, ErrorKind::Disconnected),
            (&to_the_end, ErrorKind::Malformed),
        ] {
            let error = discover_from(notify, bytes.clone()).unwrap_err();
            assert_eq!((error.kind(), error.status()), (kind, Some(200)), "{notify} {bytes}: {error:?}");
            assert_eq!(error.is_transient(), kind == ErrorKind::Disconnected);
        }
        for whole in [length.replace(half, RECORD), to_the_end.replace(half, RECORD)] {
            assert_eq!(discover_from(notify, whole).unwrap().name(), Some("ops-agent"));
        }
    }
}

/// An upload that breaks because of an early answer, over TLS.
#[cfg(target_os = "linux")] // Elsewhere a reset may discard the data before it.
#[test]
fn early_answer_is_read_over_tls() {
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
        let output = (error.kind(), error.status(), error.attempts(), error.delivery());
        assert_eq!(output, (ErrorKind::Status, Some(413), 1, Delivery::NotSent), "{error:?}");
    }
}

/// Runs in a child process: see [`output_in_environment`].
#[test]
fn child() {
    if let Ok(url) = env::var("A2A_TEST_URL") {
        let builder = base(url);
        let builder = match env::var("A2A_TEST_ROOTS") {
            Ok(pem) => builder.root_certificates(pem),
            Err(_) => builder,
        };
        println!("outcome: {:?}", builder.build().unwrap().discover(PEER).map(|peer| peer.name().map(str::to_owned)));
    }
}

fn output_in_environment(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    let output = child.args(["--exact", "tls::child", "--nocapture"]).envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The proxy variables, in every spelling, name a port where nothing listens. A client that used one would fail.
#[test]
fn proxy_of_the_environment_is_not_used_for_https() {
    let authority = Authority::new();
    let (server, _) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let (url, pem) = (https(&server), authority.pem());
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"];
    let mut variables: Vec<_> = names.map(|name| (name, "http://127.0.0.1:9")).to_vec();
    variables.extend([("A2A_TEST_URL", url.as_str()), ("A2A_TEST_ROOTS", &pem)]);
    let output = output_in_environment(&variables);
    assert!(output.contains(r#"outcome: Ok(Some("ops-agent"))"#), "{output}");
}

/// Only builds with that feature use the system's trust store.
#[cfg(target_os = "linux")] // Elsewhere no environment variable names the store.
#[test]
fn trust_store_of_the_system_is_used_by_the_builds_that_ask_for_it() {
    let authority = Authority::new();
    let (server, seen) = answering(authority.certify(), true, |_| answer(200, RECORD));
    let (dir, url) = (Dir::new("trust"), https(&server));
    let store = dir.file("ca.pem");
    std::fs::write(&store, authority.pem()).unwrap();
    let output = output_in_environment(&[("A2A_TEST_URL", url.as_str()), ("SSL_CERT_FILE", store.to_str().unwrap())]);
    if cfg!(all(feature = "rustls", not(feature = "platform-verifier"))) {
        assert!(output.contains("outcome: Err(") && seen.text().is_empty(), "{output}");
    } else {
        assert!(output.contains(r#"outcome: Ok(Some("ops-agent"))"#), "{output}");
    }
}
