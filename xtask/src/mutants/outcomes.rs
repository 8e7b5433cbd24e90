//! What cargo-mutants' lists say: how many mutants ended how, and which survived. Judges nothing.

use std::fmt;

use anyhow::Result;

/// How many mutants ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// A test failed.
    pub(super) caught: usize,
    /// No test failed.
    missed: usize,
    /// A test did not end. Not counted as caught: a busy machine does that, too.
    timeouts: usize,
    /// Refused by the compiler, so there was nothing to test.
    unviable: usize,
}

impl Tally {
    /// Those that compiled.
    pub(super) fn viable(self) -> usize {
        self.caught + self.missed + self.timeouts
    }

    /// Of the viable, rounded down: 100 % means all of them. 100 when there are none.
    pub(super) fn percent(self) -> String {
        let permille = (self.caught * 1000).checked_div(self.viable()).unwrap_or(1000);
        format!("{}.{} %", permille / 10, permille % 10)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caught, missed, timeouts, unviable } = self;
        write!(out, "{caught} caught, {missed} missed, {timeouts} timeouts, {unviable} unviable: ")?;
        write!(out, "{} of the viable are caught", self.percent())
    }
}

/// A mutant that no test noticed, as cargo-mutants names it, but without the line's number, so that the name outlives changes around it:
/// file, what was changed, and in which function.
pub(super) type Survivor = String;

pub(super) struct Outcomes {
    pub(super) total: Tally,
    pub(super) survivors: Vec<Survivor>,
}

impl Outcomes {
    /// Reads the lists; `list` gives the text of the one with this name.
    pub(super) fn read(list: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let survivors: Vec<Survivor> = list("missed.txt")?.lines().map(survivor).collect();
        let count = |name: &str| -> Result<usize> { Ok(list(name)?.lines().count()) };
        let total = Tally {
            caught: count("caught.txt")?,
            missed: survivors.len(),
            timeouts: count("timeout.txt")?,
            unviable: count("unviable.txt")?,
        };
        Ok(Self { total, survivors })
    }
}

/// The name in a line such as `CRATE/src/FILE:LINE:COLUMN: WHAT in FUNCTION`.
fn survivor(line: &str) -> Survivor {
    let (file, change) = line.split_once(':').unwrap_or((line, ""));
    let file = file.split_once("/src/").map_or(file, |(_, below)| below);
    let change = change.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
    format!("{file}: {}", change.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_and_survivors_are_named_without_their_place() {
        let read = Outcomes::read(|name| {
            let list = match name {
                "missed.txt" => {
                    "crate/src/a/b.rs:2:7: replace | with ^ in Bits::pack\ncrate/src/c.rs:20:17: delete -\n"
                }
                "caught.txt" => "crate/src/c.rs:1:1: x\n",
                _ => "",
            };
            Ok(list.to_owned())
        })
        .unwrap();
        assert_eq!(read.survivors, ["a/b.rs: replace | with ^ in Bits::pack", "c.rs: delete -"]);
        assert_eq!(
            read.total.to_string(),
            "1 caught, 2 missed, 0 timeouts, 0 unviable: 33.3 % of the viable are caught"
        );
    }

    #[test]
    fn almost_all_is_not_100_percent() {
        let tally = Tally { caught: 9_999, missed: 1, ..Tally::default() };
        assert!(tally.to_string().contains(" 99.9 %"), "{tally}");
    }
}
