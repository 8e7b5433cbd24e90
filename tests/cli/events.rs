//! Questions to the evidence: the real executable over a store that the test wrote. Every option, hostile bytes, exit codes, and a store that grows while it is
//! followed. No privilege needed.

mod hostile;
mod list;
mod show;
mod tail;
mod verify;
mod world;
