//! The model -> a screen of any size. Where there is little room, what matters most stays: the state line, problems, the table of ports.

use std::time::{Duration, UNIX_EPOCH};

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line as Text, Span},
    widgets::{Block, Borders, Cell, Clear, Paragraph, RenderDirection, Row, Sparkline, Table, Widget},
};

use super::model::{Denied, DeniedBy, Line, Model, Sample, Sort};
use nodewall_policy::config::AttachMode;
use nodewall_text::{is_harmless, shown};

use crate::view::{denied_sources::DeniedSource, peers::Listed, status::Status};

/// Lines below the table of ports, where there is room for both.
const LOWER: u16 = 8;
/// The least height with charts, and with what was denied and the peers.
const CHARTS_FROM: u16 = 14;
const LOWER_FROM: u16 = 20;
/// From here on, what was denied and the peers are side by side, and the table has bytes.
const WIDE: u16 = 70;
/// From here on, the table has class and protocol.
const NAMED: u16 = 60;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Colour may be used. What it says is said in words, too.
    pub color: bool,
}

impl Palette {
    fn tint(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.tint(Color::Green)
    }

    fn bad(self) -> Style {
        self.tint(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn quiet(self) -> Style {
        self.tint(Color::DarkGray)
    }
}

/// Draws all of it.
pub fn draw(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    let problems: Vec<&String> =
        model.failure.iter().chain(model.last.iter().flat_map(|last| &last.status.problems)).collect();
    let charts = if area.height >= CHARTS_FROM { 3 } else { 0 };
    let lower = if area.height >= LOWER_FROM { LOWER } else { 0 };
    let told = u16::try_from(problems.len()).unwrap_or(u16::MAX).min(area.height / 6);
    let [head, alarms, chart, ports, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(told),
        Constraint::Length(charts),
        Constraint::Min(0),
        Constraint::Length(lower),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(model, look, head, buffer);
    for (row, problem) in alarms.rows().zip(problems) {
        Text::styled(shown(&format!("! {problem}")), look.bad()).render(row, buffer);
    }
    if charts > 0 {
        draw_charts(model, look, chart, buffer);
    }
    draw_ports(model, look, ports, buffer);
    if lower > 0 {
        let halves = if area.width >= WIDE {
            Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).spacing(2).areas(below)
        } else {
            Layout::vertical([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(below)
        };
        let [left, right] = halves;
        let sources = model.last.as_ref().map_or(&[][..], |last| &last.denied);
        if sources.is_empty() || model.denied_by == DeniedBy::Port {
            draw_denied(&model.denied, look, left, buffer);
        } else {
            draw_sources(sources, look, left, buffer);
        }
        draw_peers(model, look, right, buffer);
    }
    draw_foot(model, look, foot, buffer);
    if model.help {
        draw_help(area, buffer);
    }
    // Control characters are left out by the library; what hangs on another character is not.
    for cell in buffer.content.iter_mut().filter(|cell| !cell.symbol().chars().all(is_harmless)) {
        cell.set_symbol("\u{fffd}");
    }
}

fn draw_head(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    let Some(reading) = &model.last else {
        Text::from("nodewall: reading").render(area, buffer);
        return;
    };
    let status = &reading.status;
    let mut spans = vec![Span::styled("nodewall ", Modifier::BOLD), state(status, look)];
    if !status.audited.is_empty() {
        spans.push(format!(" · audited: {}", status.audited.join(", ")).into());
    }
    if model.paused {
        spans.push(Span::styled(" · PAUSED", look.bad()));
    }
    spans.push(match &status.agent {
        Some(agent) => format!(" · agent {}", agent.pid).into(),
        None => Span::styled(" · no agent", look.bad()),
    });
    spans.push(format!(" · {} peers", status.peers).into());
    if let Some(generation) = status.generation {
        spans.push(format!(" · generation {generation}").into());
    }
    for interface in status.interfaces.iter().filter(|interface| interface.is_covered()) {
        spans.push(
            format!(" · {} {}", shown(&interface.name), interface.attach_mode.map_or("", AttachMode::as_str)).into(),
        );
    }
    // UTC, as all of nodewall's times.
    let now = UNIX_EPOCH + Duration::from_nanos(reading.unix_ns);
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let clock = format!(" {}", time.get(11..).unwrap_or_default());
    let width = u16::try_from(clock.len()).unwrap_or(0);
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
    Text::from(spans).render(left, buffer);
    Text::from(clock).style(look.quiet()).render(right, buffer);
}

fn state(status: &Status, look: Palette) -> Span<'static> {
    match (status.mode, status.healthy) {
        (None, _) => Span::styled("NOTHING IN FORCE", look.bad()),
        (Some(mode), true) => Span::styled(format!("{mode}, healthy"), look.good()),
        (Some(mode), false) => Span::styled(format!("{mode}, NOT HEALTHY"), look.bad()),
    }
}

fn draw_charts(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    type Part = (&'static str, fn(&Sample) -> f64, Color);
    let parts: [Part; 3] = [
        ("in", |sample| sample.inbound, Color::Green),
        ("out", |sample| sample.outbound, Color::Cyan),
        ("drop", |sample| sample.dropped, Color::Red),
    ];
    for (row, (name, of, color)) in area.rows().zip(parts) {
        let [label, chart] = Layout::horizontal([Constraint::Length(17), Constraint::Min(0)]).areas(row);
        Text::from(format!("{name:<5}{:>9}/s", rate(of(&model.sum)))).render(label, buffer);
        // The newest stands at the right.
        #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
        let values: Vec<u64> =
            model.history.iter().rev().take(chart.width.into()).map(|s| of(s).ceil() as u64).collect();
        Sparkline::default()
            .data(values)
            .direction(RenderDirection::RightToLeft)
            .style(look.tint(color))
            .render(chart, buffer);
    }
}

fn title(text: impl Into<String>, look: Palette) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(look.quiet()).title(Span::styled(text.into(), Modifier::BOLD))
}

fn draw_ports(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    let shown = model.shown();
    let wide = area.width >= WIDE;
    let filter = if model.filter.is_empty() { String::new() } else { format!(", filter {:?}", model.filter) };
    let block = title(format!("ports by {}{filter} ", model.sort.name()), look);
    let mark = |sort: Sort, name: &str| if sort == model.sort { format!("{name}▾") } else { name.to_owned() };
    let rates = [(Sort::In, "IN/s"), (Sort::Out, "OUT/s"), (Sort::Dropped, "DROP/s")];
    let rates = rates.map(|(sort, name)| format!("{:>8}", mark(sort, name)));
    let (mut header, mut widths) = (vec![mark(Sort::Port, "PORT")], vec![11]);
    if area.width >= NAMED {
        header.extend(["CLASS".into(), "PROTO".into()]);
        widths.extend([14, 5]);
    }
    header.extend(rates);
    widths.extend([8, 8, 8]);
    if wide {
        header.extend([format!("{:>9}", "IN B/s"), format!("{:>9}", "DROPPED")]);
        widths.extend([9, 9]);
    }
    let body = shown.iter().skip(model.skipped).map(|line| port_row(line, area.width, look));
    Table::new(body, widths.into_iter().map(Constraint::Length))
        .header(Row::new(header).style(look.quiet()))
        .column_spacing(1)
        .block(block)
        .render(area, buffer);
    if shown.is_empty() && area.height > 2 {
        let text = if model.filter.is_empty() { "nothing was counted yet" } else { "no port fits the filter" };
        let row = Rect { y: area.y + 2, height: 1, ..area };
        Text::from(text).render(row, buffer);
    }
}

fn port_row(line: &Line, width: u16, look: Palette) -> Row<'_> {
    let dropping = if line.dropped.packets > 0.0 { look.bad() } else { Style::new() };
    let mut cells = vec![Cell::from(line.place.port())];
    if width >= NAMED {
        cells.extend([Cell::from(line.place.class()), Cell::from(line.place.protocol())]);
    }
    let rates = [line.inbound, line.outbound, line.dropped].map(|amount| format!("{:>8}", rate(amount.packets)));
    cells.extend(rates.map(Cell::from));
    if let Some(dropped) = cells.pop() {
        cells.push(dropped.style(dropping));
    }
    if width >= WIDE {
        cells.push(Cell::from(format!("{:>9}", rate(line.inbound.bytes))));
        cells.push(Cell::from(format!("{:>9}", count(line.total_dropped))));
    }
    Row::new(cells)
}

/// Dropped, or let in by audit.
const AGAINST: &str = "against the policy ";

fn draw_denied(denied: &[Denied], look: Palette, area: Rect, buffer: &mut Buffer) {
    let rows = denied.iter().map(|denied| {
        Row::new([
            format!("{}/{}", denied.place.port(), denied.place.protocol()),
            denied.reason.to_owned(),
            format!("{:>7}", rate(denied.rate.packets)),
            format!("{:>7}", count(denied.total)),
        ])
    });
    let widths = [Constraint::Length(15), Constraint::Min(8), Constraint::Length(7), Constraint::Length(7)];
    let header = Row::new(["PORT".to_owned(), "REASON".into(), format!("{:>7}", "/s"), format!("{:>7}", "EVER")]);
    Table::new(rows, widths).header(header.style(look.quiet())).block(title(AGAINST, look)).render(area, buffer);
}

fn draw_sources(sources: &[DeniedSource], look: Palette, area: Rect, buffer: &mut Buffer) {
    // The whole of most addresses comes first.
    let ports: u16 = if area.width >= WIDE { 20 } else { 9 };
    let room = usize::from(area.width.saturating_sub(ports + 7 + 2)).max(15);
    let rows = sources.iter().map(|source| {
        let address = source.source.as_deref().unwrap_or("no address");
        let address = if address.len() <= room { address.to_owned() } else { format!("{address:.*}…", room - 1) };
        Row::new([address, fitting(&source.ports, ports.into()), format!("{:>7}", count(source.packets))])
    });
    let widths = [Constraint::Min(15), Constraint::Length(ports), Constraint::Length(7)];
    let header = Row::new(["SOURCE (unverified)".to_owned(), "PORTS".into(), format!("{:>7}", "1 HOUR")]);
    Table::new(rows, widths).header(header.style(look.quiet())).block(title(AGAINST, look)).render(area, buffer);
}

/// As many ports as there is room for, and how many more there are: a list that is cut off would look whole.
pub(super) fn fitting(ports: &[u16], width: usize) -> String {
    let shown = |first: usize| {
        let mut words: Vec<String> = ports.iter().take(first).map(ToString::to_string).collect();
        words.extend(ports.len().checked_sub(first).filter(|more| *more > 0).map(|more| format!("+{more}")));
        words.join(" ")
    };
    (0..=ports.len()).rev().map(shown).find(|text| text.len() <= width).unwrap_or_default()
}

fn draw_peers(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    let peers = model.last.as_ref().and_then(|last| last.peers.as_ref());
    let (listed, sources) = peers.map_or((&[][..], &[][..]), |peers| (&peers.peers, &peers.sources));
    let failing = sources.iter().filter(|source| source.error.is_some()).count();
    let name = match failing {
        0 => "peers ".to_owned(),
        1 => "peers, 1 source fails ".to_owned(),
        more => format!("peers, {more} sources fail "),
    };
    let rows = listed.iter().map(|peer| {
        let style = if peer.state.name() == "active" { Style::new() } else { look.tint(Color::Yellow) };
        Row::new([peer.address.clone(), peer.state.name().to_owned(), known_by(peer)]).style(style)
    });
    let widths = [Constraint::Min(15), Constraint::Length(9), Constraint::Min(6)];
    let header = Row::new(["ADDRESS", "STATE", "SOURCES"]).style(look.quiet());
    Table::new(rows, widths).header(header).block(title(name, look)).render(area, buffer);
}

fn known_by(peer: &Listed) -> String {
    // The kind of source; `peers list` has the whole names.
    let kinds = peer.sources.iter().map(|name| name.split(':').next().unwrap_or_default());
    kinds.collect::<Vec<_>>().join(" ")
}

fn draw_foot(model: &Model, look: Palette, area: Rect, buffer: &mut Buffer) {
    let text = if model.typing {
        format!("filter: {}_  (Enter keeps, Esc clears)", model.filter)
    } else {
        "q quit  s sort  p pause  / filter  ↑↓ scroll  ? help".to_owned()
    };
    Text::styled(text, look.quiet()).render(area, buffer);
}

const HELP: &str = "\
IN     let in, packets per second
OUT    sent, packets per second
DROP   dropped; in audit what would be
EVER   packets since the node was filtered first
other  ports that the policy does not name
-      packets without a port (ARP, ICMP, …)

s      sort by port, in, out, drop
p      pause, and go on
/      show only what contains a text
d      denied: by source, by port
↑ ↓    scroll the ports
q      quit";

fn draw_help(area: Rect, buffer: &mut Buffer) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let [width, height] = [52.min(area.width), (lines + 2).min(area.height)];
    let area = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(area, buffer);
    Paragraph::new(HELP).block(Block::bordered().title(" help (? closes) ")).render(area, buffer);
}

/// Per second, in at most seven characters.
fn rate(value: f64) -> String {
    if value > 0.0 && value < 9.95 { format!("{value:.1}") } else { short(value) }
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn count(value: u64) -> String {
    short(value as f64)
}

fn short(value: f64) -> String {
    if value < 99_999.5 {
        return format!("{value:.0}");
    }
    let (mut value, mut unit) = (value, "");
    for next in ["k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// A drawn screen as plain text, without trailing blanks.
pub fn to_text(buffer: &Buffer) -> String {
    let rows = buffer.area.rows().map(|row| {
        let cells = row.columns().filter_map(|column| buffer.cell((column.x, column.y)));
        cells.map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
    });
    let text = rows.collect::<Vec<_>>().join("\n");
    text.trim_end().to_owned() + "\n"
}
