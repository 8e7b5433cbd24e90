//! Test support: runs a closure in a network namespace of its own. The namespace lives in one thread and ends with it,
//! so the machine's own namespace is never touched.

use std::process::Command;

/// Runs `test` in a thread with a network namespace of its own. Without the privilege for one the test is skipped with
/// a message, or fails where `NODEWALL_REQUIRE_ROOT=1`.
pub(super) fn in_own_namespace(test: impl FnOnce() + Send + 'static) {
    let ran = std::thread::spawn(move || {
        // SAFETY: unshare takes no pointers; it moves only this thread, which runs nothing but the test.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        test();
        Ok(())
    });
    match ran.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => cannot(&format!("a network namespace of its own: {error}")),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Says that a test is skipped for want of `what`; fails where `NODEWALL_REQUIRE_ROOT=1`.
pub(super) fn cannot(what: &str) {
    assert!(
        std::env::var_os("NODEWALL_REQUIRE_ROOT").is_none_or(|value| value != "1"),
        "NODEWALL_REQUIRE_ROOT=1, but this test could not get {what}"
    );
    eprintln!("skipped: this test could not get {what}");
}

/// Like [`in_own_namespace`], with a tokio runtime of that one thread.
pub(super) fn in_own_namespace_async<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    in_own_namespace(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
}

/// Runs `ip` with these arguments; whether it did what it was asked (the kernel may lack a kind of device).
pub(super) fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().expect("ip from iproute2").status.success()
}

/// Runs `ip` with these arguments, which must work.
pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip from iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
