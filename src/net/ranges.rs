//! Sets of ports as sorted inclusive ranges, and how they are written (`7000-7001,7199`).

/// Inclusive at both ends.
pub(super) type PortRange = (u16, u16);

/// Sorted, without overlaps, adjacent ranges joined. A range with its ends swapped is taken as meant.
pub(super) fn normalise(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
    sorted.sort_unstable();
    let mut joined: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match joined.last_mut() {
            Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// The ports in both. Takes and returns normal forms.
pub(super) fn intersect(left: &[PortRange], right: &[PortRange]) -> Vec<PortRange> {
    let mut both = Vec::new();
    for &(a, b) in left {
        for &(c, d) in right {
            let (first, last) = (a.max(c), b.min(d));
            if first <= last {
                both.push((first, last));
            }
        }
    }
    normalise(both)
}

/// The ports of `left` that are not in `right`. Takes and returns normal forms.
pub(super) fn subtract(left: &[PortRange], right: &[PortRange]) -> Vec<PortRange> {
    let mut kept = Vec::new();
    for &(first, last) in left {
        // u32, because the port after 65535 must have a number.
        let mut next = u32::from(first);
        for &(c, d) in right {
            if d < first || c > last {
                continue;
            }
            if u32::from(c) > next {
                kept.push((next as u16, c - 1));
            }
            next = next.max(u32::from(d) + 1);
        }
        if next <= u32::from(last) {
            kept.push((next as u16, last));
        }
    }
    kept
}

/// `7000-7001,7199`: the form of `ip_local_reserved_ports`.
pub(super) fn render(ranges: &[PortRange]) -> String {
    let one = |&(first, last): &PortRange| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

/// `7000`, `7000-7001` or `7000:7001`.
pub(super) fn parse_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_sorts_and_joins() {
        assert_eq!(normalise([(7199, 7199), (7001, 7001), (7000, 7000), (9, 5)]), [(5, 9), (7000, 7001), (7199, 7199)]);
        assert_eq!(normalise([(1, 10), (3, 4), (11, 11), (13, 13)]), [(1, 11), (13, 13)]);
        assert_eq!(normalise([(65535, 65535), (65534, 65535), (0, 0)]), [(0, 0), (65534, 65535)]);
    }

    #[test]
    fn set_operations_agree_with_a_bitmap() {
        let left = normalise([(0, 3), (10, 20), (30, 30), (65530, 65535)]);
        let right = normalise([(2, 11), (15, 15), (19, 40), (65535, 65535)]);
        let member = |set: &[PortRange], port: u16| set.iter().any(|&(a, b)| a <= port && port <= b);
        let (both, only) = (intersect(&left, &right), subtract(&left, &right));
        for port in 0..=u16::MAX {
            let (l, r) = (member(&left, port), member(&right, port));
            assert_eq!(member(&both, port), l && r, "intersection at {port}");
            assert_eq!(member(&only, port), l && !r, "difference at {port}");
        }
    }

    #[test]
    fn written_and_read() {
        assert_eq!(render(&[(7000, 7001), (7199, 7199)]), "7000-7001,7199");
        assert_eq!(parse_range("5000-5800").unwrap(), (5000, 5800));
        assert_eq!(parse_range("9042").unwrap(), (9042, 9042));
        assert_eq!(parse_range("70000"), None);
        assert_eq!(parse_range("a-b"), None);
    }
}
