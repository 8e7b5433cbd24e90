//! The in-kernel log (`--kernel-log`): aya-log's records, one line each, forwarded to `tracing` by way of the `log` crate.

use std::time::Duration;

use aya_log::EbpfLogger;

use super::{error::DatapathError, object::Loaded};

/// How often the ring is drained. A timer, because a record submitted without a wake-up would otherwise wait for the next one with it.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// Prints the program's records until the returned future is dropped. Only a program that was loaded with the log on has any.
pub fn forward(loaded: &mut Loaded) -> Result<impl Future<Output = ()> + use<>, DatapathError> {
    let mut logger = EbpfLogger::init(&mut loaded.ebpf)
        .map_err(|e| DatapathError::io("can not open the in-kernel log")(std::io::Error::other(e)))?;
    Ok(async move {
        let mut timer = tokio::time::interval(DRAIN_EVERY);
        loop {
            timer.tick().await;
            logger.flush();
        }
    })
}
