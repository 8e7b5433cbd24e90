//! Addresses of host names, by DNS and /etc/hosts alone: a static executable has no name service switch of the system's C library. Peers' names are not
//! looked up here: `peers::dns` wants times to live and no /etc/hosts.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};

/// One server's time for one question; each is asked twice.
const ATTEMPT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// Where `host` (a name or an address) can be reached: IPv4 first, then IPv6. /etc/hosts comes before the servers and the search domains of
/// /etc/resolv.conf, which is read anew each time.
///
/// # Errors
/// When nobody knows the name, or no server answers within 4 s each. Never an empty list.
pub async fn addresses_of(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let provider = TokioRuntimeProvider::default();
    // Without /etc/resolv.conf there are no servers; names of /etc/hosts are known all the same.
    let mut builder = Resolver::builder(provider.clone()).unwrap_or_else(|_| {
        Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), Vec::new()), provider)
    });
    let options = builder.options_mut();
    options.timeout = ATTEMPT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Always;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(io::Error::other)?;
    let found = resolver.lookup_ip(host).await.map_err(|error| {
        let kind = if error.is_nx_domain() { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
        io::Error::new(kind, error.to_string())
    })?;
    let mut addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// [`addresses_of`] for a thread without a runtime.
///
/// # Errors
/// As [`addresses_of`], and when no runtime can be had.
pub fn addresses_of_blocking(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(addresses_of(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_they_are() {
        for (host, address) in [
            ("192.0.2.1", "192.0.2.1:514"),
            ("2001:db8::1", "[2001:db8::1]:514"),
            ("[2001:db8::1]", "[2001:db8::1]:514"),
        ] {
            assert_eq!(addresses_of_blocking(host, 514).unwrap(), [address.parse().unwrap()], "{host}");
        }
    }

    #[test]
    fn names_of_the_hosts_file_need_no_server() {
        let found = addresses_of_blocking("localhost", 80).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
        assert!(found.is_sorted_by_key(SocketAddr::is_ipv6), "{found:?}");
    }

    #[test]
    fn what_is_no_name_is_an_error() {
        assert!(addresses_of_blocking("no such name", 80).is_err());
        assert!(addresses_of_blocking("", 80).is_err());
    }
}
