//! Tests of `--proxy` and `A2A_PEER_PROXY`: every request uses the proxy, and no password is shown.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failures::refused_port;
use crate::schema::documents;
use crate::support::{Act, PEER, RECORD, Server, WORKSPACE};
use crate::tunnel::Proxy;
use crate::{CliOutput, command_line, decode, run};

fn platform() -> Server {
    Server::decide(|_, request| match request.method.as_str() {
        "GET" if request.path.ends_with("/peers") => Act::reply(200, format!("[{RECORD}]")),
        "GET" if request.path.contains("/activity?") => Act::reply(200, "[]"),
        "GET" => Act::reply(200, RECORD),
        _ => Act::reply(200, r#"{"result":{"parts":[{"text":"hello"}]}}"#),
    })
}

fn run_with(variables: &[(&str, &str)], args: &[&str]) -> CliOutput {
    decode(command_line(args).envs(variables.iter().copied()).output().unwrap())
}

/// Runs `doctor`. Returns the exit status, and the JSON document of each step by its name.
fn run_doctor(variables: &[(&str, &str)], url: &str, rest: &[&str]) -> (i32, BTreeMap<String, Value>) {
    let args = ["--platform", url, "--workspace", WORKSPACE, "--json", "doctor"];
    let CliOutput { code, out, err } = run_with(variables, &[&args[..], rest].concat());
    assert!(!out.contains("hush") && !err.contains("hush"), "{out} {err}");
    let steps = documents("doctor", &out);
    (code.unwrap(), steps.into_iter().map(|step| (step["step"].as_str().unwrap().to_owned(), step)).collect())
}

#[test]
fn every_command_uses_the_proxy_and_hides_its_password() {
    let (server, proxy) = (platform(), Proxy::working());
    let (url, secret) = (server.url(), proxy.url("me:hush-hush@"));
    for command in
        [&["enrich", PEER][..], &["discover", PEER], &["peers"], &["info"], &["send", PEER, "hi"], &["doctor"]]
    {
        let before = proxy.heads().len();
        let args = [&["--platform", &url, "--workspace", WORKSPACE, "-v"][..], command].concat();
        let CliOutput { code, out, err } = run_with(&[("A2A_PEER_PROXY", &secret), ("RUST_LOG", "trace")], &args);
        assert_eq!(code, Some(0), "{out} {err}");
        // The second is the Base64 of the header `Proxy-Authorization`.
        for shown in ["hush", "bWU6aHVzaC1odXNo"] {
            assert!(!out.contains(shown) && !err.contains(shown), "{command:?}: {out} {err}");
        }
        assert!(proxy.heads().len() > before, "{command:?}");
    }
    let heads = proxy.heads();
    // The TCP step of `doctor` connects and sends nothing.
    let requests: Vec<&String> = heads.iter().filter(|head| !head.is_empty()).collect();
    assert!(
        requests.iter().all(|head| head.contains("\r\nProxy-Authorization: Basic bWU6aHVzaC1odXNo\r\n")),
        "{heads:?}"
    );
    assert_eq!(
        (requests.len(), heads.len()),
        (server.connections(), requests.len() + 1),
        "no request bypasses the proxy"
    );
}

#[test]
fn option_overrides_the_variable_and_refuses_a_password() {
    let (server, proxy, (_socket, refused)) = (platform(), Proxy::working(), refused_port());
    let args = ["--platform", &server.url(), "--workspace", WORKSPACE, "--proxy", &proxy.url(""), "info"];
    assert_eq!(run_with(&[("A2A_PEER_PROXY", &refused)], &args).code, Some(0));
    assert_eq!(proxy.heads().len(), 1);
    // A blank variable counts as unset.
    assert_eq!(
        run_with(&[("A2A_PEER_PROXY", " ")], &["--platform", &server.url(), "--workspace", "w", "info"]).code,
        Some(0)
    );

    for user in ["me:hush@", "me@", "me:hush%40"] {
        for command in [&["info"][..], &["doctor"], &["--json", "poll"]] {
            let (url, platform) = (proxy.url(user), server.url());
            let args = [&["--platform", &platform, "--workspace", WORKSPACE, "--proxy", &url][..], command].concat();
            let CliOutput { code, out, err } = run(&args);
            let all = out + &err;
            assert_eq!(code, Some(2), "{all}");
            assert!(
                all.contains("--proxy: the address names a user or a password") && all.contains("A2A_PEER_PROXY"),
                "{all}"
            );
            assert!(!all.contains("hush") && !all.contains("me@") && !all.contains("me:"), "{all}");
        }
    }
    assert_eq!(proxy.heads().len(), 1, "nothing was sent");
}

#[test]
fn invalid_address_is_refused_with_the_name_of_its_source() {
    let refused = |variables: &[(&str, &str)], options: &[&str]| {
        let args = [&["--platform", "http://h", "--workspace", "w"][..], options, &["info"]].concat();
        let CliOutput { code, out, err } = run_with(variables, &args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        err
    };
    let err = refused(&[], &["--proxy", "socks5://proxy:1080"]);
    assert!(
        err.contains("--proxy: ") && err.contains("has the scheme socks5; ") && err.contains("http or https"),
        "{err}"
    );
    for wrong in [
        "me:hush@proxy:3128",
        "socks5://me:hush@proxy:1080",
        "http://me:hush@proxy:99999",
        "http://me:hush%40proxy:3128",
        "http://me:hush",
        "http://me:hush@proxy/path",
        "http://me:hu sh@proxy",
        "http://proxy/hush",
    ] {
        let err = refused(&[("A2A_PEER_PROXY", wrong)], &[]);
        assert!(err.starts_with("a2a-peer: A2A_PEER_PROXY: "), "{wrong}: {err}");
        assert!(!err.contains("hush") && !err.contains("hu sh"), "{wrong}: {err}");
    }
}

#[test]
fn doctor_checks_the_host_and_port_of_the_proxy() {
    let (server, proxy) = (platform(), Proxy::working());
    let (url, shown) = (proxy.url("me:hush@"), proxy.url(""));
    let address = shown.replace("http://", "");
    let (code, steps) = run_doctor(&[("A2A_PEER_PROXY", &url)], &server.url(), &[]);
    assert_eq!(code, 0);
    for (step, words) in [
        ("settings", format!(", the proxy is {shown} (from A2A_PEER_PROXY)")),
        ("dns", "the proxy 127.0.0.1 is an address".to_owned()),
        ("tcp", format!("the proxy {address} accepts connections")),
        ("tls", "nothing is encrypted, and the proxy sees the token".to_owned()),
        ("http", "answered 200, through the proxy".to_owned()),
    ] {
        assert!(steps[step]["detail"].as_str().unwrap().contains(&words), "{}", steps[step]);
    }

    let (_socket, refused) = refused_port();
    let (code, steps) = run_doctor(&[], &server.url(), &["--proxy", &refused]);
    assert_eq!((code, &steps["tcp"]["error"]["kind"]), (5, &"connect".into()));
    assert!(steps["tcp"]["detail"].as_str().unwrap().starts_with("the proxy 127.0.0.1:"), "{steps:?}");
    assert!(
        steps["tcp"]["next"].as_str().unwrap().contains("check that the proxy is up, and its host and port"),
        "{steps:?}"
    );

    let (code, steps) = run_doctor(&[], &server.url(), &["--proxy", "http://nobody.invalid:3128"]);
    assert_eq!((code, &steps["dns"]["status"]), (5, &"failed".into()));
    assert!(steps["dns"]["next"].as_str().unwrap().contains("comes from --proxy"), "{steps:?}");

    let forbids = Proxy::new("407 Proxy Authentication Required");
    let (code, steps) = run_doctor(&[], &server.url(), &["--proxy", &forbids.url("")]);
    assert_eq!((code, &steps["tcp"]["status"], &steps["http"]["status"]), (5, &"ok".into(), &"failed".into()));
    assert!(steps["http"]["next"].as_str().unwrap().contains("check that the proxy allows this machine"), "{steps:?}");
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn certificate_is_checked_through_the_proxy() {
    use crate::support::Dir;
    use crate::tls::{Authority, answering, https};

    let (authority, proxy, dir) = (Authority::new(), Proxy::working(), Dir::new("cli-proxy-tls"));
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{RECORD}", RECORD.len());
    let (server, seen) = answering(authority.certify(), true, move |_| answer.clone().into_bytes());
    let ca = dir.file("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let options = ["--proxy", &proxy.url(""), "--ca-file", ca.to_str().unwrap()];
    let (_, steps) = run_doctor(&[], &https(&server), &options);
    assert_eq!(steps["tls"]["detail"], "the certificate is valid for localhost, through the proxy", "{steps:?}");
    assert_eq!(steps["http"]["status"], "ok");

    let before = seen.text().len();
    let (code, steps) = run_doctor(&[], &https(&server), &options[..2]);
    assert_eq!((code, &steps["tls"]["error"]["kind"]), (5, &"tls".into()), "{steps:?}");
    assert_eq!(seen.text().len(), before);
}

/// `curl` uses these variables, and would reach the platform.
#[test]
fn ignored_proxy_variable_is_mentioned_when_connecting_fails() {
    let (_socket, url) = refused_port();
    let args = ["--platform", &url, "--workspace", WORKSPACE, "--json", "info"];
    let next = |variables: &[(&str, &str)], args: &[&str]| {
        let CliOutput { code, out, err } = run_with(variables, args);
        assert!(code == Some(5) && !err.contains("hush") && !out.contains("hush"), "{out} {err}");
        documents("info", &out)[0]["error"]["next"].as_str().unwrap().to_owned()
    };
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let words = next(&[(name, "http://me:hush@corp:3128")], &args);
        assert!(
            words.contains(&format!(". {name} is set, but not used here: to use a proxy, give --proxy URL")),
            "{words}"
        );
    }
    let other = ("HTTPS_PROXY", "http://me:hush@corp:3128");
    for (variables, options) in [
        (&[][..], &[][..]),
        (&[("HTTPS_PROXY", " ")], &[]),
        (&[other, ("A2A_PEER_PROXY", &url)], &[]),
        (&[other], &["--proxy", &url]),
    ] {
        let words = next(variables, &[&args[..], options].concat());
        assert!(!words.contains("is set, but not used"), "{words}");
    }

    let (_, steps) = run_doctor(&[other], &url, &[]);
    assert!(steps["tcp"]["next"].as_str().unwrap().contains("HTTPS_PROXY is set"), "{steps:?}");
    let (_, steps) = run_doctor(&[other], "http://nobody.invalid", &[]);
    assert!(steps["dns"]["next"].as_str().unwrap().contains("HTTPS_PROXY is set"), "{steps:?}");
    let silent = Server::play([Act::Hang]);
    let (_, steps) = run_doctor(&[other], &silent.url(), &["--timeout", "1"]);
    assert!(steps["http"]["next"].as_str().unwrap().contains("HTTPS_PROXY is set"), "{steps:?}");
    let (_, steps) = run_doctor(&[other], &url, &["--proxy", &silent.url(), "--timeout", "1"]);
    let next = steps["http"]["next"].as_str().unwrap();
    assert!(next.contains("check that a proxy listens there") && !next.contains("HTTPS_PROXY"), "{steps:?}");
}
