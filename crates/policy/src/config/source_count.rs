//! How many sources one configuration may name.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::address::show;
use super::error::ValueError;
use super::given::{Judged, List};
use super::problems::Problems;

/// Most single addresses that one configuration may name (peers and `also_allow`, duplicates counted once).
pub const MAX_ADDRESSES: usize = 16_384;
/// Most prefixes shorter than an address that one configuration may name (peers and `also_allow`, duplicates counted once).
pub const MAX_PREFIXES: usize = 1_024;
/// Counts the distinct sources of one configuration against the limits.
#[derive(Debug, Default)]
pub struct SourceCount {
    seen: BTreeSet<IpNet>,
    prefixes: usize,
}

impl SourceCount {
    /// Counts `net` once; refused when it is one too many.
    pub fn add(&mut self, net: IpNet) -> Result<(), ValueError> {
        if !self.seen.insert(net) {
            return Ok(());
        }
        let (count, limit, what) = if net.prefix_len() == net.max_prefix_len() {
            (self.seen.len() - self.prefixes, MAX_ADDRESSES, "addresses")
        } else {
            self.prefixes += 1;
            (self.prefixes, MAX_PREFIXES, "prefixes")
        };
        if count <= limit {
            return Ok(());
        }
        Err(ValueError::new(format!(
            "\"{}\" is one too many: at most {limit} {what} (peers and also_allow together)",
            show(&net)
        ))
        .help("name networks instead of single addresses, or fewer of them"))
    }

    /// The list's sources, each counted.
    pub(super) fn counted<T: Judged<Value = IpNet>>(
        &mut self,
        list: List<T>,
        problems: &mut Problems<'_>,
    ) -> BTreeSet<IpNet> {
        let mut sources = BTreeSet::new();
        for (net, span) in problems.elements(list) {
            match self.add(net) {
                Ok(()) => drop(sources.insert(net)),
                Err(error) => problems.refuse(&span, error),
            }
        }
        sources
    }
}
