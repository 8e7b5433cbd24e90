//! What the end of a command means to whoever started it.

/// Everything went as asked.
pub const FINE: u8 = 0;
/// It did not do what was asked; nothing changed.
pub const FAILED: u8 = 1;
/// The command line is not understood.
pub const USAGE: u8 = 2;
/// Works, but something is missing or different.
pub const DEGRADED: u8 = 3;
/// The kernel's privileges are missing.
pub const PRIVILEGE: u8 = 4;
/// A source now in conversation would be cut off.
pub const WOULD_CUT: u8 = 5;

/// All of them, for people.
pub const EXIT_CODES: [(u8, &str); 6] = [
    (FINE, "fine"),
    (FAILED, "failed and nothing changed"),
    (USAGE, "usage"),
    (DEGRADED, "degraded or drift"),
    (PRIVILEGE, "privilege missing"),
    (WOULD_CUT, "a source in conversation would be cut off"),
];
