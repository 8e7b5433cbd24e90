//! Real answers and real outages in the registry: a failing source never empties the list, and nobody gets in from outside the bounds.

use super::{
    block_on,
    server::{Reply, Server},
    source,
    unbound::Unbound,
};
use ipnet::IpNet;
use nodewall::peers::{DnsName, Registry, Source};
use nodewall_host::state::Clock;
use nodewall_policy::config::{Config, show};

fn clock() -> Clock {
    Clock { boot_id: "one".into(), boot_ns: 0, unix_ns: 1_800_000_000_000_000_000 }
}

/// Asks, and tells the registry whatever came.
async fn tell(registry: &mut Registry, source: &mut dyn Source) -> bool {
    let answer = source.fetch().await;
    let name = source.name().clone();
    match answer {
        Ok(answer) => {
            registry.answer(&name, answer, &clock());
            true
        }
        Err(error) => {
            registry.failed(&name, &error, &clock());
            false
        }
    }
}

fn active(registry: &Registry) -> Vec<String> {
    registry.active(&clock()).iter().map(|net: &IpNet| show(net)).collect()
}

#[test]
fn one_name_that_fails_takes_no_other_with_it() {
    let zone = "  local-zone: \"cluster.example.\" static\n  local-data: \"a.cluster.example. 60 IN A 10.0.0.1\"\n  \
                local-data: \"b.cluster.example. 60 IN A 10.0.0.2\"\n  local-data: \"b.cluster.example. 60 IN A 192.0.2.1\"\n";
    let unbound = Unbound::start(zone, "");
    let text = format!(
        "[peers]\nwithin = [\"10.0.0.0/8\"]\ndns = [\"a.cluster.example\", \"b.cluster.example\"]\ndns_server = \"{}\"\n",
        unbound.address
    );
    let mut registry = Registry::default();
    registry.configure(&Config::parse(&text, "nodewall.toml").unwrap(), &clock());
    block_on(async {
        let [mut a, mut b] =
            ["a.cluster.example", "b.cluster.example"].map(|name| DnsName::new(name, Some(unbound.address)));
        assert!(tell(&mut registry, &mut a).await && tell(&mut registry, &mut b).await);
        // 192.0.2.1 is out of bounds, whatever DNS says.
        assert_eq!(active(&registry), ["10.0.0.1", "10.0.0.2"]);
        unbound.control(&["local_data_remove", "a.cluster.example."]);
        unbound.control(&["local_data", "b.cluster.example. 60 IN A 10.0.0.3"]);
        assert!(!tell(&mut registry, &mut a).await);
        assert!(tell(&mut registry, &mut b).await);
        assert_eq!(active(&registry), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        drop(unbound);
        assert!(!tell(&mut registry, &mut a).await && !tell(&mut registry, &mut b).await);
        assert_eq!(active(&registry), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    });
}

#[test]
fn a_service_discovery_that_breaks_keeps_its_last_answer() {
    block_on(async {
        let replies = [
            Reply::json as fn(&str) -> Reply,
            |_| Reply::status("500 Oh"),
            |_| Reply::json("[]"),
            |body| Reply::json(body).cut_after(80),
            |_| Reply::json("[{\"targets\":[\"node1\"]}]"),
        ];
        let count = std::sync::atomic::AtomicUsize::new(0);
        let answer = move |_: &str| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            replies[number](r#"[{"targets":["10.0.0.1:1","10.0.0.2:1","0.0.0.0:1","192.0.2.7:1"]}]"#)
        };
        let server = Server::start("127.0.0.1", None, answer).await;
        let peers =
            format!("within = [\"10.0.0.0/8\"]\n[peers.http_sd]\nurl = \"http://127.0.0.1:{}/\"\n", server.port);
        let mut registry = Registry::default();
        registry.configure(&Config::parse(&format!("[peers]\n{peers}"), "nodewall.toml").unwrap(), &clock());
        let mut source = source(&peers);
        for round in 0..replies.len() {
            assert_eq!(tell(&mut registry, &mut *source).await, round == 0, "round {round}");
            assert_eq!(active(&registry), ["10.0.0.1", "10.0.0.2"], "round {round}");
        }
        assert_eq!(server.asked().len(), replies.len());
    });
}
