//! Numbers as the results tell them.

use std::time::Duration;

/// The value that so many in a hundred do not exceed.
pub(crate) fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

/// Milliseconds with one digit behind the point.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Packets per second, in thousands where there are many.
pub(crate) fn kpps(rate_pps: f64) -> String {
    if rate_pps < 10_000.0 { format!("{rate_pps:.0} pps") } else { format!("{:.0} kpps", rate_pps / 1e3) }
}

/// A number with its thousands apart: 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (!head.is_empty()).then(|| head.to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[test]
fn numbers_are_told_as_people_read_them() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
    assert_eq!(percentile(&hundred, 99), Duration::from_millis(99));
    assert_eq!(percentile(&[], 99), Duration::ZERO);
}
