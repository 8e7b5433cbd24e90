//! `nodewall report`: what happened in a span of time, as one page.

use std::io::Write as _;

use anyhow::Context as _;

use super::{
    FINE, Failure,
    evidence_out::{self, Target},
};
use crate::cli::{Common, ReportArgs};
use nodewall_evidence::{
    node::Node,
    report::{Facts, Figures, page},
    store::Filter,
};

pub(super) fn run(common: &Common, args: &ReportArgs) -> Result<u8, Failure> {
    let now = evidence_out::now_unix_ns();
    let since = args.since.start(now, &args.tz).context("--since")?;
    let until =
        args.until.as_ref().map(|until| until.end(now, &args.tz)).transpose().context("--until")?.unwrap_or(now);
    if until < since {
        return Err(anyhow::anyhow!("--until is before --since; there is no such time").into());
    }
    let (_, reader) = evidence_out::open(common)?;
    let verdict = reader.verify(None)?;
    let mut figures = Figures::new(since, until);
    let mut seq = reader.seq_before(since)?;
    let last = reader.last_seq()?;
    while seq < last {
        let found = reader.after(seq)?;
        let Some((end, _)) = found.last() else { break };
        seq = *end;
        for (_, batch) in &found {
            figures.add(batch);
        }
    }
    let policies = reader.events(&Filter { until_unix_ns: Some(until), ..Filter::default() })?;
    figures.judge(policies.iter().map(|stored| &stored.record));
    let facts = Facts { node: &Node::here(), made_unix_ns: now, zone: &args.tz, verdict: &verdict };
    let html = page(&figures, &facts);
    let mut target = Target::open(&args.out, false)?;
    let is_stdout = target.is_stdout();
    Target::written(is_stdout, target.write_all(html.as_bytes()))?;
    Ok(FINE)
}
