use super::*;

/// The README's table of settings, whose defaults are these.
#[test]
fn the_readme_tells_the_defaults() {
    let settings = ClientBuilder::default().workspace_id("w").check().unwrap().settings;
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
    ];
    for row in rows {
        assert!(include_str!("../guide/settings.md").contains(&row), "the guide does not say: {row}");
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn over_https_the_origin_is_the_platforms_own_unless_set() {
    let builder = || ClientBuilder::default().workspace_id("w").platform_url("https://Plat.Example/api");
    let origin = |builder: ClientBuilder| builder.check().unwrap().settings.origin;
    assert_eq!(origin(builder()).as_deref(), Some("https://plat.example"));
    assert_eq!(origin(builder().origin(None)), None);
    assert_eq!(origin(builder().origin(Some("HTTPS://App.Example:8443"))).as_deref(), Some("https://app.example:8443"));
}
