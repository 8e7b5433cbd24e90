//! The project's one table of cases, without the part that needs the policy compiler.

#[path = "../../../tests/cases/blocked.rs"]
mod blocked;
#[path = "../../../tests/cases/frames.rs"]
pub mod frames;
#[path = "../../../tests/cases/ipv4.rs"]
pub mod ipv4;
#[path = "../../../tests/cases/ipv6.rs"]
mod ipv6;
#[path = "../../../tests/cases/link.rs"]
mod link;
#[path = "../../../tests/cases/ports.rs"]
mod ports;
#[path = "../../../tests/cases/table.rs"]
mod table;

pub use table::*;

pub fn all() -> Vec<Case> {
    let tables = [ports::cases(), link::cases(), ipv4::cases(), ipv6::cases(), blocked::cases(), ipv4::jumbo()];
    tables.into_iter().flatten().collect()
}
