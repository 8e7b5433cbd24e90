//! What the agent tells systemd (`sd_notify(3)`): that its policy stands, that it reloads, that it is alive, how it is doing. Says nothing where nobody listens,
//! and never waits: a full queue costs a message, not a look at the data path. It must not know what the agent does.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use nodewall_text::shown;
use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// The way to systemd, if it started this process.
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Whether it waits for a sign of life.
    watched: bool,
    /// The last line for people.
    last_status: String,
}

impl Notify {
    /// By `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID`, as systemd sets them.
    pub(super) fn from_environment() -> Self {
        let pid = env::var("WATCHDOG_PID").ok();
        let pid_is_ours = pid.is_none_or(|pid| pid == std::process::id().to_string());
        let period_us = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let watched = period_us > 0 && pid_is_ours;
        Self::to(env::var_os("NOTIFY_SOCKET").as_deref(), watched)
    }

    fn to(place: Option<&OsStr>, watched: bool) -> Self {
        let to = place.filter(|place| !place.is_empty()).and_then(|place| {
            connect(place)
                .inspect_err(|error| {
                    tracing::warn!("systemd is not told how the agent does: {}: {error}", place.display());
                })
                .ok()
        });
        Self { to, watched, last_status: String::new() }
    }

    /// Somebody listens.
    pub(super) const fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// The first policy stands, or a reload is over.
    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        // The time lets systemd (253) tell this reload from one before it.
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// The main loop came round. For it alone: a thread of its own would be alive while the agent is not.
    pub(super) fn alive(&self) {
        if self.watched {
            self.say("WATCHDOG=1");
        }
    }

    /// One line for people; said again only when it is another.
    pub(super) fn status(&mut self, line: String) {
        if self.to.is_some() && self.last_status != line {
            // A line break would begin another message; and `systemctl status` shows it on a terminal.
            self.say(&format!("STATUS={}", shown(&line)));
            self.last_status = line;
        }
    }

    /// The agent ends because it was asked to.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, message: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!("systemd could not be told {message:?}: {error}");
        }
    }
}

fn connect(place: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(place)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes.iter().copied().take(length).collect()).unwrap()
    }

    fn silent(socket: &UnixDatagram) -> bool {
        socket.set_nonblocking(true).unwrap();
        let silent = socket.recv(&mut [0; 512]).is_err();
        socket.set_nonblocking(false).unwrap();
        silent
    }

    #[test]
    fn what_is_said_is_heard_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("nodewall-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let at_name = format!("@{name}");
        for (socket, place) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), OsStr::new(&at_name)),
        ] {
            let mut notify = Notify::to(Some(place), true);
            notify.ready();
            assert_eq!(heard(&socket), "READY=1");
            notify.status("audit\n2 peers".to_owned());
            assert_eq!(heard(&socket), "STATUS=audit\\n2 peers");
            notify.status("audit\n2 peers".to_owned());
            assert!(silent(&socket), "the same line is not said twice");
            notify.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            notify.stopping();
            assert_eq!(heard(&socket), "STOPPING=1");
        }
    }

    #[test]
    fn a_reload_carries_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()), false);
        let mut before_us = 0;
        for _ in 0..2 {
            notify.reloading();
            let said = heard(&socket);
            let time_us: u64 = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
            assert!(time_us > before_us, "{time_us}");
            before_us = time_us;
            std::thread::sleep(Duration::from_millis(2));
        }
        notify.alive();
        assert!(silent(&socket), "without a watchdog nobody waits for signs of life");
    }

    #[test]
    fn a_full_queue_and_a_missing_listener_keep_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()), true);
        (0..10_000).for_each(|_| notify.alive());
        assert_eq!(heard(&socket), "WATCHDOG=1");
        drop(socket);
        notify.alive();
        for place in [None, Some(OsStr::new("")), Some(OsStr::new("vsock:2:1234"))] {
            assert!(Notify::to(place, true).to.is_none());
        }
    }
}
