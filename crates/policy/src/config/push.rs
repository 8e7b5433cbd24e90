//! `[push]`: where the counters are sent to.
//!
//! Owns what these keys mean and their refusals. Must not look whether anybody is there.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::error::ValueError;
use super::given::Table;
use super::problems::Problems;
use super::schema::RawPush;
use super::values::is_plain;

/// The vendor's agent on this host.
pub(super) const DEFAULT_PUSH_URL: &str = "http://localhost:14499/metrics/ingest";
/// How often the counters are sent. The receiver's own grain is a minute.
const DEFAULT_PUSH_INTERVAL: Duration = Duration::from_secs(60);

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

pub(super) fn push(table: Spanned<Table<RawPush>>, problems: &mut Problems<'_>) -> Option<Push> {
    let (place, Table(raw)) = (table.span(), table.into_inner());
    let (url_span, token_span) = (raw.url.span(), raw.token_file.span());
    let url = problems.take(raw.url);
    let url = if url_span.is_some() { url? } else { DEFAULT_PUSH_URL.to_owned() };
    let ca = problems.take(raw.ca);
    let token_file = problems.take(raw.token_file);
    let interval = problems.take(raw.interval).unwrap_or(DEFAULT_PUSH_INTERVAL);
    match (is_plain(&url), token_span) {
        (true, Some(token)) => problems.refuse(
            &token,
            ValueError::new("the agent on this host wants no token")
                .help("take it out, or name the environment: url = \"https://…/api/v2/metrics/ingest\""),
        ),
        (false, None) => problems.push(
            &url_span.unwrap_or(place),
            "push: missing key \"token_file\", which an https:// address needs".to_owned(),
            Some("make an access token with the scope metrics.ingest, and name its file with token_file"),
        ),
        _ => {}
    }
    Some(Push { url, token_file, ca, interval })
}
