//! Child processes under guard: their output is collected, waiting for it has a deadline, and they are ended and reaped on
//! drop, on a signal, and when this process dies in whatever way. Only children that it started are ever signalled.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use crate::cleanup::{self, Guard};
use crate::error::{Error, Result};

/// How long a child may take to end after SIGTERM, before SIGKILL: for those that end in order, on a machine that is busy.
const GRACE: Duration = Duration::from_secs(20);
/// How long the last lines of a child that has ended are waited for. The pipes end with it, unless a child of its own holds them.
const LAST_LINES: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Arc<Mutex<Child>>,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
    _end: Guard,
}

/// The lines of both streams, as they came.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts a command (see [`crate::NetNs::command`]) with both streams piped, no standard input and a process group of
    /// its own, so that Ctrl-C reaches it through us, in order. `name` is for messages.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        guard_command(&mut command);
        let (child, end) = cleanup::undisturbed(|| {
            let child = Arc::new(Mutex::new(spawn_for_life(command, name)?));
            let ended = Arc::clone(&child);
            Ok((child, cleanup::guard(move || drop(terminate(&ended)))))
        })?;
        let log = Arc::new(Log::default());
        let mut readers = Vec::new();
        {
            let mut child = lock(&child);
            readers.extend(child.stdout.take().map(|stream| collect(stream, &log)));
            readers.extend(child.stderr.take().map(|stream| collect(stream, &log)));
        }
        Ok(Self { name: name.to_owned(), child, log, readers, _end: end })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Waits for a line of its output that satisfies the condition, from the first line on, and returns it. It is an error
    /// when the process ends or the time is over before.
    pub fn wait_for_line(&self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.wait_for_line_from(&mut 0, timeout, wanted)
    }

    /// The same, from line number `looked_at` on, which is moved behind the line that is returned: for a process that says a lot.
    pub fn wait_for_line_from(
        &self,
        looked_at: &mut usize,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            // Asked before the lines are looked at: what it printed before its end is there, but for the pipe's last bytes.
            let ended = self.try_wait()?;
            if ended.is_some() {
                self.wait_for_readers();
            }
            let lines = self.log.lines();
            if let Some((number, line)) = lines.iter().enumerate().skip(*looked_at).find(|(_, line)| wanted(line)) {
                *looked_at = number + 1;
                return Ok(line.clone());
            }
            *looked_at = lines.len();
            if let Some(status) = ended {
                drop(lines);
                return Err(self.error(format!("ended ({status}) before it said what was waited for")));
            }
            if Instant::now() >= deadline {
                drop(lines);
                return Err(self.error(format!("did not say what was waited for within {timeout:?}")));
            }
            // Bounded, because its end wakes nobody.
            let more = self.log.grown.wait_timeout(lines, Duration::from_millis(20));
            drop(more.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// All that it has printed so far, both streams, line by line.
    pub fn output(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        lock(&self.child).try_wait().map_err(Error::io(format!("waiting for {}", self.name)))
    }

    /// Waits for its end by itself.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait()? {
                self.wait_for_readers();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.error(format!("did not end within {timeout:?}")));
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(&mut lock(&self.child), signal).map_err(Error::io(format!("signalling {}", self.name)))
    }

    /// Stops it with SIGSTOP, and returns when every thread of it stands still.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.id());
        let stands = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        let all_stand = || {
            let tasks = fs::read_dir(&tasks).map_err(Error::io(format!("looking at the threads of {}", self.name)))?;
            Ok(tasks.flatten().all(|task| stands(&task.path())))
        };
        while !all_stand()? {
            thread::yield_now();
        }
        Ok(())
    }

    /// Ends it with SIGTERM, after some seconds with SIGKILL, and returns how it ended.
    pub fn terminate(&self) -> Result<ExitStatus> {
        let status = terminate(&self.child).map_err(Error::io(format!("ending {}", self.name)))?;
        self.wait_for_readers();
        Ok(status)
    }

    /// The same with all that it started and that stayed in its process group: the programs of a shell's pipe.
    pub fn terminate_all(&self) -> Result<ExitStatus> {
        if let Some(group) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::TERM)
                .map_err(|e| Error::io(format!("ending {}", self.name))(e.into()))?;
        }
        self.terminate()
    }

    fn wait_for_readers(&self) {
        let deadline = Instant::now() + LAST_LINES;
        while Instant::now() < deadline && !self.readers.iter().all(JoinHandle::is_finished) {
            thread::sleep(POLL_EVERY);
        }
    }

    fn error(&self, what: String) -> Error {
        Error::Process { name: self.name.clone(), what, output: self.output() }
    }
}

/// A command that has run to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// Runs a command to its end, with its two streams apart. It is an error when the time is over before; the command is ended then.
pub fn run_to_end(name: &str, mut command: Command, timeout: Duration) -> Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    guard_command(&mut command);
    let (child, _end) = cleanup::undisturbed(|| {
        let child = Arc::new(Mutex::new(spawn_for_life(command, name)?));
        let ended = Arc::clone(&child);
        Ok::<_, Error>((child, cleanup::guard(move || drop(terminate(&ended)))))
    })?;
    let (stdout, stderr) = {
        let mut child = lock(&child);
        (child.stdout.take().map(read_all), child.stderr.take().map(read_all))
    };
    let deadline = Instant::now() + timeout;
    let status = loop {
        let ended = lock(&child).try_wait().map_err(Error::io(format!("waiting for {name}")))?;
        if let Some(status) = ended {
            break Some(status);
        }
        if Instant::now() >= deadline {
            break None;
        }
        thread::sleep(POLL_EVERY);
    };
    if status.is_none() {
        let _ = terminate(&child);
    }
    let text = |reader: Option<JoinHandle<String>>| reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (text(stdout), text(stderr));
    match status {
        Some(status) => Ok(Finished { status, stdout, stderr }),
        None => Err(Error::Process {
            name: name.to_owned(),
            what: format!("did not end within {timeout:?}"),
            output: stdout + &stderr,
        }),
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guard_command(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes one system call; it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(|| set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from));
    }
}

/// Starts a command from a thread that lives as long as the process. The kernel sends the death signal when the *thread*
/// that started the child ends, and a test's thread ends early.
fn spawn_for_life(command: Command, name: &str) -> Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<Option<Mutex<mpsc::Sender<Order>>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        let work = move || {
            for (mut command, answer) in incoming {
                let _ = answer.send(command.spawn());
            }
        };
        thread::Builder::new().name("starter".into()).spawn(work).ok().map(|_| Mutex::new(orders))
    });
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    let (answer, reply) = mpsc::channel();
    let ordered = starter
        .as_ref()
        .is_some_and(|starter| starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).is_ok());
    let child = if ordered { reply.recv().unwrap_or_else(|_| Err(gone())) } else { Err(gone()) };
    child.map_err(Error::io(format!("starting {name}")))
}

/// Signals a child that has not been reaped: its id can not have been given to another process.
fn send(child: &mut Child, signal: Signal) -> std::io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.map_or(Ok(()), |pid| kill_process(pid, signal).map_err(std::io::Error::from))
}

fn terminate(child: &Mutex<Child>) -> std::io::Result<ExitStatus> {
    let mut child = lock(child);
    send(&mut child, Signal::TERM)?;
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(POLL_EVERY);
    }
    child.kill()?;
    child.wait()
}

fn collect(stream: impl Read + Send + 'static, log: &Arc<Log>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(std::io::Result::ok) {
            log.lines().push(String::from_utf8_lossy(&line).into_owned());
            log.grown.notify_all();
        }
    })
}

fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
