//! A flood: some frames over and over, at a steady rate and for a bounded time, with an exact count of those that went onto the wire. What is in
//! the frames, and what becomes of them, is the test's business.

use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::raw::RawSender;

/// Frames handed to the kernel by one call.
const BATCH: usize = 64;
/// The kernel has no room for a frame right now (the receiving end's ring is full): it was not sent.
const WAIT_FOR_ROOM: Duration = Duration::from_micros(100);
/// After a longer stall the flood goes on at its rate, without making up for what it missed.
const CATCH_UP_AT_MOST: Duration = Duration::from_millis(20);

/// A flood under way. It ends when it is stopped or dropped, or when its time is over.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    frames: usize,
    thread: Option<JoinHandle<io::Result<Duration>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent_packets: AtomicU64,
    refused_packets: AtomicU64,
}

/// What a flood came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flooded {
    /// How often each of the frames was sent, in their order. Exact.
    pub sent_packets: Vec<u64>,
    /// How often the kernel had no room for a frame, which was sent later.
    pub refused_packets: u64,
    /// From the first frame to the last.
    pub elapsed: Duration,
}

impl Flooded {
    /// All frames.
    pub fn total_packets(&self) -> u64 {
        self.sent_packets.iter().sum()
    }

    /// Frames per second.
    #[expect(clippy::cast_precision_loss, reason = "no flood has 2^52 frames")]
    pub fn rate_pps(&self) -> f64 {
        self.total_packets() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

impl NetNs {
    /// Sends these Ethernet frames in turn, unchanged, from an interface of this namespace: at most `rate_pps` frames a second, and no longer than
    /// `at_most`.
    pub fn flood(&self, interface: &str, frames: Vec<Vec<u8>>, rate_pps: u32, at_most: Duration) -> Result<Flood> {
        self.flood_by(BATCH, interface, frames, rate_pps, at_most)
    }

    /// The same, with every frame handed over by itself.
    pub fn flood_singly(
        &self,
        interface: &str,
        frames: Vec<Vec<u8>>,
        rate_pps: u32,
        at_most: Duration,
    ) -> Result<Flood> {
        self.flood_by(1, interface, frames, rate_pps, at_most)
    }

    fn flood_by(
        &self,
        batch: usize,
        interface: &str,
        frames: Vec<Vec<u8>>,
        rate_pps: u32,
        at_most: Duration,
    ) -> Result<Flood> {
        if frames.is_empty() || rate_pps == 0 {
            return Err(Error::BadLab("a flood needs a frame and a rate".into()));
        }
        let sender = self.raw_sender(interface)?;
        let shared = Arc::new(Shared::default());
        let count = frames.len();
        let theirs = Arc::clone(&shared);
        let work = move || flood(&sender, &frames, (batch, rate_pps), at_most, &theirs);
        let thread = thread::Builder::new().name("flood".into()).spawn(work).map_err(Error::io("starting a thread"))?;
        Ok(Flood { shared, frames: count, thread: Some(thread) })
    }
}

impl Flood {
    /// Frames sent so far.
    pub fn sent_packets(&self) -> u64 {
        self.shared.sent_packets.load(Ordering::Acquire)
    }

    /// Ends it and says what it came to. Every frame counted is on the wire by then.
    pub fn stop(mut self) -> Result<Flooded> {
        self.shared.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map_or(Ok(Ok(Duration::ZERO)), JoinHandle::join);
        let elapsed = ended
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(Error::io("sending a flood of frames"))?;
        let (total, frames) = (self.sent_packets(), self.frames as u64);
        let sent_packets = (0..frames).map(|n| total / frames + u64::from(n < total % frames)).collect();
        let refused_packets = self.shared.refused_packets.load(Ordering::Acquire);
        Ok(Flooded { sent_packets, refused_packets, elapsed })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn flood(
    sender: &RawSender,
    frames: &[Vec<u8>],
    (batch, rate_pps): (usize, u32),
    at_most: Duration,
    shared: &Shared,
) -> io::Result<Duration> {
    let began = Instant::now();
    let every = Duration::from_secs(1) * batch as u32 / rate_pps;
    let mut due = began;
    let mut next = 0;
    while !shared.stop.load(Ordering::Acquire) && began.elapsed() < at_most {
        let now = Instant::now();
        if now < due {
            thread::sleep(due - now);
        } else if now - due > CATCH_UP_AT_MOST {
            due = now;
        }
        due += every;
        let mut left = batch;
        while left > 0 {
            match send_some(sender, frames, next, left) {
                Ok(sent) => {
                    shared.sent_packets.fetch_add(sent as u64, Ordering::AcqRel);
                    next = (next + sent) % frames.len();
                    left -= sent.min(left);
                }
                Err(error) if no_room(&error) => {
                    shared.refused_packets.fetch_add(1, Ordering::AcqRel);
                    thread::sleep(WAIT_FOR_ROOM);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(began.elapsed())
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN))
}

/// Sends frames from number `first` on, `count` at most ([`BATCH`] at most), and says how many the kernel took.
fn send_some(sender: &RawSender, frames: &[Vec<u8>], first: usize, count: usize) -> io::Result<usize> {
    // SAFETY: all zero bytes are a value of these plain C structures: no buffer, no address.
    let (mut buffers, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { zeroed() };
    let (address, address_bytes) = sender.address();
    let count = count.min(BATCH);
    let turn = frames.iter().cycle().skip(first);
    for ((message, buffer), frame) in messages.iter_mut().zip(&mut buffers).zip(turn).take(count) {
        *buffer = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
        message.msg_hdr.msg_iov = buffer;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_name = address.cast_mut().cast();
        message.msg_hdr.msg_namelen = address_bytes;
    }
    // SAFETY: `count` messages are filled in; their buffers, frames and the address live during the call and are only read by the kernel.
    let sent = unsafe { libc::sendmmsg(sender.as_raw_fd(), messages.as_mut_ptr(), count as u32, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lab, Tap, skip_unless_privileged};

    #[test]
    fn every_frame_that_is_counted_was_on_the_wire() {
        if skip_unless_privileged("every_frame_that_is_counted_was_on_the_wire") {
            return;
        }
        let lab = Lab::builder().direct_pair().build().unwrap();
        let (to, from) = (lab.node(), lab.peer1().unwrap());
        // An experimental ethertype, so that nobody else's frames are counted.
        let frame = |n: u8| [&to.mac()[..], &from.mac(), &[0x88, 0xb5, n], &[0; 60]].concat();
        let mut tap = Tap::open(to.netns(), "eth0").unwrap();
        let flood =
            from.netns().flood("eth0", vec![frame(0), frame(1), frame(2)], 20_000, Duration::from_secs(5)).unwrap();
        while flood.sent_packets() < 1_000 {
            thread::sleep(Duration::from_millis(1));
        }
        let flooded = flood.stop().unwrap();
        let mut arrived = vec![0_u64; 3];
        let ours = |frame: &[u8]| frame.get(12..14) == Some(&[0x88, 0xb5]);
        tap.drain(|frame| {
            if ours(frame) {
                arrived[usize::from(frame[14])] += 1;
            }
        })
        .unwrap();
        assert_eq!(tap.lost_packets().unwrap(), 0);
        assert_eq!(arrived, flooded.sent_packets);
        assert!(flooded.total_packets() >= 1_000 && flooded.rate_pps() <= 25_000.0, "{flooded:?}");
    }
}
