//! Who may ask what: methods, hosts, the token, and the headers that every answer carries. Must not read what is answered.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
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
    live::{Reader, Roots},
    metrics, page, reply,
};
use crate::export::Token;
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

/// What is asked for.
const TOKEN_QUERY: &str = "token";

struct Gate {
    token: Token,
    listen: SocketAddr,
    hosts: Vec<String>,
    tls: bool,
}

/// Everything that is answered.
pub(super) fn router(roots: Roots, token: Token, listen: SocketAddr, export: &config::Export) -> Router {
    let gate = Arc::new(Gate { token, listen, hosts: export.hosts.clone(), tls: export.tls.is_some() });
    let reader = Arc::new(Reader::new(roots));
    // Pages and API carry source addresses.
    let guarded = api::routes(reader.clone())
        .merge(events::routes(reader.clone()))
        .merge(page::routes())
        .layer(middleware::from_fn_with_state(gate.clone(), with_token));
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

/// The token as `Authorization: Bearer`, as a cookie, or once in the address, which sets the cookie.
async fn with_token(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response<Body> {
    if let Some((given, clean)) = token_in(request.uri()) {
        // Out of the address bar and the history at once.
        return if gate.token.is(&given) { gate.welcome(&clean) } else { refuse() };
    }
    let headers = request.headers();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    let given = bearer.or_else(|| cookie(headers, &gate.cookie_name()));
    match given {
        Some(given) if gate.token.is(given) => next.run(request).await,
        _ => refuse(),
    }
}

fn refuse() -> Response<Body> {
    let mut refused =
        reply::refused(StatusCode::UNAUTHORIZED, "the token is needed: `nodewall page` prints an address with it");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nodewall\""));
    refused
}

impl Gate {
    /// Browsers send cookies to every port of a host.
    fn cookie_name(&self) -> String {
        format!("nodewall-{}", self.listen.port())
    }

    fn welcome(&self, clean: &str) -> Response<Body> {
        let secure = if self.tls { "; Secure" } else { "" };
        let cookie =
            format!("{}={}; Path=/; HttpOnly; SameSite=Strict{secure}", self.cookie_name(), self.token.reveal());
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        if let (Ok(location), Ok(mut cookie)) = (HeaderValue::from_str(clean), HeaderValue::from_str(&cookie)) {
            cookie.set_sensitive(true);
            response.headers_mut().insert(header::LOCATION, location);
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// `None`: every name that the request calls us by is one of ours, and there is one; HTTP/1.0 knows none (RFC 9112, 3.2).
    fn refusal_of_names(&self, request: &Request) -> Option<Response<Body>> {
        let named = request.headers().get_all(header::HOST).iter();
        let mut named: Vec<Option<Authority>> =
            named.map(|value| value.to_str().ok().and_then(|text| text.parse().ok())).collect();
        let may_have_none = request.version() < Version::HTTP_11;
        if named.contains(&None) || named.len() > 1 || (named.is_empty() && !may_have_none) {
            return Some(reply::refused(
                StatusCode::BAD_REQUEST,
                "a request has one Host header, with a name or address",
            ));
        }
        named.extend(request.uri().authority().cloned().map(Some));
        if named.iter().flatten().all(|name| self.may_be(name.host())) {
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

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A token in the query, and the address without it. A path that begins with two slashes would lead to another host.
fn token_in(uri: &Uri) -> Option<(String, String)> {
    let mut given = None;
    let mut rest = Vec::new();
    for pair in uri.query()?.split('&') {
        match pair.split_once('=') {
            Some((TOKEN_QUERY, value)) => given = Some(value.to_owned()),
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
    fn a_token_leaves_the_address_which_stays_on_this_host() {
        let told = |uri: &str| token_in(&uri.parse().unwrap());
        let some = |token: &str, clean: &str| Some((token.to_owned(), clean.to_owned()));
        assert_eq!(told("/?token=ab"), some("ab", "/"));
        assert_eq!(told("/api/v1/status?a=1&token=ab&b"), some("ab", "/api/v1/status?a=1&b"));
        assert_eq!(told("//evil.example/?token=ab"), some("ab", "/evil.example/"));
        assert_eq!(told("/?token="), some("", "/"));
        assert_eq!(told("/?tokens=ab"), None);
        assert_eq!(told("/"), None);
    }

    #[test]
    fn a_bearer_and_a_cookie_are_found_among_others() {
        assert_eq!(bearer("Bearer ab"), Some("ab"));
        assert_eq!(bearer("bearer  ab "), Some("ab"));
        assert_eq!(bearer("Basic ab"), None);
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("nodewall-91170=no; x=y"));
        headers.append(header::COOKIE, HeaderValue::from_static("nodewall-9117=ab"));
        assert_eq!(cookie(&headers, "nodewall-9117"), Some("ab"));
        assert_eq!(cookie(&headers, "nodewall-9118"), None);
    }
}
