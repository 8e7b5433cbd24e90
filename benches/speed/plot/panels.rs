//! Panels of lines, two beside each other; below each the numbers in equal steps (they grow by factors), all with the same height.

use std::fmt::Write;

use super::{HEAD, MARGIN, Panel, Plot, WIDTH, line, text, ticks};

const COLUMNS: usize = 2;
const HEIGHT: f64 = 190.0;
/// Room above a panel (its name), below it (its numbers), and left of it.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 44.0;
const LEFT: f64 = 44.0;

pub(super) fn draw(plot: &Plot, x: &str, panels: &[Panel]) -> (f64, String) {
    let most = panels.iter().flat_map(|p| p.lines.iter().flatten()).map(|(_, value)| *value).fold(1.0, f64::max);
    let ticks = ticks(most);
    let width = (WIDTH - 2.0 * MARGIN) / COLUMNS as f64;
    let mut svg = String::new();
    for (n, panel) in panels.iter().enumerate() {
        let at = (MARGIN + (n % COLUMNS) as f64 * width, HEAD + (n / COLUMNS) as f64 * (ABOVE + HEIGHT + BELOW));
        svg.push_str(&one(panel, at, width, &ticks, plot.unit, x));
    }
    (HEAD + panels.len().div_ceil(COLUMNS) as f64 * (ABOVE + HEIGHT + BELOW), svg)
}

fn one(panel: &Panel, at: (f64, f64), width: f64, ticks: &[f64], unit: &str, x: &str) -> String {
    let (left, right, top) = (at.0 + LEFT, at.0 + width - MARGIN, at.1 + ABOVE);
    let bottom = top + HEIGHT;
    let end = ticks.last().copied().unwrap_or(1.0);
    let height_of = |value: f64| bottom - HEIGHT * value.max(0.0) / end;
    let mut numbers: Vec<usize> = panel.lines.iter().flatten().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let steps = numbers.len().saturating_sub(1).max(1) as f64;
    let place = |number: usize| {
        let n = numbers.iter().position(|other| *other == number).unwrap_or(0);
        left + 14.0 + (right - left - 28.0) * n as f64 / steps
    };
    let mut svg = text(left, top - 9.0, "", &format!("{}, {unit}", panel.name));
    for tick in ticks {
        svg.push_str(&line((left, height_of(*tick)), (right, height_of(*tick))));
        svg.push_str(&text(left - 6.0, height_of(*tick) + 4.0, "dim end", &format!("{tick}")));
    }
    for number in &numbers {
        svg.push_str(&text(place(*number), bottom + 16.0, "dim middle", &number.to_string()));
    }
    svg.push_str(&text(f64::midpoint(left, right), bottom + 31.0, "dim middle", x));
    for (series, points) in panel.lines.iter().enumerate().rev() {
        let places: Vec<(f64, f64)> = points.iter().map(|(n, value)| (place(*n), height_of(*value))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"l{series}\" points=\"{}\"/>", path.join(" "));
        for (x, y) in places {
            let _ = writeln!(svg, "<circle class=\"s{series}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
        }
    }
    svg
}
