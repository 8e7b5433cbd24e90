//! The catalogue of shapes: every way known to dress a packet for a port. Each says what must be provable with it and what may come of it at a public port.
//! Who sends them, and what arrived, is not their business.

mod carriers;
mod chains;
mod fragments;
mod ipv4;
mod ipv6;
mod link;
mod tunnels;

use super::{ask::Ask, rig::Device};
use crate::guest;

type Build = Box<dyn Fn(&Ask) -> Vec<Vec<u8>> + Send + Sync>;

/// Whether the kernel must be seen delivering the shape when nothing filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// On every kernel: else the harness proves nothing. 5.10, 6.1, 6.12, 6.18 and 7.3 were tried.
    Required,
    /// Up to this version, which is the last that was seen delivering it; the reason why a later one does not.
    RequiredUpTo((u32, u32), &'static str),
    /// No kernel is known to.
    Learned,
}

impl Proof {
    /// On the kernel that runs.
    pub(crate) fn is_required(self) -> bool {
        match self {
            Self::Required => true,
            Self::RequiredUpTo(last, _) => guest::version() <= last,
            Self::Learned => false,
        }
    }
}

/// What becomes of the shape at a public port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Public {
    /// Whatever the kernel delivers must arrive.
    MustArrive,
    /// Dropped by design, for this reason.
    Dropped(&'static str),
}

/// Which way a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Straight onto the node's wire.
    Wire,
    /// Over a bridge, which takes the outermost tag out of the frame; with offload it travels beside it.
    Bridge,
}

/// One way to dress a packet.
pub(crate) struct Variant {
    pub(crate) label: String,
    build: Build,
}

impl Variant {
    /// The frames for an ask; none where the shape makes no sense for it.
    pub(crate) fn frames(&self, ask: &Ask) -> Vec<Vec<u8>> {
        (self.build)(ask)
    }
}

/// Variants of one idea: a row of the table.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) proof: Proof,
    pub(crate) public: Public,
    pub(crate) via: Via,
    pub(crate) variants: Vec<Variant>,
    /// Why this kernel can not be asked.
    pub(crate) skipped: Option<String>,
}

impl Shape {
    fn new(name: &'static str) -> Self {
        let (proof, public, via) = (Proof::Learned, Public::MustArrive, Via::Wire);
        Self { name, proof, public, via, variants: Vec::new(), skipped: None }
    }

    fn required(self) -> Self {
        Self { proof: Proof::Required, ..self }
    }

    fn required_up_to(self, last: (u32, u32), why_not_later: &'static str) -> Self {
        Self { proof: Proof::RequiredUpTo(last, why_not_later), ..self }
    }

    fn dropped(self, reason: &'static str) -> Self {
        Self { public: Public::Dropped(reason), ..self }
    }

    fn via(self, via: Via) -> Self {
        Self { via, ..self }
    }

    fn with(mut self, label: impl Into<String>, build: impl Fn(&Ask) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.variants.push(Variant { label: label.into(), build: Box::new(build) });
        self
    }

    /// A variant of one frame.
    fn one(self, label: impl Into<String>, build: impl Fn(&Ask) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.with(label, move |ask| vec![build(ask)])
    }

    /// A variant of one frame for each of these.
    fn each<T: Clone + Send + Sync + std::fmt::Debug + 'static>(
        mut self,
        values: &[T],
        build: impl Fn(&T, &Ask) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Self {
        for value in values {
            let (value, build) = (value.clone(), build.clone());
            self = self.one(format!("{value:x?}"), move |ask| build(&value, ask));
        }
        self
    }
}

/// All of them, with tunnels through these devices of the node's.
pub(crate) fn all(devices: &[Device]) -> Vec<Shape> {
    let families = [ipv4::shapes(), fragments::shapes(), ipv6::shapes(), chains::shapes(), tunnels::shapes(devices)];
    [link::shapes(devices), carriers::shapes()].into_iter().chain(families).flatten().collect()
}
