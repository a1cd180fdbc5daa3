//! The run as an SVG: memory, descriptors and threads over time, with the faults' phases shaded. It brings its own
//! white ground, so that it can be read on any page.

use super::gauge::Sample;
use super::report::Run;
use super::script::Phase;
use super::world::Soak;

const WIDTH: f64 = 832.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 150.0;
/// The height of a panel, and from one to the next.
const HEIGHT: f64 = 84.0;
const STEP: f64 = 118.0;
const FONT: &str =
    r##"font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="#1f2328""##;
const SMALL: &str = r##"fill="#59636e" font-size="11""##;

struct Panel {
    title: &'static str,
    colour: &'static str,
    of: fn(&Sample) -> f64,
}

const PANELS: [Panel; 4] = [
    Panel { title: "MiB resident", colour: "#0969da", of: |sample| sample.resident_kib / 1_024.0 },
    Panel { title: "MiB live", colour: "#1a7f37", of: |sample| sample.live_kib / 1_024.0 },
    Panel { title: "descriptors", colour: "#9a6700", of: |sample| sample.descriptors },
    Panel { title: "threads", colour: "#8250df", of: |sample| sample.threads },
];

pub fn svg(run: &Run, soak: &Soak) -> String {
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / run.seconds as f64;
    let bottom = TOP + STEP * (PANELS.len() - 1) as f64 + HEIGHT;
    let title = format!("{} s of faults: what 32 pollers and their clients hold", run.seconds);
    let mut body = vec![text(16.0, 30.0, r#"font-size="16" font-weight="600""#, &title)];
    let words =
        "Shaded: phases of faults. Threads and descriptors without the platform's own, which is in the same process.";
    body.push(text(16.0, 48.0, SMALL, words));
    let mut named = f64::MIN;
    for phase in &soak.script {
        body.extend(shade(phase, x, bottom, &mut named));
    }
    for (n, panel) in PANELS.iter().enumerate() {
        body.extend(draw(panel, TOP + STEP * n as f64, &run.series, x));
    }
    let step = [1, 2, 5, 10].into_iter().find(|step| x(*step as f64 * 60.0) - LEFT >= 50.0).unwrap_or(60);
    for minute in (0..=run.seconds / 60).step_by(step) {
        let (at, label) = (x(minute as f64 * 60.0), format!("{minute} min"));
        body.push(text(at, bottom + 16.0, &format!(r#"text-anchor="middle" {SMALL}"#), &label));
    }
    let height = bottom + 30.0;
    let size = format!(r#"width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}""#);
    let head = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}" {FONT}>"#);
    let ground = r##"<rect width="100%" height="100%" fill="#ffffff"/>"##;
    format!("{head}\n{ground}\n{}\n</svg>\n", body.join("\n"))
}

/// A phase's ground over all panels, and its name above them, upwards, where there is room for it after the one that was
/// `named` last.
fn shade(phase: &Phase, x: impl Fn(f64) -> f64, bottom: f64, named: &mut f64) -> Vec<String> {
    let (from, to) = (x(phase.from.as_secs_f64()), x(phase.to.as_secs_f64()));
    let (top, width, height) = (TOP - 6.0, to - from, bottom - TOP + 6.0);
    let colour = if phase.troubles_registry() { "#ffebe9" } else { "#fff8c5" };
    let ground = format!(r##"<rect x="{from:.1}" y="{top}" width="{width:.1}" height="{height}" fill="{colour}"/>"##);
    let (at, top) = ((from + to) / 2.0 + 3.5, TOP - 12.0);
    if at - *named < 11.0 {
        return vec![ground];
    }
    *named = at;
    let turned = format!(r#"transform="rotate(-90 {at:.1} {top})" {}"#, SMALL.replace("11", "10"));
    vec![ground, text(at, top, &turned, &phase.name())]
}

fn draw(panel: &Panel, top: f64, series: &[Sample], x: impl Fn(f64) -> f64) -> Vec<String> {
    let Panel { title, colour, of } = panel;
    let most = round_up(series.iter().map(of).fold(1.0, f64::max));
    let y = |value: f64| top + HEIGHT - HEIGHT * value / most;
    let mut body = Vec::new();
    for part in [0.0, 0.5, 1.0] {
        let at = y(most * part);
        body.push(format!(r##"<path d="M{LEFT} {at:.1}H{}" stroke="#d0d7de"/>"##, WIDTH - RIGHT));
        body.push(text(LEFT - 6.0, at + 4.0, &format!(r#"text-anchor="end" {SMALL}"#), &format!("{}", most * part)));
    }
    let points: Vec<String> =
        series.iter().map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(of(sample)))).collect();
    let points = points.join(" ");
    body.push(format!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>"#));
    body.push(text(LEFT + 6.0, top + 14.0, &format!(r#"font-weight="600" style="fill:{colour}""#), title));
    body
}

/// The next of 1, 2, 4, 6 or 8 with noughts.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * unit).find(|end| *end >= value).unwrap_or(value)
}

fn text(x: f64, y: f64, style: &str, words: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" {style}>{words}</text>"#)
}
