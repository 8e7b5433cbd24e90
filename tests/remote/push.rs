//! The push rung: what the vendor's receiver gets is what the kernel counted, whatever becomes of the receiver and of the agent. The receiver is a real HTTP
//! server that reads the protocol by the vendor's grammar and refuses anything off.

mod agent;
mod grammar;
mod kills;
mod receiver;
mod sending;
mod world;
