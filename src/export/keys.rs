//! Who is let in: programs by the token, browsers by a session, which a ticket gives once. The token is looked at anew for each question, so that another one
//! ends at once what this one opened. Must not speak HTTP.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::token;
use nodewall_host::state::{Clock, Stamp, StateDir};
use nodewall_https::Token;

/// Sessions at a time; the oldest makes room.
const MAX_SESSIONS: usize = 32;
/// For how long a session opens what it opens.
pub(super) const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The keys of one agent, whatever its configuration becomes.
pub(super) struct Keys {
    state: StateDir,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    is_begun: bool,
    token_file: Option<PathBuf>,
    version: Option<Stamp>,
    token: Option<Token>,
    next: u64,
    /// By age.
    sessions: Vec<Session>,
    /// Words of tickets, and the moment from which their ticket opens nothing anyway.
    spent: Vec<(u64, String)>,
}

struct Session {
    number: u64,
    secret: String,
    end_ns: u64,
}

/// Somebody who is let in. Clones are of the same.
#[derive(Clone)]
pub(super) struct Guest {
    keys: Arc<Keys>,
    from: IpAddr,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Session(u64),
    Token(Arc<str>),
}

/// What guests have in common who share what there is little of: a browser, or the programs at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Session(u64),
    Programs(IpAddr),
}

impl Guest {
    pub(super) fn source(&self) -> Source {
        match self.proof {
            Proof::Session(number) => Source::Session(number),
            Proof::Token(_) => Source::Programs(self.from),
        }
    }

    /// Whether it would be let in now.
    pub(super) fn is_welcome(&self) -> bool {
        match &self.proof {
            Proof::Session(number) => {
                let now = Clock::now();
                self.keys.kept().sessions.iter().any(|one| one.number == *number && now.boot_ns < one.end_ns)
            }
            Proof::Token(given) => self.keys.is_token(given),
        }
    }
}

impl Keys {
    pub(super) fn new(state: StateDir) -> Self {
        Self { state, kept: Mutex::default() }
    }

    /// Sees to what opens: the first time another token than any agent before had; and the programs' own one, where there is one.
    pub(super) fn prepare(&self, token_file: Option<&Path>) -> Result<(), String> {
        if let Some(file) = token_file {
            Token::read(file).map_err(|error| format!("token_file {error}"))?;
        }
        let mut kept = self.lock();
        if !kept.is_begun {
            token::renew(&self.state).map_err(|error| error.to_string())?;
            kept.is_begun = true;
        }
        kept.token_file = token_file.map(Path::to_path_buf);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the token is now.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.lock();
        let version = token::version(&self.state);
        if version != kept.version {
            kept.version = version;
            kept.sessions.clear();
            kept.spent.clear();
            kept.token = token::read(&self.state).unwrap_or_else(|error| {
                tracing::warn!(
                    "nobody is let in to API and page: {error}; or `nodewall page --new-token` makes another"
                );
                None
            });
        }
        kept
    }

    /// A program, by what it sent.
    pub(super) fn program(self: &Arc<Self>, given: &str, from: IpAddr) -> Option<Guest> {
        self.is_token(given).then(|| Guest { keys: self.clone(), from, proof: Proof::Token(given.into()) })
    }

    fn is_token(&self, given: &str) -> bool {
        let kept = self.kept();
        match &kept.token_file {
            None => kept.token.as_ref().is_some_and(|token| token::is_same(token.bytes(), given)),
            Some(file) => match Token::read(file) {
                Ok(token) => token::is_same(token.bytes(), given),
                Err(error) => {
                    tracing::warn!("no program is let in to the API: token_file {error}");
                    false
                }
            },
        }
    }

    /// A new session, for a ticket that was not used before.
    pub(super) fn begin(&self, ticket: &str, now: &Clock) -> Option<String> {
        let mut kept = self.kept();
        let (end, word) = token::checked(kept.token.as_ref()?, ticket, now)?;
        kept.spent.retain(|(end, _)| now.boot_ns <= *end);
        kept.sessions.retain(|one| now.boot_ns < one.end_ns);
        if kept.spent.iter().any(|(_, spent)| spent == word) {
            return None;
        }
        let secret = token::random().inspect_err(|error| tracing::warn!("no session can be made: {error}")).ok()?;
        kept.spent.push((end, word.to_owned()));
        if kept.sessions.len() >= MAX_SESSIONS {
            kept.sessions.remove(0);
        }
        let (number, end_ns) = (kept.next, now.boot_ns + SESSION_LIFE.as_nanos() as u64);
        kept.next += 1;
        kept.sessions.push(Session { number, secret: secret.clone(), end_ns });
        Some(secret)
    }

    /// A browser, by all that it sent under a session's name: another port of the host may have set more of them.
    pub(super) fn browser<'a>(
        self: &Arc<Self>,
        mut given: impl Iterator<Item = &'a str>,
        from: IpAddr,
        now: &Clock,
    ) -> Option<Guest> {
        let kept = self.kept();
        let of = |given: &str| {
            let is = |one: &&Session| now.boot_ns < one.end_ns && token::is_same(one.secret.as_bytes(), given);
            kept.sessions.iter().find(is).map(|one| one.number)
        };
        given.find_map(of).map(|number| Guest { keys: self.clone(), from, proof: Proof::Session(number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_session_ends_by_its_time_and_a_ticket_is_remembered_as_long_as_it_opens() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        let keys = Arc::new(Keys::new(state.clone()));
        keys.prepare(None).unwrap();
        let at = |seconds: u64| Clock { boot_ns: seconds * 1_000_000_000, ..Clock::now() };
        let token = token::read(&state).unwrap().unwrap();
        let ticket = token::ticket(&token, &at(100)).unwrap();
        let secret = keys.begin(&ticket, &at(100)).unwrap();
        for seconds in [100, 130, 160, 161] {
            assert_eq!(keys.begin(&ticket, &at(seconds)), None, "{seconds}");
        }
        let is_in = |seconds| keys.browser([secret.as_str()].into_iter(), FROM, &at(seconds)).is_some();
        let end = 100 + SESSION_LIFE.as_secs();
        assert!(is_in(100) && is_in(end - 1) && !is_in(end));
        // What is over is let go.
        let later = token::ticket(&token, &at(end)).unwrap();
        keys.begin(&later, &at(end)).unwrap();
        let kept = keys.lock();
        assert_eq!((kept.spent.len(), kept.sessions.len()), (1, 1));
    }
}
