//! Metrics in the text format of Prometheus, version 0.0.4.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::fmt::Write;

/// The names of the crate's labels. A caller's label of the same name is renamed.
const RESERVED_LABELS: [&str; 3] = ["answer", "reason", "state"];

/// The labels of a client, and its metrics.
pub(super) type ClientMetrics<'a> = (&'a [(&'a str, &'a str)], Vec<Metric>);

/// Returns the page of several clients, each with its labels and the same metrics in the same order.
pub(super) fn page(clients: &[ClientMetrics<'_>]) -> String {
    let client_labels: Vec<String> = clients.iter().map(|(labels, _)| render_labels(labels)).collect();
    let mut page = String::new();
    for (n, metric) in clients.first().into_iter().flat_map(|(_, metrics)| metrics).enumerate() {
        let Metric { name, help, .. } = metric;
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        push(&mut page, format_args!("# HELP a2a_blocking_{name} {help}\n# TYPE a2a_blocking_{name} {kind}\n"));
        for (labels, (_, metrics)) in client_labels.iter().zip(clients) {
            for (label, value) in &metrics[n].series {
                let label = label.map(|(label, word)| format!("{label}=\"{word}\"")).unwrap_or_default();
                let comma = if labels.is_empty() || label.is_empty() { "" } else { "," };
                let all = format!("{labels}{comma}{label}");
                let all = if all.is_empty() { all } else { format!("{{{all}}}") };
                push(&mut page, format_args!("a2a_blocking_{name}{all} {value}\n"));
            }
        }
    }
    page
}

/// A metric with its series. They are distinguished by a label if there are several.
pub(super) struct Metric {
    name: &'static str,
    help: &'static str,
    /// The label with its value, if there are several series, and the number.
    series: Vec<(Option<(&'static str, &'static str)>, String)>,
}

impl Metric {
    /// Creates a metric with one series for each value of a label.
    pub(super) fn by_label(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        series: &[(&'static str, u64)],
    ) -> Self {
        let series = series.iter().map(|(word, value)| (Some((label, *word)), value.to_string())).collect();
        Metric { name, help, series }
    }

    /// Creates a metric with one series.
    pub(super) fn single(name: &'static str, help: &'static str, value: impl ToString) -> Self {
        Metric::optional(name, help, Some(value))
    }

    /// Creates a metric with one series, or with none where there is no value.
    pub(super) fn optional(name: &'static str, help: &'static str, value: Option<impl ToString>) -> Self {
        Metric { name, help, series: value.map(|value| (None, value.to_string())).into_iter().collect() }
    }
}

/// Returns a caller's labels as they stand between the braces.
///
/// Characters that a label's name cannot have become `_`, and a name that is taken gets a `_` at its end.
fn render_labels(labels: &[(&str, &str)]) -> String {
    let mut taken: Vec<String> = RESERVED_LABELS.map(str::to_owned).to_vec();
    let mut out = String::new();
    for (name, value) in labels {
        let mut name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            name.insert(0, '_');
        }
        while taken.contains(&name) {
            name.push('_');
        }
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let comma = if out.is_empty() { "" } else { "," };
        push(&mut out, format_args!("{comma}{name}=\"{value}\""));
        taken.push(name);
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, SystemTime};

    use regex::Regex;

    use crate::stats::{CircuitState, InboxStats, Stats};

    /// Checks a page against the grammar of the format, and returns its samples.
    fn samples(page: &str) -> Vec<(String, f64)> {
        let line = Regex::new(
            r#"\A([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\"n])*",?)+\})? ([0-9.e+-]+)\z"#,
        )
        .unwrap();
        let label = Regex::new(r#"([a-zA-Z0-9_]+)="(?:[^"\\]|\\[\\"n])*""#).unwrap();
        assert!(page.ends_with('\n') && !page.contains('\r'));
        let (mut metrics, mut series, mut metric) = (BTreeSet::new(), BTreeSet::new(), String::new());
        let mut samples = Vec::new();
        for text in page.lines() {
            if let Some(rest) = text.strip_prefix("# HELP ") {
                metric = rest.split_once(' ').unwrap().0.to_owned();
                assert!(metrics.insert(metric.clone()), "{metric} has two places");
            } else if let Some(rest) = text.strip_prefix("# TYPE ") {
                let kind = if metric.ends_with("_total") { "counter" } else { "gauge" };
                assert_eq!(rest, format!("{metric} {kind}"));
            } else {
                let parts = line.captures(text).unwrap_or_else(|| panic!("no sample: {text}"));
                assert_eq!(&parts[1], metric, "a sample outside its metric");
                let labels = parts.get(2).map_or("", |labels| labels.as_str());
                let names: Vec<&str> = label.captures_iter(labels).map(|l| l.get(1).unwrap().as_str()).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{text}");
                assert!(series.insert(format!("{metric}{labels}")), "{text} comes twice");
                samples.push((format!("{metric}{labels}"), parts[3].parse().unwrap()));
            }
        }
        samples
    }

    #[test]
    fn page_follows_the_grammar_and_has_every_number() {
        let stats = Stats {
            fresh: 1,
            stale: 2,
            failed_body: 3,
            circuit: CircuitState::Open,
            longest_wait: Duration::from_millis(1_500),
            entries: 4,
            inbox: InboxStats {
                polls: 9,
                consecutive_failures: 5,
                last_success: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_777_550_401_250)),
                ..InboxStats::default()
            },
            ..Stats::default()
        };
        let found = samples(&stats.to_prometheus(&[]));
        assert_eq!(found.len(), 4 + 7 + 4 + 14 + 17);
        let value = |name: &str| found.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1;
        assert_eq!(value("a2a_blocking_enrichments_total{answer=\"stale\"}"), 2.0);
        assert_eq!(value("a2a_blocking_lookups_failed_total{reason=\"body\"}"), 3.0);
        assert_eq!(value("a2a_blocking_circuit_state{state=\"open\"}"), 1.0);
        assert_eq!(value("a2a_blocking_circuit_state{state=\"closed\"}"), 0.0);
        assert_eq!(value("a2a_blocking_longest_wait_seconds"), 1.5);
        assert_eq!(value("a2a_blocking_cache_peers"), 4.0);
        assert_eq!(value("a2a_blocking_inbox_polls_total"), 9.0);
        assert_eq!(value("a2a_blocking_inbox_consecutive_failures"), 5.0);
        assert_eq!(value("a2a_blocking_inbox_last_success_timestamp_seconds"), 1_777_550_401.25);
    }

    /// An alert upon the age of the last success must not fire for a client without a poller.
    #[test]
    fn last_success_has_a_sample_once_there_was_a_poll() {
        let page = |inbox| Stats { inbox, ..Stats::default() }.to_prometheus(&[]);
        let sample = "\na2a_blocking_inbox_last_success_timestamp_seconds ";
        assert!(!page(InboxStats::default()).contains(sample));
        assert!(page(InboxStats { polls: 1, ..InboxStats::default() }).contains(&format!("{sample}0\n")));
    }

    #[test]
    fn labels_of_any_text_give_a_valid_page() {
        let odd: &[(&str, &str)] =
            &[("", "a"), ("9 é", "\\ \" \n {}= ü"), ("answer", "b"), ("state", "c"), ("x", "1"), ("x", "2")];
        let found = samples(&Stats::default().to_prometheus(odd));
        let labels = r#"{_="a",_9__="\\ \" \n {}= ü",answer_="b",state_="c",x="1",x_="2"}"#;
        assert!(found.contains(&(format!("a2a_blocking_lookups_total{labels}"), 0.0)), "{found:?}");
    }

    #[test]
    fn series_of_all_clients_are_grouped_by_metric() {
        let other = Stats { lookups: 7, ..Stats::default() };
        let page = Stats::prometheus(&[(&[("w", "a")], Stats::default()), (&[("w", "b")], other)]);
        assert_eq!(samples(&page).len(), 2 * 45);
        assert!(page.contains("lookups_total{w=\"a\"} 0\na2a_blocking_lookups_total{w=\"b\"} 7\n"), "{page}");
        assert_eq!(Stats::prometheus(&[]), "");
    }
}
