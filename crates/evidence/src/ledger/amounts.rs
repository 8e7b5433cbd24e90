//! A row's amounts as they lie in the database: pairs of an account's number and what it has, some eight bytes each.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Packets, and bytes as the counters have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Frames.
    pub packets: u64,
    /// Link-layer header and the IP packet's own length.
    pub bytes: u64,
}

impl Amount {
    /// Nothing of either.
    pub const fn is_zero(self) -> bool {
        self.packets == 0 && self.bytes == 0
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self { packets: self.packets.saturating_add(more.packets), bytes: self.bytes.saturating_add(more.bytes) }
    }

    /// What is left without `less`; never below nothing.
    #[must_use]
    pub const fn minus(self, less: Self) -> Self {
        Self { packets: self.packets.saturating_sub(less.packets), bytes: self.bytes.saturating_sub(less.bytes) }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { packets: self.packets.max(other.packets), bytes: self.bytes.max(other.bytes) }
    }
}

/// By the account's number.
pub(super) type Amounts = BTreeMap<u32, Amount>;

/// Why nothing is known of a period whose amounts are none.
pub(super) const UNREADABLE: &str = "what the ledger had of this time is damaged";

/// `None`: these are no amounts.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Amounts> {
    let list: Vec<(u32, u64, u64)> = postcard::from_bytes(bytes).ok()?;
    Some(list.into_iter().map(|(account, packets, bytes)| (account, Amount { packets, bytes })).collect())
}

pub(super) fn to_bytes(amounts: &Amounts) -> Result<Vec<u8>, postcard::Error> {
    let list: Vec<(u32, u64, u64)> = amounts.iter().map(|(id, amount)| (*id, amount.packets, amount.bytes)).collect();
    postcard::to_allocvec(&list)
}

pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (account, amount) in more {
        let own = sum.entry(*account).or_default();
        *own = own.plus(*amount);
    }
}
