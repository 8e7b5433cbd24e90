//! Drives the flood: the generator of `node-ebpf/src/bin/reference`, run on live frames. Also hands out the bare programs of the same object.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp},
};

use super::{device::SENDING, wire::Wire};
use crate::cpus;
use nodewall_datapath::{ReferenceObject, load_reference};

/// Frames that the kernel makes before it sends them; what a veth's ring holds is four times as much.
const BATCH_FRAMES: u32 = 64;
/// No flood is longer: `frames` is bounded by what the fastest generator could send in that time.
const LONGEST: Duration = Duration::from_secs(2);
/// No generator is faster.
const FASTEST_PER_S: u32 = 10_000_000;

/// The generator's state in its map: see `node-ebpf/src/bin/reference/generator.rs`.
type State = [u64; 5];

/// A flood that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Frames that the generator gave to its device.
    pub sent: u64,
    /// Time that it took, s.
    pub seconds: f64,
}

/// The loaded object.
pub struct Generator {
    object: ReferenceObject,
    state: Array<MapData, State>,
    frame: Vec<u8>,
    sums: [u64; 2],
    seed: u64,
}

impl Generator {
    /// `frame`: a TCP SYN over IPv4 in Ethernet, whose source and source port are replaced.
    pub fn load(frame: Vec<u8>, seed: u64) -> Result<Self> {
        let mut object = load_reference(&mut EbpfLoader::new(), None).context("the reference object")?;
        let ebpf = &mut object.ebpf;
        for name in ["generator", "reference_drop", "reference_read", "reference_pass"] {
            xdp(ebpf, name)?.load().with_context(|| format!("loading {name}"))?;
        }
        let state = ebpf.take_map("gen_state").context("no map gen_state in the reference object")?.try_into()?;
        let sums = sums(&frame).context("a frame that is too short to be a TCP segment")?;
        Ok(Self { object, state, frame, sums, seed })
    }

    /// The kernel's id of one of the bare programs.
    pub fn bare(&mut self, name: &str) -> Result<u32> {
        Ok(xdp(&mut self.object.ebpf, name)?.info()?.id())
    }

    /// The frame that is flooded with, from one of its sources.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Sends `frames` frames from `cpu`, one each `interval_ns` (0: as fast as it goes), and returns when they are sent.
    pub fn flood(&mut self, wire: &Wire, frames: u32, interval_ns: u64, cpu: usize) -> Result<Flood> {
        let longest_ns = LONGEST.as_nanos() as u64;
        let frames = frames
            .min(FASTEST_PER_S / 1_000 * LONGEST.as_millis() as u32)
            .min(longest_ns.checked_div(interval_ns).map_or(u32::MAX, |frames| frames as u32));
        let [ip_sum, tcp_sum] = self.sums;
        self.seed = self.seed.wrapping_add(u64::from(frames));
        self.state.set(0, [self.seed, interval_ns, 0, ip_sum, tcp_sum], 0)?;
        let program = xdp(&mut self.object.ebpf, "generator")?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, self.frame.len() as u32, 0, wire.flooding.if_index, 0, 0]
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        let options = || TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH_FRAMES),
            ..TestRunOptions::new()
        };
        let seconds = wire.flooder.run(|| -> Result<f64> {
            cpus::pin(None, cpu)?;
            cpus::prefer(None, SENDING)?;
            let began = Instant::now();
            program.test_run(options()).context("sending live frames (Linux 5.18)")?;
            Ok(began.elapsed().as_secs_f64())
        })??;
        ensure!(seconds < 2.0 * LONGEST.as_secs_f64(), "a flood of {frames} frames took {seconds:.1} s");
        Ok(Flood { sent: u64::from(frames), seconds })
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name} in the reference object"))?.try_into()?)
}

/// What the frame's two checksums cover but for what the generator writes: RFC 1071 sums of the wire's words, read little-endian.
fn sums(frame: &[u8]) -> Option<[u64; 2]> {
    let sum = |bytes: &[u8]| -> u64 {
        bytes.chunks(2).map(|pair| pair.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))).sum()
    };
    let packet = frame.get(14..)?;
    let total_bytes = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let segment = packet.get(20..total_bytes)?;
    // Before and after the checksum; the source comes right behind it.
    let ip_sum = sum(packet.get(..10)?) + sum(packet.get(16..20)?);
    let pseudo_header = sum(packet.get(16..20)?) + sum(&[0, 6]) + sum(&(segment.len() as u16).to_be_bytes());
    let tcp_sum = pseudo_header + sum(segment.get(2..16)?) + sum(segment.get(18..)?);
    Some([ip_sum, tcp_sum])
}
