//! Captures and losses -> a pcapng file that says of each frame why it was denied, what became of it, and how many are missing before it. It must
//! not know where they come from; times are in order if they are given in order.

use std::io::{self, Write};

use super::{
    node::Node,
    record::{Capture, Loss, Outcome},
};
use nodewall_capture::{NgFrame, NgStatistics, PcapNgWriter, SectionInfo, XdpVerdict};

/// What each interface's block says at the end.
const LOST_MEANS: &str =
    "lost: first frames of flows that were not captured (budget, buffer, store); counted where the next frame came in";

/// Writes captures as they come.
#[derive(Debug)]
pub struct Captures<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<NgStatistics>,
    /// Not yet told with a frame.
    lost: u64,
}

impl<W: Write> Captures<W> {
    /// Begins the file. `policy_sha256`: of the policy in force now; `comments`: what else there is to say.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn new(writer: W, node: &Node, policy_sha256: Option<&str>, comments: Vec<String>) -> io::Result<Self> {
        let uname = rustix::system::uname();
        let mut all = vec![format!(
            "node={} id={} policy_sha256={}; sources are what the frames say, unverified",
            node.name,
            node.id,
            policy_sha256.unwrap_or("none")
        )];
        all.extend(comments);
        let info = SectionInfo {
            hardware: uname.machine().to_string_lossy().into_owned(),
            os: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            application: concat!("nodewall ", env!("CARGO_PKG_VERSION")).to_owned(),
            comments: all,
        };
        Ok(Self { writer: PcapNgWriter::new(writer, &info)?, interfaces: Vec::new(), lost: 0 })
    }

    /// What came between the captures before and those after. Losses of flows are none of captures, and pass by.
    pub fn lost(&mut self, loss: &Loss) {
        if loss.kind.is_of_captures() {
            self.lost = self.lost.saturating_add(loss.packets);
        }
    }

    /// Writes a frame. `id`: its number in the store, where it is known.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn capture(&mut self, id: Option<i64>, capture: &Capture) -> io::Result<()> {
        let interface = self.writer.interface(&capture.key.interface)?;
        if self.interfaces.len() <= interface as usize {
            self.interfaces.push(NgStatistics::default());
        }
        let lost_before = std::mem::take(&mut self.lost);
        self.writer.frame(&NgFrame {
            interface,
            timestamp_ns: capture.unix_ns,
            original_len: capture.original_bytes,
            data: &capture.frame,
            verdict: Some(match capture.key.outcome {
                Outcome::Drop => XdpVerdict::Drop,
                Outcome::WouldDrop => XdpVerdict::Pass,
            }),
            lost_before,
            packet_id: id.and_then(|id| u64::try_from(id).ok()),
            comment: &comment(id, capture),
        })?;
        if let Some(statistics) = self.interfaces.get_mut(interface as usize) {
            statistics.first_ns.get_or_insert(capture.unix_ns);
            statistics.last_ns = statistics.last_ns.max(capture.unix_ns);
            statistics.written += 1;
            statistics.lost = statistics.lost.saturating_add(lost_before);
        }
        Ok(())
    }

    /// Writes both, by time: a loss stands before the first frame that is younger than all of it.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn merged<'a>(
        &mut self,
        captures: impl IntoIterator<Item = (Option<i64>, &'a Capture)>,
        losses: impl IntoIterator<Item = &'a Loss>,
    ) -> io::Result<()> {
        let mut captures: Vec<_> = captures.into_iter().collect();
        captures.sort_by_key(|(_, capture)| capture.unix_ns);
        let mut losses: Vec<_> = losses.into_iter().collect();
        losses.sort_by_key(|loss| loss.last_unix_ns);
        let mut losses = losses.into_iter().peekable();
        for (id, capture) in captures {
            while let Some(loss) = losses.next_if(|loss| loss.last_unix_ns <= capture.unix_ns) {
                self.lost(loss);
            }
            self.capture(id, capture)?;
        }
        losses.for_each(|loss| self.lost(loss));
        Ok(())
    }

    /// Where it is written to.
    pub fn get_ref(&self) -> &W {
        self.writer.get_ref()
    }

    /// Sends out what is held back.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Says how much of each interface is in the file, and what was lost after the last frame; hands the writer back, flushed.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(mut self) -> io::Result<W> {
        // libpcap opens no file that describes no interface, also where it has no frame.
        if self.interfaces.is_empty() {
            self.writer.interface("unknown")?;
            self.interfaces.push(NgStatistics::default());
        }
        // Of no interface that is known: the one that was heard of last.
        if let Some(last) = self.interfaces.iter_mut().max_by_key(|statistics| statistics.last_ns) {
            last.lost = last.lost.saturating_add(self.lost);
        }
        for (interface, statistics) in self.interfaces.iter().enumerate() {
            self.writer.statistics(interface as u32, statistics, LOST_MEANS)?;
        }
        self.writer.finish()
    }
}

fn comment(id: Option<i64>, capture: &Capture) -> String {
    let key = &capture.key;
    let port = key.port.map_or_else(|| "none".to_owned(), |port| port.to_string());
    let mut text = format!(
        "nodewall outcome={} reason={} class={} protocol={} port={port} generation={} cpu={}",
        key.outcome.name(),
        key.reason.name(),
        capture.class.as_deref().unwrap_or("none"),
        key.protocol,
        capture.generation,
        capture.cpu,
    );
    if let Some(id) = id {
        text += &format!(" id=c{id}");
    }
    text
}
