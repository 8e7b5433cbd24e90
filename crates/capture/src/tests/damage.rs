//! Cut and damaged files: what was whole is delivered, then one error, and never a panic, a hang or much memory.

use std::io::{self, Cursor, Read};

use super::build::{Ng, Order, classic, classic_header, ethernet, small_pcapng};
use super::*;

fn small_pcap() -> (Vec<u8>, Vec<CapturedFrame>) {
    let mut file = classic_header(Order::Little, NANO, 1);
    let mut frames = Vec::new();
    for (index, length) in [20_usize, 0, 33].into_iter().enumerate() {
        file.extend(classic(Order::Little, 5, 6, 60, &ethernet(length)));
        frames.push(CapturedFrame {
            index: index as u64,
            timestamp_ns: 5_000_000_006,
            data: ethernet(length).into(),
            original_len: 60,
            interface: 0,
        });
    }
    (file, frames)
}

/// Reads to the end of frames, which must come.
fn drain(file: &[u8]) -> (Vec<CapturedFrame>, Option<CaptureError>) {
    let mut delivered = Vec::new();
    let Ok(frames) = Frames::from_reader(file).map_err(|error| error.to_string()) else { return (delivered, None) };
    for frame in frames {
        match frame {
            Ok(frame) => delivered.push(frame),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return (delivered, Some(error));
            }
        }
        assert!(delivered.len() <= file.len(), "more frames than bytes");
    }
    (delivered, None)
}

#[test]
fn every_cut_delivers_what_was_whole_and_says_where_the_file_ends() {
    for (file, frames) in [small_pcap(), small_pcapng()] {
        assert_eq!(read(&file), frames);
        let (mut silent, mut seen) = (0, vec![false; frames.len()]);
        for cut in 1..file.len() {
            let error = match Frames::from_reader(&file[..cut]) {
                Err(error) => error,
                Ok(reader) => {
                    let (delivered, error) = drain(&file[..cut]);
                    drop(reader);
                    assert_eq!(delivered, frames[..delivered.len()], "cut at {cut}");
                    if let Some(last) = delivered.len().checked_sub(1) {
                        seen[last] = true;
                    }
                    let Some(error) = error else {
                        // Between two records a cut can not be seen.
                        silent += 1;
                        continue;
                    };
                    assert_eq!(error.frame, delivered.len() as u64, "cut at {cut}");
                    error
                }
            };
            let Problem::Truncated { ends_at_bytes, missing_bytes } = error.problem else {
                panic!("cut at {cut}: {error}")
            };
            assert_eq!(ends_at_bytes, cut as u64);
            assert!(error.offset_bytes < cut as u64 && missing_bytes > 0, "cut at {cut}: {error}");
        }
        assert!(silent <= 9, "{silent} cuts were not noticed");
        assert!(seen[..frames.len() - 1].iter().all(|&seen| seen));
    }
}

#[test]
fn a_cut_in_a_block_that_is_passed_over_says_how_much_is_missing() {
    let file = Ng::new(Order::Little).block(0xbad, &vec![1; 50_000]).bytes();
    let cut = file.len() - 40_000;
    let (_, error) = read_to_error(&file[..cut]);
    assert!(matches!(error.problem, Problem::Truncated { missing_bytes: 39_996, .. }), "{error}");
}

#[test]
fn no_damage_makes_it_panic_or_hang() {
    let (mut ran, mut refused) = (0, 0);
    for (file, _) in [small_pcap(), small_pcapng()] {
        let mut try_one = |damaged: &[u8]| {
            let (delivered, error) = drain(damaged);
            assert!(delivered.iter().all(|frame| frame.data.len() <= damaged.len()));
            ran += 1;
            refused += u32::from(error.is_some());
        };
        for place in 0..file.len() {
            for value in 0..=u8::MAX {
                let mut damaged = file.clone();
                damaged[place] = value;
                try_one(&damaged);
            }
            for value in
                [0_u32, 1, 4, 8, 12, 16, 28, 32, 0xff, 0xffff, 0x7fff_fffc, 0x8000_0000, u32::MAX - 3, u32::MAX]
            {
                for bytes in [value.to_le_bytes(), value.to_be_bytes()] {
                    let mut damaged = file.clone();
                    for (offset, byte) in bytes.into_iter().enumerate().take(file.len() - place) {
                        damaged[place + offset] = byte;
                    }
                    try_one(&damaged);
                }
            }
        }
    }
    assert!(ran > 100_000 && refused > 10_000, "{refused} of {ran} refused");
}

#[test]
fn lengths_that_lie_are_refused() {
    let start = || Ng::new(Order::Little).interface(1, 0, &[]).enhanced(0, 1, 60, &ethernet(60));
    for (name, file) in [
        ("captured more than the block", start().lying_enhanced(0, 2, 61 + 16, 60, &ethernet(60)).bytes()),
        ("captured nearly 2^32", start().lying_enhanced(0, 2, u32::MAX - 2, 60, &ethernet(60)).bytes()),
        ("simple packet longer than its block", start().simple(61, &ethernet(40)).bytes()),
        ("block length of 8", start().lying_block(6, &[0; 40], 8, 8).bytes()),
        ("block length of 0", start().lying_block(0xbad, &[], 0, 0).bytes()),
        ("no multiple of 4", start().lying_block(6, &[0; 40], 53, 53).bytes()),
        ("enhanced packet without its fields", start().block(6, &[0; 8]).bytes()),
        ("obsolete packet without its fields", start().block(2, &[0; 8]).bytes()),
        ("obsolete packet with most of its fields", start().block(2, &[0; 16]).bytes()),
        ("interface without its fields", start().block(1, &[0; 4]).bytes()),
        ("two lengths", start().lying_block(6, &[0; 40], 52, 48).bytes()),
        ("two lengths of a block that is passed over", start().lying_block(5, &[0; 40], 52, 48).bytes()),
        (
            "section header without its fields",
            start().lying_block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a], 16, 16).bytes(),
        ),
        ("section header in no byte order", start().block(0x0a0d_0d0a, &[0; 16]).bytes()),
    ] {
        let (before, error) = read_to_error(&file);
        assert_eq!(before, 1, "{name}");
        assert!(matches!(error.problem, Problem::Damaged(_)), "{name}: {error}");
        assert!(error.to_string().contains("damaged"), "{name}: {error}");
    }
}

#[test]
fn long_frames_are_refused_in_pcapng_too() {
    let most = MAX_FRAME_BYTES as usize;
    let file = Ng::new(Order::Big).interface(1, 0, &[]).enhanced(0, 0, 0, &ethernet(most)).bytes();
    assert_eq!(read(&file)[0].data.len(), most);
    let file = Ng::new(Order::Big).interface(1, 0, &[]).enhanced(0, 0, 0, &ethernet(most + 1)).bytes();
    assert!(matches!(read_to_error(&file).1.problem, Problem::TooLong { .. }));
    let file = Ng::new(Order::Big).interface(1, 0, &[]).enhanced(0, 0, 0, &ethernet(2 << 20)).bytes();
    assert!(matches!(read_to_error(&file).1.problem, Problem::Damaged(_)));
}

/// Gives one byte at a time, and is interrupted before each.
struct Dribble<'a> {
    rest: &'a [u8],
    interrupted: bool,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = buffer.len().min(1);
        self.rest.read(&mut buffer[..count])
    }
}

#[test]
fn a_slow_reader_gives_the_same_frames() {
    for (file, frames) in [small_pcap(), small_pcapng()] {
        let slow = Frames::from_reader(Dribble { rest: &file, interrupted: false }).unwrap();
        assert_eq!(slow.collect::<Result<Vec<_>, _>>().unwrap(), frames);
    }
}

#[test]
fn a_reader_that_fails_is_not_an_end_of_file() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    for (file, frames) in [small_pcap(), small_pcapng()] {
        for cut in [file.len(), file.len() - 3] {
            let reader = Cursor::new(file[..cut].to_vec()).chain(Fails);
            let mut results: Vec<_> = Frames::from_reader(reader).unwrap().collect();
            let error = results.pop().unwrap().unwrap_err();
            assert!(error.to_string().contains("on fire"), "{error}");
            assert_eq!(results.len(), if cut == file.len() { frames.len() } else { frames.len() - 1 });
        }
    }
}
