use super::*;

#[test]
fn the_defaults_are_the_originals() {
    let settings = ClientBuilder::default().workspace_id("w").check().unwrap();
    let times = [settings.ttl, settings.negative_ttl, settings.lookup_timeout, settings.call_timeout];
    assert_eq!(times.map(|time| time.as_secs()), [300, 300, 2, 10]);
    assert_eq!((settings.capacity, settings.origin, settings.org_id), (10_000, None, None));
    assert_eq!((settings.stale_if_error.as_secs(), settings.ttl_spread), (3_600, 0.1));
    let (first, longest) = settings.circuit_waits;
    assert_eq!((settings.circuit_threshold, first.as_secs(), longest.as_secs()), (3, 1, 30));
    assert_eq!((settings.background_threads, settings.queue), (2, 1_024));
}

/// The README's table of settings, whose defaults are these.
#[test]
fn the_readme_tells_the_defaults() {
    let settings = ClientBuilder::default().workspace_id("w").check().unwrap();
    let (first, longest) = settings.circuit_waits;
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
            "| `circuit_threshold`, `circuit_waits` | {} lookups; {}, doubling to {} |",
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
        assert!(include_str!("../../README.md").contains(&row), "the README does not say: {row}");
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn over_https_the_origin_is_the_platforms_own_unless_set() {
    let builder = || ClientBuilder::default().workspace_id("w").platform_url("https://Plat.Example/api");
    let origin = |builder: ClientBuilder| builder.check().unwrap().origin;
    assert_eq!(origin(builder()).as_deref(), Some("https://plat.example"));
    assert_eq!(origin(builder().origin(None)), None);
    assert_eq!(origin(builder().origin(Some("HTTPS://App.Example:8443"))).as_deref(), Some("https://app.example:8443"));
}
