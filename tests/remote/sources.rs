//! The sources rung: what learns peers over the network, against a real DNS server, and over real TLS against servers that answer well, badly, late
//! and by half.

mod agent;
mod cluster_api;
mod dns;
mod families;
mod faults;
mod http_sd;
mod registry;
mod server;
mod unbound;

use std::time::Duration;

use nodewall::peers::{Source, SourceName, sources};
use nodewall_policy::config::{Config, show};

/// A runtime as the agent has it, for one test.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The one source besides `static` of a configuration's `[peers]`.
fn source(peers: &str) -> Box<dyn Source> {
    let config = Config::parse(&format!("[peers]\n{peers}"), "nodewall.toml").unwrap();
    let mut all = sources(&config);
    assert_eq!(all.len(), 1, "{peers}");
    all.remove(0)
}

/// What it says now, as text, and for how long.
async fn ask(source: &mut dyn Source) -> Result<(Vec<String>, Option<Duration>), String> {
    let answer = source.fetch().await.map_err(|error| error.to_string())?;
    Ok((answer.peers.iter().map(show).collect(), answer.valid_for))
}

#[test]
fn every_source_of_a_configuration_is_asked_under_its_name() {
    let text = "[peers]\nwithin = [\"10.0.0.0/8\"]\nfile = \"/etc/p\"\nvendor_firewall = true\ndns = [\"a.example\", \"b.example\"]\n\
                [peers.http_sd]\nurl = \"http://sd.example/x\"\ninterval = \"7s\"\n\
                [peers.dynatrace_api]\nurl = \"https://n1.example/\"\ntoken_file = \"/t\"\ninterval = \"9s\"\n";
    let all = sources(&Config::parse(text, "nodewall.toml").unwrap());
    let named: Vec<_> = all.iter().map(|source| (source.name().clone(), source.interval().as_secs())).collect();
    for (name, interval) in [
        (SourceName::file("/etc/p".as_ref()), 60),
        (SourceName::vendor_firewall(), 30),
        (SourceName::dns("a.example"), 60),
        (SourceName::dns("b.example"), 60),
        (SourceName::http_sd("http://sd.example/x"), 7),
        (SourceName::dynatrace_api("https://n1.example"), 9),
    ] {
        assert!(named.contains(&(name.clone(), interval)), "{name} is not in {named:?}");
    }
    assert_eq!(named.len(), 6);
}
