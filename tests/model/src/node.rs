//! What a frame is judged on besides a policy. Must not judge.

use std::net::IpAddr;

use ipnet::IpNet;

/// The node that judges.
#[derive(Clone, Copy, Default)]
pub struct Node<'n> {
    /// Its own addresses.
    pub own: &'n [IpAddr],
    /// The UDP ports that its kernel unpacks.
    pub tunnels: &'n [u16],
    /// Who is blocked there.
    pub blocked: &'n [IpNet],
    /// The name of the interface that the frame came in by, where that matters.
    pub interface: Option<&'n str>,
}
