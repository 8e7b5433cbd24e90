//! Refused text outside `[[rule]]`: syntax, types, unknown keys, words, interfaces, peers, versions.

use super::{Case, assert_refusals, refused};
use crate::config::{Config, InterfaceAttach};

#[test]
fn syntax_and_shape() {
    const CASES: &[Case] = &[
        ("mode = ▶enforce\n", "expected"),
        ("mode = \"enforce▶\nsingle_node = true\n", "invalid basic string"),
        ("mode = \"audit\"\n▶mode = \"enforce\"\n", "duplicate key \"mode\""),
        ("[peers]\n[▶peers]\n", "duplicate key \"peers\""),
        ("[peers▶\nstatic = []\n", "unclosed table, expected `]`"),
        ("▶= 5\n", "unquoted keys cannot be empty"),
        ("single_node = ▶1\n", "single_node: invalid type: integer `1`, expected true or false"),
        ("single_node = ▶\"yes\"\n", "single_node: invalid type: string \"yes\", expected true or false"),
        ("allow_lockout = ▶\"true\"\n", "allow_lockout: invalid type"),
        ("profile = ▶\"dynatrace-managed\"\n", "profile: invalid type: string \"dynatrace-managed\", expected a table"),
        ("profile = ▶[\"none\"]\n", "profile: invalid type: a list, expected a table"),
        ("▶[[profile]]\nname = \"none\"\n", "profile: invalid type: a list, expected a table"),
        ("peers = ▶[[\"10.0.0.11\"]]\n", "peers: invalid type: a list, expected a table"),
        ("rule = [▶[\"a\", [1], [\"tcp\"], \"public\"]]\n", "rule: invalid type: a list, expected a table"),
        ("rule = ▶5\n", "rule: invalid type: integer `5`, expected a list in square brackets"),
        ("▶[rule]\nname = \"a\"\n", "rule: invalid type: a table, expected a list in square brackets"),
    ];
    assert_refusals(CASES);
}

#[test]
fn unknown_keys_with_the_one_that_was_meant() {
    const CASES: &[Case] = &[
        ("▶mod = \"audit\"\n", "unknown key \"mod\"; did you mean \"mode\"?"),
        ("▶attach-mode = \"native\"\n", "did you mean \"attach_mode\"?"),
        ("▶rules = []\n", "did you mean \"rule\"?"),
        ("[▶peer]\nstatic = []\n", "unknown key \"peer\"; did you mean \"peers\"?"),
        ("[peers]\n▶statics = []\n", "did you mean \"static\"?"),
        ("[peers]\n▶dns_servers = \"10.0.0.53:53\"\n", "did you mean \"dns_server\"?"),
        ("[peers.http_sd]\n▶uri = \"https://sd.example\"\n", "did you mean \"url\"?"),
        ("[peers.dynatrace_api]\n▶token = \"dt0c01.X\"\n", "unknown key \"token\""),
        ("[profile]\n▶nmae = \"none\"\n", "did you mean \"name\"?"),
        ("[profile]\n▶agent_port = \"public\"\n", "unknown key \"agent_port\""),
        ("[profile]\n▶web_port_8202 = \"public\"\n", "did you mean \"web_port_8022\"?"),
        ("[[rule]]\nname = \"a\"\n▶port = [\"1\"]\naccess = \"public\"\n", "did you mean \"ports\"?"),
        ("[[rule]]\nname = \"a\"\nports = [1]\n▶alsoallow = []\naccess = \"public\"\n", "did you mean \"also_allow\"?"),
    ];
    assert_refusals(CASES);
    let far = refused("colour = 1\n");
    assert_eq!(far.errors()[0].message, "unknown key \"colour\"");
    assert!(far.errors()[0].help.as_ref().unwrap().starts_with("known here: mode, interfaces,"));
}

#[test]
fn single_interfaces() {
    const CASES: &[Case] = &[
        ("interface = [▶\"eth0\"]\n", "expected a table"),
        ("▶[[interface]]\nattach = \"none\"\n", "name: missing; this [[interface]] needs one such as \"eth1\""),
        ("[[interface]]\nname = \"eth1\"\nattach = ▶\"xdp\"\n", "attach: \"xdp\" is not a way to attach; expected"),
        (
            "[[interface]]\nname = ▶\"eth*\"\nattach = \"none\"\n",
            "\"eth*\" is a pattern; an [[interface]] is for one interface",
        ),
        ("[[interface]]\nname = ▶\"lo\"\nattach = \"none\"\n", "\"lo\" is never attached"),
        (
            "[[interface]]\nname = \"eth1\"\nattach = \"none\"\n[[interface]]\nname = ▶\"eth1\"\nattach = \"native\"\n",
            "\"eth1\" has a table at nodewall.toml:2:8 already",
        ),
        (
            "interfaces = [\"eth1\"]\n[[interface]]\nname = ▶\"eth1\"\nattach = \"none\"\n",
            "\"eth1\" is named in `interfaces`, and is to be left open here",
        ),
        (
            "interfaces = [\"eth0\"]\n[[interface]]\nname = ▶\"eth1\"\nattach = \"generic\"\n",
            "nothing in `interfaces` means \"eth1\", so it would not be attached",
        ),
        ("▶[[interface]]\nname = \"eth1\"\n", "this [[interface]] says nothing: it needs `attach`, `peers` or both"),
        (
            "[[interface]]\nname = \"eth1\"\npeers = ▶\"some\"\n",
            "\"some\" says nothing of peers; expected \"all\" or \"none\" or a list",
        ),
        ("[[interface]]\nname = \"eth1\"\npeers = ▶[]\n", "an empty list lets no peer in"),
        (
            "[[interface]]\nname = \"eth1\"\npeers = ▶[\"10.0.0.0/8\", \"10.0.0.0/8\"]\n",
            "\"10.0.0.0/8\" is in this list already",
        ),
        ("[[interface]]\nname = \"eth1\"\npeers = ▶[\"0.0.0.0/0\"]\n", "bounds nothing"),
        (
            "[[interface]]\nname = ▶\"eth1\"\nattach = \"none\"\npeers = \"none\"\n",
            "\"eth1\" is to be left open, so nothing judges who comes in by it",
        ),
        (
            "interfaces = [\"eth0\"]\n[[interface]]\nname = ▶\"eth1\"\npeers = \"none\"\n",
            "nothing in `interfaces` means \"eth1\", so it would not be attached",
        ),
    ];
    assert_refusals(CASES);
    let text = "[[interface]]\nname = \"eth1\"\npeers = [\"10.2.0.0/16\", \"10.1.0.0/16\"]\n[[interface]]\nname = \"eth2\"\npeers = \"none\"\n[[interface]]\nname = \"eth3\"\npeers = \"all\"\n";
    let peers = Config::parse(text, "test.toml").unwrap().interface_peers;
    let shown: Vec<String> = peers.iter().map(|(name, peers)| format!("{name} {peers}")).collect();
    assert_eq!(shown, ["eth1 10.1.0.0/16,10.2.0.0/16", "eth2 none"], "what lets all in says nothing");
    let text = "interfaces = [\"eth*\"]\n[[interface]]\nname = \"eth1\"\nattach = \"none\"\n[[interface]]\nname = \"eth2\"\nattach = \"generic\"\n";
    let attach = Config::parse(text, "test.toml").unwrap().interface_attach;
    let expected = [("eth1".to_owned(), InterfaceAttach::None), ("eth2".to_owned(), InterfaceAttach::Generic)];
    assert_eq!(attach, expected.into());
}

#[test]
fn words() {
    const CASES: &[Case] = &[
        ("mode = ▶\"enforced\"\n", "mode: \"enforced\" is not a mode; expected \"enforce\" or \"audit\""),
        ("mode = ▶\"Audit\"\n", "mode: \"Audit\" is not a mode"),
        ("mode = ▶true\n", "mode: invalid type: boolean `true`, expected \"enforce\" or \"audit\""),
        (
            "attach_mode = ▶\"skb\"\n",
            "attach_mode: \"skb\" is not an attach mode; expected \"native\", \"tc\" or \"generic\"",
        ),
        (
            "later_fragments = ▶\"none\"\n",
            "later_fragments: \"none\" is not a fragment setting; expected \"peers\" or \"all\"",
        ),
        ("tunnels = ▶\"none\"\n", "tunnels: \"none\" is not a tunnel setting; expected \"peers\" or \"all\""),
        (
            "[profile]\nname = ▶\"dynatrace\"\n",
            "profile.name: \"dynatrace\" is not a profile; expected \"dynatrace-managed\", \"dynatrace-managed-current\" or \"none\"",
        ),
        (
            "[profile]\nagent_port_8443 = ▶\"closed\"\n",
            "profile.agent_port_8443: \"closed\" is not an access for this port",
        ),
        (
            "[profile]\nweb_port_8022 = ▶false\n",
            "profile.web_port_8022: invalid type: boolean `false`, expected \"cluster\" or \"public\"",
        ),
    ];
    assert_refusals(CASES);
}

#[test]
fn interfaces() {
    const CASES: &[Case] = &[
        ("interfaces = ▶[]\n", "interfaces: an empty list protects nothing"),
        ("interfaces = ▶\"eth0\"\n", "interfaces: invalid type: string \"eth0\", expected a list"),
        ("interfaces = [\"eth0\", ▶1]\n", "interfaces: invalid type: integer `1`, expected a string"),
        ("interfaces = [▶\"\"]\n", "interfaces: \"\" is not an interface name"),
        ("interfaces = [\"eth0\",\n  ▶\"lo\"]\n", "interfaces: \"lo\" is never attached"),
        ("interfaces = [▶\"a-name-too-long1\"]\n", "expected 1 to 15 bytes"),
        ("interfaces = [▶\"eth 0\"]\n", "is not an interface name"),
        ("interfaces = [▶\"eth/0\"]\n", "is not an interface name"),
        ("interfaces = [▶\"v?\"]\n", "\"v?\" is not an interface name"),
        ("interfaces = [▶\"eth?*\"]\n", "\"eth?*\" is not an interface name"),
        ("interfaces = [▶\"e*0\"]\n", "is not an interface name"),
        ("interfaces = [▶\"..\"]\n", "is not an interface name"),
        ("interfaces = [▶\"eth0:1\"]\n", "is not an interface name"),
    ];
    assert_refusals(CASES);
}

#[test]
fn peers() {
    const CASES: &[Case] = &[
        ("[peers]\nstatic = [▶\"10.0.0\"]\n", "peers.static: \"10.0.0\" is not an address or prefix"),
        ("[peers]\nstatic = [▶\"10.0.0.256\"]\n", "is not an address or prefix"),
        ("[peers]\nstatic = [▶\"010.0.0.1\"]\n", "is not an address or prefix"),
        ("[peers]\nstatic = [▶\" 10.0.0.1\"]\n", "is not an address or prefix"),
        ("[peers]\nstatic = [▶\"10.0.0.0/33\"]\n", "is not an address or prefix"),
        ("[peers]\nstatic = [▶\"node1.example\"]\n", "is not an address or prefix"),
        (
            "[peers]\nstatic = [\"10.0.0.11\", ▶\"10.0.0.5/24\"]\n",
            "has bits set beyond its prefix length; expected \"10.0.0.0/24\"",
        ),
        ("[peers]\nstatic = [▶\"2001:db8::1/64\"]\n", "expected \"2001:db8::/64\""),
        ("[peers]\nstatic = [▶\"11.0.0.0/7\"]\n", "has bits set beyond its prefix length; expected \"10.0.0.0/7\""),
        ("[peers]\nstatic = [▶\"12.0.0.0/7\"]\n", "too wide for a peer; expected a prefix of /8 or longer for IPv4"),
        ("[peers]\nstatic = [▶\"2001::/31\"]\n", "too wide for a peer; expected a prefix of /32 or longer for IPv6"),
        ("[peers]\nstatic = [▶\"0.0.0.0/0\"]\n", "would make every address a peer"),
        ("[peers]\nstatic = [▶\"::/0\"]\n", "would make every address a peer"),
        ("[peers]\nstatic = [▶\"224.0.0.1\"]\n", "multicast is never a packet's source"),
        ("[peers]\nstatic = [▶\"239.0.0.0/8\"]\n", "multicast"),
        ("[peers]\nstatic = [▶\"ff02::1\"]\n", "multicast"),
        ("[peers]\nstatic = [▶\"127.0.0.1\"]\n", "loopback never comes from another host"),
        ("[peers]\nstatic = [▶\"::1\"]\n", "loopback"),
        ("[peers]\nstatic = [▶\"0.0.0.0\"]\n", "the unspecified address"),
        ("[peers]\nstatic = [▶\"0.0.0.0/8\"]\n", "because it holds 0.0.0.0: the unspecified address"),
        ("[peers]\nstatic = [▶\"::\"]\n", "the unspecified address"),
        ("[peers]\nstatic = [▶\"255.255.255.255\"]\n", "broadcast"),
        ("[peers]\nstatic = [▶\"::ffff:10.0.0.1\"]\n", "an IPv4-mapped IPv6 address never stands for the IPv4 host"),
        ("[peers]\nstatic = [▶\"::/32\"]\n", "because it holds"),
        ("[peers]\nstatic = [▶5]\n", "peers.static: invalid type: integer `5`, expected a string"),
        ("[peers]\nstatic = ▶\"10.0.0.1\"\n", "peers.static: invalid type: string \"10.0.0.1\", expected a list"),
        ("[peers]\nwithin = [▶\"10.0.0.1/16\"]\n", "peers.within: \"10.0.0.1/16\" has bits set beyond"),
        ("[peers]\nwithin = [▶\"0.0.0.0/0\"]\n", "peers.within: \"0.0.0.0/0\" bounds nothing"),
        ("[peers]\nwithin = [▶\"ff00::/8\"]\n", "multicast"),
    ];
    assert_refusals(CASES);
}

#[test]
fn sources_of_peers() {
    const CASES: &[Case] = &[
        ("[peers]\nfile = ▶\"peers\"\n", "peers.file: \"peers\" is not an absolute path"),
        ("[peers]\nfile = ▶[\"/a\"]\n", "peers.file: invalid type"),
        ("[peers]\ndns = ▶[\"nodes.example\"]\n", "peers.dns: whoever can forge its answers could let anyone in"),
        ("[peers]\nwithin = []\ndns = ▶[\"nodes.example\"]\n", "needs [peers] within"),
        ("[peers]\ndns = ▶\"nodes.example\"\n", "expected a list"),
        ("[peers]\ndns_server = ▶\"10.0.0.53:53\"\n", "there are no names in dns"),
        ("[peers]\nvendor_firewall = ▶\"yes\"\n", "expected true or false"),
        ("[peers]\nremoval_delay = ▶\"3 fortnights\"\n", "peers.removal_delay: \"3 fortnights\" is not a time"),
        ("[peers]\nremoval_delay = ▶\"0s\"\n", "out of bounds; expected such as \"30s\""),
        ("[peers]\nremoval_delay = ▶\"367d\"\n", "out of bounds"),
        ("[peers]\nremoval_delay = ▶72\n", "invalid type: integer `72`, expected a string"),
        ("[peers]\nhttp_sd = ▶\"https://sd.example\"\n", "peers.http_sd: invalid type"),
        ("▶[peers.http_sd]\n", "peers.http_sd: missing key \"url\""),
        ("[peers.http_sd]\nurl = ▶\"http://sd.example/nodes\"\n", "peers.http_sd.url: whoever can forge its answers"),
        ("[peers.http_sd]\nurl = ▶\"HTTP://sd.example/nodes\"\n", "needs [peers] within"),
        ("[peers.http_sd]\nurl = ▶\"sd.example/nodes\"\n", "is no URL"),
        ("[peers.http_sd]\nurl = ▶\"/nodes\"\n", "does not begin with https:// or http://"),
        ("[peers.http_sd]\nurl = ▶\"ftp://sd.example/nodes\"\n", "does not begin with https:// or http://"),
        (
            "[peers.http_sd]\nurl = ▶\"https://me:pass@sd.example/\"\n",
            "a URL with a user or a password in it is refused",
        ),
        ("[peers.http_sd]\nurl = ▶\"https://sd.example:0/\"\n", "names no host, or no port"),
        ("[peers.http_sd]\nurl = ▶\"https://sd.example:70000/\"\n", "peers.http_sd.url"),
        ("[peers.http_sd]\nurl = ▶\"https://:443/\"\n", "peers.http_sd.url"),
        ("[peers.http_sd]\nurl = ▶\"https://sd.example/#nodes\"\n", "has a fragment"),
        ("[peers.http_sd]\nurl = ▶\"https://sd.example/a b\"\n", "is no URL"),
        (
            "[peers.http_sd]\nurl = \"https://sd.example\"\nca = ▶\"ca.pem\"\n",
            "peers.http_sd.ca: \"ca.pem\" is not an absolute",
        ),
        (
            "[peers.http_sd]\nurl = \"https://sd.example\"\ninterval = ▶\"25h\"\n",
            "peers.http_sd.interval: \"25h\" is out of bounds",
        ),
        ("▶[peers.dynatrace_api]\nurl = \"https://n1.example\"\n", "peers.dynatrace_api: missing key \"token_file\""),
        ("▶[peers.dynatrace_api]\ntoken_file = \"/t\"\n", "peers.dynatrace_api: missing key \"url\""),
        (
            "[peers]\nwithin = [\"10.0.0.0/8\"]\n[peers.dynatrace_api]\nurl = ▶\"http://n1.example\"\ntoken_file = \"/t\"\n",
            "would send the token in plain text",
        ),
        (
            "[peers.dynatrace_api]\nurl = ▶\"https://n1.example/?x\"\ntoken_file = \"/t\"\n",
            "peers.dynatrace_api.url: \"https://n1.example/?x\" has a query",
        ),
        (
            "[peers.dynatrace_api]\nurl = \"https://n1.example\"\ntoken_file = ▶\"etc/token\"\n",
            "peers.dynatrace_api.token_file: \"etc/token\" is not an absolute path",
        ),
        ("[peers.dynatrace_api]\nurl = \"https://n1.example\"\ntoken_file = ▶\"..\"\n", "is not an absolute path"),
    ];
    assert_refusals(CASES);
    for name in
        ["", ".", "a..b", "-a.example", "a-.example", "a b", "nodes.example/x", "ü.example", "10.0.0.1", "10.0.0.0/8"]
    {
        let marked = format!("[peers]\nwithin = [\"10.0.0.0/8\"]\ndns = [\"a.example\", ▶\"{name}\"]\n");
        assert_refusals(&[(&marked, "is no host name")]);
    }
    for server in ["10.0.0.53", "10.0.0.53:0", "dns.example:53", "fe80::1", "[::1]"] {
        let marked = format!("[peers]\nwithin = [\"10.0.0.0/8\"]\ndns = [\"a.example\"]\ndns_server = ▶\"{server}\"\n");
        assert_refusals(&[(&marked, "is no DNS server")]);
    }
    let many: Vec<String> = (0..65).map(|n| format!("\"n{n}.example\"")).collect();
    let errors = refused(&format!("[peers]\nwithin = [\"10.0.0.0/8\"]\ndns = [{}]\n", many.join(", ")));
    assert!(errors.to_string().contains("\"n64.example\" is one too many: at most 64"), "{errors}");
}

#[test]
fn versions() {
    const CASES: &[Case] = &[
        ("[profile]\ncluster_version = ▶1.300\n", "invalid type: floating point `1.3`, expected a version in quotes"),
        ("[profile]\ncluster_version = ▶1\n", "expected a version in quotes"),
        (
            "[profile]\ncluster_version = ▶\"\"\n",
            "profile.cluster_version: \"\" is not a cluster version; expected \"1.300\"",
        ),
        ("[profile]\ncluster_version = ▶\"1\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"v1.300\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.300-beta\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.+300\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.0166\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.300.12.2024\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.300.12.20240101-120000.1\"\n", "is not a cluster version"),
        ("[profile]\ncluster_version = ▶\"1.4294967296\"\n", "is not a cluster version"),
    ];
    assert_refusals(CASES);
}

#[test]
fn help_says_what_to_write_instead() {
    const CASES: &[(&str, &str)] = &[
        ("10.0.0.5/24", "for the one host write \"10.0.0.5\""),
        ("10.0.0.0/255.255.255.0", "prefix length, not the netmask"),
        ("10.0.0.0/33", "a prefix length is 0 to 32 for IPv4"),
        ("fe80::1%eth0", "leave out the zone"),
        ("10.0.0.1:9042", "leave out the port"),
        ("[2001:db8::1]", "leave out the port and the brackets"),
        ("node1.example", "names are not looked up here; [peers] dns"),
        ("::ffff:10.0.0.1", "write the IPv4 form: \"10.0.0.1\""),
        ("::ffff:10.0.0.0/120", "write the IPv4 form: \"10.0.0.0/24\""),
    ];
    for (peer, help) in CASES {
        let errors = refused(&format!("[peers]\nstatic = [\"{peer}\"]\n"));
        let found = errors.errors()[0].help.as_deref().unwrap_or_default();
        assert!(found.contains(help), "{peer}: {errors}");
    }
}
