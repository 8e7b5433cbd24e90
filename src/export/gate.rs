//! Who may ask what: methods, hosts, the token, sessions, and the headers that every answer carries. Must not read what is answered.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version, header, uri::Authority},
    middleware::{self, Next},
};

use super::{
    api, events,
    keys::{Guest, Keys, SESSION_LIFE},
    live::{Reader, Roots},
    metrics, page, reply, token,
};
use nodewall_host::state::Clock;
use nodewall_policy::config;

/// What every answer carries: the page may load what comes from here and nothing else, nobody may frame it, nothing keeps a copy.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

struct Gate {
    keys: Arc<Keys>,
    listen: SocketAddr,
    hosts: Vec<String>,
    tls: bool,
}

/// Everything that is answered.
pub(super) fn router(roots: Roots, keys: Arc<Keys>, listen: SocketAddr, export: &config::Export) -> Router {
    let gate = Arc::new(Gate { keys, listen, hosts: export.hosts.clone(), tls: export.tls.is_some() });
    let reader = Arc::new(Reader::new(roots));
    // Pages and API carry source addresses.
    let guarded = api::routes(reader.clone())
        .merge(events::routes(reader.clone()))
        .merge(page::routes())
        .layer(middleware::from_fn_with_state(gate.clone(), guests_alone));
    metrics::routes(reader, export.per_peer)
        .merge(guarded)
        .fallback(async || reply::refused(StatusCode::NOT_FOUND, "there is nothing here; see docs/API.md"))
        .layer(middleware::from_fn_with_state(gate, admit))
}

/// Reading only, by a name that is ours: another name that leads here (DNS rebinding) would make a browser's foreign page one of ours.
async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response<Body> {
    let mut response = if let Some(refused) = gate.refusal_of_names(&request) {
        refused
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        next.run(request).await
    } else {
        let mut refused =
            reply::refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        refused
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The token as `Authorization: Bearer`, a session as a cookie, or a ticket in the address, which gives a session once.
async fn guests_alone(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response<Body> {
    let now = Clock::now();
    let ticket = ticket_in(request.uri());
    if let Some((ticket, clean)) = &ticket
        && let Some(session) = gate.keys.begin(ticket, &now)
    {
        return gate.welcome(clean, Some(&session));
    }
    match (gate.guest(&request, &now), ticket) {
        (None, _) => refuse(),
        // Who is in already may load the address again. Out of the address bar and the history at once.
        (Some(_), Some((_, clean))) => gate.welcome(&clean, None),
        (Some(guest), None) => {
            request.extensions_mut().insert(guest);
            next.run(request).await
        }
    }
}

fn refuse() -> Response<Body> {
    let mut refused = reply::refused(
        StatusCode::UNAUTHORIZED,
        "`nodewall page` prints an address that opens this once, within a minute; programs send the token (docs/API.md)",
    );
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nodewall\""));
    refused
}

impl Gate {
    /// Browsers send cookies to every port of a host. By TLS they take this name from nobody else, and send it nowhere in plain text.
    fn cookie_name(&self) -> String {
        format!("{}nodewall-{}", if self.tls { "__Host-" } else { "" }, self.listen.port())
    }

    /// Who asks, if it is let in by the token or a session.
    fn guest(&self, request: &Request, now: &Clock) -> Option<Guest> {
        let from = *request.extensions().get::<IpAddr>()?;
        let headers = request.headers();
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let program = bearer.and_then(|given| self.keys.program(given, from));
        program.or_else(|| self.keys.browser(cookies(headers, &self.cookie_name()), from, now))
    }

    /// To the address without the ticket, with a session where one begins.
    fn welcome(&self, clean: &str, session: Option<&str>) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        if let Ok(location) = HeaderValue::from_str(clean) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        let secure = if self.tls { "; Secure" } else { "" };
        let cookie = session.map(|session| {
            let (name, seconds) = (self.cookie_name(), SESSION_LIFE.as_secs());
            format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
        });
        if let Some(Ok(mut cookie)) = cookie.map(|cookie| HeaderValue::from_str(&cookie)) {
            cookie.set_sensitive(true);
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// `None`: every name that the request calls us by is one of ours, and there is one; HTTP/1.0 knows none (RFC 9112, 3.2).
    fn refusal_of_names(&self, request: &Request) -> Option<Response<Body>> {
        let given = request.headers().get_all(header::HOST).iter().map(|value| value.to_str().ok());
        let given: Vec<Option<&str>> = given.chain(request.uri().authority().map(|name| Some(name.as_str()))).collect();
        let fields = request.headers().get_all(header::HOST).iter().count();
        let may_have_none = request.version() < Version::HTTP_11;
        let named: Option<Vec<&str>> = given.into_iter().map(|name| host_in(name?)).collect();
        let Some(named) = named.filter(|_| fields == 1 || (fields == 0 && may_have_none)) else {
            let why = "a request has one Host header: a name or address, and a port or none";
            return Some(reply::refused(StatusCode::BAD_REQUEST, why));
        };
        if named.into_iter().all(|name| self.may_be(name)) {
            return None;
        }
        Some(reply::refused(
            StatusCode::MISDIRECTED_REQUEST,
            "this name is not one of this host's addresses; [export] hosts names others by which nodewall may be called",
        ))
    }

    fn may_be(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            // An address cannot be rebound; this host's own need no word in the configuration.
            return is_own(address) || self.hosts.contains(&address.to_string());
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }
}

/// The kernel gives out addresses of this host alone, as they are now.
fn is_own(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && UdpSocket::bind((address, 0)).is_ok()
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// All that is sent under this name, in whatever order: what another port of this host set may come first.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The host of `host[:port]`, where `text` is that and no more: no user before it, no port that is none.
fn host_in(text: &str) -> Option<&str> {
    text.parse::<Authority>().ok()?;
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, port) = text.split_at_checked(end)?;
    let digits = if port.is_empty() { "" } else { port.strip_prefix(':')? };
    let is_port =
        digits.is_empty() || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains('@'),
    };
    (is_host && is_port).then_some(host)
}

/// A ticket in the query, and the address without it. A path that begins with two slashes would lead to another host.
fn ticket_in(uri: &Uri) -> Option<(String, String)> {
    let mut given = None;
    let mut rest = Vec::new();
    for pair in uri.query()?.split('&') {
        match pair.split_once('=') {
            Some((token::QUERY, value)) => given = Some(value.to_owned()),
            _ => rest.push(pair),
        }
    }
    let path = format!("/{}", uri.path().trim_start_matches(['/', '\\']));
    let clean = if rest.is_empty() { path } else { format!("{path}?{}", rest.join("&")) };
    given.map(|given| (given, clean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_leaves_the_address_which_stays_on_this_host() {
        let told = |uri: &str| ticket_in(&uri.parse().unwrap());
        let some = |ticket: &str, clean: &str| Some((ticket.to_owned(), clean.to_owned()));
        assert_eq!(told("/?ticket=ab"), some("ab", "/"));
        assert_eq!(told("/api/v1/status?a=1&ticket=ab&b"), some("ab", "/api/v1/status?a=1&b"));
        assert_eq!(told("//evil.example/?ticket=ab"), some("ab", "/evil.example/"));
        assert_eq!(told("/?ticket="), some("", "/"));
        assert_eq!(told("/?tickets=ab"), None);
        assert_eq!(told("/"), None);
    }

    #[test]
    fn a_bearer_and_all_cookies_of_a_name_are_found_among_others() {
        assert_eq!(bearer("Bearer ab"), Some("ab"));
        assert_eq!(bearer("bearer  ab "), Some("ab"));
        assert_eq!(bearer("Basic ab"), None);
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("nodewall-91170=no; x=y; nodewall-9117="));
        headers.append(header::COOKIE, HeaderValue::from_static("nodewall-9117=ab;nodewall-9117=cd"));
        let found = |name| cookies(&headers, name).collect::<Vec<_>>();
        assert_eq!(found("nodewall-9117"), ["", "ab", "cd"]);
        assert_eq!(found("nodewall-9118"), [""; 0]);
    }
}
