//! A cluster of etcd, as Debian has it, on hosts of a lab: a real program whose members speak to one another on cluster ports the whole time. It owns its
//! members and what an operator of etcd does with them; it knows nothing of nodewall.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nodewall_testbed::{Host, Lab, Process, eventually, eventually_or, run_to_end, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::PATIENCE;

/// Where members speak to one another, and where clients speak to them: cluster ports of the vendor's profile, both.
pub(crate) const PEER_PORT: u16 = 9300;
pub(crate) const CLIENT_PORT: u16 = 9200;
/// A machine with much else to do is late by tenths of a second; a cut of some seconds is an election.
const HEARTBEAT_MS: &str = "500";
const ELECTION_MS: &str = "5000";

/// A program that `cargo xtask setup` fetched.
fn program(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/etcd").join(name);
    assert!(file.exists(), "no {name} in target/tools/etcd; `cargo xtask setup` fetches it");
    file
}

/// A member by its name and the lab's for its host.
pub(crate) type Place = (&'static str, &'static str);

struct Member {
    name: &'static str,
    host: &'static str,
    address: Ipv4Addr,
    // Before its data.
    process: Process,
    data: TempDir,
}

pub(crate) struct Cluster {
    lab: Arc<Lab>,
    members: Vec<Member>,
}

impl Cluster {
    /// Starts it whole, and waits until every member serves.
    pub(crate) fn start(lab: &Arc<Lab>, places: &[Place]) -> Self {
        let mut cluster = Self { lab: Arc::clone(lab), members: Vec::new() };
        let all: Vec<_> = places.iter().map(|(name, host)| (*name, cluster.host(host).ipv4())).collect();
        for (name, host) in places {
            cluster.launch((name, host), &all, "new");
        }
        for (name, _) in places {
            cluster.wait_until_serves(name);
        }
        cluster
    }

    fn host(&self, host: &str) -> &Host {
        self.lab.host(host).unwrap()
    }

    fn launch(&mut self, (name, host): Place, all: &[(&str, Ipv4Addr)], state: &str) {
        let (data, address) = (tempfile::tempdir().unwrap(), self.host(host).ipv4());
        let names: Vec<String> = all.iter().map(|(name, address)| format!("{name}={}", peer_url(*address))).collect();
        let first = ["--initial-cluster", &names.join(","), "--initial-cluster-state", state];
        let process = self.spawn((name, host), address, &data, &first);
        self.members.push(Member { name, host, address, process, data });
    }

    fn spawn(&self, (name, host): Place, address: Ipv4Addr, data: &TempDir, first: &[&str]) -> Process {
        let mut command = self.host(host).netns().command(program("etcd"));
        let (peers, clients) = (peer_url(address), format!("http://{address}:{CLIENT_PORT}"));
        command.args(["--name", name, "--data-dir"]).arg(data.path());
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--listen-client-urls", &format!("{clients},http://127.0.0.1:{CLIENT_PORT}")]);
        command.args(["--advertise-client-urls", &clients]);
        command.args(["--heartbeat-interval", HEARTBEAT_MS, "--election-timeout", ELECTION_MS]);
        // What else this machine writes to its disk is no matter of the test.
        command.args(["--unsafe-no-fsync", "--logger", "zap", "--log-level", "warn"]).args(first);
        Process::spawn(&format!("etcd {name}"), command).unwrap()
    }

    fn member(&self, name: &str) -> &Member {
        self.members.iter().find(|member| member.name == name).unwrap_or_else(|| panic!("no member {name}"))
    }

    pub(crate) fn address(&self, name: &str) -> Ipv4Addr {
        self.member(name).address
    }

    /// The member takes writes. Not `/health`: it gives the whole cluster a second.
    fn wait_until_serves(&self, name: &str) {
        let member = self.member(name);
        let here = self.host(member.host).netns();
        eventually_or(
            || format!("{name} serves:\n{}", member.process.output()),
            || {
                assert!(member.process.try_wait().unwrap().is_none(), "{name} has ended:\n{}", member.process.output());
                here.run(|| put(member.address, "here", 0, PATIENCE)).unwrap().ok()
            },
        );
    }

    /// One command of etcd's own tool, given to a member.
    fn control(&self, name: &str, arguments: &[&str]) -> Result<Value, String> {
        let mut command: Command = self.host(self.member(name).host).netns().command(program("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--endpoints", &format!("http://127.0.0.1:{CLIENT_PORT}")]);
        // A loaded machine is no refusal.
        command.args(["--dial-timeout", "30s", "--command-timeout", "30s"]);
        command.args(arguments).args(["--write-out", "json"]);
        let finished = run_to_end("etcdctl", command, PATIENCE).unwrap();
        if !finished.status.success() {
            return Err(format!("{arguments:?}: {finished:?}"));
        }
        Ok(serde_json::from_str(&finished.stdout).unwrap_or_default())
    }

    fn number(&self, name: &str) -> u64 {
        let list = self.control(self.members[0].name, &["member", "list"]).unwrap();
        let members = list["members"].as_array().unwrap();
        let found = members.iter().find(|member| member["name"] == name).unwrap_or_else(|| panic!("{name}: {list}"));
        found["ID"].as_u64().unwrap()
    }

    /// Makes this member the leader, unless it is.
    pub(crate) fn lead(&self, name: &str) {
        let wanted = format!("{:x}", self.number(name));
        let leads = |of: &str| self.metric(of, "etcd_server_is_leader") == 1;
        until("it leads", || {
            if leads(name) {
                return true;
            }
            if let Some(leader) = self.members.iter().find(|member| leads(member.name)) {
                let _ = self.control(leader.name, &["move-leader", &wanted]);
            }
            false
        });
        let all_know = || self.members.iter().all(|member| self.metric(member.name, "etcd_server_has_leader") == 1);
        until("all know who leads", all_know);
    }

    /// A member more.
    pub(crate) fn add(&mut self, (name, host): Place) {
        let address = self.host(host).ipv4();
        let url = format!("--peer-urls={}", peer_url(address));
        // Refused while a member that joined last is not seen to be well by all.
        let first = self.members[0].name;
        eventually("the member is taken", || self.control(first, &["member", "add", name, &url]).ok());
        let mut all: Vec<_> = self.members.iter().map(|member| (member.name, member.address)).collect();
        all.push((name, address));
        self.launch((name, host), &all, "existing");
        self.wait_until_serves(name);
    }

    /// A member's host gets another address in the place of the one it has.
    pub(crate) fn move_to(&mut self, name: &'static str, address: Ipv4Addr) {
        let number = format!("{:x}", self.number(name));
        let url = format!("--peer-urls={}", peer_url(address));
        let first = self.members[0].name;
        eventually("the new address is taken", || self.control(first, &["member", "update", &number, &url]).ok());
        let position = self.members.iter().position(|member| member.name == name).unwrap();
        let member = self.members.remove(position);
        member.process.terminate().unwrap();
        let host = self.host(member.host);
        let script = format!("addr del {}/24 dev eth0\naddr add {address}/24 dev eth0\n", member.address);
        host.netns().ip_batch(&script).unwrap();
        let process = self.spawn((name, member.host), address, &member.data, &[]);
        self.members.insert(position, Member { address, process, ..member });
        self.wait_until_serves(name);
    }

    /// A member less. It ends by itself, once it has heard of it.
    pub(crate) fn remove(&mut self, name: &str) {
        let number = format!("{:x}", self.number(name));
        let first = self.members[0].name;
        eventually("the member is removed", || self.control(first, &["member", "remove", &number]).ok());
        let position = self.members.iter().position(|member| member.name == name).unwrap();
        self.members.remove(position).process.wait(PATIENCE).unwrap();
    }

    /// How many times each member saw the leader change since it began, by its own account. With its process: one that began anew counts anew.
    pub(crate) fn leader_changes(&self) -> BTreeMap<(&'static str, u32), u64> {
        let count = |member: &Member| self.metric(member.name, "etcd_server_leader_changes_seen_total");
        self.members.iter().map(|member| ((member.name, member.process.id()), count(member))).collect()
    }

    /// A number of the member's own metrics.
    fn metric(&self, name: &str, metric: &str) -> u64 {
        let here = (Ipv4Addr::LOCALHOST, CLIENT_PORT).into();
        let ask = || ask(here, "GET /metrics HTTP/1.0\r\n\r\n", PATIENCE);
        let text = self.host(self.member(name).host).netns().run(ask).unwrap().unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: no {metric} in {text}")).trim().parse().unwrap()
    }
}

fn peer_url(address: Ipv4Addr) -> String {
    format!("http://{address}:{PEER_PORT}")
}

/// Puts a key, from the network of the calling thread, over a connection of its own. Words of four letters: they go as base64, whatever they mean in it.
pub(crate) fn put(target: Ipv4Addr, key: &str, value: u64, within: Duration) -> Result<(), String> {
    let body = format!("{{\"key\":\"{key}\",\"value\":\"{value:08}\"}}");
    let head = format!("POST /v3/kv/put HTTP/1.0\r\nContent-Length: {}", body.len());
    let answer = ask((target, CLIENT_PORT).into(), &format!("{head}\r\n\r\n{body}"), within);
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.0 200") { Ok(()) } else { Err(answer) }
}

/// As HTTP/1.0: the answer comes in one piece, and ends with the connection.
fn ask(target: SocketAddr, request: &str, within: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
