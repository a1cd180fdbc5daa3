//! A chart of horizontal bars as an SVG, on a scale of powers of ten.
//!
//! It has a white background, so that it can be read on any page.

use crate::table::nanos;

const WIDTH: f64 = 820.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 22.0;
const FONT: &str =
    r##"font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="#1f2328""##;
const SMALL: &str = r##"fill="#59636e" font-size="11""##;

/// Bars of one case. Each has a name and its nanoseconds.
pub struct Group {
    pub title: String,
    pub bars: Vec<(String, f64)>,
}

impl Group {
    /// Creates a group with the shortest bar first.
    pub fn new(title: &str, mut bars: Vec<(String, f64)>) -> Self {
        bars.sort_by(|a, b| a.1.total_cmp(&b.1));
        Group { title: title.to_owned(), bars }
    }
}

/// Returns the chart of some groups. Bars of the name `ours` are highlighted.
pub fn svg(title: &str, ours: &str, caption: &[String], groups: &[Group]) -> String {
    let all = groups.iter().flat_map(|group| &group.bars).map(|(_, nanos)| nanos.log10());
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
    // The scale starts below the shortest bar, so that this one is visible too.
    let (low, high) = ((low - 0.1).floor(), high.max(low + 1.0));
    let x = |log: f64| LEFT + (WIDTH - LEFT - RIGHT) * (log - low) / (high - low);

    let (mut body, mut y) = (vec![text(16.0, 30.0, r#"font-size="16" font-weight="600""#, title)], 62.0);
    for Group { title, bars } in groups {
        let top = y + 8.0;
        let bottom = top + bars.len() as f64 * BAR;
        body.push(text(16.0, y, r#"font-weight="600""#, title));
        for power in low as i32..=high as i32 {
            let at = x(f64::from(power));
            body.push(format!(r##"<path d="M{at:.1} {top}V{bottom}" stroke="#d0d7de"/>"##));
            let label = nanos(10_f64.powi(power)).replace(".00", "").replace(".0", "");
            body.push(text(at, bottom + 14.0, &format!(r#"text-anchor="middle" {SMALL}"#), &label));
        }
        for (n, (name, time)) in bars.iter().enumerate() {
            let (top, end) = (top + n as f64 * BAR + 3.0, x(time.log10()));
            let (colour, style) = match name.as_str() {
                name if name == ours => ("#1a7f37", r#"font-weight="600""#),
                "floor" => ("#8c959f", ""),
                _ => ("#54aeff", ""),
            };
            let (width, height) = (end - LEFT, BAR - 6.0);
            body.push(format!(r#"<rect x="{LEFT}" y="{top}" width="{width:.1}" height="{height}" fill="{colour}"/>"#));
            body.push(text(LEFT - 8.0, top + 12.5, &format!(r#"text-anchor="end" {style}"#), name));
            body.push(text(end + 6.0, top + 12.5, style, &nanos(*time)));
        }
        y = bottom + 46.0;
    }
    for line in caption {
        body.push(text(16.0, y, SMALL, line));
        y += 16.0;
    }
    let title = escape(title);
    let size = format!(r#"width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}""#);
    let head = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}" {FONT}>"#);
    let ground = r##"<rect width="100%" height="100%" fill="#ffffff"/>"##;
    format!("{head}\n{ground}\n{}\n</svg>\n", body.join("\n"))
}

fn text(x: f64, y: f64, style: &str, words: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" {style}>{}</text>"#, escape(words))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
