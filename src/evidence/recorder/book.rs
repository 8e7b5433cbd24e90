//! The recorder's turn: what the kernel noted and what happened becomes a batch, the batch goes into the store. Keeps count, so that what is recorded and
//! what is known to be missing always add up to what the counters say was denied.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    Alarm, Settings,
    flows::{Flows, Losses},
    happenings::Happenings,
    live::Live,
    notes::{self, Base},
    problems::Problems,
};
use crate::evidence::{
    Standing, directory,
    node::Node,
    outlet::Outlets,
    record::{Batch, Event, EventKind, LossKind},
    store::{StoreError, Writer},
};
use nodewall_host::state::{Clock, StateDir};

/// How often the store is looked at for what is too old or too much.
const RETAIN_EVERY_NS: u64 = 60_000_000_000;
/// How often a store that could not be opened is tried again.
const REOPEN_EVERY_NS: u64 = 10_000_000_000;
/// How often the chain's head goes to those outputs that want it.
const HEAD_EVERY_NS: u64 = 60_000_000_000;
/// How long outputs may take to send what they have, at the end.
const OUTLETS_END_WITHIN: Duration = Duration::from_secs(2);
/// Events that wait for the store.
const MAX_WAITING_EVENTS: usize = 1_000;

/// The recorder between two turns.
pub(super) struct Book {
    state: StateDir,
    bpffs: PathBuf,
    settings: Settings,
    problems: Problems,
    store: Option<Writer>,
    opened_ns: u64,
    retained_ns: u64,
    live: Option<Live>,
    base: Base,
    flows: Flows,
    losses: Losses,
    waiting: Vec<Event>,
    happenings: Option<Happenings>,
    swept_unix_ns: u64,
    swept: Instant,
    /// Something was swept since recorded and counted were compared.
    moved: bool,
    /// Until when nothing that was denied is missing; `None`: no store was met yet.
    complete_until_ns: Option<u64>,
    outlets: Option<Outlets>,
    headed_ns: u64,
    standing: Standing,
    told: Standing,
}

impl Book {
    pub(super) fn new(state: StateDir, bpffs: PathBuf, settings: Settings, alarm: Alarm) -> Self {
        Self {
            state,
            bpffs,
            settings,
            problems: Problems::new(alarm),
            store: None,
            opened_ns: 0,
            retained_ns: 0,
            live: None,
            base: Base::default(),
            flows: Flows::default(),
            losses: Losses::default(),
            waiting: Vec::new(),
            happenings: None,
            swept_unix_ns: Clock::now().unix_ns,
            swept: Instant::now(),
            moved: true,
            complete_until_ns: None,
            outlets: None,
            headed_ns: 0,
            standing: Standing::default(),
            told: Standing::default(),
        }
    }

    pub(super) fn begin(&mut self) {
        let detail = format!("nodewall {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
        self.note(EventKind::AgentStarted, detail);
        self.start_outlets();
        self.turn();
    }

    pub(super) fn configure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if self.settings == before {
            return;
        }
        if self.settings.outputs != before.outputs {
            self.start_outlets();
        }
        if let Some(store) = &mut self.store {
            store.limit(self.settings.limits);
        }
        if let Some(live) = &mut self.live {
            live.evidence.configure(self.settings.budget);
            live.tell_refused();
        }
        self.retained_ns = 0;
    }

    /// The end: all that was gathered.
    pub(super) fn end(&mut self) {
        self.note(EventKind::AgentStopped, format!("pid {}", std::process::id()));
        self.write(true);
        self.send_head(Clock::now().unix_ns);
        if let Some(outlets) = self.outlets.take() {
            outlets.finish(OUTLETS_END_WITHIN);
        }
    }

    /// Starts the outputs; those before send what they have.
    fn start_outlets(&mut self) {
        if let Some(before) = self.outlets.take() {
            before.finish(OUTLETS_END_WITHIN);
        }
        match Outlets::start(&self.settings.outputs, &Node::here()) {
            Ok(outlets) => self.outlets = Some(outlets),
            Err(error) => tracing::error!("evidence goes to the store only: {error}"),
        }
    }

    fn send_head(&mut self, now_ns: u64) {
        if let (Some(outlets), Some(store)) = (&self.outlets, &self.store) {
            self.headed_ns = now_ns;
            outlets.chain_head(now_ns, store.last_seq(), &store.head());
        }
    }

    /// Once a second.
    pub(super) fn turn(&mut self) {
        self.write(false);
    }

    fn note(&mut self, kind: EventKind, detail: String) {
        let unix_ns = Clock::now().unix_ns;
        self.waiting.push(Event { unix_ns, kind, detail, who: None, text: None });
    }

    fn write(&mut self, all: bool) {
        let clock = Clock::now();
        let boot_offset_ns = clock.unix_ns.cast_signed().wrapping_sub(clock.boot_ns.cast_signed());
        // First: captures are granted from here on.
        self.find();
        self.open_store(&clock);
        let mut batch = Batch { unix_ns: clock.unix_ns, boot_offset_ns, ..Batch::default() };
        self.sweep(&mut batch);
        self.compare(clock.unix_ns);
        batch.flows = self.flows.due(clock.unix_ns, all);
        if let Some(happenings) = &mut self.happenings {
            self.waiting.extend(happenings.new_events());
        }
        let beyond = self.waiting.len().saturating_sub(MAX_WAITING_EVENTS);
        self.waiting.drain(..beyond);
        if self.store.is_some() {
            batch.events = std::mem::take(&mut self.waiting);
            batch.losses = self.losses.take();
        }
        self.append(batch);
        if clock.unix_ns.saturating_sub(self.headed_ns) >= HEAD_EVERY_NS {
            self.send_head(clock.unix_ns);
        }
        self.retain(clock.unix_ns);
        self.tell();
    }

    /// Opens the store, or tries again.
    fn open_store(&mut self, now: &Clock) {
        if self.store.is_some() || now.unix_ns.saturating_sub(self.opened_ns) < REOPEN_EVERY_NS {
            return;
        }
        self.opened_ns = now.unix_ns;
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
                let known = notes::read(&opened.writer, notes::KNOWN).unwrap_or_default();
                self.happenings = Some(Happenings::new(self.state.clone(), known));
                self.base = notes::read(&opened.writer, notes::BASE).unwrap_or_default();
                self.resume(&mut opened.writer, now);
                // A data path that this store has not met. What was swept of it already waits to be written.
                if let Some(live) = self.live.as_ref().filter(|live| live.id != self.base.live) {
                    let [packets, bytes] = opened.writer.totals().denied();
                    self.base = Base { live: live.id.clone(), packets, bytes };
                }
                self.store = Some(opened.writer);
                self.note_base();
                self.problems.of_store(None);
                self.moved = true;
            }
            Err(error) => self.problem(&error),
        }
    }

    /// How the one before left the store. Opened once more by this one, it is this one's.
    fn resume(&mut self, store: &mut Writer, now: &Clock) {
        if self.complete_until_ns.is_some() {
            return;
        }
        let last = store.last_word().unwrap_or_else(|error| {
            tracing::warn!("evidence: how the agent before ended can not be read: {error}");
            None
        });
        self.complete_until_ns = Some(notes::complete_until_ns(last, now));
        let boot: Option<String> = notes::read(store, notes::BOOT);
        if let Some(event) = notes::cut_off(last, boot.as_deref(), now) {
            tracing::warn!("evidence: {}", event.detail);
            self.waiting.insert(0, event);
        }
        if let Err(error) = notes::write(store, notes::BOOT, &now.boot_id) {
            tracing::warn!("evidence: {error}");
        }
    }

    fn problem(&mut self, error: &StoreError) {
        self.problems.of_store(Some(format!("evidence is not recorded: {error}")));
    }

    /// Finds the data path, or notices that it is another.
    fn find(&mut self) {
        if let Some(live) = &self.live {
            match live.is_pinned() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return tracing::debug!("evidence: {error}"),
            }
            // Its last word; then the one that is there now.
            let mut batch = Batch::default();
            self.sweep(&mut batch);
            self.losses.add(
                LossKind::CaptureStore,
                batch.captures.len() as u64,
                0,
                self.swept_unix_ns,
                self.swept_unix_ns,
            );
            self.live = None;
        }
        match Live::find(&self.bpffs, self.settings.budget) {
            Ok(Some(live)) => {
                if let Some(store) = self.store.as_ref().filter(|_| live.id != self.base.live) {
                    // None of what was recorded so far is of this one.
                    let ([packets, bytes], [waiting, waiting_bytes]) = (store.totals().denied(), self.flows.waiting());
                    let [lost, lost_bytes] = self.losses.denied();
                    self.base = Base {
                        live: live.id.clone(),
                        packets: packets + waiting + lost,
                        bytes: bytes + waiting_bytes + lost_bytes,
                    };
                    self.note_base();
                }
                live.tell_refused();
                (self.live, self.moved) = (Some(live), true);
                self.problems.of_data_path(None);
            }
            Ok(None) => self.problems.of_data_path(None),
            Err(error) => self.problems.of_data_path(Some(format!("evidence is not recorded: {error}"))),
        }
    }

    fn note_base(&mut self) {
        if let Some(store) = &mut self.store
            && let Err(error) = notes::write(store, notes::BASE, &self.base)
        {
            tracing::warn!("evidence: {error}");
        }
    }

    fn sweep(&mut self, batch: &mut Batch) {
        let Some(live) = &mut self.live else { return };
        let elapsed_ns = u64::try_from(self.swept.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.swept = Instant::now();
        let now = Clock::now();
        let since_ns = std::mem::replace(&mut self.swept_unix_ns, now.unix_ns).min(now.unix_ns);
        let sweep = match live.evidence.sweep(elapsed_ns) {
            Ok(sweep) => sweep,
            Err(error) => return tracing::error!("evidence: {error}"),
        };
        if sweep.denied_packets == 0 && sweep.captures.is_empty() {
            return;
        }
        self.moved = true;
        if let Err(error) = live.refresh_names() {
            tracing::debug!("evidence: names may be old: {error}");
        }
        let until_ns = now.unix_ns;
        self.flows.take(&sweep.flows, &mut live.names, since_ns, until_ns, &mut self.losses);
        let (packets, bytes) = (sweep.not_attributed_packets, sweep.not_attributed_bytes);
        self.losses.add(LossKind::NotAttributed, packets, bytes, since_ns, until_ns);
        // Without buffers nothing is granted.
        let refused = live.evidence.refused().is_some();
        let not_granted = if refused { LossKind::CaptureBuffer } else { LossKind::CaptureBudget };
        self.losses.add(not_granted, sweep.over_budget, 0, since_ns, until_ns);
        self.losses.add(LossKind::CaptureBuffer, sweep.unread, 0, since_ns, until_ns);
        let offset_ns = now.unix_ns.cast_signed().wrapping_sub(now.boot_ns.cast_signed());
        let captures = sweep.captures.into_iter().filter_map(|captured| live.names.capture(captured, offset_ns));
        batch.captures.extend(captures);
    }

    /// At a pause: what the counters have and the book has not was denied while nobody recorded, or was lost with a killed agent.
    fn compare(&mut self, now_ns: u64) {
        let (Some(live), Some(store)) = (&self.live, &self.store) else { return };
        if !self.moved || live.evidence.moved() {
            return;
        }
        let counted = match live.denied() {
            Ok(counted) => counted,
            Err(error) => return tracing::debug!("evidence: {error}"),
        };
        // Something came meanwhile: at the next pause.
        if live.evidence.moved() {
            return;
        }
        self.moved = false;
        let sum = |at: usize, base: u64| {
            let parts = [store.totals().denied(), self.flows.waiting(), self.losses.denied()];
            parts.iter().filter_map(|part| part.get(at)).sum::<u64>().saturating_sub(base)
        };
        let [packets, bytes] = counted;
        let (missing, missing_bytes) =
            (packets.saturating_sub(sum(0, self.base.packets)), bytes.saturating_sub(sum(1, self.base.bytes)));
        let since_ns = self.complete_until_ns.replace(now_ns).unwrap_or(now_ns).min(now_ns);
        self.losses.add(LossKind::Unrecorded, missing, missing_bytes, since_ns, now_ns);
    }

    fn append(&mut self, batch: Batch) {
        let Some(store) = &mut self.store else {
            return self.not_kept(batch);
        };
        if batch.is_empty() {
            return;
        }
        let known = self.happenings.as_ref().map(|happenings| happenings.known.clone());
        match store.append(&batch) {
            Ok(appended) => {
                if let Some(outlets) = &self.outlets {
                    outlets.send(appended.seq, &batch);
                }
                if !batch.events.is_empty()
                    && let Some(known) = known
                    && let Err(error) = notes::write(store, notes::KNOWN, &known)
                {
                    tracing::warn!("evidence: {error}");
                }
                self.problems.of_store(None);
                self.standing.last_unix_ns = batch.unix_ns;
            }
            Err(error) => {
                self.problem(&error);
                if matches!(error, StoreError::Damaged { .. }) {
                    // Opened anew, it is set aside.
                    (self.store, self.opened_ns) = (None, 0);
                }
                self.not_kept(batch);
            }
        }
    }

    /// The batch has no place: counted until there is one.
    fn not_kept(&mut self, batch: Batch) {
        for flow in &batch.flows {
            self.losses.add(LossKind::NotKept, flow.packets, flow.bytes, flow.first_unix_ns, flow.last_unix_ns);
        }
        let captures = batch.captures.len() as u64;
        self.losses.add(LossKind::CaptureStore, captures, 0, batch.unix_ns, batch.unix_ns);
        for loss in batch.losses {
            self.losses.add(loss.kind, loss.packets, loss.bytes, loss.first_unix_ns, loss.last_unix_ns);
        }
        self.waiting.splice(..0, batch.events);
    }

    fn retain(&mut self, now_ns: u64) {
        let Some(store) = &mut self.store else { return };
        // When it was full, at once.
        let is_full = self.problems.is_stuck();
        if now_ns.saturating_sub(self.retained_ns) < RETAIN_EVERY_NS && !is_full {
            return;
        }
        self.retained_ns = now_ns;
        if let Err(error) = store.retain(now_ns) {
            tracing::warn!("evidence: {error}");
        }
    }

    /// Tells `status` and the exporters.
    fn tell(&mut self) {
        if let Some(store) = &self.store {
            let totals = store.totals();
            self.standing.flow_packets = totals.flow_packets;
            self.standing.captures = totals.captures;
            self.standing.losses = LossKind::ALL.map(|kind| (kind.name().to_owned(), totals.loss(kind)[0])).into();
            self.standing.last_seq = store.last_seq();
        }
        if let Some(outlets) = &self.outlets {
            self.standing.outputs = outlets.standing();
        }
        self.standing.problem = self.problems.first().cloned();
        self.standing.captures_problem = self.live.as_ref().and_then(Live::captures_problem);
        if self.standing != self.told {
            if let Err(error) = self.state.write_note(&self.standing) {
                tracing::debug!("evidence: how it stands could not be noted: {error}");
            }
            self.told = self.standing.clone();
        }
    }
}
