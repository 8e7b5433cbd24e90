//! The plainest frame with a given source, port and protocol: what `explain`, `plan` and the guard against lock-out ask the verdict function about.

use std::net::IpAddr;

use super::compile::number_of;
use crate::config::Protocol;

/// An Ethernet frame without payload.
pub fn probe_frame(source: IpAddr, port: u16, wanted: Protocol) -> Vec<u8> {
    let mut transport = vec![0; 8];
    transport.splice(2..4, port.to_be_bytes());
    let number = number_of(wanted);
    let length = transport.len() as u16;
    let mut frame = vec![0; 12];
    match source {
        IpAddr::V4(source) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, number, 0, 0]);
            frame.extend(source.octets());
            frame.extend([0; 4]);
        }
        IpAddr::V6(source) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([number, 64]);
            frame.extend(source.octets());
            frame.extend([0; 16]);
        }
    }
    frame.extend(transport);
    frame
}
