//! Capture files, field by field.

use super::CapturedFrame;

#[derive(Clone, Copy)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// A frame of this length whose bytes tell their places.
pub(super) fn ethernet(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + length) as u8).collect()
}

pub(super) fn classic_header(order: Order, magic: u32, network: u32) -> Vec<u8> {
    let mut bytes = order.u32(magic).to_vec();
    bytes.extend(order.u16(2));
    bytes.extend(order.u16(4));
    for field in [0, 0, 65_535, network] {
        bytes.extend(order.u32(field));
    }
    bytes
}

pub(super) fn classic(order: Order, seconds: u32, fraction: u32, original_len: u32, data: &[u8]) -> Vec<u8> {
    let fields = [seconds, fraction, data.len() as u32, original_len];
    fields.into_iter().flat_map(|field| order.u32(field)).chain(data.iter().copied()).collect()
}

/// A pcapng section under construction.
pub(super) struct Ng {
    order: Order,
    bytes: Vec<u8>,
}

impl Ng {
    pub(super) fn new(order: Order) -> Self {
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend([0xff; 8]);
        // Written by: an option, so that a section header is more than its least.
        body.extend(order.u16(4));
        body.extend(order.u16(5));
        body.extend(*b"tests\0\0\0");
        body.extend([0; 4]);
        Self { order, bytes: Vec::new() }.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn block(self, kind: u32, body: &[u8]) -> Self {
        let length = (body.len().next_multiple_of(4) + 12) as u32;
        self.lying_block(kind, body, length, length)
    }

    /// A block that claims these lengths before and behind its body.
    pub(super) fn lying_block(mut self, kind: u32, body: &[u8], before: u32, behind: u32) -> Self {
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(self.order.u32(before));
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len() + body.len().next_multiple_of(4) - body.len(), 0);
        self.bytes.extend(self.order.u32(behind));
        self
    }

    pub(super) fn interface(self, link_type: u16, snapshot_bytes: u32, options: &[(u16, Vec<u8>)]) -> Self {
        let mut body = self.order.u16(link_type).to_vec();
        body.extend([0; 2]);
        body.extend(self.order.u32(snapshot_bytes));
        for (code, value) in options {
            body.extend(self.order.u16(*code));
            body.extend(self.order.u16(value.len() as u16));
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn packet_fields(&self, ticks: u64, captured: u32, original_len: u32) -> Vec<u8> {
        let fields = [(ticks >> 32) as u32, ticks as u32, captured, original_len];
        fields.into_iter().flat_map(|field| self.order.u32(field)).collect()
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, original_len: u32, data: &[u8]) -> Self {
        self.lying_enhanced(interface, ticks, data.len() as u32, original_len, data)
    }

    /// An enhanced packet block that claims this captured length.
    pub(super) fn lying_enhanced(
        self,
        interface: u32,
        ticks: u64,
        captured: u32,
        original_len: u32,
        data: &[u8],
    ) -> Self {
        let mut body = self.order.u32(interface).to_vec();
        body.extend(self.packet_fields(ticks, captured, original_len));
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        // A comment, so that something follows the data.
        body.extend(self.order.u16(1));
        body.extend(self.order.u16(3));
        body.extend(*b"hey\0");
        self.block(6, &body)
    }

    pub(super) fn simple(self, original_len: u32, data: &[u8]) -> Self {
        let mut body = self.order.u32(original_len).to_vec();
        body.extend(data);
        self.block(3, &body)
    }

    pub(super) fn obsolete(self, interface: u16, ticks: u64, original_len: u32, data: &[u8]) -> Self {
        let mut body = self.order.u16(interface).to_vec();
        body.extend(self.order.u16(0xffff));
        body.extend(self.packet_fields(ticks, data.len() as u32, original_len));
        body.extend(data);
        self.block(2, &body)
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A small pcapng file with each kind of block, and its frames.
pub(super) fn small_pcapng() -> (Vec<u8>, Vec<CapturedFrame>) {
    let mut file = Ng::new(Order::Little)
        .interface(1, 0, &[(2, b"eth0".to_vec()), (9, vec![9])])
        .enhanced(0, 1, 60, &ethernet(20))
        .block(5, &[1; 12])
        .simple(18, &ethernet(18))
        .obsolete(0, 3, 17, &ethernet(17))
        .bytes();
    file.extend(Ng::new(Order::Big).interface(1, 0, &[]).enhanced(0, 4, 19, &ethernet(19)).bytes());
    let frame = |index, timestamp_ns, length, original_len, interface| CapturedFrame {
        index,
        timestamp_ns,
        data: ethernet(length).into(),
        original_len,
        interface,
    };
    let frames =
        vec![frame(0, 1, 20, 60, 0), frame(1, 0, 18, 18, 0), frame(2, 3, 17, 17, 0), frame(3, 4_000, 19, 19, 1)];
    (file, frames)
}
