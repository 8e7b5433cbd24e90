//! The recorder's turn: what the kernel noted and what happened becomes a batch, the batch goes into the store, and from there to the outputs.

use std::time::{Duration, Instant};

use super::{
    accounts::Accounts,
    data_path::Swept,
    events::EventWatch,
    in_force::InForce,
    ledger_keeper::{self, LedgerKeeper, Occasion},
    previous_run::{self, Baseline},
    problems::{Alarm, Problems},
    settings::Settings,
    status::RecorderStatus,
};
use crate::{
    directory,
    ledger::First,
    node::Node,
    output::Outputs,
    record::{Batch, Event, EventKind, LossKind},
    store::{StoreError, Writer},
};
use nodewall_host::state::{Clock, StateDir};

/// How often the store is looked at for what is too old or too much.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How often a store that could not be opened is tried again.
const REOPEN_EVERY: Duration = Duration::from_secs(10);
/// How often the chain's head goes to those outputs that want it.
const HEAD_EVERY: Duration = Duration::from_secs(60);
/// How long outputs may take to send what they have, at the end.
const OUTPUTS_END_WITHIN: Duration = Duration::from_secs(2);
/// With so many events that wait for the store, no more are read.
const MAX_WAITING_EVENTS: usize = 1_000;

/// The recorder between two turns.
pub(super) struct Worker {
    state: StateDir,
    in_force: Box<dyn InForce>,
    settings: Settings,
    pub(super) clock: fn() -> Clock,
    problems: Problems,
    store: Option<Writer>,
    opened: Option<Clock>,
    retained: Option<Clock>,
    data_path: Option<Swept>,
    accounts: Accounts,
    waiting: Vec<Event>,
    event_watch: Option<EventWatch>,
    swept_unix_ns: u64,
    swept: Instant,
    /// Something was swept since recorded and counted were compared.
    moved: bool,
    ledger: LedgerKeeper,
    outputs: Option<Outputs>,
    headed: Option<Clock>,
    status: RecorderStatus,
    saved: RecorderStatus,
}

impl Worker {
    pub(super) fn new(state: StateDir, in_force: Box<dyn InForce>, settings: Settings, alarm: Alarm) -> Self {
        let ledger = LedgerKeeper::new(settings.ledger);
        Self {
            state,
            in_force,
            settings,
            clock: Clock::now,
            problems: Problems::new(alarm),
            store: None,
            opened: None,
            retained: None,
            data_path: None,
            accounts: Accounts::default(),
            waiting: Vec::new(),
            event_watch: None,
            swept_unix_ns: Clock::now().unix_ns,
            swept: Instant::now(),
            moved: true,
            ledger,
            outputs: None,
            headed: None,
            status: RecorderStatus::default(),
            saved: RecorderStatus::default(),
        }
    }

    pub(super) fn begin(&mut self) {
        let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
        self.note(EventKind::AgentStarted, format!("nodewall {version}, pid {pid}"));
        self.start_outputs();
        self.turn();
    }

    pub(super) fn configure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if self.settings == before {
            return;
        }
        if self.settings.outputs != before.outputs {
            self.start_outputs();
        }
        if let Some(store) = &mut self.store {
            store.limit(self.settings.limits);
        }
        if let Some(data_path) = &mut self.data_path {
            data_path.tables.configure(self.settings.budget);
            data_path.log_captures_problem();
        }
        self.ledger.configure(self.settings.ledger);
        self.retained = None;
    }

    /// The end: all that was gathered.
    pub(super) fn end(&mut self) {
        self.note(EventKind::AgentStopped, format!("pid {}", std::process::id()));
        self.write(true);
        self.send_head(&(self.clock)());
        if let Some(outputs) = self.outputs.take() {
            outputs.finish(OUTPUTS_END_WITHIN);
        }
    }

    /// Starts the outputs; those before send what they have.
    fn start_outputs(&mut self) {
        if let Some(before) = self.outputs.take() {
            before.finish(OUTPUTS_END_WITHIN);
        }
        match Outputs::start(&self.settings.outputs, &Node::here()) {
            Ok(outputs) => self.outputs = Some(outputs),
            Err(error) => tracing::error!("evidence goes to the store only: {error}"),
        }
    }

    fn send_head(&mut self, now: &Clock) {
        if let (Some(outputs), Some(store)) = (&self.outputs, &self.store) {
            self.headed = Some(now.clone());
            outputs.chain_head(now.unix_ns, store.last_seq(), &store.head());
        }
    }

    /// Once a second.
    pub(super) fn turn(&mut self) {
        self.write(false);
    }

    fn note(&mut self, kind: EventKind, detail: String) {
        let unix_ns = (self.clock)().unix_ns;
        self.waiting.push(Event { unix_ns, kind, detail, who: None, text: None });
    }

    fn write(&mut self, all: bool) {
        let clock = (self.clock)();
        let boot_offset_ns = clock.unix_ns.cast_signed().wrapping_sub(clock.boot_ns.cast_signed());
        // First: captures are granted from here on.
        self.find();
        self.open_store(&clock);
        let mut batch = Batch { unix_ns: clock.unix_ns, boot_offset_ns, ..Batch::default() };
        self.sweep(&mut batch);
        self.compare(clock.unix_ns);
        batch.flows = self.accounts.flows.due(clock.boot_ns, all);
        // What the store does not take waits in the journal, where nothing washes a command out.
        if let (true, Some(watch)) = (self.waiting.len() < MAX_WAITING_EVENTS, &mut self.event_watch) {
            self.waiting.extend(watch.new_events(&*self.in_force, &clock));
        }
        if self.store.is_some() {
            batch.events = std::mem::take(&mut self.waiting);
            batch.losses = self.accounts.losses.take();
        }
        self.append(batch);
        self.put_down(&clock, if all { Occasion::End } else { Occasion::Turn });
        if is_time(self.headed.as_ref(), &clock, HEAD_EVERY) {
            self.send_head(&clock);
        }
        self.retain(&clock);
        self.save_status();
    }

    /// Brings the ledger up to date.
    fn put_down(&mut self, clock: &Clock, occasion: Occasion) {
        let done = self.ledger.turn(&self.state, self.data_path.as_ref(), clock, occasion);
        match done {
            Ok(None) => {}
            Ok(Some(found)) => {
                self.problems.of_ledger(None);
                let uses = found.iter().filter(|first| matches!(first, First::PeerPort(_)));
                self.status.first_uses += uses.count() as u64;
                self.waiting.extend(found.iter().map(|first| ledger_keeper::event(first, clock.unix_ns)));
            }
            Err(problem) => self.problems.of_ledger(Some(problem.to_string())),
        }
    }

    /// Opens the store, or tries again.
    fn open_store(&mut self, now: &Clock) {
        if self.store.is_some() || !is_time(self.opened.as_ref(), now, REOPEN_EVERY) {
            return;
        }
        self.opened = Some(now.clone());
        match Writer::open(&directory(&self.state), self.settings.limits) {
            Ok(mut opened) => {
                if let Some((aside, problem)) = opened.set_aside {
                    let what = format!(
                        "the store of evidence was damaged ({problem}): it is now {}, and a new one begun",
                        aside.display()
                    );
                    tracing::error!("{what}");
                    self.note(EventKind::Operator("store_set_aside".to_owned()), what);
                }
                let recorded = previous_run::read(&opened.writer, previous_run::RECORDED).unwrap_or_default();
                self.event_watch = Some(EventWatch::new(self.state.clone(), recorded));
                self.accounts.baseline = previous_run::read(&opened.writer, previous_run::BASELINE).unwrap_or_default();
                self.resume(&mut opened.writer, now);
                // A data path that this store has not met. What was swept of it already waits to be written.
                if let Some(id) = self.new_to_store() {
                    let [packets, bytes] = opened.writer.totals().denied();
                    self.accounts.baseline = Baseline { data_path: id, packets, bytes };
                }
                self.store = Some(opened.writer);
                self.save_baseline();
                self.problems.of_store(None);
                self.moved = true;
            }
            Err(error) => self.problem(&error),
        }
    }

    /// How the one before left the store. Opened once more by this one, it is this one's.
    fn resume(&mut self, store: &mut Writer, now: &Clock) {
        if self.accounts.complete_until_ns.is_some() {
            return;
        }
        let last = store.last_word().unwrap_or_else(|error| {
            tracing::warn!("evidence: how the agent before ended can not be read: {error}");
            None
        });
        self.accounts.complete_until_ns = Some(previous_run::complete_until_ns(last, now));
        let boot: Option<String> = previous_run::read(store, previous_run::BOOT);
        if let Some(event) = previous_run::cut_off(last, boot.as_deref(), now) {
            tracing::warn!("evidence: {}", event.detail);
            self.waiting.insert(0, event);
        }
        previous_run::write(store, previous_run::BOOT, &now.boot_id);
    }

    fn problem(&mut self, error: &StoreError) {
        self.problems.of_store(Some(format!("evidence is not recorded: {error}")));
    }

    /// Finds the data path, or notices that it is another.
    fn find(&mut self) {
        if let Some(data_path) = &self.data_path {
            match data_path.tables.is_pinned() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return tracing::debug!("evidence: {error}"),
            }
            // Its last word; then the one that is there now.
            let mut batch = Batch::default();
            self.sweep(&mut batch);
            self.put_down(&Clock::now(), Occasion::Gone);
            let (captures, at_ns) = (batch.captures.len() as u64, self.swept_unix_ns);
            self.accounts.losses.add(LossKind::CaptureStore, captures, 0, at_ns, at_ns);
            self.data_path = None;
        }
        match Swept::find(&*self.in_force, self.settings.budget) {
            Ok(found) => {
                self.problems.of_data_path(None);
                let Some(data_path) = found else { return };
                data_path.log_captures_problem();
                (self.data_path, self.moved) = (Some(data_path), true);
                if let (Some(id), Some(store)) = (self.new_to_store(), &self.store) {
                    // None of what was recorded so far is of this one.
                    let [packets, bytes] = self.accounts.accounted(store.totals().denied());
                    self.accounts.baseline = Baseline { data_path: id, packets, bytes };
                    self.save_baseline();
                }
            }
            Err(error) => self.problems.of_data_path(Some(format!("evidence is not recorded: {error}"))),
        }
    }

    /// Names the data path if the baseline is of another.
    fn new_to_store(&self) -> Option<String> {
        let id = &self.data_path.as_ref()?.id;
        (*id != self.accounts.baseline.data_path).then(|| id.clone())
    }

    fn save_baseline(&mut self) {
        if let Some(store) = &mut self.store {
            previous_run::write(store, previous_run::BASELINE, &self.accounts.baseline);
        }
    }

    fn sweep(&mut self, batch: &mut Batch) {
        let Some(data_path) = &mut self.data_path else { return };
        let elapsed_ns = u64::try_from(self.swept.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.swept = Instant::now();
        let now = (self.clock)();
        let since_ns = std::mem::replace(&mut self.swept_unix_ns, now.unix_ns).min(now.unix_ns);
        let sweep = match data_path.tables.sweep(elapsed_ns) {
            Ok(sweep) => sweep,
            Err(error) => return self.problems.of_data_path(Some(format!("evidence is not recorded: {error}"))),
        };
        self.problems.of_data_path(None);
        if sweep.denied_packets == 0 && sweep.captures.is_empty() {
            return;
        }
        self.moved = true;
        if let Err(error) = data_path.refresh_names() {
            tracing::debug!("evidence: names may be old: {error}");
        }
        let has_buffers = data_path.tables.captures_problem().is_none();
        self.accounts.take(&sweep, &mut data_path.names, has_buffers, since_ns, &now);
        let offset_ns = now.unix_ns.cast_signed().wrapping_sub(now.boot_ns.cast_signed());
        let captures = sweep.captures.into_iter().filter_map(|captured| data_path.names.capture(captured, offset_ns));
        batch.captures.extend(captures);
    }

    /// At a pause: what the counters have and the accounts have not is missing.
    fn compare(&mut self, now_ns: u64) {
        let (Some(data_path), Some(store)) = (&self.data_path, &self.store) else { return };
        if !self.moved || data_path.tables.has_moved() {
            return;
        }
        let counted = match data_path.tables.denied() {
            Ok(counted) => counted,
            Err(error) => return tracing::debug!("evidence: {error}"),
        };
        // Something came meanwhile: at the next pause.
        if data_path.tables.has_moved() {
            return;
        }
        self.moved = false;
        self.accounts.compare(counted, store.totals().denied(), now_ns);
    }

    fn append(&mut self, batch: Batch) {
        let Some(store) = &mut self.store else {
            return self.not_kept(batch);
        };
        if batch.is_empty() {
            return;
        }
        match store.append(&batch) {
            Ok(appended) => {
                if let Some(outputs) = &self.outputs {
                    outputs.send(appended.seq, &batch);
                }
                if let Some(watch) = self.event_watch.as_ref().filter(|_| !batch.events.is_empty()) {
                    previous_run::write(store, previous_run::RECORDED, &watch.recorded);
                }
                self.problems.of_store(None);
                self.status.last_unix_ns = batch.unix_ns;
            }
            Err(error) => {
                self.problem(&error);
                if matches!(error, StoreError::Damaged { .. }) {
                    // Opened anew, it is set aside.
                    (self.store, self.opened) = (None, None);
                }
                self.not_kept(batch);
            }
        }
    }

    fn not_kept(&mut self, batch: Batch) {
        self.accounts.not_kept(&batch);
        self.waiting.splice(..0, batch.events);
    }

    fn retain(&mut self, now: &Clock) {
        let Some(store) = &mut self.store else { return };
        // When it was full, at once.
        let is_full = self.problems.is_stuck();
        if !is_time(self.retained.as_ref(), now, RETAIN_EVERY) && !is_full {
            return;
        }
        self.retained = Some(now.clone());
        let retained = store.retain(now);
        self.problems.of_retention(retained.err().map(|error| format!("old evidence stays: {error}")));
    }

    /// For `status` and the exporters.
    fn save_status(&mut self) {
        if let Some(store) = &self.store {
            let totals = store.totals();
            self.status.flow_packets = totals.flow_packets;
            self.status.captures = totals.captures;
            self.status.losses = LossKind::ALL.map(|kind| (kind.name().to_owned(), totals.loss(kind)[0])).into();
            self.status.last_seq = store.last_seq();
        }
        if let Some(outputs) = &self.outputs {
            self.status.outputs = outputs.status();
        }
        self.status.problem = self.problems.first().cloned();
        self.status.captures_problem = self.data_path.as_ref().and_then(|path| path.tables.captures_problem());
        if self.status != self.saved {
            if let Err(error) = self.state.write_note(&self.status) {
                tracing::debug!("evidence: how it stands could not be noted: {error}");
            }
            self.saved = self.status.clone();
        }
    }
}

fn is_time(last: Option<&Clock>, now: &Clock, every: Duration) -> bool {
    last.is_none_or(|last| now.since(last) >= every)
}
