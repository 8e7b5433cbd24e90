//! `cargo xtask soak`: what `cargo xtask test` does for seconds, for a long time and optimised. Without `--delivery` the table of cases in every shape that the
//! program can have (the suite takes a few of them), then the property test (tests/kernel/property.rs); with it the delivery oracle (tests/delivery). The tests own
//! frames, comparison, progress and report; this file only says how long.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};

use crate::cmd::Cmd;
use crate::{setup, workspace};

const TEST: &str = "property::model_host_and_kernel_agree";
/// Mutated frames of one seed: the oracle tells no more apart at once.
const DELIVERED_AT_ONCE: u64 = 40_000;
/// Most hosts'. The suite takes 3000, so the two complement each other; jumbo frames are in both.
const MTU: &str = "1500";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ask what reaches a socket instead: hostile frames, natively, generically and at tc, at MTU 1500 and 9000
    #[arg(long)]
    delivery: bool,

    /// How many frames: a number, or one with k, M or G behind it [default: 100M, with --delivery 1M for each way to filter]
    #[arg(long, value_parser = frames)]
    frames: Option<u64>,

    /// Where to begin: the same seed gives the same frames [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,

    /// Stop after so many minutes, however many frames were done
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: Option<u64>,
}

/// Ends with an error at the first disagreement, which the test has minimised and printed by then.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    if args.delivery {
        return delivery(args);
    }
    if !workspace::is_root() {
        if env::var_os("NODEWALL_REQUIRE_ROOT").is_some_and(|value| value == "1") {
            bail!("not root, so the kernel program can not be asked; run as root, or unset NODEWALL_REQUIRE_ROOT");
        }
        eprintln!("note: not root, so the kernel program is not asked; only model and host are compared");
    }
    test("kernel").arg("cases::").env("NODEWALL_EVERY_SHAPE", "1").run()?;
    let mut command = test("kernel")
        .args(["--exact", TEST, "--nocapture"])
        .env("NODEWALL_FRAMES", args.frames.unwrap_or(100_000_000).to_string())
        .env("NODEWALL_PROGRESS", "1");
    if let Some(seed) = args.seed {
        command = command.env("NODEWALL_SEED", seed.to_string());
    }
    if let Some(minutes) = args.minutes {
        command = command.env("NODEWALL_MINUTES", minutes.to_string());
    }
    command.advice("a disagreement stands above with its frame: keep it as a case in tests/cases, then fix the side that is wrong").run()
}

/// One seed after the other, until each way to filter had so many frames.
fn delivery(args: &Args) -> Result<()> {
    if !workspace::is_root() {
        bail!("sockets, namespaces and the kernel program need root");
    }
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let first = args.seed.unwrap_or_else(by_clock);
    let (frames, began) = (args.frames.unwrap_or(1_000_000), Instant::now());
    let mut sent = 0;
    for seed in first.. {
        let at_once = DELIVERED_AT_ONCE.min(frames - sent);
        test("delivery")
            .arg("--nocapture")
            .env("NODEWALL_REQUIRE_ROOT", "1")
            .env("NODEWALL_SEED", seed.to_string())
            .env("NODEWALL_FRAMES", at_once.to_string())
            .env("NODEWALL_MTU", MTU)
            .advice("what reached a closed port, or was lost at an open one, stands above with its frames: keep it as a shape in tests/delivery, then mend the filter")
            .run()?;
        sent += at_once;
        println!(
            "delivery: {sent} of {frames} mutated frames in each phase, seeds {first} to {seed}, {} s",
            began.elapsed().as_secs()
        );
        let is_late = args.minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(minutes * 60));
        if sent == frames || is_late {
            break;
        }
    }
    Ok(())
}

fn test(name: &str) -> Cmd {
    Cmd::cargo("test").args(["--release", "--package", "nodewall", "--test", name, "--"])
}

/// `5000`, `100k`, `100M`, `2G`.
fn frames(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1_000),
        Some((at, 'm' | 'M')) => (text.get(..at), 1_000_000),
        Some((at, 'g' | 'G')) => (text.get(..at), 1_000_000_000),
        _ => (Some(text), 1_u64),
    };
    digits
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit))
        .filter(|frames| *frames > 0)
        .ok_or_else(|| "expected a number of frames such as 5000, 100k or 100M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_frames_have_units() {
        for (text, number) in
            [("1", 1), ("5000", 5_000), ("100k", 100_000), ("100M", 100_000_000), ("2G", 2_000_000_000)]
        {
            assert_eq!(frames(text), Ok(number), "{text}");
        }
        for text in ["", "k", "0", "0k", "-1", "+1", "1.5M", "1kk", "1 M", "99999999999999999999", "99999999999999999G"]
        {
            assert!(frames(text).is_err(), "{text}");
        }
    }
}
