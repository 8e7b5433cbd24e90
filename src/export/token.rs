//! The token that opens page and API, and the tickets that `nodewall page` signs with it, so that the token itself stands in no address. Must never show it.

use std::{io, time::Duration};

use ring::hmac;
use subtle::ConstantTimeEq as _;

use nodewall_host::state::{Clock, Stamp, StateDir, StateError};
use nodewall_https::{HttpError, Token};
use nodewall_text::hex;

const TOKEN: &str = "token";
/// What a ticket is called in the address.
pub const QUERY: &str = "ticket";
const RANDOM_BYTES: usize = 32;
/// What is signed begins with it: a signature is for nothing else.
const PURPOSE: &str = "nodewall page 1";
/// For how long a ticket opens the page.
const TICKET_LIFE: Duration = Duration::from_secs(60);

/// 32 random bytes, hexadecimal.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(hex(&bytes))
}

/// Makes another token. What the one before opened is closed at the next look of whoever serves ([`version`]).
pub fn renew(state: &StateDir) -> Result<(), StateError> {
    let make = || state.replace(TOKEN, format!("{}\n", random()?).as_bytes(), true);
    make().map_err(StateError::io(format!("can not make {}", state.file(TOKEN).display())))
}

/// The token; `None`: there is none.
pub fn read(state: &StateDir) -> Result<Option<Token>, HttpError> {
    version(state).map(|_| Token::read(&state.file(TOKEN))).transpose()
}

/// Which token there is, without reading it.
pub(super) fn version(state: &StateDir) -> Option<Stamp> {
    Stamp::of(&state.file(TOKEN))
}

/// Whether `given` is the same. How long that takes tells nothing of where they differ.
pub(super) fn is_same(secret: &[u8], given: &str) -> bool {
    secret.ct_eq(given.as_bytes()).into()
}

/// What opens the page once, and soon: its end (time since boot, ns), a random word, and the signature of both.
pub fn ticket(token: &Token, now: &Clock) -> io::Result<String> {
    let (end, word) = ((now.boot_ns + life_ns()).to_string(), random()?);
    let signature = signature(token, now, &end, &word);
    Ok(format!("{end}.{word}.{signature}"))
}

/// A ticket's end and word, if it was signed with this token and opens now. That it opens once is the caller's to see to.
pub(super) fn checked<'a>(token: &Token, ticket: &'a str, now: &Clock) -> Option<(u64, &'a str)> {
    let mut parts = ticket.split('.');
    let (end, word, given) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_same(signature(token, now, end, word).as_bytes(), given) {
        return None;
    }
    let end: u64 = end.parse().ok()?;
    (now.boot_ns..=now.boot_ns.saturating_add(life_ns())).contains(&end).then_some((end, word))
}

fn life_ns() -> u64 {
    TICKET_LIFE.as_nanos() as u64
}

fn signature(token: &Token, now: &Clock, end: &str, word: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.bytes());
    hex(hmac::sign(&key, format!("{PURPOSE}\n{}\n{end}\n{word}", now.boot_id).as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn at(boot_ns: u64) -> Clock {
        Clock { boot_id: "this".into(), boot_ns, unix_ns: 0 }
    }

    #[test]
    fn a_token_is_its_owners_alone_and_another_each_time() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert!(read(&state).unwrap().is_none());
        let mut seen = Vec::new();
        for _ in 0..3 {
            renew(&state).unwrap();
            let token = read(&state).unwrap().unwrap();
            assert_eq!(token.bytes().len(), 2 * RANDOM_BYTES);
            assert!(is_same(token.bytes(), std::str::from_utf8(token.bytes()).unwrap()));
            for wrong in ["", "0", &random().unwrap()] {
                assert!(!is_same(token.bytes(), wrong), "{wrong}");
            }
            seen.push((token.bytes().to_vec(), version(&state)));
        }
        assert!(seen.windows(2).all(|two| two[0].0 != two[1].0 && two[0].1 != two[1].1));
        let mode = std::fs::metadata(state.file(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_ticket_opens_for_a_minute_of_its_boot_by_its_token_alone() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        renew(&state).unwrap();
        let token = read(&state).unwrap().unwrap();
        let (begin, end) = (5_000_000_000, 5_000_000_000 + life_ns());
        let ticket = ticket(&token, &at(begin)).unwrap();
        let word = ticket.split('.').nth(1).unwrap();
        for now in [begin, end] {
            assert_eq!(checked(&token, &ticket, &at(now)), Some((end, word)));
        }
        // Too late; made for later than any is made for, by a clock that was set back; of another boot.
        assert_eq!(checked(&token, &ticket, &at(end + 1)), None);
        assert_eq!(checked(&token, &ticket, &at(begin - 1)), None);
        assert_eq!(checked(&token, &ticket, &Clock { boot_id: "another".into(), ..at(begin) }), None);
        renew(&state).unwrap();
        assert_eq!(checked(&read(&state).unwrap().unwrap(), &ticket, &at(begin)), None);
    }
}
