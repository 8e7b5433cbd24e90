//! The one account of coverage: each interface that matters, and whether our program runs there as the kernel shows it. `apply`, `status`, `plan`, `doctor`, the
//! metrics and the page show this and nothing else. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::retries::Retries;
use crate::control::{Desired, error::AgentError, state_files::tell_once};
use nodewall_datapath::{self as datapath, DatapathError, Hook, Link as PinnedLink, Outlet, Owner, PinDir};
use nodewall_host::{
    net::{self, Link, Network, Selected, Selection},
    state::{Clock, Note, StateDir},
};
use nodewall_policy::config::AttachMode;

/// What an interface has to do with the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageState {
    /// Our program runs there.
    Covered,
    /// It is wanted there, and does not run.
    Failing,
    /// It is wanted there, and there is no such interface; attached when it appears.
    Missing,
    /// A way in that the configuration does not ask for: it is open.
    Released,
    /// Not to be attached: another interface covers it, nothing arrives there, or the configuration acknowledges it.
    NotEligible,
}

impl CoverageState {
    /// The word for it in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Failing => "failing",
            Self::Missing => "missing",
            Self::Released => "released",
            Self::NotEligible => "not_eligible",
        }
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceCoverage {
    /// Its name.
    pub name: String,
    /// Its index; `None`: it is missing.
    #[serde(skip)]
    pub if_index: Option<u32>,
    /// What it has to do with the filter.
    pub state: CoverageState,
    /// How it is covered.
    pub attach_mode: Option<AttachMode>,
    /// Number of our program there.
    pub program_id: Option<u32>,
    /// How what leaves there is counted: `tcx`, `clsact` or `none`.
    pub egress: &'static str,
    /// Why it is not covered, or what is wrong though it is.
    pub reason: Option<String>,
    /// Since when it has been so, as far as an agent or a command saw it. Unix time.
    pub since_unix_ns: Option<u64>,
    /// When it is tried again. Unix time.
    pub next_try_unix_ns: Option<u64>,
    /// It is not as it should be.
    #[serde(skip)]
    pub wrong: bool,
    /// Somebody else's program runs there.
    #[serde(skip)]
    pub foreign: bool,
}

impl InterfaceCoverage {
    fn new(name: &str, if_index: Option<u32>, state: CoverageState) -> Self {
        Self {
            name: name.to_owned(),
            if_index,
            state,
            attach_mode: None,
            program_id: None,
            egress: "none",
            reason: None,
            since_unix_ns: None,
            next_try_unix_ns: None,
            wrong: !matches!(state, CoverageState::Covered | CoverageState::NotEligible),
            foreign: false,
        }
    }

    /// One on which our program runs.
    pub(crate) fn covered(name: &str, if_index: u32, mode: AttachMode, program_id: u32, egress: &'static str) -> Self {
        Self {
            attach_mode: Some(mode),
            program_id: Some(program_id),
            egress,
            ..Self::new(name, Some(if_index), CoverageState::Covered)
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        // Errors begin with the interface's name, for a log; here it stands beside.
        let bare = reason.strip_prefix(&format!("{}: ", self.name)).map(str::to_owned);
        self.reason = Some(bare.unwrap_or(reason));
        self
    }

    /// Whether our program runs there.
    pub fn is_covered(&self) -> bool {
        self.state == CoverageState::Covered
    }

    /// What is wrong, as a sentence.
    pub fn problem(&self) -> Option<String> {
        let reason = self.reason.as_deref().filter(|_| self.wrong)?;
        Some(match self.state {
            CoverageState::Failing | CoverageState::Released => format!("{} is not filtered: {reason}", self.name),
            CoverageState::Missing | CoverageState::Covered | CoverageState::NotEligible => {
                format!("{}: {reason}", self.name)
            }
        })
    }
}

/// The account of every interface that is wanted, carries our program, or is a way in; the covered ones first, else by name. `desired`: what is in force, with
/// what it selects of this network; `None`: that is not known.
pub(crate) fn account(
    network: &Network,
    pins: Option<&PinDir>,
    desired: Option<(&Desired, &Selection)>,
) -> Result<Vec<InterfaceCoverage>, DatapathError> {
    let (links, outlets) = match pins {
        // What can not be read of the outbound side is told interface by interface; filtering does not depend on it.
        Some(pins) => (datapath::links(pins)?, datapath::outlets(pins).unwrap_or_default()),
        None => Default::default(),
    };
    let mut account = Vec::new();
    let covered = covered(network, &links, &outlets, desired.map(|(desired, _)| desired));
    let attached: BTreeSet<u32> = covered.iter().filter_map(|interface| interface.if_index).collect();
    account.extend(covered);
    let mut told: BTreeSet<u32> = attached.clone();
    if let Some((desired, selection)) = desired {
        for selected in selection.attach.iter().filter(|selected| told.insert(selected.index)) {
            account.push(not_attached(network, selected));
        }
        for name in &selection.missing {
            account.push(
                InterfaceCoverage::new(name, None, CoverageState::Missing)
                    .because("there is no such interface; it is attached when it appears"),
            );
        }
        let named = |interface: InterfaceCoverage| InterfaceCoverage { wrong: true, ..interface };
        let not_eligible = |name: &str, why: &str| {
            let index = network.by_name(name).map(|link| link.index);
            InterfaceCoverage::new(name, index, CoverageState::NotEligible).because(why)
        };
        for refused in &selection.refused {
            account.push(named(not_eligible(&refused.name, &refused.why)));
        }
        for skipped in &selection.skipped {
            account.push(not_eligible(&skipped.name, &skipped.why));
        }
        for link in network.links().filter(|link| desired.acknowledges(&link.name)) {
            if told.insert(link.index) {
                account.push(not_eligible(&link.name, "acknowledged as open by its `attach = \"none\"`"));
            }
        }
    }
    for link in net::uncovered(network, &attached).filter(|link| told.insert(link.index)) {
        account.push(
            InterfaceCoverage::new(&link.name, Some(link.index), CoverageState::Released).because(
                "`interfaces` does not name it; add it there, or an [[interface]] with attach = \"none\" where that is on purpose",
            ),
        );
    }
    account.sort_by(|a, b| (a.state, &a.name).cmp(&(b.state, &b.name)));
    Ok(account)
}

/// The interfaces on which the kernel shows our program.
fn covered(
    network: &Network,
    links: &[PinnedLink],
    outlets: &[Outlet],
    desired: Option<&Desired>,
) -> Vec<InterfaceCoverage> {
    let ours = links.iter().filter_map(|pinned| {
        let link = network.by_index(pinned.if_index)?;
        let mode = live_mode(link, pinned)?;
        let hook = outlets.iter().find(|outlet| outlet.if_index == link.index).map(|outlet| outlet.hook);
        let egress = match hook {
            Some(Hook::Tcx) => "tcx",
            Some(Hook::Clsact) => "clsact",
            Some(Hook::Xdp) | None => "none",
        };
        let mut interface = InterfaceCoverage::covered(&link.name, link.index, mode, pinned.program_id, egress);
        let wanted = desired.map(|desired| desired.attach_mode_of(&link.name));
        if let Some(wanted) = wanted.filter(|wanted| *wanted != mode) {
            let error = AgentError::ModeChange {
                interface: link.name.clone(),
                live: mode.as_str(),
                wanted: wanted.as_str(),
                opens: !can_overlap(mode, wanted),
            };
            interface = InterfaceCoverage { wrong: true, ..interface.because(error.to_string()) };
        } else if hook.is_none() {
            let reason = "what it sends is not counted; the agent, or `nodewall apply`, tries again and says why";
            interface = InterfaceCoverage { wrong: true, ..interface.because(reason) };
        }
        Some(interface)
    });
    ours.collect()
}

/// How a link of ours filters, where the kernel shows that it does.
pub(super) fn live_mode(link: &Link, pinned: &PinnedLink) -> Option<AttachMode> {
    match pinned.hook {
        Hook::Xdp => link.xdp.as_ref().filter(|xdp| xdp.program_id == pinned.program_id).map(|xdp| xdp.mode),
        Hook::Tcx | Hook::Clsact => Some(AttachMode::Tc),
    }
}

/// Whether an interface can be filtered in both modes at once, while one takes over from the other.
pub(super) fn can_overlap(one: AttachMode, other: AttachMode) -> bool {
    (one == AttachMode::Tc) != (other == AttachMode::Tc)
}

/// Whether a program is a nodewall's, as far as this process may ask.
fn is_nodewalls(program_id: u32) -> bool {
    datapath::owner(program_id) == Some(Owner::Nodewall)
}

/// An interface where our program should run, and why it does not as far as the kernel tells.
fn not_attached(network: &Network, selected: &Selected) -> InterfaceCoverage {
    let interface = InterfaceCoverage::new(&selected.name, Some(selected.index), CoverageState::Failing);
    // At the tc hook ours shares the row with others, but not with those of another nodewall.
    let tc = || datapath::inbound_programs(selected.index).into_iter().find(|id| is_nodewalls(*id));
    let xdp = network.by_index(selected.index).and_then(|link| link.xdp.as_ref()).map(|xdp| xdp.program_id);
    match xdp.or_else(tc) {
        Some(program_id) => {
            let error = DatapathError::occupied(&selected.name, program_id);
            InterfaceCoverage { foreign: true, ..interface.because(error.to_string()) }
        }
        None => interface.because("it is not attached; the agent, or `nodewall apply`, attaches it"),
    }
}

/// What of the account only those know who saw it change: since when it has been so, and what an interface answered that could not be covered.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct History(BTreeMap<String, Seen>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    state: CoverageState,
    since_unix_ns: u64,
    /// What the interface answered to the last attempt. Not what the kernel shows: that may be over by now.
    answer: Option<String>,
    next_try_unix_ns: Option<u64>,
}

impl Note for History {
    const FILE: &'static str = "coverage.json";
}

impl History {
    /// Adds what is known to an account of now.
    pub(crate) fn tell(&self, account: &mut [InterfaceCoverage]) {
        for interface in account {
            if let Some(seen) = self.of(interface) {
                seen.tell(interface);
            }
        }
    }

    fn of(&self, interface: &InterfaceCoverage) -> Option<&Seen> {
        self.0.get(&interface.name).filter(|seen| seen.state == interface.state)
    }

    /// Notes an account, and completes it by what is known. `answers`: what interfaces answered just now, by index.
    pub(super) fn note(
        state: &StateDir,
        account: &mut [InterfaceCoverage],
        answers: &BTreeMap<u32, String>,
        retries: &Retries,
    ) {
        let before: Self = state.read_note().unwrap_or_default();
        let now_unix_ns = Clock::now().unix_ns;
        let mut now = Self::default();
        for interface in account {
            let (index, known) = (interface.if_index, before.of(interface));
            let waits = index.and_then(|index| retries.left(index));
            let answer = index.and_then(|index| answers.get(&index)).cloned();
            let seen = Seen {
                state: interface.state,
                since_unix_ns: known.map_or(now_unix_ns, |seen| seen.since_unix_ns),
                answer: answer.or_else(|| known.filter(|_| waits.is_some())?.answer.clone()),
                next_try_unix_ns: waits
                    .map(|left| now_unix_ns.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))),
            };
            seen.tell(interface);
            now.0.insert(interface.name.clone(), seen);
        }
        if now != before {
            tell_once(
                "account",
                state.write_note(&now),
                "`status` does not know since when interfaces stand as they do",
            );
        }
    }
}

impl Seen {
    fn tell(&self, interface: &mut InterfaceCoverage) {
        interface.since_unix_ns = Some(self.since_unix_ns);
        interface.next_try_unix_ns = self.next_try_unix_ns;
        if let Some(answer) = self.answer.as_ref().filter(|_| interface.wrong && !interface.foreign) {
            *interface = interface.clone().because(answer);
        }
    }
}
