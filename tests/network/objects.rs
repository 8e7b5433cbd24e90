//! What the system's own tool sees of nodewall: named objects with types, where they should be.

use std::thread;

use nodewall_datapath::Maps;
use nodewall_model::cases::{Compile as _, Policy};
use nodewall_testbed::{find_tool, skip_unless_privileged};
use serde_json::Value;
use zerocopy::IntoBytes as _;

use super::node::Node;

/// Every map that userspace knows by name.
const MAPS: [&str; 6] = ["nw_counters", "nw_captures", "nw_policy", "nw_rows", "nw_peers", "nw_layout"];

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
        // The kernel takes no types for a map of perf buffers; that of the policy is made without the object that has the types.
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

/// A copy that was taken while the policy changed is one of the policies, from its first byte to its last.
#[test]
fn a_policy_read_beside_swaps_is_whole() {
    const SWAPS: u64 = 300;
    if skip_unless_privileged("a_policy_read_beside_swaps_is_whole") {
        return;
    }
    let image = |generation: u64| {
        let mut compiled = if generation.is_multiple_of(2) { Policy::Enforce } else { Policy::Audit }.compiled();
        compiled.image.generation = generation;
        // Far behind the head, so that a torn copy shows.
        compiled.image.mission_v4.fill(generation as u32);
        compiled.image
    };
    let mut node = Node::enforcing();
    node.end_agent(nodewall_testbed::Signal::TERM);
    let live = || Maps::live(node.directories.pins()).unwrap().unwrap().1;
    let (mut writer, reader) = (live(), live());
    writer.swap(&image(0)).unwrap();
    thread::scope(|scope| {
        let swaps = scope.spawn(move || (1..=SWAPS).for_each(|generation| writer.swap(&image(generation)).unwrap()));
        let mut last = 0;
        while !swaps.is_finished() {
            let read = reader.policy().unwrap();
            assert!(read.generation >= last, "{} came after {last}", read.generation);
            last = read.generation;
            assert!(read.as_bytes() == image(last).as_bytes(), "generation {last} is not whole");
        }
        swaps.join().unwrap();
        assert!(last > 0, "nothing was read while policies were swapped");
    });
}
