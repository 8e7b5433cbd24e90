//! Evidence to a real syslog-ng: its `syslog()` counts octets, its `network()` reads lines, as Logstash and Fluent Bit do.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use super::{
    made::{START_NS, until},
    syslog::{id, ids, made, node},
};
use nodewall_evidence::output::Outputs;
use nodewall_policy::config::{EvidenceOutput, Syslog, SyslogFraming, SyslogTransport};
use nodewall_testbed::{PATIENCE, Process};

/// What `cargo xtask setup` unpacks; it is not installed, for Debian has one syslog server at a time.
fn syslog_ng(dir: &Path, config: &str) -> Process {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/syslog-ng");
    let program = tools.join("bin/syslog-ng");
    assert!(program.exists(), "no syslog-ng in target/tools; `cargo xtask setup` fetches it");
    fs::write(dir.join("conf"), config).unwrap();
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", tools.join("lib"));
    command.args(["--foreground", "--no-caps", "--stderr", "--cfgfile"]).arg(dir.join("conf"));
    command.arg("--module-path").arg(tools.join("modules"));
    for (option, file) in [("--persist-file", "persist"), ("--pidfile", "pid"), ("--control", "control")] {
        command.arg(option).arg(dir.join(file));
    }
    Process::spawn("syslog-ng", command).unwrap()
}

/// What syslog-ng takes from a source of this kind: header and text of each message.
fn taken(source: &str, framing: SyslogFraming) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let (out, port) = (dir.path().join("out"), TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let config = format!(
        "@version: 3.38\noptions {{ keep-hostname(yes); }};\n\
         source s {{ {source}(ip(127.0.0.1) port({port}) transport(tcp) {}); }};\n\
         destination d {{ file(\"{}\" template(\"$FACILITY.$PRIORITY|$HOST|$PROGRAM|$MSGID|$MSG\\n\")); }};\n\
         log {{ source(s); destination(d); }};\n",
        // In `network()`, RFC 5424 is asked for.
        if source == "network" { "flags(syslog-protocol)" } else { "" },
        out.display()
    );
    let server = syslog_ng(dir.path(), &config);
    until("syslog-ng listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let (host, transport) = ("127.0.0.1".to_owned(), SyslogTransport::Tcp);
    let to = Syslog { host, port, transport, framing, ca: None, chain_head: true };
    let outputs = Outputs::start(&[EvidenceOutput::Syslog(to)], &node()).unwrap();
    outputs.send(3, &made(50));
    outputs.chain_head(START_NS, 3, &[0xab; 32]);
    let [status] = outputs.finish(PATIENCE).try_into().unwrap();
    assert_eq!((status.sent, status.lost, status.error), (52, 0, None), "{}", server.output());
    let read = || fs::read_to_string(&out).unwrap_or_default();
    // The head is the last one, whatever became of the others.
    until("the last message is written", || read().ends_with('\n') && read().contains("nodewall chain head="));
    let lines =
        read().lines().map(|line| line.splitn(5, '|').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>();
    lines
        .into_iter()
        .map(|mut parts| {
            let text = parts.pop().unwrap();
            (parts.join("|"), text)
        })
        .collect()
}

fn is_whole(messages: &[(String, String)]) -> bool {
    let records = messages.iter().filter(|(header, _)| header.ends_with("|node-1|nodewall|evidence"));
    messages.len() == 52
        && messages[0].0 == "daemon.notice|node-1|nodewall|evidence"
        && records.filter_map(|(_, text)| id(text)).eq(ids(3, 50))
}

#[test]
fn each_framing_is_read_by_the_source_that_knows_it() {
    for (source, framing) in [("syslog", SyslogFraming::OctetCounting), ("network", SyslogFraming::Newline)] {
        let messages = taken(source, framing);
        assert!(is_whole(&messages), "{source} {framing}: {messages:?}");
    }
    // What the key is for.
    let messages = taken("network", SyslogFraming::OctetCounting);
    assert!(!is_whole(&messages), "{messages:?}");
}
