//! A row for each thing, a dot for each series; the first series' value is written behind the row's name.

use std::fmt::Write;

use super::{HEAD, MARGIN, Plot, Row, WIDTH, line, text, ticks};

/// Room for the rows' names and values, px.
const NAMES: f64 = 200.0;
const VALUE: f64 = 40.0;
const ROW: f64 = 22.0;

pub(super) fn draw(plot: &Plot, rows: &[Row]) -> (f64, String) {
    let (left, right) = (NAMES, WIDTH - 2.0 * MARGIN);
    let bottom = HEAD + rows.len() as f64 * ROW + 6.0;
    let most = rows.iter().flat_map(|row| row.values.iter().flatten()).copied().fold(1.0, f64::max);
    let ticks = ticks(most);
    let end = ticks.last().copied().unwrap_or(most);
    let place = |value: f64| left + (right - left) * value.max(0.0) / end;
    let mut svg = String::new();
    for tick in &ticks {
        svg.push_str(&line((place(*tick), HEAD), (place(*tick), bottom)));
        svg.push_str(&text(place(*tick), bottom + 16.0, "dim middle", &format!("{tick}")));
    }
    svg.push_str(&text(f64::midpoint(left, right), bottom + 34.0, "dim middle", plot.unit));
    for (n, row) in rows.iter().enumerate() {
        let y = HEAD + (n as f64 + 0.5) * ROW + 3.0;
        svg.push_str(&text(left - 12.0 - VALUE, y + 4.0, "end", &row.name));
        svg.push_str(&line((left, y), (right, y)));
        // The first series last, so that it lies on top.
        for (series, value) in row.values.iter().enumerate().rev() {
            if let Some(value) = value {
                let _ =
                    writeln!(svg, "<circle class=\"s{series}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/>", place(*value));
            }
        }
        if let Some(Some(value)) = row.values.first() {
            svg.push_str(&text(left - 12.0, y + 4.0, "s0 end", &format!("{value:.1}")));
        }
    }
    (bottom + 46.0, svg)
}
