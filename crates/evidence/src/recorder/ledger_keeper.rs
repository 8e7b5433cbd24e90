//! The ledger's part of the recorder's turn: once a minute, and whenever the data path or the agent goes, what the counters say that the ledger does not is
//! put down with the time in which it was counted. What fails is tried again a minute later, and nothing of it is lost: the book stands where it stood.

use super::data_path::Swept;
use crate::{
    ledger::{Account, Book, First, LedgerWriter, Period, Rules},
    record::{Event, EventKind},
    store::StoreError,
};
use nodewall_host::state::{Clock, StateDir};
use nodewall_policy::config::show;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_S: u64 = 60;
/// How often a ledger that could not be opened is tried again.
const REOPEN_EVERY_S: u64 = 10;

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
    tried_boot_s: Option<u64>,
}

struct Open {
    writer: LedgerWriter,
    book: Book,
    /// Until when the ledger is written.
    written: Option<Written>,
    /// The minute of the boot's clock in which it was tried last.
    tried_boot_s: u64,
}

/// Until when the ledger is written, by both clocks.
#[derive(Clone, Copy)]
struct Written {
    unix_s: u64,
    boot_s: u64,
}

impl LedgerKeeper {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, open: None, tried_boot_s: None }
    }

    pub(super) fn configure(&mut self, rules: Rules) {
        self.rules = rules;
        if let Some(open) = &mut self.open {
            open.writer.limit(rules);
        }
    }

    /// Puts down what is due; all of it at the end of the agent or the data path. Returns what is there for the first time; the error is why something could
    /// not be put down.
    pub(super) fn turn(
        &mut self,
        state: &StateDir,
        data_path: Option<&Swept>,
        clock: &Clock,
        occasion: Occasion,
    ) -> Result<Vec<First>, String> {
        let boot_s = clock.boot_ns / SECOND_NS;
        if self.open.is_none() {
            if self.tried_boot_s.is_some_and(|tried| boot_s < tried + REOPEN_EVERY_S) {
                return Ok(Vec::new());
            }
            self.tried_boot_s = Some(boot_s);
            let writer = LedgerWriter::open(&crate::directory(state), self.rules).map_err(|error| told(&error))?;
            let book = writer.book().map_err(|error| told(&error))?.unwrap_or_default();
            let written =
                writer.written().map_err(|error| told(&error))?.map(|(unix_s, boot_s)| Written { unix_s, boot_s });
            self.open = Some(Open { writer, book, written, tried_boot_s: 0 });
        }
        let (Some(open), Some(data_path)) = (&mut self.open, data_path) else { return Ok(Vec::new()) };
        let done = open.put_down(data_path, clock, occasion);
        if matches!(done, Err(Failed::Store(StoreError::Damaged { .. }))) {
            // Opened anew, what is wrong is told again.
            self.open = None;
        }
        done.map_err(|failed| match failed {
            Failed::Store(error) => told(&error),
            Failed::Kernel(why) => format!("the ledger of traffic is not written: {why}"),
        })
    }
}

fn told(error: &StoreError) -> String {
    format!("the ledger of traffic is not written: {error}")
}

enum Failed {
    Store(StoreError),
    Kernel(String),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Open {
    fn put_down(&mut self, data_path: &Swept, clock: &Clock, occasion: Occasion) -> Result<Vec<First>, Failed> {
        let now = Written { unix_s: clock.unix_ns / SECOND_NS, boot_s: clock.boot_ns / SECOND_NS };
        let is_new = self.book.data_path != data_path.id;
        // By the wall clock, so that minutes are whole; by the boot's, should the wall clock stand or go back.
        let minute_is_over = self.written.is_none_or(|written| {
            written.unix_s / MINUTE_S != now.unix_s / MINUTE_S || now.boot_s >= written.boot_s + MINUTE_S
        });
        let tried = now.boot_s < self.tried_boot_s + REOPEN_EVERY_S;
        if occasion == Occasion::Turn && !is_new && (!minute_is_over || tried) {
            return Ok(Vec::new());
        }
        self.tried_boot_s = now.boot_s;
        let mut first_unix_s = self.since(&clock.boot_id, now);
        if let Some(began_ns) = data_path.tables.began_unix_ns().filter(|_| is_new) {
            first_unix_s = first_unix_s.max(began_ns / SECOND_NS).min(now.unix_s);
        }
        if let Some(written) = self.written.filter(|_| is_new && !self.book.data_path.is_empty() && !self.book.closed) {
            let why =
                "the counters are gone, by a restart of the node or a detach: what they counted last is not known";
            let until_unix_s = first_unix_s.max(written.unix_s);
            self.writer.lost(Period { first_unix_s: written.unix_s, until_unix_s }, why)?;
        }
        let mut book = if is_new { Book::new(data_path.id.clone()) } else { self.book.clone() };
        let counted = data_path.tables.counted().map_err(|error| Failed::Kernel(error.to_string()))?;
        let new = book.take(&counted);
        book.closed = occasion == Occasion::Gone;
        let period = Period { first_unix_s, until_unix_s: now.unix_s };
        let found = self.writer.write(period, now.boot_s, &new, &book)?;
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
    let port = |account: &Account| {
        let (first, last) = account.ports.unwrap_or_default();
        let port = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let class = account.class.as_ref().map_or(String::new(), |class| format!(" ({class})"));
        format!("port {port}/{}{class}", account.protocol.unwrap_or("ip"))
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
