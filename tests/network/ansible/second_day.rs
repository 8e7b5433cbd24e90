//! A cluster's second day: nodes come, go and move, nodewall is exchanged, and a real clustered program runs on them the whole time. The same day is lived without
//! nodewall, too, and what etcd says of both is compared. Every step of nodewall's is one that docs/OPERATING.md has.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nodewall_testbed::{
    Finished, Lab, Outcome, Probe, Process, eventually_eq, find_tool, probe_many, run_to_end, skip_unless_privileged,
    until,
};
use serde_json::{Value, json};

use super::etcd::{Cluster, PEER_PORT, Place};
use super::fleet::Fleet;
use super::writers::{Stage, Writers};
use crate::binary::executable;
use crate::node::PATIENCE;

const PLACES: [Place; 5] = [("n1", "peer1"), ("n2", "peer2"), ("n3", "peer3"), ("n4", "peer4"), ("n5", "peer5")];
const FIRST: [usize; 4] = [0, 1, 2, 3];
const JOINER: usize = 4;
const MOVED: usize = 1;
const REMOVED: usize = 2;
/// The address that one of them gets.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 22);
/// The stage that only the day without nodewall has.
const CUT: &str = "the leader is cut off";
const PASSES: &str = ": pass, reason peer";
const DROPS: &str = ": drop, reason outsider";
/// What is dropped shows by its silence.
const SILENCE: Duration = Duration::from_millis(250);

/// The page, and how its addresses are called here.
const PAGE: &str = include_str!("../../../docs/OPERATING.md");
const ITS_ADDRESSES: (&str, &str) = ("10.0.0.", "10.77.0.");

fn lab() -> Arc<Lab> {
    let builder = Lab::builder().host("peer3", 13).host("peer4", 14).host("peer5", 15);
    Arc::new(builder.build().unwrap())
}

/// nodewall on the nodes, by Ansible and by hand, as the page says.
struct Wall {
    fleet: Fleet,
    /// What each node has denied so far, frames.
    denied: [u64; 5],
    next: PathBuf,
}

impl Wall {
    fn new(lab: &Arc<Lab>) -> Self {
        let mut fleet = Fleet::on(Arc::clone(lab), &PLACES, &[]);
        fleet.members = FIRST.into();
        fleet.common.insert("nodewall_check_ports".into(), json!([PEER_PORT]));
        fleet.restart_what_is_exchanged();
        let (first, next) = (fleet.home().join("nodewall"), fleet.home().join("nodewall-next"));
        // Without what a debugger wants: each node gets a file of its own.
        let mut strip = Command::new(find_tool("strip").unwrap());
        strip.arg("-o").arg(&first).arg(executable());
        assert!(run_to_end("strip", strip, PATIENCE).unwrap().status.success());
        // Another executable to everyone who compares them, and the same to the kernel.
        let mut bytes = fs::read(&first).unwrap();
        bytes.extend_from_slice(b"the next one");
        fs::write(&next, bytes).unwrap();
        for (number, (name, host)) in PLACES.iter().enumerate() {
            let file = fleet.home().join(format!("nodewall-{name}"));
            fs::copy(&first, &file).unwrap();
            fleet.place_executable(number, file);
            let address = lab.host(host).unwrap().ipv4();
            fleet.own[number].insert("nodewall_addresses".into(), json!([address]));
        }
        Self { fleet, denied: [0; 5], next }
    }

    /// Types a command of the page on a node.
    fn type_on(&self, number: usize, command: &str) -> Finished {
        let is_there = PAGE.lines().filter_map(|line| line.strip_prefix("    ")).any(|line| {
            let typed = line.split(" # ").next().unwrap_or_default();
            typed.trim() == command
        });
        assert!(is_there, "docs/OPERATING.md does not have: {command}");
        let command = command.replace(ITS_ADDRESSES.0, ITS_ADDRESSES.1);
        let words: Vec<_> = command.split(' ').skip(1).collect();
        // A node has its configuration where every command looks for it; `explain` answers for another than the policy in force where one is named.
        if words[0] == "explain" { self.fleet.live(number, &words) } else { self.fleet.nodewall(number, &words) }
    }

    fn type_on_all(&self, command: &str) {
        for number in &self.fleet.members {
            let finished = self.type_on(*number, command);
            assert!(finished.status.success(), "{command}: {finished:?}");
        }
    }

    fn roll_out(&mut self) {
        self.fleet.roll_out(true).succeeds();
        self.assert_all_enforce_one_policy();
    }

    /// Each is well, and enforces for this cluster and nobody else.
    fn assert_all_enforce_one_policy(&self) {
        let mut hashes = BTreeSet::new();
        for number in &self.fleet.members {
            let status = self.fleet.status(*number);
            assert_eq!(
                (&status["mode"], &status["healthy"], &status["peers"], &status["trial"]),
                (&json!("enforce"), &json!(true), &json!(self.fleet.members.len()), &Value::Null),
                "{status}"
            );
            hashes.insert(status["policy_sha256"].to_string());
        }
        assert_eq!(hashes.len(), 1, "{hashes:?}");
        self.assert_nothing_more_is_denied();
    }

    /// Frames that a node dropped, or would have.
    fn denied(&self, number: usize) -> u64 {
        let counters = self.fleet.json(number, &["counters"]);
        let rows = counters["rows"].as_array().unwrap().iter();
        let denied = rows.filter(|row| row["direction"] == "in" && row["outcome"] != "pass");
        denied.map(|row| row["packets"].as_u64().unwrap()).sum()
    }

    fn assert_nothing_more_is_denied(&self) {
        for number in &self.fleet.members {
            assert_eq!(self.denied(*number), self.denied[*number], "{}", self.recorded(*number));
        }
    }

    /// The question of the page, asked on every node, has this answer.
    fn ask_all(&self, command: &str, answer: &str) {
        for number in &self.fleet.members {
            let said = self.type_on(*number, command);
            assert!(said.stdout.contains(answer), "{said:?}");
        }
    }

    /// The node is reached where it sends from, and what is in force on it is what was meant.
    fn doctor_finds_nothing(&self, number: usize) {
        let found = self.fleet.json(number, &["doctor"]);
        let told = found["findings"].as_array().unwrap().iter().filter(|finding| finding["status"] != "ok");
        let of_ours = ["peer-source", "peer-route", "peer-nat", "drift", "problem"].map(|check| json!(check));
        let told: Vec<_> = told.filter(|finding| of_ours.contains(&finding["check"])).collect();
        assert!(told.is_empty(), "{told:#?}");
    }

    /// A node that went back to audit, where somebody begins enforcement and goes away.
    fn trial_that_nobody_confirms(&self, number: usize) {
        let mode = || self.fleet.status(number)["mode"].clone();
        assert!(self.type_on(number, "nodewall apply --mode audit").status.success());
        assert_eq!(mode(), "audit");
        let enforce = self.fleet.command(number, &["enforce", "--allow-affected", "--confirm-within", "3s"]);
        let trial = Process::spawn("nodewall enforce", enforce).unwrap();
        assert_eq!(trial.wait(PATIENCE).unwrap().code(), Some(1), "{}", trial.output());
        for words in ["enforces, on trial", "not confirmed"] {
            assert!(trial.output().contains(words), "no `{words}` in {}", trial.output());
        }
        assert_eq!(mode(), "audit");
        assert!(self.type_on(number, "nodewall enforce").status.success());
        self.assert_all_enforce_one_policy();
    }

    fn upgrade(&mut self) {
        let before: Vec<_> = self.fleet.members.iter().map(|number| self.program(*number)).collect();
        let wanted = fs::read(&self.next).unwrap();
        for number in self.fleet.members.clone() {
            self.fleet.own[number].insert("nodewall_binary_file".into(), json!(self.next));
        }
        self.roll_out();
        for (number, before) in self.fleet.members.iter().zip(before) {
            let runs = fs::read(format!("/proc/{}/exe", self.fleet.agent(*number).id())).unwrap();
            assert!(runs == wanted, "n{} runs what it ran before", number + 1);
            assert_ne!(self.program(*number), before);
        }
    }

    /// The number of the kernel's program on the node.
    fn program(&self, number: usize) -> Value {
        self.fleet.status(number)["interfaces"][0]["program_id"].clone()
    }

    /// The filter goes on without it, and the next one takes over what it finds.
    fn agent_is_killed(&mut self, number: usize) {
        let generation = self.fleet.status(number)["generation"].clone();
        self.fleet.kill_agent(number);
        let status = self.fleet.status(number);
        assert_eq!((&status["agent"], &status["mode"]), (&Value::Null, &json!("enforce")), "{status}");
        let outsider = self.fleet.live(number, &["explain", "--source", "10.77.0.66", "--port", "9300"]);
        assert!(outsider.stdout.contains(DROPS), "{outsider:?}");
        assert_eq!(status["generation"], generation);
        self.fleet.start_agent(number);
        until("it is well", || self.fleet.status(number)["healthy"] == true);
        self.assert_all_enforce_one_policy();
    }

    fn recorded(&self, number: usize) -> String {
        let listed = self.fleet.nodewall(number, &["events", "list"]);
        format!("n{}:\n{}", number + 1, listed.stdout)
    }

    /// Without the step that the page has first, the one who comes hears nothing, and is recorded.
    fn knock(&mut self, from: usize) {
        for number in self.fleet.members.clone() {
            let probe = Probe::tcp((self.fleet.host(number).ipv4(), PEER_PORT).into());
            let probed = probe_many(self.fleet.host(from).netns(), &[probe], SILENCE).unwrap().remove(0);
            assert_eq!(probed.outcome, Outcome::TimedOut);
            self.denied[number] += u64::from(probed.sent_packets);
            eventually_eq("what was sent is denied", || self.denied(number), &self.denied[number]);
        }
        let command = "nodewall events list --since 1h --source 10.0.0.15";
        until("it is recorded", || self.type_on(self.fleet.members[0], command).stdout.contains("outsider"));
    }
}

/// Lives the day, with nodewall or without.
fn day(lab: &Arc<Lab>, mut wall: Option<&mut Wall>) -> Vec<Stage> {
    let mut cluster = Cluster::start(lab, &FIRST.map(|number| PLACES[number]));
    cluster.lead("n1");
    let mut writers = Writers::new(lab);
    for number in FIRST {
        // Across the wire, always from a node that stays.
        let from = if number == 0 { PLACES[3].1 } else { PLACES[0].1 };
        writers.write_to(PLACES[number].0, cluster.address(PLACES[number].0), from);
    }

    writers.begin("audit, and enforcement on trial, node by node", &cluster);
    if let Some(wall) = &mut wall {
        wall.roll_out();
    }
    writers.begin("a trial that nobody confirms", &cluster);
    if let Some(wall) = &wall {
        wall.trial_that_nobody_confirms(0);
    }

    writers.begin("a node is added", &cluster);
    if let Some(wall) = &mut wall {
        wall.knock(JOINER);
        wall.type_on_all("nodewall peers add 10.0.0.15 --ttl 24h");
        wall.ask_all("nodewall explain --source 10.0.0.15 --port 9300", PASSES);
    }
    cluster.add(PLACES[JOINER]);
    writers.write_to("n5", cluster.address("n5"), PLACES[0].1);
    if let Some(wall) = &mut wall {
        wall.assert_nothing_more_is_denied();
        wall.fleet.members.push(JOINER);
        wall.roll_out();
    }

    writers.begin("a node gets another address", &cluster);
    cluster.lead("n1");
    if let Some(wall) = &wall {
        wall.type_on_all("nodewall peers add 10.0.0.22 --ttl 24h");
        wall.ask_all("nodewall explain --source 10.0.0.22 --port 9300", PASSES);
    }
    writers.follow("n2", NEW);
    cluster.move_to("n2", NEW);
    writers.wait_for_writes();
    if let Some(wall) = &mut wall {
        wall.assert_nothing_more_is_denied();
        wall.doctor_finds_nothing(MOVED);
        wall.type_on_all("nodewall peers remove 10.0.0.12");
        wall.ask_all("nodewall explain --source 10.0.0.12 --port 9300", DROPS);
        wall.assert_all_enforce_one_policy();
        // For the next rollout.
        wall.fleet.own[MOVED].insert("nodewall_addresses".into(), json!([NEW]));
    }

    writers.begin("a node is removed", &cluster);
    cluster.lead("n1");
    writers.leave("n3");
    cluster.remove("n3");
    if let Some(wall) = &mut wall {
        wall.fleet.members.retain(|number| *number != REMOVED);
        wall.type_on_all("nodewall peers remove 10.0.0.13");
        wall.ask_all("nodewall explain --source 10.0.0.13 --port 9300", DROPS);
        assert!(wall.type_on(REMOVED, "nodewall detach").status.success());
        wall.assert_all_enforce_one_policy();
    }

    writers.begin("nodewall is upgraded", &cluster);
    if let Some(wall) = &mut wall {
        wall.upgrade();
    }
    writers.begin("an agent is killed", &cluster);
    if let Some(wall) = &mut wall {
        wall.agent_is_killed(3);
    }
    if wall.is_none() {
        // What a cut looks like to those who count: it is refused, and it is an election.
        writers.begin(CUT, &cluster);
        let leader = lab.host(PLACES[0].1).unwrap().netns();
        leader.ip(&["link", "set", "eth0", "down"]).unwrap();
        until("the cut shows", || writers.elections(&cluster) > 0 && writers.is_refused("n1"));
        leader.ip(&["link", "set", "eth0", "up"]).unwrap();
    }
    writers.end(&cluster)
}

#[test]
fn a_second_day_is_for_etcd_what_it_is_without_nodewall() {
    if skip_unless_privileged("a_second_day_is_for_etcd_what_it_is_without_nodewall") {
        return;
    }
    // Beside each other, which spares the time of one; the day without is over first.
    let (without, with) = thread::scope(|scope| {
        let without = scope.spawn(|| day(&lab(), None));
        let lab = lab();
        let with = day(&lab, Some(&mut Wall::new(&lab)));
        (without.join().unwrap_or_else(|panic| resume_unwind(panic)), with)
    });
    for (with, without) in with.iter().zip(&without) {
        println!(
            "{}: written {:?}, slowest {:?}; without nodewall {:?}",
            with.name, with.written, with.slowest, without.slowest
        );
        assert_eq!(with.name, without.name);
        assert!(with.elections <= without.elections, "{with:?}\nwithout nodewall: {without:?}");
        for (member, refusals) in &with.refused {
            assert!(without.refused.contains_key(member), "{member}: {refusals:?}\nwithout nodewall: {without:?}");
        }
    }
}
