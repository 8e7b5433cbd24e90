//! Pictures as SVG, readable on light and dark pages (the reader's colour scheme decides, by a media query that no plotting crate writes). Two kinds:
//! dots in rows, and panels of lines. Knows no programs: names and numbers come in, text goes out.

mod dots;
mod panels;

use std::fmt::Write;

/// A picture, one file.
#[derive(Debug)]
pub struct Plot {
    /// Name of the file, without its ending.
    pub name: &'static str,
    /// One line above the picture.
    pub title: String,
    /// What the numbers are.
    pub unit: &'static str,
    /// Names of the series, in the order of their colours: at most as many as there are colours.
    pub series: Vec<String>,
    /// What is shown.
    pub content: Content,
}

/// What is shown.
#[derive(Debug)]
pub enum Content {
    /// A row for each thing, a dot for each series.
    Dots(Vec<Row>),
    /// A panel for each thing, a line for each series.
    Panels {
        /// What the numbers below a panel are.
        x: &'static str,
        /// The panels.
        panels: Vec<Panel>,
    },
}

/// A row of dots.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    /// A value for each series; `None`: no dot.
    pub values: Vec<Option<f64>>,
}

/// A panel of lines.
#[derive(Debug)]
pub struct Panel {
    pub name: String,
    /// Points for each series: below, and how much.
    pub lines: Vec<Vec<(usize, f64)>>,
}

/// Width of every picture, px.
const WIDTH: f64 = 880.0;
/// Room above the content: title and legend, px.
const HEAD: f64 = 64.0;
const MARGIN: f64 = 16.0;

/// Colours of the series (Okabe and Ito's, told apart by most colour-blind people), for light and for dark pages.
const COLOURS: [(&str, &str); 6] = [
    ("#d55e00", "#ff9a4d"),
    ("#0072b2", "#6cb8ec"),
    ("#009e73", "#4fd0aa"),
    ("#aa3e80", "#e79bc8"),
    ("#8a6d00", "#e8c84a"),
    ("#555555", "#bbbbbb"),
];

impl Plot {
    /// The file's text.
    pub fn svg(&self) -> String {
        let (height, body) = match &self.content {
            Content::Dots(rows) => dots::draw(self, rows),
            Content::Panels { x, panels } => panels::draw(self, x, panels),
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n{}",
            escaped(&self.title),
            style()
        );
        let _ = writeln!(svg, "<rect class=\"page\" width=\"{WIDTH}\" height=\"{height:.0}\"/>");
        svg.push_str(&text(MARGIN, 24.0, "title", &self.title));
        let mut x = MARGIN;
        for (n, name) in self.series.iter().enumerate() {
            let _ = writeln!(svg, "<circle class=\"s{n}\" cx=\"{:.1}\" cy=\"43\" r=\"5\"/>", x + 5.0);
            svg.push_str(&text(x + 15.0, 47.0, "", name));
            x += 34.0 + name.len() as f64 * 6.6;
        }
        svg.push_str(&body);
        svg.push_str("</svg>\n");
        svg
    }
}

fn style() -> String {
    let series = |colour: fn(&(&'static str, &'static str)) -> &'static str| -> String {
        let one = |(n, pair)| format!(".s{n}{{fill:{0}}}.l{n}{{stroke:{0}}}", colour(pair));
        COLOURS.iter().enumerate().map(one).collect()
    };
    format!(
        "<style>\n.page{{fill:#ffffff}}text{{fill:#1f2328}}.dim{{fill:#59636e}}.title{{font-size:15px;font-weight:bold}}\
         .grid{{stroke:#d1d9e0;stroke-width:1}}polyline{{fill:none;stroke-width:2}}{}\n\
         @media (prefers-color-scheme:dark){{.page{{fill:#0d1117}}text{{fill:#e6edf3}}.dim{{fill:#9198a1}}.grid{{stroke:#3d444d}}{}}}\n</style>\n",
        series(|pair| pair.0),
        series(|pair| pair.1)
    )
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Words at a place; `class` may hold several classes, with `middle` or `end` for where they are anchored.
fn text(x: f64, y: f64, class: &str, words: &str) -> String {
    let anchor = if class.contains("middle") {
        " text-anchor=\"middle\""
    } else if class.contains("end") {
        " text-anchor=\"end\""
    } else {
        ""
    };
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"{anchor}>{}</text>\n", escaped(words))
}

fn line(from: (f64, f64), to: (f64, f64)) -> String {
    format!("<line class=\"grid\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\n", from.0, from.1, to.0, to.1)
}

/// Round numbers from 0 to at least `most`, some five of them.
fn ticks(most: f64) -> Vec<f64> {
    let rough = (most / 5.0).max(1e-3);
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * magnitude).find(|step| *step >= rough).unwrap_or(rough);
    let mut ticks = vec![0.0];
    while ticks.last().is_some_and(|last| *last < most) {
        ticks.push(ticks.len() as f64 * step);
    }
    ticks
}
