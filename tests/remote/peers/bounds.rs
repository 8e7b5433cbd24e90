//! What is learnt stays within bounds: `within`, what can be nobody's peer, and how many there may be.

use std::time::Duration;

use nodewall::peers::PeerState;

use super::world::{HOUR, SOURCES, World, dns, file, net, who};

fn held(world: &World, peer: &str, why: &str) {
    match world.state(peer) {
        Some(PeerState::Held { why: told }) => assert!(told.contains(why), "{peer}: {told}"),
        other => panic!("{peer}: {other:?}"),
    }
}

#[test]
fn a_learnt_address_outside_of_within_is_held_and_alarmed() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2", "192.0.2.7", "2001:db8::7", "fd00::7", "8.0.0.0/6"]);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2", "fd00::7"]);
    held(&world, "192.0.2.7", "outside of [peers] within");
    held(&world, "2001:db8::7", "outside of [peers] within");
    let alarms = world.registry.alarms(&world.now);
    assert!(alarms.iter().any(|a| a.starts_with("2 peers are held") && a.contains("192.0.2.7")), "{alarms:?}");
    // Somebody on this host vouches for it.
    world.says(&file(), &["192.0.2.7"]);
    assert_eq!(world.state("192.0.2.7"), Some(PeerState::Active));
    world.says(&file(), &["10.0.0.2"]);
    held(&world, "192.0.2.7", "outside");
    // What never counted does not leave late.
    world.says(&dns("a"), &["10.0.0.2"]);
    assert_eq!(world.state("192.0.2.7"), None);
    assert_eq!(world.registry.alarms(&world.now), [""; 0]);
}

#[test]
fn narrower_bounds_count_at_once_and_wider_ones_let_in_what_was_held() {
    let mut world = World::new(SOURCES);
    world.says(&dns("a"), &["10.0.0.2", "10.9.0.2", "10.9.0.3"]);
    world.says(&dns("a"), &["10.0.0.2", "10.9.0.2"]);
    let narrow = SOURCES.replace("10.0.0.0/8", "10.0.0.0/16");
    world.configure(&narrow);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2"]);
    held(&world, "10.9.0.2", "outside");
    held(&world, "10.9.0.3", "outside");
    world.wait(HOUR);
    world.configure(SOURCES);
    assert_eq!(world.active(), ["10.0.0.1", "10.0.0.2", "10.9.0.2", "10.9.0.3"]);
}

#[test]
fn what_can_be_nobodys_peer_is_held_wherever_it_comes_from() {
    // Without bounds everything else would count.
    let mut world = World::new("[peers]\nvendor_firewall = true\n");
    let source = nodewall::peers::SourceName::vendor_firewall();
    let never = [
        ("0.0.0.0/0", "every address"),
        ("::/0", "every address"),
        ("10.0.0.0/7", "too wide"),
        ("fd00::/31", "too wide"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.5", "multicast"),
        ("::ffff:10.0.0.5", "IPv4-mapped"),
        ("0.0.0.0", "unspecified"),
        ("255.255.255.255", "broadcast"),
    ];
    let said: Vec<&str> = never.iter().map(|(peer, _)| *peer).chain(["10.0.0.0/8", "fd00::/32", "192.0.2.1"]).collect();
    world.says(&source, &said);
    assert_eq!(world.active(), ["10.0.0.0/8", "192.0.2.1", "fd00::/32"]);
    for (peer, why) in never {
        held(&world, peer, why);
    }
}

#[test]
fn a_source_that_runs_wild_displaces_nobody() {
    let allow: Vec<String> = (0..1_000).map(|n| format!("\"172.16.{}.{}\"", n / 250, n % 250)).collect();
    let rule = format!(
        "[[rule]]\nname = \"x\"\nports = [9999]\naccess = \"closed\"\nalso_allow = [{}, \"172.20.0.0/16\"]\n",
        allow.join(", ")
    );
    let mut world = World::new(&format!("{SOURCES}{rule}"));
    world.says(&dns("a"), &["10.200.0.1", "10.200.0.0/24"]);
    world.wait(HOUR);
    let wild: Vec<String> = (0..40_000_u32).map(|n| format!("10.1.{}.{}", n >> 8, n & 255)).collect();
    let mut said: Vec<String> = (0..2_000_u32).map(|n| format!("10.100.{}.{}/30", n >> 6, (n & 63) << 2)).collect();
    said.extend(wild);
    world.says(&dns("b"), &said.iter().map(String::as_str).collect::<Vec<_>>());
    world.wait(HOUR);
    world.says(&file(), &["10.200.0.2", "10.201.0.0/24"]);
    let active = world.registry.active(&world.now);
    let addresses = active.iter().filter(|net| net.prefix_len() == 32).count();
    // What the rules let in besides counts against the same limits.
    assert_eq!((addresses, active.len() - addresses), (16_384 - 1_000, 1_024 - 1));
    for named in ["10.0.0.1", "10.200.0.1", "10.200.0.2", "10.200.0.0/24", "10.201.0.0/24"] {
        assert_eq!(world.state(named), Some(PeerState::Active), "{named}");
    }
    held(&world, "10.1.156.63", "more than 15384 addresses");
    held(&world, "10.100.31.60/30", "more than 1023 prefixes");
}

/// Whoever controls an answer: thousands come and go each second. What is told stays small, says how often, and washes no operator's word out.
#[test]
fn a_source_that_flaps_is_told_in_few_and_short_lines() {
    const SECONDS: usize = 150;
    let mut world = World::new(SOURCES);
    world.changes();
    let many: Vec<String> = (0..3_000).map(|n| format!("10.9.{}.{}", n / 250, 1 + n % 250)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    for second in 0..SECONDS {
        world.wait(Duration::from_secs(1));
        world.says(&dns("a"), if second % 2 == 0 { &many } else { &[] });
        lines.extend(world.changes());
        if second == 70 {
            // Nothing is forgotten by an agent that starts anew, nor counted twice.
            world.restart();
            world.registry.operator_add(net("10.0.0.77"), None, &who(), &world.now).unwrap();
            let told = world.changes();
            assert!(told.contains(&"10.0.0.77: active (added)".to_owned()), "{told:?}");
        }
    }
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(lines.len() <= 23 && bytes < 23 * 400, "{} lines, {bytes} bytes", lines.len());
    assert!(lines[0].ends_with(" and 2980 more: active (dns:a.example)"), "{}", lines[0]);
    // It has come to rest: the last is told all the same, and all are counted.
    assert!(!world.registry.is_due(&world.now));
    world.wait(Duration::from_secs(60));
    assert!(world.registry.is_due(&world.now));
    world.registry.expire(&world.now);
    lines.extend(world.changes());
    assert!(!world.registry.is_due(&world.now));
    let joined = |line: &String| line.strip_prefix("dns:a.example: ")?.split(' ').next()?.parse().ok();
    let counted: usize = lines.iter().map(|line| joined(line).unwrap_or(1)).sum();
    assert_eq!(counted, SECONDS, "{lines:#?}");
    assert!(lines.last().unwrap().contains("changes, the last: 10.9.0.1 10.9.0.2"), "{lines:#?}");
}
