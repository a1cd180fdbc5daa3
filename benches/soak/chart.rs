//! Draws a run as SVG: memory, descriptors and threads over time, with the phases of faults shaded.
//!
//! The background is white, so that the chart can be read on any page.

use super::report::RunResult;
use super::resources::Sample;
use super::script::Phase;
use super::soak::Soak;

const WIDTH: f64 = 832.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 150.0;
/// Height of a panel.
const HEIGHT: f64 = 84.0;
/// Distance from the top of a panel to that of the next.
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

pub fn svg(result: &RunResult, soak: &Soak) -> String {
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / result.seconds as f64;
    let bottom = TOP + STEP * (PANELS.len() - 1) as f64 + HEIGHT;
    let title = format!("{} s of faults: what 32 pollers and their clients hold", result.seconds);
    let mut body = vec![text(16.0, 30.0, r#"font-size="16" font-weight="600""#, &title)];
    let legend =
        "Shaded: phases of faults. Threads and descriptors without the platform's own, which is in the same process.";
    body.push(text(16.0, 48.0, SMALL, legend));
    let mut last_label = f64::MIN;
    for phase in &soak.script {
        body.extend(shade(phase, x, bottom, &mut last_label));
    }
    for (n, panel) in PANELS.iter().enumerate() {
        body.extend(draw(panel, TOP + STEP * n as f64, &result.series, x));
    }
    let step = [1, 2, 5, 10].into_iter().find(|step| x(*step as f64 * 60.0) - LEFT >= 50.0).unwrap_or(60);
    for minute in (0..=result.seconds / 60).step_by(step) {
        let (at, label) = (x(minute as f64 * 60.0), format!("{minute} min"));
        body.push(text(at, bottom + 16.0, &format!(r#"text-anchor="middle" {SMALL}"#), &label));
    }
    let height = bottom + 30.0;
    let size = format!(r#"width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}""#);
    let head = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}" {FONT}>"#);
    let background = r##"<rect width="100%" height="100%" fill="#ffffff"/>"##;
    format!("{head}\n{background}\n{}\n</svg>\n", body.join("\n"))
}

/// Draws a phase behind all panels, and its name above them, turned upwards.
///
/// The name is left out where it would overlap the one at `last_label`.
fn shade(phase: &Phase, x: impl Fn(f64) -> f64, bottom: f64, last_label: &mut f64) -> Vec<String> {
    let (from, to) = (x(phase.from.as_secs_f64()), x(phase.to.as_secs_f64()));
    let (top, width, height) = (TOP - 6.0, to - from, bottom - TOP + 6.0);
    let colour = if phase.affects_registry() { "#ffebe9" } else { "#fff8c5" };
    let area = format!(r##"<rect x="{from:.1}" y="{top}" width="{width:.1}" height="{height}" fill="{colour}"/>"##);
    let (at, top) = ((from + to) / 2.0 + 3.5, TOP - 12.0);
    if at - *last_label < 11.0 {
        return vec![area];
    }
    *last_label = at;
    let turned = format!(r#"transform="rotate(-90 {at:.1} {top})" {}"#, SMALL.replace("11", "10"));
    vec![area, text(at, top, &turned, &phase.name())]
}

fn draw(panel: &Panel, top: f64, series: &[Sample], x: impl Fn(f64) -> f64) -> Vec<String> {
    let Panel { title, colour, of } = panel;
    let max = round_up(series.iter().map(of).fold(1.0, f64::max));
    let y = |value: f64| top + HEIGHT - HEIGHT * value / max;
    let mut body = Vec::new();
    for part in [0.0, 0.5, 1.0] {
        let at = y(max * part);
        body.push(format!(r##"<path d="M{LEFT} {at:.1}H{}" stroke="#d0d7de"/>"##, WIDTH - RIGHT));
        body.push(text(LEFT - 6.0, at + 4.0, &format!(r#"text-anchor="end" {SMALL}"#), &format!("{}", max * part)));
    }
    let points: Vec<String> =
        series.iter().map(|sample| format!("{:.1},{:.1}", x(sample.seconds), y(of(sample)))).collect();
    let points = points.join(" ");
    body.push(format!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>"#));
    body.push(text(LEFT + 6.0, top + 14.0, &format!(r#"font-weight="600" style="fill:{colour}""#), title));
    body
}

/// Rounds up to 1, 2, 4, 6 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * unit).find(|end| *end >= value).unwrap_or(value)
}

fn text(x: f64, y: f64, style: &str, content: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" {style}>{content}</text>"#)
}
