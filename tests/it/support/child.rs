//! Processes of servers beside Chatferry: signals, and whether they stand still.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::PATIENCE;

/// Sends a process a signal by its name, as `TERM`. It may have gone.
pub fn signal(process: u32, name: &str) {
    let mut kill = Command::new("kill");
    let _ = kill
        .args([format!("-{name}"), process.to_string()])
        .status();
}

/// Ends a process with a signal.
pub fn end(mut child: Child, name: &str) {
    signal(child.id(), name);
    let _ = child.wait();
}

/// Stops a process where it stands. Returns when none of its threads runs any more: what is asked
/// from then on is not heard.
pub fn freeze(process: u32) {
    signal(process, "STOP");
    let deadline = Instant::now() + PATIENCE;
    while !is_stopped(process) {
        assert!(Instant::now() < deadline, "{process} does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns whether every thread is in the state `T`, which stands behind the name in parentheses,
/// or gone.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_none_or(|(_, rest)| rest.starts_with(" T"))
    })
}
