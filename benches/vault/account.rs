//! What this process costs, from the scheduler's own accounts.

use std::time::Duration;
use std::{fs, io};

/// On-CPU time of all threads up to now: exact where the ticks of `stat` are hundredths of a second.
pub(crate) fn cpu() -> io::Result<Duration> {
    let mut total = 0;
    for thread in fs::read_dir("/proc/self/task")?.flatten() {
        let account = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = account.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok());
        total += nanos.unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// Memory in use.
pub(crate) fn resident_kib() -> io::Result<u64> {
    told("/proc/self/status", "VmRSS:")
}

/// Bytes that had to come from the disk up to now, because the system did not have them in memory.
pub(crate) fn from_disk() -> io::Result<u64> {
    told("/proc/self/io", "read_bytes:")
}

fn told(file: &str, name: &str) -> io::Result<u64> {
    let account = fs::read_to_string(file)?;
    let line = account.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    Ok(line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0))
}
