//! `[mission_control]`: how the vendor's Mission Control is reached, for `doctor --mission-control`.
//!
//! Owns what these keys mean and their refusals. Opens and closes nothing, and must not look a name up.

use std::mem::take;
use std::path::PathBuf;

use super::error::ValueError;
use super::problems::Problems;
use super::proxy::Proxy;
use super::schema::RawMissionControl;

/// The vendor's name of it.
pub const DEFAULT_MISSION_CONTROL_HOST: &str = "mcsvc.dynatrace.com";
/// HTTPS.
const DEFAULT_PORT: u16 = 443;

/// How Mission Control is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissionLink {
    /// A name or an address; also what the certificate is to name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `None`: straight.
    pub proxy: Option<Proxy>,
    /// Certificates (PEM) to trust instead of the system's; an absolute path.
    pub ca: Option<PathBuf>,
}

impl Default for MissionLink {
    fn default() -> Self {
        Self { host: DEFAULT_MISSION_CONTROL_HOST.into(), port: DEFAULT_PORT, proxy: None, ca: None }
    }
}

/// Takes from `raw` what is about the way.
pub(super) fn mission_link(raw: &mut RawMissionControl, problems: &mut Problems<'_>) -> MissionLink {
    let mut link = MissionLink::default();
    if let Some(host) = problems.take(take(&mut raw.host)) {
        link.host = host;
    }
    let port_span = raw.port.span().unwrap_or_default();
    match problems.take(take(&mut raw.port)) {
        Some(range) if range.count() == 1 => link.port = range.first(),
        Some(range) => {
            let error = format!("\"{range}\" is a range; expected one port such as 443");
            problems.refuse(&port_span, ValueError::new(error));
        }
        None => {}
    }
    link.ca = problems.take(take(&mut raw.ca));
    let password_span = raw.proxy_password_file.span();
    let password_file = problems.take(take(&mut raw.proxy_password_file));
    let is_proxy_named = raw.proxy.span().is_some();
    link.proxy = problems.take(take(&mut raw.proxy));
    let has_user = link.proxy.as_ref().is_some_and(|proxy| proxy.user.is_some());
    if let Some(span) = password_span.filter(|_| !has_user && (link.proxy.is_some() || !is_proxy_named)) {
        let error = ValueError::new("proxy names no user");
        problems.refuse(&span, error.help("name who logs in: proxy = \"http://user@proxy.example:3128\""));
    }
    if let Some(proxy) = &mut link.proxy {
        proxy.password_file = password_file;
    }
    link
}
