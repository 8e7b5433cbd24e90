//! `nodewall top`: reads the live system again and again, and shows it. What is shown and how is `ui::top`'s.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use ratatui::{
    DefaultTerminal,
    buffer::Buffer,
    crossterm::{
        event::{self, Event},
        terminal,
    },
    layout::Rect,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::{EndSignals, FINE, Failure, block_on, print};
use crate::{
    cli::{Color, Common, Output, TopArgs},
    peers::Registry,
    ui::{
        self,
        top::{KeyAction, Model, Palette, Reading, draw, press, to_text},
    },
    view::{counters::Counters, denied_sources::DeniedSources, peers::Peers, status},
};
use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::state::{Clock, StateDir};
use nodewall_text::out::no_color;

/// Where the output is no terminal: a frame of the classic size.
const PLAIN: (u16, u16) = (80, 24);
/// How often the thread that waits for keys looks whether anybody still reads them.
const KEYS_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(common: &Common, args: &TopArgs) -> Result<u8, Failure> {
    let color = match common.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !args.once && !no_color(),
    };
    let look = Palette { color };
    if args.once {
        block_on(once(common, look, args.interval))??;
    } else if common.output != Output::Table {
        return Err(Failure::usage(anyhow!(
            "-o: the screen has no other form; `nodewall top --once -o json` prints one look"
        )));
    } else {
        block_on(live(common, look, args.interval))??;
    }
    Ok(FINE)
}

/// One frame, of the rates within one interval.
async fn once(common: &Common, look: Palette, interval: Duration) -> anyhow::Result<()> {
    let mut model = Model::default();
    model.read(read(common).await?);
    tokio::time::sleep(interval).await;
    model.read(read(common).await?);
    if common.output != Output::Table {
        return print(common, &model.look(), |_| Ok(()));
    }
    let (width, height) = if ui::is_terminal() { terminal::size().unwrap_or(PLAIN) } else { PLAIN };
    let mut frame = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&model, look, frame.area, &mut frame);
    ui::print_lines(&to_text(&frame))
}

async fn live(common: &Common, look: Palette, interval: Duration) -> anyhow::Result<()> {
    if !ui::is_terminal() || !io::stdin().is_terminal() {
        bail!("top wants a terminal; `nodewall top --once` prints one frame to anything");
    }
    // What can not be read at all is told before the screen is taken.
    let first = read(common).await?;
    let terminal = ratatui::try_init().context("can not take the terminal")?;
    let outcome = watch(terminal, common, look, interval, first).await;
    ratatui::try_restore().context("can not give the terminal back; `reset` does")?;
    outcome
}

async fn watch(
    mut terminal: DefaultTerminal,
    common: &Common,
    look: Palette,
    interval: Duration,
    first: Reading,
) -> anyhow::Result<()> {
    let mut model = Model::default();
    model.read(first);
    let mut events = events();
    let mut end = EndSignals::listen()?;
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| draw(&model, look, frame.area(), frame.buffer_mut()))?;
        tokio::select! {
            biased;
            () = end.come() => return Ok(()),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => {
                    if press(&mut model, key) == KeyAction::Quit {
                        return Ok(());
                    }
                }
                // A new size is drawn.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the terminal can not be read"),
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(next.into()) => {
                match read(common).await {
                    Ok(reading) => model.read(reading),
                    Err(error) => model.fail(format!("{error:#}")),
                }
                next = Instant::now() + interval;
            }
        }
    }
}

/// Keys and new sizes, from a thread that waits for them; it ends soon after the receiver is gone.
fn events() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEYS_EVERY) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

async fn read(common: &Common) -> anyhow::Result<Reading> {
    let state = StateDir::open(&common.state_dir)?;
    let (status, _) = status::look(&common.bpffs, state.as_ref()).await?;
    let counters = counters(&common.bpffs)?;
    let now = Clock::now();
    let mut peers = None;
    let mut denied = Vec::new();
    if let Some(state) = state {
        // What can not be read is told by `events`, and is no reason to show nothing.
        denied = DeniedSources::read(&state, now.unix_ns).map(|denied| denied.sources).unwrap_or_default();
        let registry = Registry::load(&state)?;
        peers = (!registry.is_new()).then(|| Peers::of(&registry, &now));
    }
    let since_boot = clock_gettime(ClockId::Boottime);
    let at = Duration::new(since_boot.tv_sec.unsigned_abs(), u32::try_from(since_boot.tv_nsec).unwrap_or(0));
    Ok(Reading { at, unix_ns: now.unix_ns, status, counters, peers, denied })
}

fn counters(bpffs: &Path) -> Result<Option<Counters>, DatapathError> {
    let Some((_, maps)) = Maps::live(bpffs)? else { return Ok(None) };
    match Counters::read(&maps) {
        Ok(counters) => Ok(Some(counters)),
        Err(DatapathError::NoPolicy) => Ok(None),
        Err(error) => Err(error),
    }
}
