//! Any bytes as a capture file: it ends, it takes no memory that the file only claims, it says the same however the bytes arrive, and what was
//! read can be written and read again.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use nodewall_capture::{
    CaptureError, CapturedFrame, Frames, MAX_FRAME_BYTES, NgFrame, PcapNgWriter, Problem, SectionInfo,
};
use nodewall_fuzz::allocation::{Watched, largest_request_bytes};

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The shortest thing in a file that can become a frame: a pcap record's header or a pcapng block.
const SMALLEST_RECORD_BYTES: usize = 12;
/// Memory that a reader may take whatever the file holds.
const SMALL_REQUEST_BYTES: usize = 64 << 10;
/// Times a file's length that one request may be: vectors double as they grow.
const GROWTH: usize = 8;

fuzz_target!(|file: &[u8]| {
    let ((frames, error), largest_bytes) = largest_request_bytes(|| read(file, file.len()));
    let limit_bytes = SMALL_REQUEST_BYTES + GROWTH * file.len();
    assert!(largest_bytes <= limit_bytes, "{largest_bytes} bytes at once for a file of {}", file.len());
    is_sound(file, &frames, error.as_ref());

    let (dribbled, other_error) = read(Dribble { rest: file, calls: 0 }, file.len());
    assert_eq!(dribbled, frames, "frames depend on how the bytes arrive");
    assert_eq!(words(other_error.as_ref()), words(error.as_ref()), "the error depends on how the bytes arrive");
    survives_writing(&frames);
});

fn read(reader: impl Read, file_bytes: usize) -> (Vec<CapturedFrame>, Option<CaptureError>) {
    let mut reader = match Frames::from_reader(reader) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut frames = Vec::new();
    for frame in &mut reader {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => {
                assert!(reader.next().is_none(), "something follows the error");
                return (frames, Some(error));
            }
        }
        assert!(frames.len() <= file_bytes / SMALLEST_RECORD_BYTES, "more frames than the file has room for");
    }
    (frames, None)
}

fn is_sound(file: &[u8], frames: &[CapturedFrame], error: Option<&CaptureError>) {
    for (number, frame) in (0..).zip(frames) {
        assert_eq!(frame.index, number);
        assert!(frame.data.len() <= MAX_FRAME_BYTES as usize, "a frame of {} bytes", frame.data.len());
    }
    let held_bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
    assert!(held_bytes <= file.len(), "{held_bytes} bytes of frames in a file of {}", file.len());
    if let Some(error) = error {
        assert!(error.offset_bytes <= file.len() as u64, "{error}: behind the file's end");
        assert_eq!(error.frame, frames.len() as u64, "{error}: counts frames wrongly");
        assert!(!error.to_string().is_empty());
        if let Problem::Truncated { ends_at_bytes, .. } = error.problem {
            assert_eq!(ends_at_bytes, file.len() as u64, "{error}: the file ends elsewhere");
        }
    }
}

fn words(error: Option<&CaptureError>) -> Option<String> {
    error.map(ToString::to_string)
}

fn survives_writing(frames: &[CapturedFrame]) {
    let mut pcapng = PcapNgWriter::new(Vec::new(), &SectionInfo::default()).expect("memory can be written");
    for CapturedFrame { timestamp_ns, data, original_len, interface, .. } in frames {
        let interface = pcapng.interface(&interface.to_string()).expect("memory can be written");
        let frame = NgFrame {
            interface,
            timestamp_ns: *timestamp_ns,
            original_len: *original_len,
            data,
            verdict: None,
            lost_before: 0,
            packet_id: None,
            comment: "",
        };
        pcapng.frame(&frame).expect("a frame that was read can be written");
    }
    let file = pcapng.finish().expect("memory can be flushed");
    let (again, error) = read(file.as_slice(), file.len());
    assert_eq!(words(error.as_ref()), None, "our own file can not be read");
    // No frame is shorter on the wire than what was captured of it.
    let fields = |frame: &CapturedFrame| {
        (frame.timestamp_ns, frame.original_len.max(frame.data.len() as u32), frame.data.clone())
    };
    let (again, written): (Vec<_>, Vec<_>) = (again.iter().map(fields).collect(), frames.iter().map(fields).collect());
    assert_eq!(again, written, "written and read again");
}

/// Gives one to seven bytes at a time, and every fifth call is interrupted, as a signal does it.
struct Dribble<'a> {
    rest: &'a [u8],
    calls: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = space.len().min(1 + self.calls % 7);
        self.rest.read(&mut space[..room])
    }
}
