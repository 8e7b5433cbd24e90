//! What happens for the first time, and what ceases: a peer uses a port that it did not use before, a port is used at all, a peer falls silent. Time here is
//! what passed while the ledger was kept, so no clock can be wrong. It must not decide what becomes of what it finds.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use node_ebpf_common::{counter::Outcome, peer_traffic::Direction};
use rusqlite::{Connection, params};

use super::{
    account::{Account, Period},
    amounts::Amount,
    tables::{self, signed},
};

/// For how long the ledger was kept, s.
const OBSERVED: &str = "observed";
/// Nobody is silent before.
const LEAST_SILENCE_S: i64 = 600;

/// Something that happened for the first time, or ceased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum First {
    /// A port is used: nothing had passed there before.
    Port(Account),
    /// A peer uses a port that it did not use before.
    PeerPort(Account),
    /// A peer sent nothing for longer than three times its longest silence so far.
    PeerSilent {
        /// The peer.
        peer: IpNet,
        /// For how long, s.
        for_s: u64,
    },
}

/// Whether an account is of what somebody uses here.
fn is_use(account: &Account) -> bool {
    account.direction == Direction::In && account.outcome == Outcome::Pass && account.place.ports.is_some()
}

/// What is new in a period's amounts; `fresh`: accounts that had no amount before. Nothing while the ledger is younger than `learning_s`.
pub(super) fn find(
    db: &Connection,
    period: Period,
    new: &BTreeMap<Account, Amount>,
    fresh: &[Account],
    learning_s: u64,
) -> rusqlite::Result<Vec<First>> {
    let length_s = signed(period.until_unix_s.saturating_sub(period.first_unix_s));
    let observed_s = tables::time(db, OBSERVED)?.unwrap_or(0);
    tables::put(db, OBSERVED, &observed_s.saturating_add(length_s.cast_unsigned()).to_le_bytes())?;
    let mut found = silent(db, new, length_s)?;
    for account in fresh.iter().filter(|account| is_use(account)) {
        let of_port = tables::accounts_of_port(db, account)?;
        if of_port.iter().filter(|other| is_use(other)).all(|other| fresh.contains(other)) {
            found.push(First::Port(Account { peer: None, ..account.clone() }));
        }
        if account.peer.is_some() {
            found.push(First::PeerPort(account.clone()));
        }
    }
    found.sort();
    found.dedup();
    Ok(if observed_s < learning_s { Vec::new() } else { found })
}

/// Keeps how long each peer sent nothing, and says whose silence is longer than any.
fn silent(db: &Connection, new: &BTreeMap<Account, Amount>, length_s: i64) -> rusqlite::Result<Vec<First>> {
    let heard: BTreeSet<IpNet> =
        new.keys().filter(|account| account.direction == Direction::In).filter_map(|account| account.peer).collect();
    db.prepare_cached("UPDATE peers SET quiet_s = quiet_s + ?1")?.execute([length_s])?;
    for peer in heard {
        let back = "INSERT INTO peers (peer, quiet_s, longest_s, silent) VALUES (?1, 0, 0, 0) \
                    ON CONFLICT (peer) DO UPDATE SET longest_s = max(longest_s, quiet_s), quiet_s = 0, silent = 0";
        db.prepare_cached(back)?.execute([peer.to_string()])?;
    }
    let longer = "UPDATE peers SET silent = 1 WHERE silent = 0 AND quiet_s >= ?1 AND quiet_s > 3 * longest_s \
                  RETURNING peer, quiet_s";
    let mut statement = db.prepare_cached(longer)?;
    let rows =
        statement.query_map(params![LEAST_SILENCE_S], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (peer, quiet_s) = row?;
        if let Ok(peer) = peer.parse() {
            found.push(First::PeerSilent { peer, for_s: quiet_s.cast_unsigned() });
        }
    }
    Ok(found)
}
