//! A network namespace without a name, for a test that only wants to be alone: it lives in one thread and ends with it. `lo` is there, and down.

use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use crate::privilege::skip_unless_privileged;

/// Runs `test` in a thread with a network namespace of its own. Without the privilege for one the calling test is skipped, and says so.
///
/// # Panics
/// When the test does, and when no namespace can be had in spite of the privilege.
pub fn in_own_namespace(test: impl FnOnce() + Send) {
    // The test runner gives a test's thread the test's name.
    if skip_unless_privileged(thread::current().name().unwrap_or("a test")) {
        return;
    }
    let ran = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            // SAFETY: unshare takes no pointers; it moves only this thread, which runs nothing but the test.
            let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert!(unshared == 0, "no network namespace: {}", std::io::Error::last_os_error());
            test();
        });
        inside.join()
    });
    ran.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Like [`in_own_namespace`], with a tokio runtime of that one thread.
///
/// # Panics
/// As [`in_own_namespace`], and when no runtime can be had.
pub fn in_own_namespace_async<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    in_own_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        assert!(runtime.is_ok(), "{runtime:?}");
        if let Ok(runtime) = runtime {
            runtime.block_on(test());
        }
    });
}

/// Runs `ip` with these arguments in the calling thread's namespace; whether it did what it was asked (the kernel may lack a kind of device).
pub fn try_ip(arguments: &str) -> bool {
    let mut ip = Command::new("ip");
    ip.args(arguments.split(' '))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|ended| ended.success())
}

/// Runs `ip` with these arguments in the calling thread's namespace.
///
/// # Panics
/// When `ip` does not do what it was asked.
pub fn ip(arguments: &str) {
    let done = crate::ip::output(None, &arguments.split(' ').collect::<Vec<_>>());
    assert!(done.is_ok(), "{done:?}");
}
