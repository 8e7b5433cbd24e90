//! The peers rung: the registry's rules under a made-up clock, the local sources against real files and the system's own iptables, and the command.

mod bounds;
mod command;
mod file;
mod firewall;
mod leaving;
mod operator;
mod union;
mod world;
