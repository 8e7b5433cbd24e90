//! One network namespace: made under a name of its own, entered by threads and by child processes, removed on drop. What
//! is inside (links, addresses) is the lab's business.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cleanup::{self, Guard};
use crate::error::{Error, Result};
use crate::ip;

/// Where iproute2 keeps named namespaces.
const DIRECTORY: &str = "/run/netns";
/// What our namespaces' names begin with; the pid of the process that made them follows.
const PREFIX: &str = "nw-";

/// A network namespace of our own, with `lo` up. Dropping it removes the name; the kernel removes the namespace and its
/// links when the last thread or process has left it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    // Before the guard: the descriptor is closed first, so that removing the name lets the namespace go.
    handle: Arc<File>,
    /// TCP segments that probes from here say they sent.
    probed_segments: AtomicU64,
    _removal: Guard,
}

impl NetNs {
    /// Makes a namespace named `nw-<pid>-<counter>-<label>`. The first call removes what crashed runs left behind.
    pub fn create(label: &str) -> Result<Self> {
        let mut made = Self::create_many(&[label])?;
        made.pop().ok_or_else(|| Error::BadLab("no namespace was asked for".into()))
    }

    /// Makes several namespaces with few processes, in the labels' order.
    pub fn create_many(labels: &[&str]) -> Result<Vec<Self>> {
        remove_stale();
        let names: Vec<String> = labels.iter().map(|label| unique_name(label)).collect();
        let script = format!("netns add {}\n", names.join("\nnetns add "));
        let removals: Vec<Guard> = cleanup::undisturbed(|| {
            let removals = names.iter().cloned().map(|name| cleanup::guard(move || remove(&name))).collect();
            ip::batch(None, &script).map(|()| removals)
        })?;
        let namespaces = names.into_iter().zip(removals).map(|(name, removal)| {
            let handle =
                Arc::new(File::open(path_of(&name)).map_err(Error::io(format!("opening {DIRECTORY}/{name}")))?);
            Ok(Self { name, handle, probed_segments: AtomicU64::new(0), _removal: removal })
        });
        let namespaces = namespaces.collect::<Result<Vec<_>>>()?;
        for namespace in &namespaces {
            ip::output(Some(&namespace.name), &["link", "set", "lo", "up"])?;
        }
        Ok(namespaces)
    }

    /// The name, as `ip -n` and `ip netns exec` take it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that is this namespace while it is named.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Runs a closure inside the namespace, in a thread of its own, and waits for it. A panic in it goes on in the caller.
    ///
    /// /sys still shows the caller's namespace there; /proc/sys/net and /proc/thread-self/net show this one.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = thread::Builder::new().name(self.name.clone()).spawn_scoped(scope, || {
                enter(self.handle.as_fd()).map_err(Error::io(format!("entering namespace {}", self.name)))?;
                Ok(work())
            });
            let inside = inside.map_err(Error::io("starting a thread"))?;
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Starts a thread that enters the namespace and then runs `work`; `work` is told when entering failed.
    pub(crate) fn spawn(&self, label: &str, work: impl FnOnce(Result<()>) + Send + 'static) -> Result<JoinHandle<()>> {
        let (handle, name) = (Arc::clone(&self.handle), self.name.clone());
        let inside = move || {
            let entered = enter(handle.as_fd()).map_err(Error::io(format!("entering namespace {name}")));
            drop(handle);
            work(entered);
        };
        thread::Builder::new().name(label.to_owned()).spawn(inside).map_err(Error::io("starting a thread"))
    }

    /// A command whose child enters the namespace just before it executes the program. Unlike `ip netns exec` it keeps the
    /// caller's mounts, so that a bpffs the child uses is the machine's (and its /sys/class/net shows the caller's links).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let handle = Arc::clone(&self.handle);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it owns; it takes no lock
        // and allocates nothing.
        unsafe { command.pre_exec(move || enter(handle.as_fd())) };
        command
    }

    /// Runs one `ip` command on the namespace (`["route", "add", …]`) and returns what it printed.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        ip::output(Some(&self.name), arguments)
    }

    /// Runs a script of `ip` commands on the namespace, one per line; it stops at the first that fails.
    pub fn ip_batch(&self, script: &str) -> Result<()> {
        ip::batch(Some(&self.name), script)
    }

    /// One number of the namespace's /proc/net/snmp: `("Tcp", "OutSegs")` (both families for TCP, IPv4 alone for UDP).
    pub fn snmp(&self, protocol: &str, name: &str) -> Result<u64> {
        const FILE: &str = "/proc/thread-self/net/snmp";
        let text = self.run(|| fs::read_to_string(FILE).map_err(Error::io(format!("reading {FILE}"))))??;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
        let value = lines.next().zip(lines.next()).and_then(|(names, values)| {
            let position = names.split(' ').position(|other| other == name)?;
            values.split(' ').nth(position)?.parse().ok()
        });
        value.ok_or_else(|| Error::BadLab(format!("{FILE} has no number `{name}` of {protocol}")))
    }

    /// TCP segments that this namespace sent besides those that its probes know of. The kernel answers for a connection that is over, in a probe's stead: a
    /// segment that comes again, or late because two processors carried it, meets `TIME_WAIT` and is acknowledged once more (RFC 9293, 3.10.7.4).
    pub fn segments_besides_probes(&self) -> Result<u64> {
        // `OutSegs` leaves out what is sent again (RFC 4022).
        let sent = self.snmp("Tcp", "OutSegs")? + self.snmp("Tcp", "RetransSegs")?;
        Ok(sent.saturating_sub(self.probed_segments.load(Ordering::Relaxed)))
    }

    pub(crate) fn add_probed_segments(&self, segments: u64) {
        self.probed_segments.fetch_add(segments, Ordering::Relaxed);
    }

    /// Writes network settings of this namespace: `("ipv4.icmp_ratelimit", "0")` is `/proc/sys/net/ipv4/icmp_ratelimit`.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            settings.iter().try_for_each(|(key, value)| {
                let file = format!("/proc/sys/net/{}", key.replace('.', "/"));
                fs::write(&file, value).map_err(Error::io(format!("writing `{value}` to {file}")))
            })
        })?
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).map_err(io::Error::from)
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn unique_name(label: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{PREFIX}{}-{}-{label}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Removes a namespace's name, if it is there. Nobody could handle an error here; what stays is stale for the next run.
fn remove(name: &str) {
    if path_of(name).exists() {
        let _ = ip::output(None, &["netns", "del", name]);
    }
}

/// Removes, once per process, the namespaces whose makers do not live any more.
fn remove_stale() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let Ok(entries) = fs::read_dir(DIRECTORY) else {
            return;
        };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if maker_of(&name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                remove(&name);
            }
        }
    });
}

/// The pid in a name of ours; nothing for anyone else's.
fn maker_of(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (counter, _label) = rest.split_once('-')?;
    counter.parse::<u64>().ok()?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_have_a_maker() {
        assert_eq!(maker_of(&unique_name("node")), Some(process::id()));
        assert_eq!(maker_of("nw-12-0-peer-1"), Some(12));
        for other in ["nw-12", "nw-12-node", "nw-x-0-node", "blue", "vpn-12-0-node", "nw-12-x-node"] {
            assert_eq!(maker_of(other), None, "{other}");
        }
    }
}
