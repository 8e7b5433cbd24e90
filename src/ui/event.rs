//! The log: one line for each event, for what reads the agent's messages (journald, a log shipper) takes each line for a message. It must not choose what is
//! logged.

use std::{
    fmt::{Debug, Write as _},
    time::SystemTime,
};

use nodewall_text::{
    one_line,
    out::{self, Mark, Part},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Writes events to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Colour may be used.
    pub color: bool,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let level = *event.metadata().level();
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let (name, text) = (format!(" {level:>5} "), one_line(&told.0));
        let color = match level {
            Level::ERROR => Mark::Red,
            Level::WARN => Mark::Yellow,
            Level::INFO => Mark::Green,
            Level::DEBUG => Mark::Blue,
            Level::TRACE => Mark::Magenta,
        };
        let mut parts = vec![Part::Text(&time), Part::Text(&name), Part::Text(&text), Part::LineEnd];
        if self.color {
            parts.insert(2, Part::Mark(Mark::Plain));
            parts.insert(1, Part::Mark(color));
            parts.insert(1, Part::Mark(Mark::Plain));
            parts.insert(0, Part::Mark(Mark::Dim));
        }
        // Nobody may be there to read it.
        let _ = out::stderr().write(&parts);
    }
}

/// An event's message, and its other fields behind it.
#[derive(Default)]
struct Told(String);

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            // Where a record of the `log` crate comes from.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
