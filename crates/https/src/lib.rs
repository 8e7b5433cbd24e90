//! How nodewall speaks HTTP/1.1 to servers: by TLS or plain, bounded in time and size, with whom to believe and with which secret. Used by `peers`,
//! `export`, `doctor` and the syslog output of `evidence` (whom to believe) only. Must not know what is asked or told.

mod client;
mod error;
mod post;
mod tls;
mod token;
mod verifier;

pub use self::{
    client::{Client, Get, Reply, advice, within_deadline},
    error::{HttpError, failed},
    post::{Post, PostOutcome},
    tls::{TlsError, client_config, recording_config, refusal},
    token::Token,
    verifier::PresentedCertificate,
};
