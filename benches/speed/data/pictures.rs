//! The data section's pictures, one for each question.

use super::{
    Question,
    frames::{Asks, Shape, Traffic},
    lineup::{HASH, LPM, NODEWALL, XDP_FILTER},
    sample::Figure,
};
use crate::plot::{Content, Panel, Plot, Row};

const UNIT: &str = "ns above bare XDP_PASS";

/// A picture for each question.
pub fn all(frames: &[Figure], peers: &[Figure], lengths: &[Figure]) -> Vec<Plot> {
    vec![by_frame(frames), by_peers(peers), by_lengths(lengths)]
}

/// Those of the programs that were measured.
fn measured(figures: &[Figure], programs: &[&'static str]) -> Vec<&'static str> {
    programs.iter().copied().filter(|p| figures.iter().any(|f| f.program == *p)).collect()
}

fn by_frame(figures: &[Figure]) -> Plot {
    let series = measured(figures, &[NODEWALL, HASH, LPM, XDP_FILTER]);
    let own = |traffic, program| {
        figures.iter().find(|f| f.traffic == traffic && f.program == program).map(|f| f.own_ns.median)
    };
    let row = |traffic: Traffic| Row {
        name: traffic.name(),
        values: series.iter().map(|program| own(traffic, *program)).collect(),
    };
    Plot {
        name: "data-frames",
        title: "What a packet costs, by kind of frame (64 peers)".to_owned(),
        unit: UNIT,
        content: Content::Dots(Question::Frames.traffic().into_iter().map(row).collect()),
        series: series.into_iter().map(str::to_owned).collect(),
    }
}

fn by_peers(figures: &[Figure]) -> Plot {
    let traffic =
        [(Shape::V4, Asks::Outsider), (Shape::V6, Asks::Outsider), (Shape::V4, Asks::Mixed), (Shape::V6, Asks::Mixed)];
    let series = measured(figures, &[NODEWALL, HASH, LPM, XDP_FILTER]);
    panels(
        "data-peers",
        "What a packet costs, by number of peers",
        "peers, IPv4 and IPv6 each",
        figures,
        &traffic,
        &series,
        |f| f.sources,
    )
}

fn by_lengths(figures: &[Figure]) -> Plot {
    let traffic = [
        (Shape::V4, Asks::Outsider),
        (Shape::V6, Asks::Outsider),
        (Shape::V4, Asks::Unmanaged),
        (Shape::V6, Asks::Unmanaged),
    ];
    let series = measured(figures, &[NODEWALL, LPM]);
    let title = "What a packet costs, by number of distinct prefix lengths";
    panels("data-lengths", title, "prefix lengths of each family", figures, &traffic, &series, |f| f.lengths)
}

fn panels(
    name: &'static str,
    title: &str,
    x: &'static str,
    figures: &[Figure],
    traffic: &[(Shape, Asks)],
    series: &[&str],
    number: fn(&Figure) -> usize,
) -> Plot {
    let lines = |traffic| {
        let points = |program: &&str| {
            let those = figures.iter().filter(|f| f.traffic == traffic && f.program == *program);
            let mut points: Vec<(usize, f64)> = those.map(|f| (number(f), f.own_ns.median)).collect();
            points.sort_by_key(|(number, _)| *number);
            points
        };
        series.iter().map(points).collect()
    };
    let panel = |(shape, asks): &(Shape, Asks)| {
        let traffic = Traffic::new(*shape, *asks);
        Panel { name: traffic.name(), lines: lines(traffic) }
    };
    Plot {
        name,
        title: title.to_owned(),
        unit: UNIT,
        series: series.iter().map(|s| (*s).to_owned()).collect(),
        content: Content::Panels { x, panels: traffic.iter().map(panel).collect() },
    }
}
