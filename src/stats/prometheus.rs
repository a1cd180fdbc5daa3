//! Stats as Prometheus reads them: the text exposition format, version 0.0.4.

use std::fmt::Write;

use super::{CircuitState, Stats};

/// The states of the circuit, each with a series of its own.
const STATES: [CircuitState; 4] =
    [CircuitState::Closed, CircuitState::Degraded, CircuitState::Open, CircuitState::HalfOpen];
/// The names of our own labels: a caller's of the same name gives way.
const OURS: [&str; 3] = ["answer", "reason", "state"];

impl Stats {
    /// The numbers in Prometheus' text format (version 0.0.4, `text/plain; version=0.0.4`), for a `/metrics` page or a
    /// textfile collector. `labels` stand in each line, as the name of the workspace.
    ///
    /// Names begin with `a2a_blocking_`, and those of counters end in `_total`; they do not change within a major
    /// version. In a label's name what cannot stand there becomes `_`; a name that is taken has `_` put behind it.
    ///
    /// ```
    /// use a2a_blocking::Stats;
    ///
    /// let page = Stats::default().to_prometheus(&[("workspace", "ops \"one\"")]);
    /// assert!(page.contains("# TYPE a2a_blocking_lookups_total counter\n"));
    /// assert!(page.contains("a2a_blocking_lookups_total{workspace=\"ops \\\"one\\\"\"} 0\n"));
    /// assert!(page.contains("a2a_blocking_enrichments_total{workspace=\"ops \\\"one\\\"\",answer=\"fresh\"} 0\n"));
    /// ```
    #[must_use]
    pub fn to_prometheus(&self, labels: &[(&str, &str)]) -> String {
        Stats::prometheus(&[(labels, *self)])
    }

    /// The same for several clients, whose labels tell them apart: all lines of a metric have to stand together, so the
    /// pages of two clients cannot be put one behind the other.
    ///
    /// ```
    /// use a2a_blocking::Stats;
    ///
    /// let (ops, lab) = (Stats::default(), Stats::default());
    /// let page = Stats::prometheus(&[(&[("workspace", "ops")], ops), (&[("workspace", "lab")], lab)]);
    /// assert_eq!(page.matches("# TYPE a2a_blocking_cache_peers gauge").count(), 1);
    /// assert!(page.contains("a2a_blocking_cache_peers{workspace=\"lab\"} 0\n"));
    /// ```
    #[must_use]
    pub fn prometheus(clients: &[(&[(&str, &str)], Stats)]) -> String {
        let coalesced: Vec<String> = clients.iter().map(|(labels, _)| rendered(labels)).collect();
        let each: Vec<Vec<Metric>> = clients.iter().map(|(_, stats)| metrics(stats)).collect();
        let mut page = String::new();
        for (n, metric) in each.first().into_iter().flatten().enumerate() {
            let Metric { name, help, .. } = metric;
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            put(&mut page, format_args!("# HELP a2a_blocking_{name} {help}\n# TYPE a2a_blocking_{name} {kind}\n"));
            for (labels, metrics) in coalesced.iter().zip(&each) {
                for (own, value) in &metrics[n].series {
                    let own = own.map(|(label, word)| format!("{label}=\"{word}\"")).unwrap_or_default();
                    let comma = if labels.is_empty() || own.is_empty() { "" } else { "," };
                    let all = format!("{labels}{comma}{own}");
                    let all = if all.is_empty() { all } else { format!("{{{all}}}") };
                    put(&mut page, format_args!("a2a_blocking_{name}{all} {value}\n"));
                }
            }
        }
        page
    }
}

/// A metric: what it is called and says, and its series, each by a label of its own where there are several.
struct Metric {
    name: &'static str,
    help: &'static str,
    series: Vec<(Option<(&'static str, &'static str)>, String)>,
}

fn metrics(stats: &Stats) -> Vec<Metric> {
    // By name, so that a number that is added is not forgotten here.
    let Stats {
        fresh,
        stale,
        absent,
        unknown,
        lookups,
        found,
        failed_connect,
        failed_timeout,
        failed_broken,
        failed_status,
        failed_body,
        failed_internal,
        coalesced,
        refreshes,
        shed,
        dropped,
        circuit,
        circuit_opened,
        longest_wait,
        skipped,
        entries,
        bytes,
        evictions,
    } = *stats;
    let of = |name, help, label, series: &[(&'static str, u64)]| Metric {
        name,
        help,
        series: series.iter().map(|(word, value)| (Some((label, *word)), value.to_string())).collect(),
    };
    let one = |name, help, value: String| Metric { name, help, series: vec![(None, value)] };
    let count = |name, help, value: u64| one(name, help, value.to_string());
    let answers = [("fresh", fresh), ("stale", stale), ("absent", absent), ("unknown", unknown)];
    let reasons = [
        ("connect", failed_connect),
        ("timeout", failed_timeout),
        ("broken", failed_broken),
        ("status", failed_status),
        ("body", failed_body),
        ("internal", failed_internal),
    ];
    let states = STATES.map(|state| (state.as_str(), u64::from(state == circuit)));
    vec![
        of("enrichments_total", "Enrichments, by what they were answered with.", "answer", &answers),
        count("lookups_total", "Lookups made, repeats not counted.", lookups),
        count("lookups_found_total", "Lookups that brought a record.", found),
        of("lookups_failed_total", "Lookups that brought no usable answer, by the reason.", "reason", &reasons),
        count("lookups_coalesced_total", "Calls that waited for the lookup of another thread.", coalesced),
        count("lookups_background_total", "Lookups made in the background, probes included.", refreshes),
        count("lookups_shed_total", "Misses that made no lookup because of the circuit.", shed),
        count("refreshes_dropped_total", "Background lookups that a full queue dropped.", dropped),
        of("circuit_state", "The state of the circuit: 1 for the one that it is in.", "state", &states),
        count("circuit_opened_total", "How often the circuit opened.", circuit_opened),
        one("longest_wait_seconds", "The longest wait for an enrichment.", longest_wait.as_secs_f64().to_string()),
        count("list_entries_skipped_total", "Entries of lists of peers that were no objects.", skipped),
        count("cache_peers", "Peers in the cache: found, absent and failed.", entries as u64),
        count("cache_bytes", "About how many bytes of memory the records take.", bytes as u64),
        count("cache_evictions_total", "Peers that were pushed out of the cache by others.", evictions),
    ]
}

/// A caller's labels, without the braces.
fn rendered(labels: &[(&str, &str)]) -> String {
    let mut taken: Vec<String> = OURS.map(str::to_owned).to_vec();
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
        put(&mut out, format_args!("{comma}{name}=\"{value}\""));
        taken.push(name);
    }
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes whatever is written to it.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use regex::Regex;

    use super::*;

    /// Holds a page against the format's grammar, and gives its samples.
    fn samples(page: &str) -> Vec<(String, f64)> {
        let line = Regex::new(
            r#"\A([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\[\\"n])*",?)+\})? ([0-9.e+-]+)\z"#,
        )
        .unwrap();
        let label = Regex::new(r#"([a-zA-Z0-9_]+)="(?:[^"\\]|\\[\\"n])*""#).unwrap();
        assert!(page.ends_with('\n') && !page.contains('\r'));
        let (mut met, mut seen, mut of) = (BTreeSet::new(), BTreeSet::new(), String::new());
        let mut samples = Vec::new();
        for text in page.lines() {
            if let Some(rest) = text.strip_prefix("# HELP ") {
                of = rest.split_once(' ').unwrap().0.to_owned();
                assert!(met.insert(of.clone()), "{of} has two places");
            } else if let Some(rest) = text.strip_prefix("# TYPE ") {
                let kind = if of.ends_with("_total") { "counter" } else { "gauge" };
                assert_eq!(rest, format!("{of} {kind}"));
            } else {
                let parts = line.captures(text).unwrap_or_else(|| panic!("no sample: {text}"));
                assert_eq!(&parts[1], of, "a sample outside its metric");
                let labels = parts.get(2).map_or("", |labels| labels.as_str());
                let names: Vec<&str> = label.captures_iter(labels).map(|l| l.get(1).unwrap().as_str()).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{text}");
                assert!(seen.insert(format!("{of}{labels}")), "{text} comes twice");
                samples.push((format!("{of}{labels}"), parts[3].parse().unwrap()));
            }
        }
        samples
    }

    #[test]
    fn a_page_keeps_to_the_grammar_and_has_every_number() {
        let stats = Stats {
            fresh: 1,
            stale: 2,
            failed_body: 3,
            circuit: CircuitState::Open,
            longest_wait: Duration::from_millis(1_500),
            entries: 4,
            ..Stats::default()
        };
        let found = samples(&stats.to_prometheus(&[]));
        assert_eq!(found.len(), 4 + 6 + 4 + 12);
        let value = |name: &str| found.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1;
        assert_eq!(value("a2a_blocking_enrichments_total{answer=\"stale\"}"), 2.0);
        assert_eq!(value("a2a_blocking_lookups_failed_total{reason=\"body\"}"), 3.0);
        assert_eq!(value("a2a_blocking_circuit_state{state=\"open\"}"), 1.0);
        assert_eq!(value("a2a_blocking_circuit_state{state=\"closed\"}"), 0.0);
        assert_eq!(value("a2a_blocking_longest_wait_seconds"), 1.5);
        assert_eq!(value("a2a_blocking_cache_peers"), 4.0);
    }

    #[test]
    fn whatever_a_caller_gives_as_labels_the_page_can_be_read() {
        let odd: &[(&str, &str)] =
            &[("", "a"), ("9 é", "\\ \" \n {}= ü"), ("answer", "b"), ("state", "c"), ("x", "1"), ("x", "2")];
        let found = samples(&Stats::default().to_prometheus(odd));
        let labels = r#"{_="a",_9__="\\ \" \n {}= ü",answer_="b",state_="c",x="1",x_="2"}"#;
        assert!(found.contains(&(format!("a2a_blocking_lookups_total{labels}"), 0.0)), "{found:?}");
    }

    #[test]
    fn clients_stand_together_by_metric() {
        let other = Stats { lookups: 7, ..Stats::default() };
        let page = Stats::prometheus(&[(&[("w", "a")], Stats::default()), (&[("w", "b")], other)]);
        assert_eq!(samples(&page).len(), 2 * 26);
        assert!(page.contains("lookups_total{w=\"a\"} 0\na2a_blocking_lookups_total{w=\"b\"} 7\n"), "{page}");
        assert_eq!(Stats::prometheus(&[]), "");
    }
}
