//! The system's figures of this process, read when the metrics are scraped. Where there is no
//! `/proc` nothing is known, and the numbers stay 0.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::files;

/// Clock ticks in a second of `/proc`: Linux shows user space this many on every machine.
const TICKS: u64 = 100;

/// A look at the process.
#[derive(Debug, Default)]
pub struct Process {
    pub resident_bytes: u64,
    /// Of all threads, in user and system mode.
    pub cpu: Duration,
    pub open_fds: u64,
    /// The soft limit.
    pub max_fds: u64,
}

impl Process {
    pub fn look() -> Self {
        let text =
            |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        Process {
            resident_bytes: kib(&text("status"), "VmRSS:") * 1024,
            cpu: cpu(&text("stat")),
            open_fds: open_fds(),
            max_fds: files::limit(Path::new("/")).unwrap_or_default(),
        }
    }
}

/// Returns the number behind `name` in `/proc/self/status`.
fn kib(status: &str, name: &str) -> u64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

/// `utime` and `stime` of `/proc/self/stat`. The name of the program comes before, in parentheses,
/// and may hold anything.
fn cpu(stat: &str) -> Duration {
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return Duration::ZERO;
    };
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Newer kernels (6.2) tell the number as the directory's size; else they are counted.
fn open_fds() -> u64 {
    let directory = "/proc/self/fd";
    match fs::metadata(directory) {
        Ok(about) if about.len() > 0 => about.len(),
        _ => fs::read_dir(directory).map_or(0, |files| files.count() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_move_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 9 9 20 0 3 0 100 1 1";
        assert_eq!(cpu(stat), Duration::from_secs(3));
        assert_eq!(cpu(""), Duration::ZERO);
    }

    #[test]
    fn numbers_are_found_by_their_names() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t   1234 kB\n", "VmRSS:"), 1234);
        assert_eq!(kib("", "VmRSS:"), 0);
    }

    #[test]
    fn a_process_on_linux_has_memory_and_files() {
        let process = Process::look();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.open_fds >= 3 && process.open_fds <= process.max_fds);
    }
}
