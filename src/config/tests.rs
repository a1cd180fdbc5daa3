use super::*;
use crate::client::ClientBuilder;

/// The README's table of settings has the same defaults.
#[test]
fn readme_lists_the_defaults() {
    let settings = UncheckedSettings::for_workspace("w").check().unwrap().settings;
    let (first, longest) = settings.circuit_backoff;
    let secs = |time: Duration| match time.as_secs() {
        3_600 => "3,600 s".to_owned(),
        secs => format!("{secs} s"),
    };
    let thousands = |n: usize| format!("{},{:03}", n / 1_000, n % 1_000);
    assert_eq!(settings.ttl, settings.negative_ttl);
    let spread = settings.ttl_spread * 100.0;
    let rows = [
        format!("| `ttl`, `negative_ttl` | {}, the TTL |", secs(settings.ttl)),
        format!("| `error_ttl` | {}; at most `negative_ttl` |", secs(settings.error_ttl)),
        format!("| `stale_if_error`, `ttl_spread` | {}, {spread} % |", secs(settings.stale_if_error)),
        format!("| `lookup_timeout` | {} |", secs(settings.lookup_timeout)),
        format!(
            "| `circuit_threshold`, `circuit_backoff` | {} lookups; {}, doubling to {} |",
            settings.circuit_threshold,
            secs(first),
            secs(longest)
        ),
        format!(
            "| `background_threads`, `queue` | {} threads, {} peers |",
            settings.background_threads,
            thousands(settings.queue)
        ),
        format!("| `capacity` | {} peers |", thousands(settings.capacity)),
        format!(
            "| `max_request`, `max_answer` | {} MiB, {} MB |",
            settings.max_request >> 20,
            settings.max_answer / 1_000_000
        ),
    ];
    for row in rows {
        assert!(include_str!("../guide/settings.md").contains(&row), "the guide does not have: {row}");
    }
}

#[test]
fn error_ttl_is_at_most_the_negative_ttl() {
    let error_ttl = |ttl: u64, negative_ttl: Option<u64>, error_ttl: Option<u64>| {
        let unchecked = UncheckedSettings {
            ttl: Some(Duration::from_secs(ttl)),
            negative_ttl: negative_ttl.map(Duration::from_secs),
            error_ttl: error_ttl.map(Duration::from_secs),
            ..UncheckedSettings::for_workspace("w")
        };
        unchecked.check().unwrap().settings.error_ttl.as_secs()
    };
    assert_eq!(error_ttl(300, None, None), 15);
    assert_eq!([error_ttl(9, None, None), error_ttl(300, Some(7), None), error_ttl(300, Some(0), None)], [9, 7, 0]);
    assert_eq!([error_ttl(300, None, Some(60)), error_ttl(300, Some(50), Some(60))], [60, 50]);
    assert_eq!(error_ttl(300, None, Some(0)), 0);
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn origin_is_the_platforms_own_over_https_for_an_organisation_unless_set() {
    let origin = |scheme: &str, organisation: Option<&str>, setting: OriginSetting| {
        let platform_url = Some(NamedText::new("platform_url", format!("{scheme}://Plat.Example/api")));
        let org_id = organisation.map(|id| NamedText::new("org_id", id));
        let defaults = UncheckedSettings::for_workspace("w");
        let unchecked = UncheckedSettings { platform_url, org_id, origin: setting, ..defaults };
        unchecked.check().unwrap().settings.origin
    };
    assert_eq!(origin("https", Some("org-7"), OriginSetting::Hosted).as_deref(), Some("https://plat.example"));
    assert_eq!(origin("https", None, OriginSetting::Hosted), None);
    assert_eq!(origin("http", Some("org-7"), OriginSetting::Hosted), None);
    assert_eq!(origin("https", Some("org-7"), OriginSetting::Omitted), None);
    let given = OriginSetting::Given("HTTPS://App.Example:8443".to_owned());
    assert_eq!(origin("http", None, given).as_deref(), Some("https://app.example:8443"));
}

#[test]
fn debug_hides_the_text() {
    assert_eq!(format!("{:?}", HiddenText("hush".to_owned())), "4 bytes");
}

/// An error about the token file's directory names the setting that the user made.
#[test]
fn token_file_has_the_name_of_its_setting() {
    let of_env = ClientBuilder::from_env().workspace_id("w").platform_url("http://h");
    let setting = |builder: ClientBuilder| {
        let client = builder.token("t").build().unwrap();
        client.settings().cursor_dir_source.unwrap().setting()
    };
    assert_eq!(setting(of_env.clone()), "CONFIGS_DIR");
    assert_eq!(setting(of_env.token_file("nodir/x")), "token_file");
}
