//! What an output is given, and what each kind of output can do.

use std::{io, sync::Arc};

/// What an output is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A record, as a line of JSON.
    Record {
        /// When it was put together.
        unix_ns: u64,
        /// Something is missing.
        is_loss: bool,
        /// Without an end of line.
        line: Arc<str>,
    },
    /// The head of the store's chain, for those who want it.
    ChainHead {
        /// When it was so.
        unix_ns: u64,
        /// The last batch.
        seq: u64,
        /// Its hash, in hexadecimal.
        head: String,
    },
}

impl Message {
    pub(super) fn bytes(&self) -> usize {
        let text = match self {
            Self::Record { line, .. } => line.len(),
            Self::ChainHead { head, .. } => head.len(),
        };
        text + size_of::<Self>()
    }
}

/// Why a message was not taken.
pub(super) enum SendError {
    /// It may be taken later.
    Later(io::Error),
    /// It never will be.
    Never(io::Error),
}

impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        Self::Later(error)
    }
}

/// A place where messages go.
pub(super) trait Output: Send {
    /// Hands one message over. After an error it may be given again, and must not be half there.
    fn send(&mut self, message: &Message) -> Result<(), SendError>;

    /// Nothing more comes for a while. Also called now and then while there is nothing to send.
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether it has use for the chain's head.
    fn wants_chain_head(&self) -> bool {
        false
    }
}
