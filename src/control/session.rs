//! The SSH session that this process was started from, whatever `sudo` or `su` lie between. Reads /proc only.

use std::{fs, net::IpAddr};

/// More generations than a shell under `sudo` under `tmux` has.
const MAX_ANCESTORS: usize = 32;

/// An SSH session, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Where the operator sits.
    pub(crate) client: IpAddr,
    /// The server's port.
    pub(crate) server_port: u16,
}

/// The session that this command came through. `sudo` takes `SSH_CONNECTION` away, so the ancestors are asked, too.
pub(crate) fn current() -> Option<Session> {
    if let Some(session) = std::env::var("SSH_CONNECTION").ok().as_deref().and_then(parse) {
        return Some(session);
    }
    let mut pid = parent("self")?;
    for _ in 0..MAX_ANCESTORS {
        if pid <= 1 {
            return None;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if let Some(session) = of_environment(&environment) {
            return Some(session);
        }
        pid = parent(&pid.to_string())?;
    }
    None
}

fn of_environment(environment: &[u8]) -> Option<Session> {
    let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    parse(std::str::from_utf8(value).ok()?)
}

/// "client address, client port, server address, server port" (sshd(8), ENVIRONMENT).
fn parse(text: &str) -> Option<Session> {
    let mut words = text.split_whitespace();
    // A link-local address comes with its interface: fe80::1%eth0.
    let client: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
    let server_port = words.nth(2)?.parse().ok()?;
    Some(Session { client: client.to_canonical(), server_port })
}

/// The parent's process id. The name in /proc/PID/stat may hold spaces and parentheses: what counts comes after the last one.
fn parent(pid: &str) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sshds_words_are_understood() {
        let session = |client: &str, server_port| Some(Session { client: client.parse().unwrap(), server_port });
        assert_eq!(parse("192.0.2.7 51234 10.0.0.5 22"), session("192.0.2.7", 22));
        assert_eq!(parse("fe80::1%eth0 51234 fe80::2%eth0 2222"), session("fe80::1", 2222));
        assert_eq!(parse("::ffff:192.0.2.7 1 ::ffff:10.0.0.5 22"), session("192.0.2.7", 22));
        for bad in ["", "192.0.2.7", "UNKNOWN 65535 UNKNOWN 65535", "192.0.2.7 1 10.0.0.5 99999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let environment = b"HOME=/root\0SSH_CONNECTION=192.0.2.7 51234 10.0.0.5 22\0TERM=x\0";
        assert_eq!(of_environment(environment), session("192.0.2.7", 22));
        assert_eq!(of_environment(b"XSSH_CONNECTION=192.0.2.7 51234 10.0.0.5 22"), None);
    }

    #[test]
    fn every_process_but_the_first_has_a_parent() {
        assert!(parent("self").unwrap() > 0);
    }
}
