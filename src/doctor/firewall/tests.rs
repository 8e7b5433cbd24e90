//! Tests of `firewall`: iptables texts against the embedded profile with two peers.
use super::*;
use crate::config::Config;
use crate::net::Listing;

fn policy(rules: &str) -> Policy {
    let text = format!("[peers]\nstatic = [\"10.0.0.11\", \"10.0.0.12\"]\n{rules}");
    Policy::from_config(&Config::parse(&text, "test.toml").unwrap()).unwrap()
}

fn rules(filter: &str, nat: &str) -> Firewall {
    let text =
        format!("*filter\n:INPUT ACCEPT [0:0]\n{filter}\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n{nat}\nCOMMIT\n");
    let six = text.replace("10.0.0.", "2001:db8::").replace("/24", "/120").replace("192.0.2.0", "2001:db8:2::");
    let listing = |tool, text| Listing { tool, answer: Ok(text) };
    Firewall::read(&[listing("iptables-save", text), listing("ip6tables-save", six)])
}

fn found(firewall: &Firewall, policy: &Policy, check: &str) -> Vec<(Status, String)> {
    let all = findings(firewall, policy, &["eth0".to_owned()]).into_iter().filter(|finding| finding.check == check);
    all.map(|finding| (finding.status, finding.found)).collect()
}

#[test]
fn without_rules_there_is_one_line() {
    let all = findings(&Firewall::default(), &policy(""), &[]);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].status, all[0].check), (Status::Ok, "rules"));
    let refused = |tool, why: &str| Listing { tool, answer: Err(why.to_owned()) };
    let denied =
        Firewall::read(&[refused("nft", "Operation not permitted"), refused("ip6tables-save", "Permission denied")]);
    let all = findings(&denied, &policy(""), &[]);
    assert!(all.len() == 1 && all[0].status == Status::NotLookedAt, "{all:?}");
}

#[test]
fn what_they_leave_open_and_we_close_is_one_line() {
    let firewall = rules("-A INPUT -p tcp --dport 23 -j DROP", "");
    let open = found(&firewall, &policy(""), "opens-what-we-close");
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0].0, Status::Note);
    let text = &open[0].1;
    assert!(text.contains("cassandra tcp and udp 7000-7001,7199,9042"), "{text}");
    assert!(
        !text.contains("IPv4") && !text.contains("https"),
        "the same for both families, and not what is public: {text}"
    );
    assert_eq!(found(&firewall, &policy(""), "closes-what-we-open"), []);
}

#[test]
fn the_same_rules_as_ours_are_no_difference() {
    let mut lines = String::new();
    for port in ["7000:7001", "7199", "9042", "9200", "9300", "5701:5711", "8018:8022", "8443"] {
        for protocol in ["tcp", "udp"] {
            for peer in ["10.0.0.11", "10.0.0.12"] {
                lines += &format!("-A INPUT -p {protocol} -s {peer}/32 --dport {port} -j ACCEPT\n");
            }
            lines += &format!("-A INPUT -p {protocol} --dport {port} -j DROP\n");
        }
    }
    let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{lines}COMMIT\n");
    let drop_six = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m multiport --dports 5701:5711,7000:7001,7199,8018:8022,8443,9042,9200,9300 -j DROP\n-A INPUT -p udp -m multiport --dports 5701:5711,7000:7001,7199,8018:8022,8443,9042,9200,9300 -j DROP\nCOMMIT\n";
    let listing = |tool, text: &str| Listing { tool, answer: Ok(text.to_owned()) };
    let firewall = Firewall::read(&[listing("iptables-save", &text), listing("ip6tables-save", drop_six)]);
    let all = findings(&firewall, &policy(""), &["eth0".to_owned()]);
    assert!(all.len() == 1 && all[0].check == "rules" && all[0].status == Status::Ok, "{all:#?}");
}

#[test]
fn a_peer_that_they_refuse_is_degraded_and_the_rule_is_named() {
    let firewall =
        rules("-A INPUT -p tcp --dport 9042 -s 10.0.0.11/32 -j ACCEPT\n-A INPUT -p tcp --dport 9042 -j DROP", "");
    let closed = found(&firewall, &policy(""), "closes-what-we-open");
    assert_eq!(closed.len(), 1, "{closed:?}");
    let (status, text) = &closed[0];
    assert_eq!(*status, Status::Degraded);
    assert!(
        text.contains("the peer 10.0.0.12")
            && text.contains("cassandra tcp 9042")
            && text.contains("--dport 9042 -j DROP"),
        "{text}"
    );
}

#[test]
fn a_public_port_and_an_allowed_source_that_they_refuse() {
    let firewall = rules("-A INPUT -p tcp --dport 443 -j REJECT\n-A INPUT -s 192.0.2.0/24 -j DROP", "");
    let also =
        policy("[[rule]]\nname = \"ops\"\nports = [\"7199\"]\naccess = \"cluster\"\nalso_allow = [\"192.0.2.7\"]\n");
    let closed = found(&firewall, &also, "closes-what-we-open");
    assert!(closed.iter().all(|(status, _)| *status == Status::Note), "{closed:?}");
    assert!(closed.iter().any(|(_, text)| text.contains("refuse everyone") && text.contains("443")), "{closed:?}");
    assert!(closed.iter().any(|(_, text)| text.contains("refuse 192.0.2.7") && text.contains("ops tcp")), "{closed:?}");
}

#[test]
fn a_source_that_they_let_in_and_we_do_not() {
    let filter =
        "-A INPUT -p tcp --dport 9200 -s 192.0.2.0/24 -j ACCEPT\n-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j DROP";
    let open = found(&rules(filter, ""), &policy(""), "opens-what-we-close");
    let four: Vec<_> = open.iter().filter(|(_, text)| text.contains("192.0.2.0/24")).collect();
    assert!(four.len() == 1 && four[0].1.contains("elasticsearch tcp 9200"), "{open:?}");
}

#[test]
fn a_rule_that_can_not_be_read_is_shown_and_nothing_is_claimed() {
    let firewall = rules("-A INPUT -p tcp --dport 9042 -m set ! --match-set nodes src -j DROP", "");
    let unread = found(&firewall, &policy(""), "unread");
    assert_eq!(unread.len(), 2, "one text for each family: {unread:?}");
    assert!(unread.iter().all(|(status, text)| *status == Status::Unknown
        && text.contains("--match-set nodes src")
        && text.contains("cassandra tcp 9042")));
    for check in ["closes-what-we-open", "opens-what-we-close"] {
        for (_, text) in found(&firewall, &policy(""), check) {
            // The class's other ports are open there.
            assert!(!text.contains("cassandra tcp and udp 7000-7001,7199,9042"), "{text}");
        }
    }
}

#[test]
fn a_redirect_round_the_policy_is_degraded_and_the_vendors_is_not() {
    let vendors = "-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 8022";
    let redirects = found(&rules("", vendors), &policy(""), "redirect");
    assert!(redirects.len() == 2 && redirects.iter().all(|(status, _)| *status == Status::Ok), "{redirects:?}");
    assert!(redirects[0].1.contains("tcp 443 leads to 8022"), "{redirects:?}");

    let round = "-A PREROUTING -p tcp -m tcp --dport 19042 -j REDIRECT --to-ports 9042";
    let redirects = found(&rules("", round), &policy(""), "redirect");
    assert!(
        redirects
            .iter()
            .all(|(status, text)| *status == Status::Degraded && text.contains("tcp 19042 leads to tcp 9042")),
        "{redirects:?}"
    );
    assert_eq!(redirects.len(), 2);
    let named = policy("[[rule]]\nname = \"second\"\nports = [\"19042\"]\naccess = \"cluster\"\n");
    assert!(found(&rules("", round), &named, "redirect").iter().all(|(status, _)| *status == Status::Ok));
    // To a port that is open to everyone it leads round nothing.
    let harmless = "-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 443";
    assert_eq!(found(&rules("", harmless), &policy(""), "redirect"), []);
}
