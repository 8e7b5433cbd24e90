//! What others choose reaches no terminal raw, whichever command tells it: names of devices, of files, words on the command line, text of a configuration.
//! Whatever the message, nothing but printable characters and line ends comes out.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::Command,
};

use nodewall_testbed::{NetNs, PATIENCE, Process, eventually, skip_unless_privileged};

use crate::binary::{Scratch, executable};

/// Names as a device may have them: a colour, a turn of the writing's direction, a byte that is no UTF-8.
const NAMES: [&[u8]; 3] = [b"e\x1b[31mx", b"r\xe2\x80\xaey", b"b\x80z"];
/// The same for whatever may hold a line's end, too.
const HOSTILE: &[u8] = b"h\x1b]0;t\x07\n\r\x7f\xe2\x80\xae\xc2\x9b31m\xf3\xa0\x80\x81\x80.toml";

/// What a terminal shows, and line ends; how often it was there.
#[track_caller]
fn is_harmless(what: &str, bytes: &[u8]) {
    let text = str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}: {bytes:?}"));
    let raw = |c: char| c != '\n' && (c.is_control() || c.escape_debug().len() > 1 && !matches!(c, '"' | '\'' | '\\'));
    assert_eq!(text.chars().find(|c| raw(*c)), None, "{what}:\n{text:?}");
}

/// Runs it to its end and looks at both streams; what it printed, and what it said.
#[track_caller]
fn told(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
    is_harmless(&what, &output.stdout);
    is_harmless(&what, &output.stderr);
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).into()
}

/// A node with devices of such names, each with its other end at an outsider's.
struct Devices {
    // First: the pins are removed before the devices are.
    place: Scratch,
    node: NetNs,
    outsider: NetNs,
}

impl Devices {
    fn new() -> Self {
        let [node, outsider] = NetNs::create_many(&["node", "outsider"]).unwrap().try_into().unwrap();
        let devices = Self { place: Scratch::new(), node, outsider };
        devices.node.ip(&["link", "set", "lo", "up"]).unwrap();
        for (number, name) in NAMES.iter().enumerate() {
            let (name, end) = (OsStr::from_bytes(name), format!("far{number}"));
            devices.ip(
                [OsStr::new("link"), "add".as_ref(), "name".as_ref(), name, "type".as_ref(), "veth".as_ref()],
                &end,
            );
            devices.ip(
                [OsStr::new("address"), "add".as_ref(), format!("10.99.{number}.1/24").as_ref(), "dev".as_ref(), name],
                "",
            );
            devices.ip([OsStr::new("link"), "set".as_ref(), name, "up".as_ref()], "");
            devices.outsider.ip(&["link", "set", &end, "up"]).unwrap();
            devices.outsider.ip(&["address", "add", &format!("10.99.{number}.2/24"), "dev", &end]).unwrap();
        }
        devices
    }

    fn ip<'a>(&self, words: impl IntoIterator<Item = &'a OsStr>, peer: &str) {
        let mut command = self.node.command("ip");
        command.args(words);
        if !peer.is_empty() {
            command.args(["peer", "name", peer, "netns", self.outsider.name()]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.place.on(self.node.command(executable()), arguments)
    }

    /// What the agent answers on its port: the body, up to the first empty line of a stream.
    fn answer(&self, path: &str) -> String {
        let token = fs::read_to_string(self.place.state().join("token")).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9117\r\nAuthorization: Bearer {}\r\n", token.trim());
        let ask = move || {
            let mut stream = TcpStream::connect("127.0.0.1:9117").unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
            let (mut whole, mut piece) = (Vec::new(), [0; 4096]);
            while !whole.ends_with(b"\n\n\r\n") {
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    bytes => whole.extend(&piece[..bytes]),
                }
            }
            whole
        };
        let whole = String::from_utf8(self.node.run(ask).unwrap()).unwrap();
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let body = body.replace("\r\n", "\n");
        is_harmless(path, body.as_bytes());
        body
    }

    /// One that goes on until it is ended.
    fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(&arguments.join(" "), self.command(arguments)).unwrap()
    }

    fn end(process: &Process) {
        process.terminate().unwrap();
        is_harmless("one that was ended", process.output().as_bytes());
    }
}

#[test]
fn a_device_s_name_reaches_no_terminal_raw_whatever_the_command() {
    if skip_unless_privileged("a_device_s_name_reaches_no_terminal_raw_whatever_the_command") {
        return;
    }
    let devices = Devices::new();
    let config = devices.place.file("nodewall.toml", "single_node = true\n");
    let asked = RefCell::new(BTreeSet::new());
    let tell = |arguments: &[&str]| {
        asked.borrow_mut().insert(arguments[0].to_owned());
        told(devices.command(&[arguments, &["--config", &config]].concat()))
    };
    tell(&["plan"]);
    tell(&["apply"]);
    let agent = devices.start(&["run", "--config", &config, "--listen", "127.0.0.1:9117", "-v"]);
    agent.wait_for_line(PATIENCE, |line| line.contains("policy enforced")).unwrap();
    let tail = devices.start(&["events", "tail"]);
    let knock = || {
        let knocks = || {
            for number in 0..NAMES.len() {
                let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
                let _ = socket.send_to(b"x", (format!("10.99.{number}.1"), 9042));
            }
        };
        devices.outsider.run(knocks).unwrap();
        tell(&["events", "list"]).0.lines().filter(|line| line.contains("9042")).count() >= NAMES.len()
    };
    eventually("a knock at each device is recorded", || knock().then_some(()));
    tail.wait_for_line(PATIENCE, |line| line.contains("9042")).unwrap();
    let capture = devices.place.path("c.pcapng");
    let capturing = devices.start(&["capture", "-w", capture.to_str().unwrap()]);
    eventually("a capture is begun", || capture.is_file().then_some(()));
    let frames = devices.place.path("frames.pcapng");
    for format in ["table", "json", "jsonl"] {
        for arguments in [
            &["status"][..],
            &["check"],
            &["plan"],
            &["doctor"],
            &["counters"],
            &["counters", "--per-peer"],
            &["peers", "list"],
            &["peers", "diff"],
            &["peers", "add", "192.0.2.8"],
            &["peers", "remove", "192.0.2.8"],
            &["block", "192.0.2.9"],
            &["unblock", "192.0.2.9"],
            &["explain", "--source", "192.0.2.1", "--port", "9042"],
            &["events", "list"],
            &["events", "list", "--kind", "events"],
            &["events", "list", "--kind", "captures"],
            &["events", "show", "f1"],
            &["events", "show", "c1"],
            &["events", "show", "e1"],
            &["events", "verify"],
            &["events", "export", "--format", "ecs"],
            &["events", "export", "--format", "pcapng", "--out", frames.to_str().unwrap()],
            &["replay", frames.to_str().unwrap()],
            &["report", "--since", "1h", "--out", "-"],
            &["usage", "--since", "1h", "--by", "peer,port"],
            &["top", "--once", "--interval", "100ms"],
            &["init", "--stdout"],
            &["page"],
            &["apply"],
            &["enforce"],
            &["confirm"],
            &["rollback"],
            &["man"],
            &["completions", "bash"],
            &["--help"],
            &["trial-guard"],
        ] {
            tell(&[arguments, &["-o", format]].concat());
        }
    }
    let shown = tell(&["status"]).0;
    for name in ["e\\u{1b}[31mx ", "r\\u{202e}y ", "b\u{fffd}z#"] {
        assert!(shown.lines().any(|line| line.starts_with(name) && line.contains("covered")), "{name}:\n{shown}");
    }
    // The agent's answers, which somebody reads by curl, escape by their own formats.
    for path in ["status", "counters", "denied-sources", "peer-traffic", "peers", "ports", "stream"] {
        let answer = devices.answer(&format!("/api/v1/{path}"));
        assert!(!["status", "stream"].contains(&path) || answer.contains("\"e\\u001b[31mx\""), "{path}:\n{answer}");
    }
    let metrics = devices.answer("/metrics");
    assert!(metrics.contains("interface=\"e\\\\u{1b}[31mx\""), "{metrics}");
    let open = devices.start(&["panic-open", "--for", "10m"]);
    open.wait_for_line(PATIENCE, |line| line.contains("OPEN")).unwrap();
    [agent, tail, capturing, open].iter().for_each(Devices::end);
    assert!(tell(&["detach"]).0.contains("e\\u{1b}[31mx"));
    let mut asked = asked.into_inner();
    asked.extend(["run", "capture", "panic-open"].map(str::to_owned));
    let all = nodewall::cli::Cli::described();
    let missing: Vec<_> = all.get_subcommands().map(clap_name).filter(|name| !asked.contains(name)).collect();
    assert!(missing.is_empty(), "not asked: {missing:?}");
}

fn clap_name(command: &clap::Command) -> String {
    command.get_name().to_owned()
}

/// The binary with words of any bytes.
fn typed<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> (String, String) {
    let mut command = Command::new(executable());
    command.args(words).env("CLICOLOR_FORCE", "1");
    told(command)
}

#[test]
fn a_file_s_name_and_a_typed_word_reach_no_terminal_raw() {
    let place = Scratch::new();
    let name = place.path("x").with_file_name(OsStr::from_bytes(HOSTILE));
    let state = place.state();
    let words = |words: &[&OsStr]| {
        let (out, err) = typed(words.iter().copied());
        // The picture of a place has more lines, but none begins as a name would have it.
        assert!(!err.lines().any(|line| line.starts_with("\\r") || line.starts_with('\r')), "{words:?}:\n{err}");
        assert!(out.is_empty() && err.contains("\\u{1b}"), "{words:?}:\n{out}\n{err}");
        err
    };
    let look = |when: &str| {
        for command in ["check", "plan", "apply", "run"] {
            words(&[command.as_ref(), "--config".as_ref(), name.as_os_str(), "--state-dir".as_ref(), state.as_ref()]);
        }
        words(&["replay".as_ref(), name.as_os_str()]);
        for command in [&["status"][..], &["page"], &["events", "list"], &["report", "--since", "1h", "--out", "x"]] {
            let mut all: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
            all.extend(["--state-dir".as_ref(), name.as_os_str()]);
            if when == "a file" || command != ["status"] && command != ["page"] {
                words(&all);
            }
        }
    };
    look("nothing there");
    fs::write(&name, "mode = \"x\"\n").unwrap();
    fs::set_permissions(&name, fs::Permissions::from_mode(0o600)).unwrap();
    look("a file");
    fs::write(&name, b"mode = \"\xff\"\n").unwrap();
    look("a file");
    let word = OsString::from("w\u{1b}[31m\n\r\u{202e}");
    for before in [
        &[][..],
        &["peers"],
        &["check"],
        &["check", "--peer"],
        &["check", "--mode"],
        &["block"],
        &["check", "--interface"],
        &["check", "--output"],
        &["explain", "--port", "1", "--source"],
        &["events", "list", "--since"],
    ] {
        let mut all: Vec<&OsStr> = before.iter().map(OsStr::new).collect();
        all.push(&word);
        words(&all);
    }
}

#[test]
fn a_configuration_s_text_reaches_no_terminal_raw() {
    let place = Scratch::new();
    for text in [
        "mode = \"x\u{202e}y\u{2066}\"\n",
        "\u{202e}mode = 1\n",
        "mode = \"\\u001b[31m\"\n",
        "mode = \"\u{1b}[31m\"\n",
        "mode\t=\t\"\u{9b}31m\"\t\u{7f}\n",
        "\"\\u001b[31m\\nx\" = 1\n",
        "\"m\u{e0001}\" = 1\n\"m\u{e0001}\" = 1\n",
        "[peers]\nstatic = [\"\\u001b\\r\\n10.0.0.1\"]\n",
        "interfaces = [\"\u{200b}\\u0007\"]\n",
        "[[rule]]\nname = \"\u{202e}\"\nports = [\"\\u001b\"]\naccess = \"\\u009b\"\n",
        "[profile]\nname = \"\\u001b\"\ncluster_version = \"\u{202e}\"\n",
        "[export]\nlisten = \"\\u001b\"\nhost = \"\u{202e}\"\n",
        "[push]\nurl = \"https://\u{202e}\\u001b/\"\ntoken_file = \"/\\u001b\"\n",
    ] {
        let config = place.file("nodewall.toml", text);
        for command in ["check", "plan", "apply", "run"] {
            let (out, err) = told(place.on(Command::new(executable()), &[command, "--config", &config]));
            assert!(out.is_empty() && err.contains("nodewall.toml"), "{text:?}:\n{out}\n{err}");
        }
    }
}

/// A line is told around the fault, and a value by its beginning and its end: whatever is long in a file, no line of an error is.
#[test]
fn a_line_of_a_megabyte_is_told_in_lines_that_fit() {
    const LONG: usize = 500_000;
    let place = Scratch::new();
    let a = "a".repeat(LONG);
    let many = "\"10.0.0.1\", ".repeat(LONG / 12);
    for (text, told_of) in [
        (format!("mode = \"{a}\"\n"), "is not a mode"),
        (format!("mode = \"x\" # {a}\n"), "is not a mode"),
        (format!("{a} = 1\n"), "unknown key"),
        (format!("x = {a}\n"), "nodewall.toml:1:"),
        (format!("\"{a}\" = 1\n\"{a}\" = 1\n"), "duplicate key"),
        (format!("mode = {{ {a} = 1 }}\n"), "nodewall.toml:1:"),
        (format!("[peers]\nstatic = [{many}\"x\"]\n"), "is not an address"),
        (format!("[peers]\nstatic = [\"{a}\"]\n"), "is not an address"),
        (format!("interfaces = [\"{a}\"]\n"), "is not an interface name"),
        (format!("[[rule]]\nname = \"{a}\"\nports = [\"1\"]\naccess = \"public\"\n"), "name"),
        (format!("[[rule]]\nname = \"r\"\nports = [\"{a}\"]\naccess = \"public\"\n"), "port"),
        (format!("[push]\nurl = \"https://{a}/\"\n"), "nodewall.toml:2:"),
        (format!("[peers]\nwithin = [\"10.0.0.0/8\"]\ndns = [\"{a}\"]\n"), "nodewall.toml:3:"),
    ] {
        let config = place.file("nodewall.toml", &text);
        let what = text.chars().take(60).collect::<String>();
        let err = told(place.on(Command::new(executable()), &["check", "--config", &config])).1;
        assert!(err.contains(told_of), "{what}: {}", err.chars().take(2_000).collect::<String>());
        let longest = err.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 1_200 && err.len() < 8_000, "{what}: a line of {longest} characters");
        // The caret stands under the fault, in view.
        let lines: Vec<&str> = err.lines().collect();
        let caret = lines.iter().position(|line| line.contains(" | ") && line.contains('^')).unwrap();
        assert!(lines[caret].find('^').unwrap() < 100 && lines[caret - 1].chars().count() <= 180, "{what}:\n{err}");
    }
    let far = place.file("nodewall.toml", format!("[peers]\nstatic = [{many}\"here\"]\n"));
    let err = told(place.on(Command::new(executable()), &["check", "--config", &far])).1;
    let lines: Vec<&str> = err.lines().collect();
    let at = lines.iter().position(|line| line.contains('^')).unwrap();
    let (first, last) = (lines[at].find('^').unwrap(), lines[at].rfind('^').unwrap());
    assert_eq!(lines[at - 1].get(first..=last), Some("\"here\""), "{err}");
}
