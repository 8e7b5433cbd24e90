//! What the agent's web side keeps: the token that opens page and API, and where they are. Must never show the token but through [`Token::reveal`].

use std::{fmt, io, net::SocketAddr};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use nodewall_files::SECRET;
use nodewall_host::state::{Note, StateDir, StateError};
use nodewall_text::hex;

const TOKEN: &str = "token";
const TOKEN_BYTES: usize = 32;
const TOKEN_CHARS: usize = 2 * TOKEN_BYTES;

/// What opens page and API: 32 random bytes, hexadecimal.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// The token itself, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is it. How long that takes tells nothing of where they differ.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn new() -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(hex(&bytes)))
    }

    /// The token, if one was ever made.
    pub fn read(state: &StateDir) -> Result<Option<Self>, StateError> {
        let path = state.file(TOKEN);
        let text = match state.read(TOKEN, SECRET) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io(format!("can not read {}", path.display()))(error)),
        };
        let token = text.trim_end();
        if token.len() != TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let problem = format!("this is no token of {TOKEN_CHARS} hexadecimal digits");
            return Err(StateError::Damaged { path, problem });
        }
        Ok(Some(Token(token.to_owned())))
    }

    /// The token; made where there is none.
    pub fn read_or_new(state: &StateDir) -> Result<Self, StateError> {
        if let Some(token) = Self::read(state)? {
            return Ok(token);
        }
        let make = || -> io::Result<Token> {
            let token = Token::new()?;
            state.replace(TOKEN, format!("{}\n", token.reveal()).as_bytes(), true)?;
            Ok(token)
        };
        make().map_err(StateError::io(format!("can not make {}", state.file(TOKEN).display())))
    }
}

/// Where the running agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Process id of the agent that wrote it.
    pub pid: u32,
    /// What it is bound to; `null`: it listens nowhere.
    pub listen: Option<SocketAddr>,
    /// The name to call it by, where it is not the address.
    pub host: Option<String>,
    /// It speaks TLS.
    pub tls: bool,
}

impl Note for Address {
    const FILE: &'static str = "export.json";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone_and_never_shown() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(&parent.path().join("state")).unwrap();
        assert!(Token::read(&state).unwrap().is_none());
        let token = Token::read_or_new(&state).unwrap();
        assert_eq!((token.reveal().len(), Token::read_or_new(&state).unwrap().reveal()), (64, token.reveal()));
        let mode = std::fs::metadata(state.file(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert!(token.is(token.reveal()));
        for wrong in ["", "0", &token.reveal()[1..], &format!("{}0", token.reveal()), &Token::new().unwrap().0] {
            assert!(!token.is(wrong), "{wrong}");
        }
        let mode = |mode| std::fs::set_permissions(state.file(TOKEN), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(Token::read(&state).unwrap_err().to_string().contains("is open to others (mode 0640)"));
        mode(0o600);
        std::fs::write(state.file(TOKEN), "short\n").unwrap();
        assert!(Token::read_or_new(&state).unwrap_err().to_string().contains("move it away"));
    }
}
