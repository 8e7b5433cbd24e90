//! How nodewall speaks HTTP/1.1 to servers: by TLS or plain, bounded in time and size, with whom to believe and with which secret. Used by `peers`,
//! `export`, `doctor` and the syslog output of `evidence` (whom to believe) only. Must not know what is asked or told.

mod client;
mod error;
mod pinned;
mod post;
mod tls;
mod token;
mod presented;

pub use self::{
    client::{Get, Client, Reply, advice, within_deadline},
    error::{HttpError, failed},
    post::{PostOutcome, Post},
    tls::{client_config, refusal, recording_config},
    token::Token,
    presented::PresentedCertificate,
};
