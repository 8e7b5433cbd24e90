//! Classic traffic control, for kernels without tcx (before 6.6): what hangs at an interface, and taking our own away. It asks the kernel over
//! a socket of its own and waits for the answer; it must not know what our programs do. Programs are attached by aya.

use std::io::{Error, ErrorKind, Result};

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// `TCA_KIND` of the queueing discipline that carries filters only.
const CLSACT: &str = "clsact";
/// `ETH_P_ALL`, network byte order, as a filter's `tcm_info` has it.
const ALL_PROTOCOLS_BE: u32 = 0x0003_u16.to_be() as u32;

/// Where filters hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Ingress,
    Egress,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) priority: u16,
    pub(super) handle: u32,
    /// As given by whoever attached it; empty for filters of other kinds.
    pub(super) name: String,
    /// 0 for filters of other kinds.
    pub(super) program_id: u32,
}

/// Every filter of an interface's side. Empty, too, where there is no clsact or no such interface.
pub(super) fn filters(if_index: u32, side: Side) -> Result<Vec<Filter>> {
    let mut request = about(if_index);
    request.header.parent = parent(side);
    let answers = match ask(RouteNetlinkMessage::GetTrafficFilter(request), NLM_F_DUMP) {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        result => result?,
    };
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            // The heading of a priority has no handle and is no filter.
            RouteNetlinkMessage::NewTrafficFilter(message) if message.header.handle != TcHandle::UNSPEC => {
                Some(filter(&message))
            }
            _ => None,
        })
        .collect())
}

/// Adds clsact to an interface. `false`: it is there already.
pub(super) fn add_clsact(if_index: u32) -> Result<bool> {
    match ask(RouteNetlinkMessage::NewQueueDiscipline(clsact(if_index)), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        result => result.map(|_| true),
    }
}

/// Takes clsact and all its filters from an interface.
pub(super) fn remove_clsact(if_index: u32) -> Result<()> {
    absent_is_fine(ask(RouteNetlinkMessage::DelQueueDiscipline(clsact(if_index)), NLM_F_ACK))
}

/// Takes one filter away.
pub(super) fn remove_filter(if_index: u32, side: Side, filter: &Filter) -> Result<()> {
    let mut request = about(if_index);
    request.header.parent = parent(side);
    request.header.handle = filter.handle.into();
    request.header.info = u32::from(filter.priority) << 16 | ALL_PROTOCOLS_BE;
    absent_is_fine(ask(RouteNetlinkMessage::DelTrafficFilter(request), NLM_F_ACK))
}

fn about(if_index: u32) -> TcMessage {
    TcMessage::with_index(if_index.cast_signed())
}

const fn parent(side: Side) -> TcHandle {
    let minor = match side {
        Side::Ingress => TcHandle::MIN_INGRESS,
        Side::Egress => TcHandle::MIN_EGRESS,
    };
    TcHandle { major: TcHandle::CLSACT.major, minor }
}

fn clsact(if_index: u32) -> TcMessage {
    let mut message = about(if_index);
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind(CLSACT.to_owned()));
    message
}

fn filter(message: &TcMessage) -> Filter {
    let mut found = Filter {
        priority: (message.header.info >> 16) as u16,
        handle: message.header.handle.into(),
        name: String::new(),
        program_id: 0,
    };
    let options = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    for option in options.flatten() {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => found.name.clone_from(name),
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => found.program_id = *id,
            _ => {}
        }
    }
    found
}

/// No such interface, discipline or filter: nothing hangs there.
fn is_absent(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL))
}

fn absent_is_fine(result: Result<Vec<RouteNetlinkMessage>>) -> Result<()> {
    match result {
        Err(error) if is_absent(&error) => Ok(()),
        result => result.map(drop),
    }
}

/// Sends one request and collects all of its answer.
fn ask(request: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| Error::new(ErrorKind::InvalidData, error.to_string()))?;
            match answer.payload {
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(answers),
                        Some(_) => Err(error.to_io()),
                    };
                }
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
            let length = (answer.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
