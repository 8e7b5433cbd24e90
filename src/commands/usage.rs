//! `nodewall usage`: the ledger, in a table with a small chart of each row, or as JSON.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};

use super::{FINE, Failure, evidence_out, print_list};
use crate::{
    cli::{Common, UsageArgs, UsageBy},
    ui,
    view::usage::{By, UsageKey, UsageView, sums},
};
use nodewall_evidence::{
    self as evidence,
    ledger::{Amount, Asked, LedgerReader, Period, Step, Usage},
    when::Zone,
};
use nodewall_host::state::StateDir;

const SECOND_NS: u64 = 1_000_000_000;
/// Most columns of a row's chart.
const CHART_COLUMNS: usize = 24;

pub(super) fn run(common: &Common, args: &UsageArgs) -> Result<u8, Failure> {
    let now = evidence_out::now_unix_ns();
    let since = args.since.start(now, &args.tz).context("--since")?;
    let until =
        args.until.as_ref().map(|until| until.end(now, &args.tz)).transpose().context("--until")?.unwrap_or(now);
    if until < since {
        return Err(anyhow!("--until is before --since; there is no such time").into());
    }
    let is_by = |wanted| args.by.contains(&wanted);
    let by = By { port: is_by(UsageBy::Port), class: is_by(UsageBy::Class), peer: is_by(UsageBy::Peer) };
    let step = args.step.step().or_else(|| is_by(UsageBy::Hour).then_some(Step::Hour));
    let asked = Asked {
        since_unix_s: since / SECOND_NS,
        until_unix_s: until.div_ceil(SECOND_NS),
        step,
        peers: common.peers.clone(),
    };
    let usage = open(common)?.usage(&asked)?;
    let view = UsageView::new(&usage, by);
    print_list(common, &view, &view.rows, || print_table(&usage, by, is_by(UsageBy::Hour), &args.tz))?;
    Ok(FINE)
}

fn open(common: &Common) -> Result<LedgerReader, Failure> {
    let none = || {
        anyhow!(
            "there is no ledger in {}; an agent (`nodewall run`) keeps it, and --state-dir says where",
            common.state_dir.join("evidence").display()
        )
    };
    let state = StateDir::open(&common.state_dir)?.ok_or_else(none)?;
    Ok(LedgerReader::open(&evidence::directory(&state))?.ok_or_else(none)?)
}

/// A row of the table: the sum, and how it is spread over the steps.
#[derive(Default)]
struct Spread {
    sum: Amount,
    /// By the steps' beginnings. What was counted over a longer time is in the sum alone.
    steps: BTreeMap<u64, u64>,
}

fn print_table(usage: &Usage, by: By, by_time: bool, zone: &Zone) -> anyhow::Result<()> {
    let shown = |unix_s: u64| zone.show_seconds(unix_s.saturating_mul(SECOND_NS));
    let (first, until, step_s) = (usage.period.first_unix_s, usage.period.until_unix_s, usage.step.seconds());
    ui::print_line(&format!("{} to {}, by the {}", shown(first), shown(until), step_name(usage.step)))?;
    let mut rows: BTreeMap<(Option<u64>, UsageKey), Spread> = BTreeMap::new();
    for ((begins, ends), of) in sums(usage, by) {
        for (key, amount) in of {
            let row = rows.entry((by_time.then_some(begins), key)).or_default();
            row.sum = row.sum.plus(amount);
            if ends - begins == step_s {
                *row.steps.entry(begins).or_default() += amount.bytes;
            }
        }
    }
    let has_chart = ui::is_terminal() && !by_time;
    let steps = (until - first) / step_s;
    let cells = rows.iter().map(|((begins, key), row)| {
        let port = key.port.map(|port| port.to_string()).or_else(|| key.ports.clone());
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        let optional = [
            (by_time, begins.map(shown).unwrap_or_default()),
            (by.peer, text(&key.peer)),
            (by.class || by.port, text(&key.class)),
            (by.port, text(&port)),
            (by.port, key.protocol.unwrap_or("-").to_owned()),
            (true, key.direction.to_owned()),
            (true, key.outcome.to_owned()),
            (true, row.sum.packets.to_string()),
            (true, row.sum.bytes.to_string()),
            (has_chart, chart(&row.steps, first, step_s, steps)),
        ];
        optional.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, cell)| cell).collect::<Vec<_>>()
    });
    let header = [
        (by_time, step_name(usage.step)),
        (by.peer, "peer"),
        (by.class || by.port, "class"),
        (by.port, "port"),
        (by.port, "protocol"),
        (true, "direction"),
        (true, "outcome"),
        (true, "packets"),
        (true, "bytes"),
        (has_chart, "bytes over time"),
    ];
    let header: Vec<&str> = header.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, name)| *name).collect();
    let last = header.len() - usize::from(has_chart);
    ui::print_table(&header, &[last - 2, last - 1], cells)?;
    for loss in &usage.losses {
        let Period { first_unix_s, until_unix_s } = loss.period;
        ui::print_line(&format!("{} to {}: {}", shown(first_unix_s), shown(until_unix_s), loss.why))?;
    }
    Ok(())
}

const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Minute => "minute",
        Step::Hour => "hour",
        Step::Day => "day",
    }
}

/// Amounts as a line of bars, the largest as high as a line is.
fn chart(amounts: &BTreeMap<u64, u64>, first: u64, step_s: u64, steps: u64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = (steps as usize).clamp(1, CHART_COLUMNS);
    let mut sums = vec![0_u64; columns];
    for (begins, amount) in amounts {
        let step = begins.saturating_sub(first) / step_s;
        let column = (u128::from(step) * columns as u128 / u128::from(steps.max(1))) as usize;
        if let Some(sum) = sums.get_mut(column.min(columns - 1)) {
            *sum = sum.saturating_add(*amount);
        }
    }
    let largest = u128::from(sums.iter().copied().max().unwrap_or(0));
    let bar = |sum: &u64| match u128::from(*sum) {
        0 => ' ',
        sum => BARS.get(((sum * 8).div_ceil(largest) as usize).saturating_sub(1)).copied().unwrap_or('█'),
    };
    sums.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_column_for_each_step_or_a_few_steps() {
        let of = |list: &[(u64, u64)]| list.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(chart(&of(&[(0, 8), (60, 1), (180, 4)]), 0, 60, 4), "█▁ ▄");
        assert_eq!(chart(&of(&[]), 0, 60, 4), "    ");
        let day: Vec<(u64, u64)> = (0..1_440).map(|minute| (minute * 60, 1)).collect();
        assert_eq!(chart(&of(&day), 0, 60, 1_440), "█".repeat(CHART_COLUMNS));
        assert_eq!(chart(&of(&[(0, u64::MAX), (60, u64::MAX)]), 0, 60, 2), "██");
    }
}
