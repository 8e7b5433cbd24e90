//! What the writer of pcapng makes, read again.

use super::*;

#[test]
fn what_is_written_is_read_again() {
    let mut ng = PcapNgWriter::new(Vec::new(), &SectionInfo::default()).unwrap();
    let numbers = ["eth0", "eth1", "eth0"].map(|name| ng.interface(name).unwrap());
    assert_eq!(numbers, [0, 1, 0]);
    for (n, length) in (0_u32..70).enumerate() {
        let data = vec![n as u8; length as usize];
        let frame = NgFrame {
            interface: length % 2,
            timestamp_ns: u64::MAX - u64::from(length),
            original_len: 1500,
            data: &data,
            verdict: Some(XdpVerdict::Drop),
            lost_before: u64::from(length),
            packet_id: Some(7),
            comment: "x",
        };
        ng.frame(&frame).unwrap();
    }
    ng.statistics(1, &NgStatistics::default(), "").unwrap();
    let file = ng.finish().unwrap();
    let frames: Vec<_> = Frames::from_reader(file.as_slice()).unwrap().map(Result::unwrap).collect();
    assert_eq!(frames.len(), 70);
    for (frame, length) in frames.iter().zip(0_u32..) {
        assert_eq!((frame.data.len(), frame.interface), (length as usize, length % 2));
        assert_eq!((frame.timestamp_ns, frame.original_len), (u64::MAX - u64::from(length), 1500));
    }
}

#[test]
fn what_the_format_can_not_hold_is_refused_or_cut() {
    let info = SectionInfo { comments: vec!["ä".repeat(70_000)], ..SectionInfo::default() };
    let mut ng = PcapNgWriter::new(Vec::new(), &info).unwrap();
    let long = vec![0; MAX_FRAME_BYTES as usize + 1];
    let frame = |interface, data| NgFrame {
        interface,
        timestamp_ns: 0,
        original_len: 0,
        data,
        verdict: None,
        lost_before: 0,
        packet_id: None,
        comment: "",
    };
    assert!(ng.frame(&frame(0, &[])).is_err(), "no such interface");
    ng.interface("eth0").unwrap();
    assert!(ng.frame(&frame(0, &long)).is_err());
    ng.frame(&frame(0, &[1])).unwrap();
    let file = ng.finish().unwrap();
    assert_eq!(Frames::from_reader(file.as_slice()).unwrap().map(Result::unwrap).count(), 1);
}

#[test]
fn a_screen_can_not_be_made_to_obey() {
    let info = SectionInfo { comments: vec!["a\u{1b}[2Jb\0\n\u{202e}ä".to_owned()], ..SectionInfo::default() };
    let file = PcapNgWriter::new(Vec::new(), &info).unwrap().finish().unwrap();
    let shown = "a\\u{1b}[2Jb\\0\\n\\u{202e}ä".as_bytes();
    assert!(file.windows(shown.len()).any(|window| window == shown), "{file:02x?}");
}
