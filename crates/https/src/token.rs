//! A secret, such as the token that the vendor's API wants: read from a file that only its owner can read, or from a credential that systemd hands over. Must never
//! show it: not in `Debug`, not in an error, not in a log.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use nodewall_files::SECRET;
use zeroize::Zeroizing;

use super::error::{HttpError, failed};

/// The vendor's are below 200.
const MAX_TOKEN_BYTES: usize = 4096;
const WRITE: &str = "write the token there, owned by root with mode 0600";
const READABLE: &str = "see that it is a file that nodewall's user can read";
/// systemd shows the right of a service's user (an ACL) as the group's right to read.
const OTHERS_THAN_SYSTEMD_S: u32 = 0o037;

/// A secret. It is overwritten when it is dropped; the copies that the HTTP and TLS libraries make of it are theirs.
pub struct Token(Zeroizing<Vec<u8>>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// Reads it anew: `place` is an absolute path, or the name of a credential in `$CREDENTIALS_DIRECTORY`.
    pub fn read(place: &Path) -> Result<Self, HttpError> {
        Self::read_in(place, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref())
    }

    fn read_in(place: &Path, credentials: Option<&OsStr>) -> Result<Self, HttpError> {
        if place.is_absolute() {
            return Self::read_file(place, SECRET);
        }
        let directory = credentials.filter(|directory| Path::new(directory).is_absolute()).ok_or_else(|| {
            let help = "add LoadCredential= with this name to the service, or give the file's absolute path";
            refused(place, "there are no credentials from systemd ($CREDENTIALS_DIRECTORY is not set)".into(), help)
        })?;
        Self::read_file(&PathBuf::from(directory).join(place), OTHERS_THAN_SYSTEMD_S)
    }

    fn read_file(path: &Path, others: u32) -> Result<Self, HttpError> {
        let failed = |error: io::Error| refused(path, format!("can not be read: {error}"), READABLE);
        let file = nodewall_files::open(path, others).map_err(|refusal| {
            let help = refusal.help().unwrap_or_else(|| if refusal.is_absent() { WRITE } else { READABLE }.into());
            let cannot = if refusal.system().is_some() { "can not be read: " } else { "" };
            refused(path, format!("{cannot}{}", refusal.problem()), &help)
        })?;
        // Room for all of it at once, and nothing read beyond: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_BYTES + 1));
        file.take(MAX_TOKEN_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_TOKEN_BYTES {
            let help = "write the token alone into it";
            return Err(refused(path, format!("is larger than {MAX_TOKEN_BYTES} bytes"), help));
        }
        // The mark that some editors put before UTF-8 is no part of it.
        let token = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes).trim_ascii();
        let problem = if token.is_empty() {
            "holds no token"
        } else if token.iter().any(|byte| !byte.is_ascii_graphic()) {
            "holds more than one word, or characters that no token has"
        } else {
            return Ok(Self(Zeroizing::new(token.to_vec())));
        };
        Err(refused(path, problem.into(), "write the token alone into it, in one line"))
    }

    /// The secret itself, for whom it is meant.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value of `Proxy-Authorization` with this as `user`'s password (basic), marked as a secret.
    pub fn basic(&self, user: &str) -> Option<HeaderValue> {
        let words = Zeroizing::new([user.as_bytes(), b":", &*self.0].concat());
        secret(format!("Basic {}", BASE64_STANDARD.encode(&*words)).into_bytes())
    }

    /// The value of the header `Authorization`, marked as a secret.
    pub fn authorization(&self) -> Option<HeaderValue> {
        secret([b"Api-Token ", self.0.as_slice()].concat())
    }
}

fn secret(value: Vec<u8>) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_bytes(&Zeroizing::new(value)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn refused(place: &Path, problem: String, help: &str) -> HttpError {
    failed(&place.display().to_string(), problem, help)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    const SECRET: &str =
        "dt0c01.ST2EY72KQINMH574WMNVI7YN.G3DFPBEJYMODIDAEX454M7YWBUVEFOWKPRVMWFASS64NFH52PX6BNDVFFM572RZM";

    fn write(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_token_is_read_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        for (text, mode) in [(SECRET.to_owned(), 0o600), (format!("  {SECRET}\r\n\n"), 0o400)] {
            let token = Token::read_in(&write(directory.path(), &format!("{mode}"), &text, mode), None).unwrap();
            let header = token.authorization().unwrap();
            assert_eq!(header.as_bytes(), format!("Api-Token {SECRET}").as_bytes());
            let shown = format!("{token:?} {token:#?} {header:?}");
            assert!(!shown.contains("dt0c01") && !shown.contains("G3DF"), "{shown}");
        }
    }

    #[test]
    fn a_file_that_is_not_the_owners_alone_is_refused_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
            let path = write(directory.path(), "token", SECRET, mode);
            let error = Token::read_in(&path, None).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod"), "{error}");
            assert!(error.contains(path.to_str().unwrap()) && !error.contains("dt0c01"), "{error}");
        }
        if rustix::process::geteuid().is_root() {
            let path = write(directory.path(), "foreign", SECRET, 0o600);
            std::os::unix::fs::chown(&path, Some(4_711), None).unwrap();
            let error = Token::read_in(&path, None).unwrap_err().to_string();
            assert!(error.contains("owned by user 4711") && !error.contains("dt0c01"), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        for (text, problem) in [
            ("", "holds no token"),
            (" \n", "holds no token"),
            ("dt0c01.a dt0c01.b\n", "more than one word"),
            ("dt0c01.a\ndt0c01.b\n", "more than one word"),
            ("dt0c01.\u{e9}\n", "more than one word"),
            (&*"dt0c01".repeat(700), "larger than 4096 bytes"),
        ] {
            let error = Token::read_in(&write(directory.path(), "token", text, 0o600), None).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("dt0c01"), "{error}");
        }
        let error = Token::read_in(directory.path(), None).unwrap_err().to_string();
        assert!(error.contains("not a regular file") || error.contains("open to others"), "{error}");
        let error = Token::read_in(&directory.path().join("none"), None).unwrap_err().to_string();
        assert!(error.contains("can not be read") && error.contains("0600"), "{error}");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = Token::read_in(&fifo, None).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_credential_of_systemd_is_found_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "api-token", SECRET, 0o440);
        let place = Path::new("api-token");
        assert!(Token::read_in(place, Some(directory.path().as_os_str())).is_ok());
        for mode in [0o444, 0o460] {
            write(directory.path(), "api-token", SECRET, mode);
            let error = Token::read_in(place, Some(directory.path().as_os_str())).unwrap_err().to_string();
            assert!(error.contains("open to others"), "{error}");
        }
        for unset in [None, Some(OsStr::new("")), Some(OsStr::new("here"))] {
            let error = Token::read_in(place, unset).unwrap_err().to_string();
            assert!(error.contains("api-token") && error.contains("LoadCredential="), "{error}");
        }
    }
}
