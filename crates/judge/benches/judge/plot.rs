//! A picture of rules side by side: how often each rolls a harmless candidate back, and how many of
//! its requests it takes to find a bad one.

use std::fmt::Write as _;

/// A rule's numbers.
pub(crate) struct Row {
    pub(crate) rule: String,
    /// Harmless candidates that were rolled back, a part of 1: on a calm route and in bad weather.
    pub(crate) wrong: [f64; 2],
    /// Bad candidates of two kinds: the part that was found, and after how many of its requests.
    pub(crate) found: [(f64, u64); 2],
}

const LINE: usize = 44;
const TOP: usize = 66;
const LEFT: f64 = 190.0;
const MIDDLE: f64 = 470.0;
const PANEL: f64 = 230.0;
/// Requests at the ends of the right panel's axis.
const ENDS: [f64; 2] = [10.0, 10_000.0];

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
.small{font-size:11px;fill:#59636e}.grid{stroke:#d1d9e0}\
.one{fill:#0969da}.two{fill:#bc4c00}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.grid{stroke:#3d444d}\
.one{fill:#4493f8}.two{fill:#f0883e}}";

/// As an SVG document.
pub(crate) fn plot(rows: &[Row], kinds: [&str; 2]) -> String {
    let height = TOP + rows.len() * LINE + 30;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" role=\"img\" \
         aria-label=\"Rules side by side\"><style>{STYLE}</style>\n"
    );
    legend(&mut svg, LEFT, "harmless candidates rolled back", ["calm route", "bad weather"]);
    legend(&mut svg, MIDDLE, "requests until a bad one is found", kinds);
    let bottom = TOP + rows.len() * LINE;
    for percent in [0, 25, 50, 75, 100] {
        let at = LEFT + PANEL * f64::from(percent) / 100.0;
        grid(&mut svg, at, bottom, &format!("{percent} %"));
    }
    for requests in [10_u32, 100, 1_000, 10_000] {
        grid(&mut svg, place(f64::from(requests)), bottom, &requests.to_string());
    }
    for (line, row) in rows.iter().enumerate() {
        draw(&mut svg, row, TOP + line * LINE);
    }
    svg + "</svg>\n"
}

fn legend(svg: &mut String, left: f64, what: &str, kinds: [&str; 2]) {
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"16\">{what}</text>");
    for (line, (class, kind)) in ["one", "two"].iter().zip(kinds).enumerate() {
        let y = 34 + line * 15;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"9\" height=\"9\"/>\
             <text class=\"small\" x=\"{}\" y=\"{y}\">{kind}</text>",
            y - 9,
            left + 14.0
        );
    }
}

fn grid(svg: &mut String, at: f64, bottom: usize, label: &str) {
    let _ = writeln!(
        svg,
        "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
         <text class=\"small\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
        bottom + 16
    );
}

fn place(requests: f64) -> f64 {
    let [least, most] = ENDS.map(f64::ln);
    MIDDLE + PANEL * ((requests.ln() - least) / (most - least)).clamp(0.0, 1.0)
}

fn draw(svg: &mut String, row: &Row, top: usize) {
    let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{}</text>", top + 26, row.rule);
    for (line, (class, part)) in ["one", "two"].iter().zip(row.wrong).enumerate() {
        let (y, width) = (top + 8 + line * 15, (PANEL * part).max(1.0));
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"11\"/>\
             <text class=\"small\" x=\"{:.1}\" y=\"{}\">{}</text>",
            LEFT + width + 4.0,
            y + 10,
            percent(part)
        );
    }
    for (line, (class, (part, after))) in ["one", "two"].iter().zip(row.found).enumerate() {
        let y = top + 8 + line * 15;
        let (at, said) = match part >= 0.5 {
            true => (place(after as f64), format!("{after}")),
            false => (MIDDLE + PANEL, format!("finds {}", percent(part))),
        };
        let mark = if part >= 0.5 {
            format!("<circle class=\"{class}\" cx=\"{at:.1}\" cy=\"{}\" r=\"5\"/>", y + 6)
        } else {
            String::new()
        };
        // What is near the right end is told on the left.
        let (x, anchor) =
            if at > MIDDLE + PANEL - 60.0 { (at - 9.0, "end") } else { (at + 9.0, "start") };
        let _ = writeln!(
            svg,
            "{mark}<text class=\"small\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{said}</text>",
            y + 10
        );
    }
}

/// A part of 1, with as many digits as it deserves.
pub(crate) fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    if percent == 0.0 || percent >= 10.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}
