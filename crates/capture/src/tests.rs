//! Files of every shape, made here byte by byte from the formats' specifications.

mod build;
mod damage;
mod ng_writer;

use build::{Ng, Order, classic, classic_header, ethernet};

use super::*;

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;

fn read(file: &[u8]) -> Vec<CapturedFrame> {
    Frames::from_reader(file).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The frames before the error, and the error.
fn read_to_error(file: &[u8]) -> (usize, CaptureError) {
    let mut frames = match Frames::from_reader(file) {
        Ok(frames) => frames,
        Err(error) => return (0, error),
    };
    let mut before = 0;
    loop {
        match frames.next().expect("an error before the end") {
            Ok(_) => before += 1,
            Err(error) => {
                assert!(frames.next().is_none(), "an error is the end");
                return (before, error);
            }
        }
    }
}

#[test]
fn classic_in_both_orders_and_both_resolutions() {
    for order in [Order::Little, Order::Big] {
        for (magic, fraction_ns) in [(MICRO, 1_000), (NANO, 1)] {
            let mut file = classic_header(order, magic, 1);
            file.extend(classic(order, 1_700_000_000, 999_999, 1500, &ethernet(60)));
            file.extend(classic(order, u32::MAX, 7, 0, &[]));
            let frames = read(&file);
            assert_eq!(frames.len(), 2);
            assert_eq!(
                frames[0],
                CapturedFrame {
                    index: 0,
                    timestamp_ns: 1_700_000_000_000_000_000 + 999_999 * fraction_ns,
                    data: ethernet(60).into(),
                    original_len: 1500,
                    interface: 0,
                }
            );
            assert_eq!((frames[1].index, frames[1].data.len()), (1, 0));
            assert_eq!(frames[1].timestamp_ns, u64::from(u32::MAX) * 1_000_000_000 + 7 * fraction_ns);
        }
    }
}

#[test]
fn classic_limits() {
    let most = MAX_FRAME_BYTES as usize;
    let mut file = classic_header(Order::Little, MICRO, 1);
    file.extend(classic(Order::Little, 0, 0, 0, &ethernet(most)));
    assert_eq!(read(&file)[0].data.len(), most);
    file.extend(classic(Order::Little, 0, 0, 0, &ethernet(most + 1)));
    let (before, error) = read_to_error(&file);
    assert_eq!((before, error.frame, error.offset_bytes), (1, 1, 24 + 16 + most as u64));
    assert!(matches!(error.problem, Problem::TooLong { captured_bytes } if captured_bytes as usize == most + 1));
}

#[test]
fn classic_link_types() {
    // The check sequence's length (4 bits at the top) is no part of the link type.
    assert!(read(&classic_header(Order::Big, MICRO, 0x2400_0001 | 1 << 28)).is_empty());
    for (link_type, name) in [(105, "105"), (127, "127"), (10, "FDDI")] {
        let error = Frames::from_reader(&classic_header(Order::Little, NANO, link_type)[..]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error.problem, Problem::LinkType { .. }), "{text}");
        assert!(text.contains(&link_type.to_string()) && text.contains(name) && text.contains("frame 0"), "{text}");
    }
}

#[test]
fn what_is_no_capture_says_so() {
    let text = |bytes: &[u8]| Frames::from_reader(bytes).unwrap_err().to_string();
    assert!(text(b"").contains("empty"));
    assert!(text(b"hello, world").contains("68 65 6c 6c"), "{}", text(b"hello, world"));
    assert!(text(&[0x1f, 0x8b, 8, 0]).contains("gzip"));
    assert!(text(&[0x28, 0xb5, 0x2f, 0xfd]).contains("zstd"));
    assert!(text(&[0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0]).contains("editcap"));
    let mut newer = classic_header(Order::Little, MICRO, 1);
    newer[6] = 5;
    assert!(text(&newer).contains("2.5"), "{}", text(&newer));
    assert!(matches!(Frames::from_reader(&[0xd4, 0xc3][..]).unwrap_err().problem, Problem::Truncated { .. }));
}

#[test]
fn an_opened_files_errors_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.pcap");
    assert!(Frames::open(&path).unwrap_err().to_string().contains("trace.pcap: can not be opened"));
    let mut file = classic_header(Order::Little, MICRO, 1);
    file.extend(classic(Order::Little, 1, 2, 60, &ethernet(60)));
    std::fs::write(&path, &file).unwrap();
    assert_eq!(Frames::open(&path).unwrap().count(), 1);
    std::fs::write(&path, &file[..file.len() - 1]).unwrap();
    let error = Frames::open(&path).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("trace.pcap: at byte 24, frame 0: the file ends at byte 99, with at least 1 bytes of this record still to come: it was cut"), "{error}");
    assert!(Frames::open(directory.path()).is_err(), "a directory");
}

#[test]
fn pcapng_in_both_orders_with_all_packet_blocks() {
    for order in [Order::Little, Order::Big] {
        let file = Ng::new(order)
            .interface(1, 0, &[])
            .block(4, &[0, 0, 0, 0])
            .enhanced(0, 1_700_000_000_123_456, 1500, &ethernet(61))
            .block(0x8000_0bad, &vec![9; 100_000])
            .simple(62, &ethernet(62))
            .obsolete(0, 1_700_000_000_000_001, 63, &ethernet(63))
            .block(0x0bad, &[])
            .bytes();
        let frames = read(&file);
        let got: Vec<_> = frames.iter().map(|f| (f.index, f.timestamp_ns, f.original_len, f.data.clone())).collect();
        assert_eq!(
            got,
            [
                (0, 1_700_000_000_123_456_000, 1500, ethernet(61).into()),
                (1, 0, 62, ethernet(62).into()),
                (2, 1_700_000_000_000_001_000, 63, ethernet(63).into()),
            ]
        );
    }
}

#[test]
fn pcapng_times() {
    let option = |code: u16, value: Vec<u8>| (code, value);
    for order in [Order::Little, Order::Big] {
        let offset = |seconds: i64| match order {
            Order::Little => seconds.to_le_bytes().to_vec(),
            Order::Big => seconds.to_be_bytes().to_vec(),
        };
        let cases = [
            (vec![], 1_234_567, 1_234_567_000),
            (vec![option(9, vec![9])], 1_234_567, 1_234_567),
            (vec![option(9, vec![0])], 3, 3_000_000_000),
            (vec![option(9, vec![12])], 1_999, 1),
            (vec![option(9, vec![127])], u64::MAX, 0),
            (vec![option(9, vec![0x8a])], 1024 + 512, 1_500_000_000),
            (vec![option(9, vec![0xff])], u64::MAX, 0),
            (vec![option(9, vec![0x80])], 2, 2_000_000_000),
            (vec![option(9, vec![9]), option(14, offset(1_600_000_000))], 5, 1_600_000_000_000_000_005),
            (vec![option(9, vec![9]), option(14, offset(-1))], 2_000_000_000, 1_000_000_000),
            (vec![option(9, vec![9]), option(14, offset(-1))], 5, 0),
            (vec![option(9, vec![0])], u64::MAX, u64::MAX),
            (vec![option(14, offset(i64::MAX))], 0, u64::MAX),
            // What stands behind the end of the options is none.
            (vec![option(0, vec![]), option(9, vec![9])], 1, 1_000),
            // Of the wrong length: not believed.
            (vec![option(9, vec![9, 9])], 1, 1_000),
        ];
        for (options, ticks, expected) in cases {
            let file = Ng::new(order).interface(1, 0, &options).enhanced(0, ticks, 60, &ethernet(60)).bytes();
            assert_eq!(read(&file)[0].timestamp_ns, expected, "{options:?} at {ticks}");
        }
    }
}

#[test]
fn pcapng_sections_have_interfaces_and_byte_orders_of_their_own() {
    let mut file = Ng::new(Order::Little)
        .interface(1, 0, &[])
        .interface(1, 0, &[(9, vec![9])])
        .enhanced(1, 7, 60, &ethernet(60))
        .bytes();
    file.extend(Ng::new(Order::Big).interface(1, 0, &[(9, vec![9])]).enhanced(0, 8, 61, &ethernet(61)).bytes());
    file.extend(Ng::new(Order::Little).bytes());
    file.extend(Ng::new(Order::Little).interface(1, 0, &[]).enhanced(0, 9, 62, &ethernet(62)).bytes());
    let got: Vec<_> = read(&file).iter().map(|f| (f.index, f.interface, f.timestamp_ns, f.data.len())).collect();
    assert_eq!(got, [(0, 1, 7, 60), (1, 2, 8, 61), (2, 3, 9_000, 62)]);

    let mut stale = Ng::new(Order::Little).interface(1, 0, &[]).interface(1, 0, &[]).bytes();
    stale.extend(Ng::new(Order::Little).interface(1, 0, &[]).enhanced(1, 9, 60, &ethernet(60)).bytes());
    let (_, error) = read_to_error(&stale);
    assert!(matches!(error.problem, Problem::UnknownInterface { interface: 1, described: 1 }), "{error}");
}

#[test]
fn a_simple_packet_is_cut_at_its_interfaces_limit() {
    let file =
        Ng::new(Order::Little).interface(1, 65, &[]).simple(1500, &ethernet(65)).simple(40, &ethernet(40)).bytes();
    let frames = read(&file);
    assert_eq!((frames[0].data.len(), frames[0].original_len), (65, 1500));
    assert_eq!((frames[1].data.len(), frames[1].original_len), (40, 40));
}

#[test]
fn another_link_type_is_an_error_at_its_first_frame() {
    let file = Ng::new(Order::Little)
        .interface(1, 0, &[])
        .interface(127, 0, &[])
        .enhanced(0, 1, 60, &ethernet(60))
        .enhanced(1, 2, 60, &ethernet(60))
        .bytes();
    let (before, error) = read_to_error(&file);
    assert_eq!((before, error.frame), (1, 1));
    assert!(matches!(error.problem, Problem::LinkType { interface: 1, link_type: 127 }), "{error}");
}

/// What each type's page at tcpdump.org/linktypes.html says, cut in each place. Files that programs wrote are read in `tests/cli/replay/written.rs`.
#[test]
fn another_link_layer_header_becomes_an_ethernet_header() {
    let packet = [0x45, 1, 2, 3];
    let cooked = |device: u16, length: u8| {
        let [a, b] = device.to_be_bytes();
        [0, 4, a, b, 0, length, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0]
    };
    let cooked2 = [0x86, 0xdd, 0, 0, 0, 0, 0, 9, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0];
    let [none, sender] = [[0; 6], [1, 2, 3, 4, 5, 6]];
    let cases: [(u16, Vec<u8>, [u8; 6], u16); 14] = [
        (101, vec![], none, 0x0800),
        (228, vec![], none, 0x0800),
        (0, vec![2, 0, 0, 0], none, 0x0800),
        (0, vec![0, 0, 0, 2], none, 0x0800),
        (0, vec![24, 0, 0, 0], none, 0x86dd),
        (0, vec![28, 0, 0, 0], none, 0x86dd),
        (0, vec![0, 0, 0, 30], none, 0x86dd),
        (0, vec![7, 0, 0, 0], none, 0),
        (108, vec![0, 0, 0, 24], none, 0x86dd),
        (113, cooked(1, 6).to_vec(), sender, 0x0800),
        // What the field says is no address of Ethernet.
        (113, cooked(1, 8).to_vec(), none, 0x0800),
        // What the protocol's field says is a family of netlink.
        (113, cooked(824, 6).to_vec(), sender, 0),
        (276, cooked2.to_vec(), sender, 0x86dd),
        (12, vec![], none, 0x0800),
    ];
    for (link_type, header, from, ether_type) in cases {
        let whole = [&header[..], &packet].concat();
        let expected = [&[0; 6][..], &from, &ether_type.to_be_bytes(), &packet].concat();
        for captured in 0..=whole.len() {
            let file = Ng::new(Order::Little)
                .interface(link_type, 0, &[])
                .enhanced(0, 1, whole.len() as u32 + 9, &whole[..captured])
                .bytes();
            let frame = read(&file).remove(0);
            assert_eq!(frame.original_len, 14 + 4 + 9, "{link_type}: its length on the wire");
            // Of a plain packet its first byte says what it is.
            let is_known = captured >= header.len().max(1);
            let end = if is_known { 14 + captured - header.len() } else { 0 };
            assert_eq!(frame.data, expected[..end], "{link_type}, {captured} bytes");
        }
    }
}
