//! A kernel with `PREEMPT_RT`: soft interrupts are threads there, and `local_bh_disable` keeps none of them off the processor. So a program that judges a frame
//! of one interface can come in the middle of one that judges another's, on the same processor and over the same counters.

use std::{fs, thread, time::Duration};

use nodewall_evidence::record::LossKind;
use nodewall_evidence::store::{Filter, Reader};
use nodewall_testbed::{Flood, Lab, PATIENCE, Protocol, Signal, run_to_end};

use crate::counters::Cell;
use crate::frames::{self, Link};
use crate::guest::{fact, skip_outside};
use crate::node::{Node, eventually};
use crate::settings::Settings;

/// Both ways in: the interface, and the other end of its wire.
const WIRES: [(&str, &str); 2] = [("low", "low-far"), ("high", "high-far")];
/// Priorities of the threads that receive on the wires, and of the one that sends on the second: it comes when it wants to, and so does what it sends.
const RECEIVES: [i32; 2] = [20, 60];
const SENDS: i32 = 70;
/// Packets a second: the first wire as fast as it goes; the second one by one, each of which may come in the middle of one of the first.
const RATES: [u32; 2] = [1_000_000, 1_000];
const FLOODED_FOR: Duration = Duration::from_secs(20);
/// More than a table of flows has room for in a second: entries are claimed without end, and what finds none is counted in a place that all share.
const SOURCES: u16 = 4_096;
/// Without the cure, and with it: that something is torn is a matter of chance.
const RUNS: usize = 10;

/// Has every thread of this process or of the kernel that is called so run before all others of a lower priority.
fn prioritise(task: &str, priority: i32) {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameters live during the call.
    let result = unsafe { libc::sched_setscheduler(task.parse().unwrap(), libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "{task}: {}", std::io::Error::last_os_error());
}

/// The numbers of the tasks below a folder of /proc whose name begins so.
fn tasks(folder: &str, name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_called =
        |task: &String| fs::read_to_string(format!("{folder}/{task}/comm")).is_ok_and(|comm| comm.starts_with(name));
    entries.filter(|task| task.parse::<u32>().is_ok()).filter(is_called).collect()
}

/// Has the interface's frames received by a thread of their own, of this priority.
fn receive_by_thread(node: &Node, interface: &str, priority: i32) {
    let script = format!("echo 1 > /sys/class/net/{interface}/threaded");
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", node.netns().name(), "sh", "-c", &script]);
    let said = run_to_end("ip netns exec", command, PATIENCE).unwrap();
    assert!(said.status.success(), "{said:?}");
    let found = eventually("a thread that receives", || {
        Some(tasks("/proc", &format!("napi/{interface}-"))).filter(|found| !found.is_empty())
    });
    for task in found {
        prioritise(&task, priority);
    }
}

/// Tells nodewall another answer to whether this is a real-time kernel, as long as it is there.
struct Hidden;

impl Hidden {
    /// Where kernels with the patch that `PREEMPT_RT` once was have the answer. Others have nothing there, and nodewall asks for their version.
    const FOLDER: &'static str = "/sys/kernel";

    fn hide() -> Self {
        mount(&["-t", "tmpfs", "none", Self::FOLDER]);
        fs::write(format!("{}/realtime", Self::FOLDER), "0\n").unwrap();
        Self
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg(Self::FOLDER).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

fn mount(arguments: &[&str]) {
    let mut command = std::process::Command::new("mount");
    command.args(arguments);
    let said = run_to_end("mount", command, PATIENCE).unwrap();
    assert!(said.status.success(), "{said:?}");
}

/// The denied frames.
fn counted(node: &Node) -> u64 {
    node.counters().packets(&Cell::port("cassandra", 9042, Protocol::Udp, "drop", "outsider"))
}

/// The denied frames that were recorded: in flows, and beside them. Not those that were only found missing beside the counters.
fn recorded(node: &Node) -> u64 {
    let Some(reader) = Reader::open(&node.directories.state_dir().join("evidence")).unwrap() else { return 0 };
    let flows = reader.flows(&Filter::default()).unwrap();
    let losses = reader.losses(&Filter::default()).unwrap();
    let beside = losses.iter().filter(|loss| matches!(loss.record.kind, LossKind::NotAttributed | LossKind::NotKept));
    let beside: u64 = beside.map(|loss| loss.record.packets).sum();
    flows.iter().map(|flow| flow.record.packets).sum::<u64>() + beside
}

/// How many frames of a flood over both wires an agent that starts now, and its program, do not count, and how many were not recorded.
fn missed(node: &mut Node) -> [i64; 2] {
    node.start_agent();
    for ((near, _), priority) in WIRES.into_iter().zip(RECEIVES) {
        eventually("it is covered", || node.attachment(near));
        receive_by_thread(node, near, priority);
    }
    let link = Link::between(node.outsider(), node.host());
    let to = (node.host().ipv4().into(), 9042);
    let source = |n: u16| [198, 18, (n >> 8) as u8, n as u8].into();
    let frames: Vec<_> = (0..SOURCES).map(|n| frames::udp(link, (source(n), 40_000), to, b"one of many")).collect();
    let before = [counted(node), recorded(node)];
    let [low, high] = WIRES.map(|(_, far)| far);
    let at_most = PATIENCE + FLOODED_FOR;
    let floods: [Flood; 2] = [
        node.netns().flood(low, frames.clone(), RATES[0], at_most).unwrap(),
        node.netns().flood_singly(high, frames, RATES[1], at_most).unwrap(),
    ];
    // The second to be made is the last by its number.
    let senders = eventually("both send", || Some(tasks("/proc/self/task", "flood")).filter(|found| found.len() == 2));
    prioritise(senders.iter().max_by_key(|task| task.parse::<u32>().unwrap()).unwrap(), SENDS);
    thread::sleep(FLOODED_FOR);
    let sent = floods.map(|flood| flood.stop().unwrap().total_packets());
    println!("sent {sent:?}");
    // All that is still on its way has come when nothing moves any more.
    let mut last = counted(node);
    eventually("all is counted", || {
        thread::sleep(Duration::from_millis(500));
        let now = counted(node);
        (std::mem::replace(&mut last, now) == now).then_some(())
    });
    assert!(node.end_agent(Signal::TERM).success());
    let sent: u64 = sent.iter().sum();
    [last - before[0], recorded(node) - before[1]].map(|had| sent.wrapping_sub(had).cast_signed())
}

#[test]
fn what_is_counted_was_sent_by_threads_that_interrupt_each_other() {
    let test = "realtime::what_is_counted_was_sent_by_threads_that_interrupt_each_other";
    if skip_outside(test) {
        return;
    }
    let version = fs::read_to_string("/proc/version").unwrap();
    assert!(version.contains("PREEMPT_RT"), "{version}");
    let settings = Settings::default().interfaces(&["eth0", "low", "high"]).rules("[counters]\nper_peer = true\n");
    let mut node = Node::idle(Lab::new().unwrap(), &settings);
    for (near, far) in WIRES {
        let batch = format!(
            "link add {near} type veth peer name {far}\nlink set {near} up arp off\nlink set {far} up arp off\n"
        );
        node.netns().ip_batch(&batch).unwrap();
    }
    let mut torn = [0; 2];
    for run in 0..RUNS {
        let hidden = Hidden::hide();
        // Only told.
        let without = missed(&mut node);
        drop(hidden);
        println!("run {run}: without atomic additions {without:?} frames were not counted, and not recorded");
        torn = [0, 1].map(|n| torn[n] + usize::from(without[n] != 0));
        assert_eq!(
            missed(&mut node),
            [0, 0],
            "sent and not counted, or not recorded, with atomic additions, in run {run}"
        );
    }
    fact("realtime_torn_without", &format!("counters in {} of {RUNS} runs, evidence in {}", torn[0], torn[1]));
    fact("realtime_torn", &format!("0 of {RUNS}"));
}
