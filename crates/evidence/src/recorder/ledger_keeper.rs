//! The ledger's part of the recorder's turn: once a minute, and whenever the data path or the agent goes, what the counters say that the ledger does not is
//! put down with the time in which it was counted. What fails is tried again, and nothing of it is lost: the book stands where it stood.

use super::{data_path::Swept, in_force::Failure};
use crate::{
    ledger::{Account, Book, First, LedgerWriter, Loss, Period, Rules},
    record::{Event, EventKind},
    store::StoreError,
};
use nodewall_host::state::{Clock, StateDir};
use nodewall_policy::config::show;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_S: u64 = 60;
/// After how long what failed is tried again.
const RETRY_AFTER_S: u64 = 10;

/// Why the ledger is looked after.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A turn like any other.
    Turn,
    /// The agent ends.
    End,
    /// The data path's pins are gone; it is read for the last time.
    Gone,
}

/// Keeps the ledger.
pub(super) struct LedgerKeeper {
    rules: Rules,
    open: Option<Open>,
    /// When the last try failed, by the boot's clock, s.
    failed_boot_s: Option<u64>,
    /// A write found it damaged.
    is_damaged: bool,
}

struct Open {
    writer: LedgerWriter,
    book: Book,
    /// Until when the ledger is written.
    written: Option<Written>,
}

/// Until when the ledger is written, by both clocks.
#[derive(Clone, Copy)]
struct Written {
    unix_s: u64,
    boot_s: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    #[error("the ledger of traffic is not written: {0}")]
    Store(#[from] StoreError),
    #[error("the ledger of traffic is not written: {0}")]
    Kernel(Failure),
}

impl LedgerKeeper {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, open: None, failed_boot_s: None, is_damaged: false }
    }

    pub(super) fn configure(&mut self, rules: Rules) {
        self.rules = rules;
        if let Some(open) = &mut self.open {
            open.writer.limit(rules);
        }
    }

    /// Puts down what is due; all of it at the end of the agent or the data path. Returns what is there for the first time; `None`: it was not tried.
    pub(super) fn turn(
        &mut self,
        state: &StateDir,
        data_path: Option<&Swept>,
        clock: &Clock,
        occasion: Occasion,
    ) -> Result<Option<Vec<First>>, LedgerError> {
        let boot_s = clock.boot_ns / SECOND_NS;
        let is_early = self.failed_boot_s.is_some_and(|failed| boot_s < failed + RETRY_AFTER_S);
        if is_early && occasion == Occasion::Turn {
            return Ok(None);
        }
        let done = self.put_down(state, data_path, clock, occasion);
        self.failed_boot_s = done.is_err().then_some(boot_s);
        if matches!(done, Err(LedgerError::Store(StoreError::Damaged { .. }))) {
            // Opened anew, it is set aside.
            (self.open, self.is_damaged) = (None, true);
        }
        done.map(Some)
    }

    fn put_down(
        &mut self,
        state: &StateDir,
        data_path: Option<&Swept>,
        clock: &Clock,
        occasion: Occasion,
    ) -> Result<Vec<First>, LedgerError> {
        if self.open.is_none() {
            let opened = LedgerWriter::open(&crate::directory(state), self.rules, self.is_damaged)?;
            self.is_damaged = false;
            if let (_, Some((aside, problem))) = &opened {
                let aside = aside.display();
                tracing::error!(
                    "the ledger of traffic was damaged ({problem}): it is now {aside}, and a new one begun"
                );
            }
            let writer = opened.0;
            let book = writer.book()?.unwrap_or_default();
            let written = writer.written()?.map(|(unix_s, boot_s)| Written { unix_s, boot_s });
            self.open = Some(Open { writer, book, written });
        }
        match (&mut self.open, data_path) {
            (Some(open), Some(data_path)) => open.put_down(data_path, clock, occasion),
            _ => Ok(Vec::new()),
        }
    }
}

impl Open {
    fn put_down(&mut self, data_path: &Swept, clock: &Clock, occasion: Occasion) -> Result<Vec<First>, LedgerError> {
        let now = Written { unix_s: clock.unix_ns / SECOND_NS, boot_s: clock.boot_ns / SECOND_NS };
        let is_new = self.book.data_path != data_path.id;
        // By the wall clock, so that minutes are whole; by the boot's, should the wall clock stand or go back.
        let minute_is_over = self.written.is_none_or(|written| {
            written.unix_s / MINUTE_S != now.unix_s / MINUTE_S || now.boot_s >= written.boot_s + MINUTE_S
        });
        if occasion == Occasion::Turn && !is_new && !minute_is_over {
            return Ok(Vec::new());
        }
        let mut first_unix_s = self.since(&clock.boot_id, now);
        if let Some(began_ns) = data_path.tables.began_unix_ns().filter(|_| is_new) {
            first_unix_s = first_unix_s.max(began_ns / SECOND_NS).min(now.unix_s);
        }
        let is_lost = is_new && !self.book.data_path.is_empty() && !self.book.closed;
        let lost = self.written.filter(|_| is_lost).map(|written| Loss {
            period: Period { first_unix_s: written.unix_s, until_unix_s: first_unix_s.max(written.unix_s) },
            why: "the counters are gone, by a restart of the node or a detach: what they counted last is not known",
        });
        let mut book = if is_new { Book::new(data_path.id.clone()) } else { self.book.clone() };
        let new = book.take(&data_path.tables.counted().map_err(LedgerError::Kernel)?);
        book.closed = occasion == Occasion::Gone;
        let period = Period { first_unix_s, until_unix_s: now.unix_s };
        let found = self.writer.write(period, now.boot_s, &new, &book, lost)?;
        (self.book, self.written) = (book, Some(now));
        Ok(found)
    }

    /// Since when what is new was counted, Unix s. The wall clock may have been set meanwhile; the boot's was not.
    fn since(&self, boot_id: &str, now: Written) -> u64 {
        // Of another boot, or never written: the counters began with this boot, or later.
        let of_this_boot = self.written.filter(|_| self.book.data_path.starts_with(boot_id));
        let began_boot_s = of_this_boot.map_or(0, |written| written.boot_s);
        now.unix_s.saturating_sub(now.boot_s.saturating_sub(began_boot_s))
    }
}

/// What a first use, or a silence, is as an event.
pub(super) fn event(first: &First, unix_ns: u64) -> Event {
    let port = |Account { place, .. }: &Account| {
        let port = place.port().map(|port| port.to_string()).or_else(|| place.range()).unwrap_or_default();
        let class = place.class.as_ref().map_or(String::new(), |class| format!(" ({class})"));
        format!("port {port}/{}{class}", place.protocol.unwrap_or("ip"))
    };
    let (kind, detail) = match first {
        First::Port(account) => (EventKind::PortFirstUse, format!("{} was used for the first time", port(account))),
        First::PeerPort(account) => {
            let peer = account.peer.map_or(String::new(), |peer| show(&peer));
            (EventKind::PeerFirstUse, format!("{peer} used {} for the first time", port(account)))
        }
        First::PeerSilent { peer, for_s } => {
            let minutes = for_s / 60;
            (EventKind::PeerSilent, format!("{} has sent nothing for {minutes} minutes, longer than ever", show(peer)))
        }
    };
    Event { unix_ns, kind, detail, who: None, text: None }
}
