//! The settings of a client are checked when it is built, with errors that name them.

use std::env;
use std::process::Command;
use std::time::Duration;

use a2a_blocking::{Client, ClientBuilder, ErrorKind, InboxPoller};

use crate::support::{Dir, PEER, RECORD, Reaction, Server, WORKSPACE, builder};

fn refused(builder: ClientBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert_eq!((error.kind(), error.is_transient(), error.status()), (ErrorKind::Config, false, None));
    error.to_string()
}

#[test]
fn workspace_id_is_required_and_validated() {
    assert_eq!(
        refused(Client::builder()),
        "WORKSPACE_ID: not set; set it in the environment or by ClientBuilder::workspace_id"
    );
    for (id, why) in [
        ("", "workspace_id: 0 characters long; use 1 to 128 of A-Z a-z 0-9 -"),
        ("a/b", r#"workspace_id: "a/b" has '/'; use A-Z a-z 0-9 - only"#),
        ("a\r\nX-Evil: 1", r#"workspace_id: "a\r\nX-Evil: 1" has '\r'; use A-Z a-z 0-9 - only"#),
        ("ü", r#"workspace_id: "ü" has 'ü'; use A-Z a-z 0-9 - only"#),
    ] {
        assert_eq!(refused(Client::builder().workspace_id(id)), why);
    }
    assert!(refused(Client::builder().workspace_id("a".repeat(129))).contains("129 characters"));
    for good in ["a", "Team-7", WORKSPACE, &"a".repeat(128), " padded\n"] {
        Client::builder().workspace_id(good).build().unwrap();
    }
}

#[test]
fn invalid_settings_are_refused_by_name() {
    let base = || Client::builder().workspace_id("w");
    assert!(refused(base().ttl(Duration::ZERO)).starts_with("ttl: "));
    assert!(refused(base().lookup_timeout(Duration::ZERO)).starts_with("lookup_timeout: 0ns"));
    assert!(refused(base().lookup_timeout(Duration::MAX)).starts_with("lookup_timeout: "));
    assert!(refused(base().capacity(0)).starts_with("capacity: "));
    for bytes in [4_095, (16 << 20) + 1] {
        assert_eq!(refused(base().max_request(bytes)), format!("max_request: {bytes} bytes; use 4096 to 16777216"));
    }
    for bytes in [65_535, (64 << 20) + 1] {
        assert_eq!(refused(base().max_answer(bytes)), format!("max_answer: {bytes} bytes; use 65536 to 67108864"));
    }
    for spread in [-0.1, 0.6, f64::NAN] {
        assert!(refused(base().ttl_spread(spread)).starts_with("ttl_spread: "));
    }
    assert!(refused(base().circuit_threshold(0)).starts_with("circuit_threshold: "));
    let second = Duration::from_secs(1);
    assert!(refused(base().circuit_backoff(Duration::ZERO, second)).starts_with("circuit_backoff: 0ns and 1s"));
    assert!(refused(base().circuit_backoff(second * 2, second)).starts_with("circuit_backoff: 2s and 1s"));
    assert!(refused(base().background_threads(65)).starts_with("background_threads: 65"));
    assert!(refused(base().queue(0)).starts_with("queue: "));
    assert!(refused(base().org_id("a\nb")).starts_with(r#"org_id: "a\nb" has '\n'"#));
    assert!(refused(base().origin(Some("https://h/path"))).contains("has a path"));
    assert!(refused(base().origin(Some("h"))).contains("has no scheme"));
    assert!(refused(base().platform_url("http://h:99999")).starts_with("platform_url: "));
    base().ttl(Duration::MAX).negative_ttl(Duration::MAX).build().unwrap();
}

#[test]
fn platform_url_may_have_a_path_and_a_trailing_slash() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    for (suffix, prefix) in [("", ""), ("/", ""), ("/api/v1/", "/api/v1")] {
        let url = format!("{}{suffix}", server.url());
        let client = Client::builder().platform_url(&url).workspace_id(WORKSPACE).build().unwrap();
        client.discover(PEER).unwrap();
        assert_eq!(server.requests().last().unwrap().path, format!("{prefix}/registry/discover/{PEER}"));
        let card = format!("{}{prefix}/registry/discover/{PEER}", server.url());
        assert_eq!(client.discover_url(PEER.to_uppercase()).unwrap(), card);
    }
}

#[test]
fn origin_and_organisation_are_sent_as_set() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let sent = |builder: ClientBuilder| {
        builder.build().unwrap().discover(PEER).unwrap();
        let request = server.requests().pop().unwrap();
        let header = |name| request.header(name).map(str::to_owned);
        (header("origin"), header("x-molecule-org-id"))
    };
    assert_eq!(sent(builder(&server)), (None, None));
    let set = builder(&server).origin(Some("https://app.example")).org_id("org-7");
    assert_eq!(sent(set.clone()), (Some("https://app.example".into()), Some("org-7".into())));
    assert_eq!(sent(set.origin(None)), (None, Some("org-7".into())));
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
#[test]
fn https_without_a_tls_feature_is_refused_and_the_error_says_what_to_do() {
    let text = refused(Client::builder().workspace_id("w").platform_url("https://h"));
    assert!(text.contains("turn on its feature rustls or native-tls"), "{text}");
}

/// Runs in a child process with another environment: see [`from_env`].
#[test]
fn child() {
    if env::var_os("A2A_TEST_CHILD").is_some() {
        let builder = ClientBuilder::from_env();
        println!("builder: {builder:?}");
        match builder.build() {
            Ok(client) => {
                println!("poller: {:?}", InboxPoller::builder(client.clone()).build().map(drop));
                println!("client: {client:?} {:?}", client.discover(PEER).map(|peer| peer.name().map(str::to_owned)))
            }
            Err(error) => println!("error: {error}"),
        }
    }
}

const OUR_VARIABLES: [&str; 8] = [
    "PLATFORM_URL",
    "WORKSPACE_ID",
    "MOLECULE_ORG_ID",
    "MOLECULE_WORKSPACE_TOKEN",
    "MOLECULE_WORKSPACE_TOKEN_FILE",
    "CONFIGS_DIR",
    "HOME",
    "DOCKER_VERSION",
];

/// Returns the output of a client that is built in an environment with these variables. Our other variables are unset.
fn from_env(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "settings::child", "--nocapture"]).env("A2A_TEST_CHILD", "1");
    for name in OUR_VARIABLES {
        child.env_remove(name);
    }
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn client_is_built_from_the_environment() {
    let configs = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("configs-{}", std::process::id()));
    std::fs::create_dir_all(&configs).unwrap();
    std::fs::write(configs.join(".auth_token"), "from-the-file\n").unwrap();
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let output = from_env(&[
        ("PLATFORM_URL", &format!(" {}/ ", server.url())),
        ("WORKSPACE_ID", WORKSPACE),
        ("MOLECULE_ORG_ID", "org-7"),
        ("CONFIGS_DIR", configs.to_str().unwrap()),
    ]);
    assert!(output.contains(r#"Ok(Some("ops-agent"))"#), "{output}");
    let request = server.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer from-the-file"));
    assert_eq!(request.header("x-molecule-org-id"), Some("org-7"));
    assert_eq!(request.header("x-workspace-id"), Some(WORKSPACE));
}

#[test]
fn errors_in_the_environment_name_the_variable() {
    let here = ("WORKSPACE_ID", WORKSPACE);
    let none = ("CONFIGS_DIR", "/nonexistent");
    for (variables, error) in [
        (vec![none], "error: WORKSPACE_ID: not set"),
        (vec![none, ("WORKSPACE_ID", " ")], "error: WORKSPACE_ID: not set"),
        (vec![none, ("WORKSPACE_ID", "a b")], r#"error: WORKSPACE_ID: "a b" has ' '"#),
        (vec![none, here, ("PLATFORM_URL", "localhost:8080")], "error: PLATFORM_URL: \"localhost:8080\" has no scheme"),
        (vec![none, here, ("PLATFORM_URL", "http://u:hush@h")], "error: PLATFORM_URL: it names a user"),
        (vec![none, here, ("MOLECULE_ORG_ID", "a b")], "error: MOLECULE_ORG_ID: \"a b\" has ' '"),
        (vec![here, ("CONFIGS_DIR", "/dev/null")], "error: the token file /dev/null/.auth_token cannot be read: "),
    ] {
        let output = from_env(&variables);
        assert!(output.contains(error), "{error}\n{output}");
    }
}

#[test]
fn platform_url_defaults_to_the_local_host_or_the_host_of_the_container() {
    let base = [("WORKSPACE_ID", WORKSPACE), ("CONFIGS_DIR", " ")];
    let in_docker = [base[0], base[1], ("DOCKER_VERSION", "28")];
    assert!(from_env(&in_docker).contains("http://host.docker.internal:8080"));
    let host = if std::path::Path::new("/.dockerenv").exists() { "host.docker.internal" } else { "localhost" };
    let blank = [base[0], base[1], ("PLATFORM_URL", "")];
    for variables in [&base[..], &blank[..]] {
        let output = from_env(variables);
        assert!(output.contains(&format!("http://{host}:8080")), "{output}");
    }
    assert!(from_env(&base).contains(r#"folders: ["/configs"]"#), "without a home");
}

/// Each source is taken away after the other, and the next one counts.
#[test]
fn token_comes_from_the_first_source_that_has_one() {
    let dir = Dir::new("token-order");
    let file = |name: &str, token: &str| {
        let path = dir.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, token).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let named = file("mount/token", "-of-the-named-file");
    file("configs/.auth_token", "of-configs");
    file("home/.molecule-workspace/.auth_token", "of-the-home");
    let (configs, home) = (dir.file("configs"), dir.file("home"));
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let url = server.url();
    let mut variables = vec![
        ("MOLECULE_WORKSPACE_TOKEN", "-of-the-variable"),
        ("MOLECULE_WORKSPACE_TOKEN_FILE", &named),
        ("CONFIGS_DIR", configs.to_str().unwrap()),
        ("HOME", home.to_str().unwrap()),
    ];
    let sent = |variables: &[(&str, &str)]| {
        let base = [("PLATFORM_URL", url.as_str()), ("WORKSPACE_ID", WORKSPACE)];
        let output = from_env(&[&base[..], variables].concat());
        assert!(output.contains("Ok(Some") && !output.contains("-of-the-variable"), "{output}");
        let token = server.requests().pop().unwrap().header("authorization").map(str::to_owned).unwrap();
        token.strip_prefix("Bearer ").unwrap().to_owned()
    };
    // Tokens may begin with a dash.
    assert_eq!(sent(&variables), "-of-the-variable");
    variables[0].1 = " ";
    assert_eq!(sent(&variables), "-of-the-named-file");
    variables[1].1 = "";
    assert_eq!(sent(&variables), "of-configs");
    std::fs::write(configs.join(".auth_token"), "\n").unwrap();
    assert_eq!(sent(&variables), "of-the-home", "a blank file has none");
    std::fs::remove_file(configs.join(".auth_token")).unwrap();
    assert_eq!(sent(&variables), "of-the-home");
}

#[test]
fn cursor_is_in_the_configs_or_else_in_the_home_and_never_beside_a_token_file_of_a_variable() {
    let dir = Dir::new("cursor-place");
    let (mount, configs, home) = (dir.file("mount"), dir.file("configs"), dir.file("home"));
    for made in [&mount, &configs, &home] {
        std::fs::create_dir_all(made).unwrap();
    }
    let token = mount.join("token");
    std::fs::write(&token, "tok").unwrap();
    let base = [
        ("PLATFORM_URL", "http://127.0.0.1:1"),
        ("WORKSPACE_ID", WORKSPACE),
        ("MOLECULE_WORKSPACE_TOKEN_FILE", token.to_str().unwrap()),
        ("HOME", home.to_str().unwrap()),
    ];
    // The poller locks its cursor by a file beside it.
    let lock = format!("inbox-cursor-{WORKSPACE}.json.lock");
    let output = from_env(&[&base[..], &[("CONFIGS_DIR", configs.to_str().unwrap())]].concat());
    assert!(output.contains("poller: Ok(())") && configs.join(&lock).exists(), "{output}");
    assert!(!home.join(".molecule-workspace").exists());
    if !std::path::Path::new("/configs").exists() {
        let output = from_env(&base);
        let ours = home.join(".molecule-workspace");
        assert!(output.contains("poller: Ok(())") && ours.join(&lock).exists(), "{output}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
    assert_eq!(std::fs::read_dir(&mount).unwrap().count(), 1, "only the token");
}

#[test]
fn wrong_token_of_a_variable_names_the_variable_and_is_not_shown() {
    let base = [("WORKSPACE_ID", WORKSPACE), ("CONFIGS_DIR", "/nonexistent")];
    for (token, why) in [("Bearer hush", "begins with `Bearer`"), ("hu sh", "has white space in it")] {
        let output = from_env(&[&base[..], &[("MOLECULE_WORKSPACE_TOKEN", token)]].concat());
        assert!(output.contains(&format!("error: the token from MOLECULE_WORKSPACE_TOKEN {why}")), "{output}");
        assert!(!output.contains(token), "{output}");
    }
}

/// The proxy variables name a port where nothing listens, so a client that used them would fail.
#[test]
fn proxy_of_the_environment_is_not_used() {
    let server = Server::play([Reaction::reply(200, RECORD)]);
    let dead = "http://127.0.0.1:9";
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"].map(|name| (name, dead));
    let url = server.url();
    let ours = [("PLATFORM_URL", url.as_str()), ("WORKSPACE_ID", WORKSPACE), ("CONFIGS_DIR", "/nonexistent")];
    let output = from_env(&[&proxies[..], &ours[..]].concat());
    assert!(output.contains(r#"Ok(Some("ops-agent"))"#), "{output}");
}

#[cfg(unix)]
#[test]
fn variable_that_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "settings::child", "--nocapture"]).env("A2A_TEST_CHILD", "1");
    child.env("WORKSPACE_ID", std::ffi::OsStr::from_bytes(b"\xff")).env("CONFIGS_DIR", "/nonexistent");
    let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
    assert!(output.contains("error: WORKSPACE_ID: it is not UTF-8"), "{output}");
}
