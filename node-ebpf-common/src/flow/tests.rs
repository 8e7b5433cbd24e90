//! Who has an entry of the table, and that nobody can choose who shares a bucket.

use core::cell::Cell;

use super::*;

/// After each of a program's additions, what others add before it goes on.
struct Between<'a> {
    others: &'a [u64],
    next: Cell<usize>,
}

impl Change for &Between<'_> {
    fn is_alone(self) -> bool {
        false
    }

    fn count(self, _sums: &mut Counter, _bytes: u64) {}

    fn add(self, word: &mut u64, by: u64) {
        let others = self.others.get(self.next.get()).copied().unwrap_or_default();
        self.next.set(self.next.get() + 1);
        *word = word.wrapping_add(by).wrapping_add(others);
    }

    fn read(self, word: &u64) -> u64 {
        *word
    }

    fn publish(self, word: &mut u64, value: u64) {
        *word = value;
    }
}

const BACK: u64 = 1_u64.wrapping_neg();

/// Whether the entry was taken, and how many claims there are at the end. `before`: what others did since it was seen to be free.
fn claimed(before: u64, others: &[u64]) -> (bool, u64) {
    let (mut claims, between) = (before, Between { others, next: Cell::new(0) });
    (claim(&between, &mut claims), claims)
}

#[test]
fn an_entry_is_never_two_programs_and_no_claim_is_left_behind() {
    assert_eq!(claimed(0, &[]), (true, 1), "nobody else");
    // Who comes in between claims, sees that he is not alone, and takes it back at once.
    assert_eq!(claimed(0, &[0, 0]), (true, 1));
    // Or is held up before that: both take their claims back.
    assert_eq!(claimed(0, &[1, BACK]), (false, 0), "two at once: nobody's");
    assert_eq!(claimed(1, &[0, BACK]), (false, 0), "the other was first and is held up, too");
    assert_eq!(claimed(1, &[0, 0]), (false, 1), "it is the other's, and stays so");
    assert_eq!(claimed(1, &[1, BACK]), (false, 1), "a third comes and goes");
}

/// Who knows the code and not the multipliers: four flows that are made to share a bucket with a fifth, by every plan that comes to mind. Whatever he sends, a fifth
/// flow is hidden no more often than by chance. (When the port was mixed into the address before one multiplication, `2001:db8:ffff::<port>:9` hid it always.)
#[test]
fn no_choice_of_addresses_and_ports_hides_a_flow() {
    const DRAWS: u64 = 4_000;
    let mix = |n: u64| {
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    };
    let key = |is_v6: bool, port: u64, hi: u64, lo: u64| {
        let rest = 74 << CELL_SHIFT | (port & 0xffff) << PORT_SHIFT;
        let v4 = FlowKey { word: rest | lo & 0xffff_ffff, hi: 0, lo: 0 };
        if is_v6 { FlowKey { word: rest | 1 << V6_SHIFT, hi, lo } } else { v4 }
    };
    let mut plans: Vec<(String, bool, [FlowKey; 5])> = Vec::new();
    // The port in the address, as it was xored there.
    let old = |n: u64| key(true, 9042 + n, 0xffff_b80d_0120, (9042 + n) << 32 | 0x0900_0000_0000_0000);
    plans.push(("the port in the address".into(), true, [0, 1, 2, 3, 4].map(old)));
    for shift in 0..64 {
        // Progressions of one word, and of two that might make up for one another.
        for (what, port, hi, lo) in [
            ("lo", 0, 0, 1_u64),
            ("hi", 0, 1, 0),
            ("lo and hi", 0, 1, 1),
            ("lo against hi", 0, 1, u64::MAX),
            ("hi and three times lo", 0, 1, 3),
            ("port and lo", 1, 0, 1),
            ("port against lo", 1, 0, u64::MAX),
        ] {
            for is_v6 in [true, false] {
                let at = |n: u64| {
                    let word = |step: u64, first: u64| first.wrapping_add(step.wrapping_mul(n) << shift);
                    key(is_v6, 9042 + port * n, word(hi, 0x0120), word(lo, 0x0a00_0001))
                };
                let keys = [0, 1, 2, 3, 4].map(at);
                // Above the word's end all are one flow, which hides nobody.
                let differ = keys.iter().enumerate().all(|(n, key)| !keys[..n].contains(key));
                plans.extend(differ.then(|| (format!("{what} by 2^{shift}"), is_v6, keys)));
            }
        }
    }
    for (what, is_v6, keys) in plans {
        let hidden = (0..DRAWS).filter(|draw| {
            let multipliers = [0, 1, 2].map(|n| mix(draw * 3 + n + 1) | 1);
            let buckets = keys.map(|key| key.bucket(is_v6, &multipliers));
            buckets.iter().all(|bucket| *bucket == buckets[0])
        });
        let hidden = hidden.count() as u64;
        assert!(hidden * 50 < DRAWS, "{what}, IPv6 {is_v6}: hidden in {hidden} of {DRAWS} draws");
    }
}
