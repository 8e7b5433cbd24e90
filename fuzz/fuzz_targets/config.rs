//! Any text as a configuration: a refusal that can be shown, or a policy that means the same however often it is read, compiles or says why not,
//! and whose image answers as its lists do.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use node_ebpf_common::decide;
use nodewall_fuzz::{
    cases::frames::{Ip4, Ip6, TCP, UDP, transport},
    model, rewrite,
};
use nodewall_policy::{
    Compiled, Facts, Policy, PolicyError, RowTable, class_name, compile,
    config::{Config, ConfigErrors, Protocol},
};

/// Ports of one policy that are tried, so that a long text is no slow one.
const PORTS_TRIED: usize = 24;
/// The source that no policy of a seed names.
const OUTSIDER: &str = "192.0.2.66";

fuzz_target!(|text: &str| {
    match Config::parse(text, "fuzz.toml") {
        Err(errors) => can_be_shown(text, &errors),
        Ok(config) => {
            let Some(policy) = meaning(&config) else { return };
            let canonical = policy.canonical();
            let again = Config::parse(text, "other-name.toml").expect("read once, read again");
            assert_eq!(Policy::from_config(&again).expect("as before").canonical(), canonical, "read twice");
            means_the_same_in_own_rules(&policy, &canonical);
            if let Ok(compiled) = compile(&policy, RowTable::default(), &Facts::default()) {
                answers_as_its_lists_do(&policy, &compiled);
            }
        }
    }
});

/// What is sound as text is refused for two reasons only, and only where the text gives them.
fn meaning(config: &Config) -> Option<Policy> {
    match Policy::from_config(config) {
        Ok(policy) => Some(policy),
        Err(PolicyError::Lockout { port, .. }) => {
            let listed = config.lockout_ports.iter().any(|range| range.contains(port));
            assert!(listed && !config.allow_lockout, "{port} is not to be kept open");
            None
        }
        Err(PolicyError::UnknownClass { name, .. }) => {
            assert!(config.profile.audit.contains(&name), "nobody asks to audit {name}");
            None
        }
        Err(error) => panic!("only a broken build refuses what was parsed: {error:?}"),
    }
}

/// Every problem has a place in the text, and the caret stands within the line shown.
fn can_be_shown(text: &str, errors: &ConfigErrors) {
    assert!(!errors.errors().is_empty(), "refused without a word");
    assert!(!errors.to_string().is_empty());
    for error in errors.errors() {
        assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
        assert_eq!(error.line.is_some(), error.column.is_some(), "{error:?}");
        let Some(line) = error.line else { continue };
        let whole_line = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("no such line: {error:?}"));
        let (Some(shown), Some((before, _))) = (&error.source_line, error.caret) else {
            panic!("a place that is not shown: {error:?}")
        };
        // A carriage return at the line's end is not shown, but the caret may stand behind it.
        assert!(before <= whole_line.chars().count().max(shown.chars().count()), "{error:?}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\t'), "{error:?}");
    }
}

fn means_the_same_in_own_rules(policy: &Policy, canonical: &str) {
    let Some(text) = rewrite::as_own_rules(policy) else { return };
    let config = Config::parse(&text, "rewritten.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let rewritten = Policy::from_config(&config).expect("as before");
    assert_eq!(rewritten.canonical(), canonical, "{text}");
}

/// The image's answer for the policy's ports and their neighbours is the one that the policy's own lists give.
fn answers_as_its_lists_do(policy: &Policy, compiled: &Compiled) {
    let outsider = OUTSIDER.parse().expect("an address");
    for (class, entry) in
        policy.classes.iter().flat_map(|class| class.ports.iter().map(move |e| (class, e))).take(PORTS_TRIED)
    {
        let sources = policy.peers.first().into_iter().chain(class.also_allow.last()).map(ipnet::IpNet::addr);
        for source in sources.chain([outsider]) {
            let ports = [entry.ports.first(), entry.ports.last(), entry.ports.last().wrapping_add(1)];
            for port in ports {
                for number in [TCP, UDP] {
                    let frame = frame(source, number, port);
                    let decision = decide(frame.as_slice(), &compiled.image);
                    let right = model::judge(&frame, policy, &model::Node::default());
                    let said = (decision.verdict(), decision.reason());
                    let text = policy.canonical();
                    assert_eq!(said, (right.verdict, Some(right.reason)), "{decision:?}, the model: {right}\n{text}");
                    let protocol = if number == TCP { Protocol::Tcp } else { Protocol::Udp };
                    if let Some(class) = policy.class_of(protocol, port) {
                        let record = compiled.rows.records().get(decision.row() as usize).expect("a row that exists");
                        assert_eq!(class_name(record), class.name, "{source} to {port} is counted for another class");
                    }
                }
            }
        }
    }
}

fn frame(source: IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    let payload = transport(protocol, port);
    match source {
        IpAddr::V4(_) => Ip4::new(&source.to_string(), protocol, payload).frame(),
        IpAddr::V6(_) => Ip6::new(&source.to_string(), protocol, payload).frame(),
    }
}
