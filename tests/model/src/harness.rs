//! Rounds of generated frames on all processors, until there are enough or two implementations disagree. Owns the environment variables, progress and
//! the report; must not know the rules.
//!
//! A round is [`ROUND_FRAMES`] frames under one policy, and follows from its number alone: round n of a run with seed s is the only round of a run with
//! seed s + n and that many frames. So a disagreement after hours is seen again in a second.

use std::{
    cell::RefCell,
    env,
    io::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    compare::{Kernel, ask},
    grammar::{Frames, seeded},
    policies::{self, COUNT, Case},
    tally::Tally,
};
use nodewall_text::hex;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// Frames of a round.
pub const ROUND_FRAMES: u64 = 5_000;
const DEFAULT_FRAMES: u64 = 100_000;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// `NODEWALL_SEED`; else the time.
    pub seed: u64,
    /// `NODEWALL_FRAMES`; rounded up to whole rounds.
    pub frames: u64,
    /// `NODEWALL_MINUTES`: ends earlier, then.
    pub at_most: Option<Duration>,
    /// `NODEWALL_PROGRESS=1`: a line every two seconds.
    pub progress: bool,
}

impl Plan {
    /// What the environment says.
    ///
    /// # Panics
    /// When a variable is no number: running with another seed than was meant would mislead.
    pub fn from_env() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is not a whole number")))
        };
        let now_ns = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self {
            // Short enough to be typed.
            seed: number("NODEWALL_SEED").unwrap_or(now_ns % 1_000_000_000),
            frames: number("NODEWALL_FRAMES").unwrap_or(DEFAULT_FRAMES),
            at_most: number("NODEWALL_MINUTES").map(|minutes| Duration::from_secs(minutes * 60)),
            progress: env::var_os("NODEWALL_PROGRESS").is_some_and(|value| value == "1"),
        }
    }
}

/// What the workers share.
struct Shared {
    plan: Plan,
    with_kernel: bool,
    started: Instant,
    rounds: AtomicU64,
    done: AtomicU64,
    tally: Mutex<Tally>,
    failure: Mutex<Option<String>>,
}

impl Shared {
    /// The next round's number, unless the run is over.
    fn next_round(&self) -> Option<u64> {
        let late = self.plan.at_most.is_some_and(|limit| self.started.elapsed() >= limit);
        if late || locked(&self.failure).is_some() {
            return None;
        }
        let round = self.rounds.fetch_add(1, Ordering::Relaxed);
        (round * ROUND_FRAMES < self.plan.frames).then_some(round)
    }

    fn line(&self) -> String {
        let (done, passed) = (self.done.load(Ordering::Relaxed), self.started.elapsed());
        let per_s = done as f64 / passed.as_secs_f64().max(0.001);
        let found = usize::from(locked(&self.failure).is_some());
        format!(
            "{done} of {} frames in {:.1} s, {per_s:.0} frames/s, {found} disagreements, {}, seed {}",
            self.plan.frames,
            passed.as_secs_f64(),
            if self.with_kernel { "model = host = kernel" } else { "model = host" },
            self.plan.seed
        )
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the plan. `Err` is the report of the first disagreement, minimised.
pub fn run(plan: Plan, with_kernel: bool) -> Result<Tally, String> {
    let shared = Shared {
        plan,
        with_kernel,
        started: Instant::now(),
        rounds: AtomicU64::new(0),
        done: AtomicU64::new(0),
        tally: Mutex::default(),
        failure: Mutex::default(),
    };
    let cases = policies::all();
    let workers =
        thread::available_parallelism().map_or(1, usize::from).min(plan.frames.div_ceil(ROUND_FRAMES) as usize);
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(|| worker(&shared, &cases))).collect();
        let mut said = Instant::now();
        while plan.progress && running.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                say(&shared.line());
            }
        }
    });
    say(&shared.line());
    match locked(&shared.failure).take() {
        Some(report) => Err(report),
        None => Ok(locked(&shared.tally).clone()),
    }
}

/// Past the test runner, which shows a passing test's output to nobody: the seed must be seen.
#[expect(clippy::disallowed_methods, reason = "a macro would write to the runner")]
fn say(line: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(std::io::stderr(), "property: {line}");
}

fn worker(shared: &Shared, cases: &[Case]) {
    let mut kernel = None;
    while let Some(round) = shared.next_round() {
        let seed = shared.plan.seed.wrapping_add(round);
        let policy = (seed % COUNT as u64) as usize;
        let case = &cases[policy];
        if shared.with_kernel {
            kernel.get_or_insert_with(|| Kernel::new(&case.compiled.image)).swap(&case.compiled.image);
        }
        let (tally, outcome) = one_round(seed, policy, case, kernel.as_mut());
        locked(&shared.tally).join(&tally);
        let before = shared.done.fetch_add(tally.frames, Ordering::Relaxed);
        if let Err(report) = outcome {
            let frames = before + tally.frames;
            let mut failure = locked(&shared.failure);
            failure.get_or_insert(format!("disagreement after {frames} frames, {report}"));
        }
    }
}

/// Frames until the round is over or somebody disagrees; in that case counts stop there and the report has the minimised frame.
fn one_round(seed: u64, policy: usize, case: &Case, kernel: Option<&mut Kernel>) -> (Tally, Result<(), String>) {
    let config = Config {
        cases: ROUND_FRAMES as u32,
        failure_persistence: None,
        max_shrink_iters: 1_000_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, seeded(seed));
    let state = RefCell::new((Tally::default(), kernel, false));
    let outcome = runner.run(&Frames { about: case }, |generated| {
        let (tally, kernel, shrinking) = &mut *state.borrow_mut();
        let answers = ask(&generated.frame, case, kernel.as_deref_mut());
        if !*shrinking {
            tally.add(policy, &generated, &answers.model, kernel.is_some());
        }
        if answers.agree() {
            return Ok(());
        }
        *shrinking = true;
        Err(TestCaseError::fail(answers.table()))
    });
    let (tally, _, _) = state.into_inner();
    let report = outcome.map_err(|error| match error {
        TestError::Fail(table, least) => format!(
            "policy {}, minimised to {} bytes:\n  {}\n{table}again: NODEWALL_SEED={seed} NODEWALL_FRAMES={ROUND_FRAMES} \
             cargo test --test kernel property::\nkeep the frame as a case in tests/cases",
            case.name,
            least.frame.len(),
            hex(&least.frame),
            table = table.message(),
        ),
        TestError::Abort(why) => format!("policy {}, given up: {why}", case.name),
    });
    (tally, report)
}
