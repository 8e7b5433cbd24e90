//! What the system's own tool sees of nodewall: named objects with types, where they should be.

use nodewall_testbed::{find_tool, skip_unless_privileged};
use serde_json::Value;

use super::node::Node;

/// Every map that userspace knows by name.
const MAPS: [&str; 11] = [
    "nw_counters",
    "nw_outbound",
    "nw_peer_traffic",
    "nw_flows",
    "nw_captures",
    "nw_policy",
    "nw_rows",
    "nw_peers",
    "nw_layout",
    "nw_image_0",
    "nw_image_1",
];

/// Whether bpftool is missing; where skipping is forbidden that is an error.
fn no_bpftool(test_name: &str) -> bool {
    match find_tool("bpftool") {
        Ok(_) => false,
        Err(error) => {
            assert!(std::env::var("NODEWALL_REQUIRE_ROOT").as_deref() != Ok("1"), "{test_name}: {error}");
            println!("SKIPPED {test_name}: {error}");
            true
        }
    }
}

fn bpftool(node: &Node, arguments: &[&str]) -> Value {
    let json = node.netns().tool("bpftool", &[&["-j"], arguments].concat()).unwrap();
    serde_json::from_str(&json).unwrap()
}

#[test]
fn bpftool_net_shows_the_program_on_its_interface() {
    let name = "bpftool_net_shows_the_program_on_its_interface";
    if skip_unless_privileged(name) || no_bpftool(name) {
        return;
    }
    let node = Node::enforcing();
    let (_, program) = node.attachment("eth0").unwrap();
    let shown = bpftool(&node, &["net"]);
    let xdp = shown[0]["xdp"].as_array().unwrap();
    assert_eq!(xdp.len(), 1, "{shown}");
    assert_eq!(xdp[0]["devname"], "eth0");
    assert_eq!((&xdp[0]["mode"], &xdp[0]["id"]), (&"driver".into(), &program.into()));

    let shown = bpftool(&node, &["prog", "show", "id", &program.to_string()]);
    assert!(shown["name"].as_str().unwrap().starts_with("nodewall"), "{shown}");
    assert!(shown["btf_id"].as_u64().unwrap() > 0, "{shown}");
    // It names its maps, so that one leads to the other.
    assert!(!shown["map_ids"].as_array().unwrap().is_empty(), "{shown}");
}

#[test]
fn bpftool_map_shows_named_and_typed_maps() {
    let name = "bpftool_map_shows_named_and_typed_maps";
    if skip_unless_privileged(name) || no_bpftool(name) {
        return;
    }
    let node = Node::enforcing();
    for map in MAPS {
        let pin = node.directories.maps().join(map);
        let shown = bpftool(&node, &["map", "show", "pinned", pin.to_str().unwrap()]);
        assert_eq!(shown["name"], map);
        // The kernel takes no types for a map of maps, nor for one of perf buffers; those of inner maps are looked at here, too.
        assert!(shown["btf_id"].as_u64().is_some() || ["nw_policy", "nw_captures"].contains(&map), "{shown}");
    }
    let pins = node.directories.maps();
    let mut pinned: Vec<String> =
        pins.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let mut known = MAPS.map(str::to_owned).to_vec();
    pinned.sort();
    known.sort();
    assert_eq!(pinned, known);
}

/// What a version that nobody knows left behind is refused with both versions, and nothing is changed.
#[test]
fn a_datapath_of_another_version_is_refused_with_both_numbers() {
    let name = "a_datapath_of_another_version_is_refused_with_both_numbers";
    if skip_unless_privileged(name) || no_bpftool(name) {
        return;
    }
    let mut node = Node::enforcing();
    node.end_agent(nodewall_testbed::Signal::TERM);
    // A smaller image that begins as all of them do.
    let pin = node.directories.pins().join("maps/nw_image_0");
    let path = pin.to_str().unwrap();
    std::fs::remove_file(&pin).unwrap();
    let create = "map create PATH type array key 4 value 64 entries 1 name nw_image_0 flags 0x400";
    let update = "map update pinned PATH key 0 0 0 0 value";
    let tool = |words: String| node.netns().tool("bpftool", &words.split_whitespace().collect::<Vec<_>>()).unwrap();
    tool(create.replace("PATH", path));
    let mut value = [0_u8; 64];
    value[..8].copy_from_slice(b"nodewall");
    value[8] = 1;
    let bytes: Vec<String> = value.iter().map(ToString::to_string).collect();
    tool(format!("{} {}", update.replace("PATH", path), bytes.join(" ")));
    for verb in ["apply", "run", "status"] {
        let refused = node.nodewall(verb, &[]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let ours = format!("this build {}", if verb == "status" { "has " } else { "(" });
        let versions = refused.stderr.contains("ABI version 1,")
            && refused.stderr.contains(&format!("{ours}{}", node_ebpf_common::ABI_VERSION));
        assert!(versions, "{refused:?}");
    }
    super::traffic::assert_filtered(&node);
    assert!(node.nodewall("detach", &[]).status.success());
}
