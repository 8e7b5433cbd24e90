//! The in-kernel log (`--kernel-log`): aya-log's records, one line each, forwarded to `tracing` by way of the `log` crate. The kernel
//! writes a reason's number; people read its name.

use std::time::Duration;

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use node_ebpf_common::counter::meaning;

use super::{error::DatapathError, object::Loaded};

/// How often the ring is drained. A timer, because a record submitted without a wake-up would otherwise wait for the next one with it.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// Prints the program's records until the returned future is dropped. Only a program that was loaded with the log on has any.
pub fn forward(loaded: &mut Loaded) -> Result<impl Future<Output = ()> + use<>, DatapathError> {
    let mut logger = EbpfLogger::init_with_logger(&mut loaded.ebpf, Named)
        .map_err(|e| DatapathError::io("can not open the in-kernel log")(std::io::Error::other(e)))?;
    Ok(async move {
        let mut timer = tokio::time::interval(DRAIN_EVERY);
        loop {
            timer.tick().await;
            logger.flush();
        }
    })
}

/// Hands records on with the number of the counter cell replaced by the reason's name.
#[derive(Debug)]
struct Named;

impl Log for Named {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        log::logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = with_name(&record.args().to_string());
        log::logger().log(
            &Record::builder()
                .args(format_args!("{text}"))
                .metadata(record.metadata().clone())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .build(),
        );
    }

    fn flush(&self) {
        log::logger().flush();
    }
}

fn with_name(text: &str) -> String {
    let named = text.rsplit_once("reason ").and_then(|(head, number)| {
        let (_, reason, _) = meaning(number.trim().parse().ok()?)?;
        Some(format!("{head}reason {}", reason.name()))
    });
    named.unwrap_or_else(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::with_name;

    #[test]
    fn numbers_become_names_and_other_text_stays() {
        assert_eq!(
            with_name("drop 10.0.0.1 -> tcp/9042, 60 bytes, reason 170"),
            "drop 10.0.0.1 -> tcp/9042, 60 bytes, reason outsider"
        );
        assert_eq!(with_name("reason 99999"), "reason 99999");
        assert_eq!(with_name("something else"), "something else");
    }
}
