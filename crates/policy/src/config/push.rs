//! `[push]`: where the counters are sent to.
//!
//! Owns what these keys mean and their refusals. Must not look whether anybody is there.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::error::{Problems, ValueError};
use super::peers::{LONGEST_INTERVAL, absolute, is_plain, time, token_place, url, value};
use super::schema::RawPush;

/// The vendor's agent on this host.
pub const DEFAULT_PUSH_URL: &str = "http://localhost:14499/metrics/ingest";
/// How often the counters are sent. The receiver's own grain is a minute.
pub const DEFAULT_PUSH_INTERVAL: Duration = Duration::from_secs(60);

/// `[push]`: the vendor's metric ingestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// http:// to this host, or https://.
    pub url: String,
    /// Where the token is: an absolute path, or the plain name of a systemd credential. Only and always with https://.
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's; an absolute path.
    pub ca: Option<PathBuf>,
    /// How often to read the counters and to send what is new.
    pub interval: Duration,
}

impl Push {
    /// The receiver is not the agent of this host, which knows where it is.
    pub fn is_remote(&self) -> bool {
        !is_plain(&self.url)
    }
}

pub(super) fn push(span: &Range<usize>, raw: RawPush, problems: &mut Problems<'_>) -> Option<Push> {
    let url_span = raw.url.as_ref().map_or_else(|| span.clone(), toml::Spanned::span);
    let token_span = raw.token_file.as_ref().map(toml::Spanned::span);
    let named = raw.url.is_some();
    let url = value(raw.url, "push.url", receiver, problems);
    let url = if named { url? } else { DEFAULT_PUSH_URL.to_owned() };
    let ca = value(raw.ca, "push.ca", absolute, problems);
    let token_file = value(raw.token_file, "push.token_file", token_place, problems);
    let interval = value(raw.interval, "push.interval", |text| time(text, LONGEST_INTERVAL), problems)
        .unwrap_or(DEFAULT_PUSH_INTERVAL);
    match (is_plain(&url), token_span) {
        (true, Some(token)) => problems.push(&token, || {
            let help = "take it out, or name the environment: url = \"https://…/api/v2/metrics/ingest\"";
            ("push.token_file: the agent on this host wants no token".to_owned(), Some(help.to_owned()))
        }),
        (false, None) => problems.push(&url_span, || {
            let help = "make an access token with the scope metrics.ingest, and name its file with token_file";
            ("push: missing key \"token_file\", which an https:// address needs".to_owned(), Some(help.to_owned()))
        }),
        _ => {}
    }
    Some(Push { url, token_file, ca, interval })
}

fn receiver(text: &str) -> Result<String, ValueError> {
    let url = url(text)?;
    if is_plain(&url) && !is_this_host(&url) {
        let problem =
            format!("{text:?} would send to another host in plain text; expected https://, or http:// to localhost");
        return Err(ValueError::new(problem));
    }
    Ok(url)
}

fn is_this_host(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
