//! What processes have used, by /proc.

use std::fs;

/// The clock that Linux counts CPU time by, the same on every machine: ticks a second.
const TICKS: f64 = 100.0;

/// Seconds of CPU time, of all threads, in user and system mode.
pub fn cpu_s(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| -> u32 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before it may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u32>().unwrap()).sum()
    };
    f64::from(pids.iter().map(ticks).sum::<u32>()) / TICKS
}

/// Resident memory in KiB.
pub fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| status_kib(pid, "VmRSS:")).sum()
}

/// The most that was resident since [`forget_peak`], in KiB.
pub fn peak_kib(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| status_kib(pid, "VmHWM:")).sum()
}

pub fn forget_peak(pids: &[u32]) {
    for pid in pids {
        // proc(5): 5 sets the peak to what is resident now.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    }
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
