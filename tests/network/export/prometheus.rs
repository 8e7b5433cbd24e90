//! A real Prometheus in the node's namespace, with its own data, scraping each second; and its promtool.

use std::{collections::BTreeMap, io::Write as _, process::Stdio, sync::Arc, time::Duration};

use nodewall_testbed::{Lab, PATIENCE, Probe, Process, Protocol, find_tool, probe_many, skip_unless_privileged};
use serde_json::Value;
use tempfile::TempDir;

use super::client::{get, request, served};
use crate::{
    counters::Cell,
    node::{Node, eventually},
};

const PORT: u16 = 19_090;

/// Ends when it is dropped.
pub(crate) struct Prometheus {
    _process: Process,
    lab: Arc<Lab>,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it and waits for its first scrape.
    pub(crate) fn start(node: &Node) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        let rules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/rules.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}\"]\nscrape_configs:\n  - job_name: nodewall\n    \
             static_configs:\n      - targets: ['127.0.0.1:9117']\n",
            rules.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = node.netns().command(find_tool("prometheus").unwrap());
        command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(directory.path().join("data"));
        command.arg(format!("--web.listen-address=127.0.0.1:{PORT}"));
        let process = Process::spawn("prometheus", command).unwrap();
        process.wait_for_line(PATIENCE, |line| line.contains("Server is ready to receive web requests")).unwrap();
        let prometheus = Self { _process: process, lab: node.lab.clone(), _directory: directory };
        eventually("the first scrape", || prometheus.query("up == 1").first().cloned());
        prometheus
    }

    /// What an instant query answers: labels and value.
    pub(crate) fn query(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply =
            request(self.lab.node().netns(), PORT, "GET", &format!("/api/v1/query?query={encoded}"), &[]).json();
        let sample = |sample: &Value| {
            let labels = sample["metric"].as_object().unwrap().iter();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            (labels, sample["value"][1].as_str().unwrap().parse().unwrap())
        };
        reply["data"]["result"].as_array().unwrap().iter().map(sample).collect()
    }
}

/// Runs promtool; what it says and whether it is content.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut tool = std::process::Command::new(find_tool("promtool").unwrap())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn promtool_finds_nothing_to_mend_in_the_metrics() {
    if skip_unless_privileged("promtool_finds_nothing_to_mend_in_the_metrics") {
        return;
    }
    let node = served();
    let reply = get(&node, "/metrics");
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (content, said) = promtool(&["check", "metrics"], &reply.body);
    assert!(content && said.is_empty(), "{said}\n{}", reply.body);
    let (content, _) =
        promtool(&["check", "metrics"], &reply.body.replace("# HELP nodewall_enforcing", "# HELP other"));
    assert!(!content, "it would not find anything");
    let asked = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")];
    let open = request(node.netns(), super::client::PORT, "GET", "/metrics", &asked);
    assert!(open.headers["content-type"].starts_with("application/openmetrics-text") && open.body.ends_with("# EOF\n"));
}

/// What real sockets sent is what Prometheus answers.
#[test]
fn prometheus_counts_the_packets_that_were_sent() {
    if skip_unless_privileged("prometheus_counts_the_packets_that_were_sent") {
        return;
    }
    let node = served();
    let prometheus = Prometheus::start(&node);
    let probes: Vec<_> = (0..37).map(|_| Probe::udp(node.host().socket(nodewall_testbed::Family::V4, 9042))).collect();
    let probed = probe_many(node.outsider().netns(), &probes, Duration::from_millis(300)).unwrap();
    let sent: u64 = probed.iter().map(|probe| u64::from(probe.sent_packets)).sum();
    assert!(sent >= 37);
    let cell = |counters: &crate::counters::Counters| counters.drops();
    let expected = BTreeMap::from([(Cell::port("cassandra", 9042, Protocol::Udp, "drop", "outsider"), sent)]);
    node.assert_counted(cell, &expected);
    let query = "sum(nodewall_packets_total{direction=\"in\",class=\"cassandra\",port=\"9042\",protocol=\"udp\",outcome=\"drop\",reason=\"outsider\"})";
    eventually("Prometheus' own number", || {
        prometheus.query(query).first().filter(|(_, n)| *n as u64 == sent).cloned()
    });
    let enforcing = prometheus
        .query("nodewall_enforcing * on (instance) group_left(mode) nodewall_interface_info{state=\"covered\",interface=\"eth0\"}");
    assert_eq!((enforcing[0].0["mode"].as_str(), enforcing[0].1), ("native", 1.0));
    let status = node.json("status");
    let hash = prometheus.query("nodewall_policy_info");
    assert_eq!(hash[0].0["sha256"], status["policy_sha256"].as_str().unwrap());
    assert_eq!(prometheus.query("nodewall_peers{source=\"static\",state=\"active\"}")[0].1, 4.0);
    assert_eq!(prometheus.query("ALERTS{alertstate=\"firing\",severity=\"page\"}"), []);
}
