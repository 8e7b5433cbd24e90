//! Who is taken for a peer, by which word; and that nobody is asked twice, or not at all.

use std::collections::VecDeque;

use super::*;

/// A person whose answers are known beforehand; and what was asked.
struct Script {
    answers: VecDeque<&'static str>,
    asked: Vec<String>,
}

impl Prompt for &mut Script {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        self.asked.push(question.to_owned());
        self.answers.pop_front().map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn tell(&mut self, text: &str) {
        self.asked.push(text.to_owned());
    }
}

fn net(text: &str) -> IpNet {
    parse_peer(text).unwrap()
}

/// One peer of each witness, and two of two.
fn found() -> Discovery {
    let mut found = Discovery::default();
    found.add(net("10.0.0.2"), Witness::VendorFirewall);
    found.add(net("10.0.0.2"), Witness::ConnectedFrom);
    found.add(net("10.0.0.3"), Witness::ConnectedTo);
    found.add(net("10.0.0.3"), Witness::ConnectedFrom);
    found.add(net("10.0.0.4"), Witness::ConnectedFrom);
    found
}

fn nobody() -> Option<&'static mut Script> {
    None
}

fn told(given: Answers, found: &mut Discovery, answers: &[&'static str]) -> (Answers, Vec<String>) {
    let mut script = Script { answers: answers.iter().copied().collect(), asked: Vec::new() };
    let decided = decide(given, false, found, Some(&mut script)).unwrap();
    assert!(script.answers.is_empty(), "not asked for: {:?}\n{:?}", script.answers, script.asked);
    (decided, script.asked)
}

#[test]
fn without_a_person_only_who_is_vouched_for_is_a_peer() {
    let mut found = found();
    let answers = decide(Answers::default(), true, &mut found, nobody()).unwrap();
    assert!(answers.vendor_firewall);
    assert_eq!(answers.peers, [net("10.0.0.3")], "not who merely connected");
    assert_eq!(answers.all_peers(&found), [net("10.0.0.2"), net("10.0.0.3")]);

    let mut strangers = Discovery::default();
    strangers.add(net("198.51.100.9"), Witness::ConnectedFrom);
    let error = decide(Answers::default(), true, &mut strangers, nobody()).unwrap_err().to_string();
    assert!(error.contains("198.51.100.9, which proves nothing") && error.contains("--single-node"), "{error}");
}

#[test]
fn flags_that_name_peers_leave_out_what_was_found() {
    let given = Answers { peers: vec![net("10.0.0.9")], ..Answers::default() };
    let answers = decide(given, true, &mut found(), nobody()).unwrap();
    assert_eq!((answers.peers, answers.vendor_firewall), (vec![net("10.0.0.9")], false));
    let given = Answers { single_node: true, ..Answers::default() };
    let answers = decide(given, true, &mut found(), nobody()).unwrap();
    assert!(answers.single_node && answers.all_peers(&found()).is_empty());
}

#[test]
fn a_person_decides_about_each_and_is_asked_again_where_the_answer_is_none() {
    let answers = ["", "n", "y", "maybe", "y", "10.0.0.300", "10.0.0.8, 10.0.0.7", "1.300", "closed", "public"];
    let mut found = found();
    let (decided, asked) = told(Answers::default(), &mut found, &answers);
    assert!(!decided.vendor_firewall);
    assert_eq!(decided.peers, ["10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.8"].map(net));
    assert_eq!(decided.cluster_version.map(|version| version.to_string()).as_deref(), Some("1.300"));
    assert_eq!(decided.agent_port_8443, Some(ProfileAccess::Public));
    // Enter says no to whom nothing but its own connection speaks for.
    assert!(asked.iter().any(|text| text.contains("Is 10.0.0.4") && text.contains("[y/N]")), "{asked:?}");
    assert!(asked.iter().any(|text| text.contains("Is 10.0.0.3") && text.contains("[Y/n]")), "{asked:?}");
    assert!(asked.iter().any(|text| text.contains("Since version 1.166")), "{asked:?}");
}

#[test]
fn nobody_is_asked_what_flags_have_said() {
    let given = Answers {
        interfaces: vec!["eth0".parse().unwrap()],
        peers: vec![net("10.0.0.2")],
        agent_port_8443: Some(ProfileAccess::Cluster),
        ..Answers::default()
    };
    let (decided, asked) = told(given, &mut found(), &[]);
    assert_eq!((decided.peers, asked), (vec![net("10.0.0.2")], vec![]));
}

#[test]
fn no_peer_at_all_is_a_question_of_its_own() {
    let mut nothing = Discovery::default();
    // No interface question is answered by Enter; then no peers, no, one peer.
    let (decided, _) = told(Answers::default(), &mut nothing, &["", "", "n", "10.0.0.2", "", ""]);
    assert_eq!((decided.peers, decided.single_node), (vec![net("10.0.0.2")], false));
    let (decided, _) = told(Answers::default(), &mut Discovery::default(), &["", "", "y", "", ""]);
    assert!(decided.single_node && decided.peers.is_empty());
}

#[test]
fn a_person_who_leaves_has_decided_nothing() {
    let mut script = Script { answers: VecDeque::from([""]), asked: Vec::new() };
    let error = decide(Answers::default(), false, &mut found(), Some(&mut script)).unwrap_err();
    assert!(error.to_string().contains("nothing was written"), "{error}");
}

#[test]
fn before_1_166_agents_report_to_8443() {
    let about = |version: &str| about_8443(Some(&version.parse().unwrap()));
    assert!(about("1.99").starts_with("Before") && about("1.165").starts_with("Before"));
    assert!(about("1.166").starts_with("Since") && about_8443(None).starts_with("Since"));
}
