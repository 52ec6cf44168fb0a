//! What a process and all it started cost, from the scheduler's own accounts.

use std::fs;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// On-CPU time up to a moment.
pub(crate) struct Reading {
    cpu: Duration,
    at: Instant,
}

/// What one load cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) per_request: Duration,
    /// CPU seconds per second of the load: how near its one core the server was.
    pub(crate) utilisation: f64,
}

impl Reading {
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        Ok(Self { cpu: tree(process)?, at: Instant::now() })
    }

    pub(crate) fn since(&self, before: &Self, requests: u32) -> Cost {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let utilisation = cpu.div_duration_f64(self.at.duration_since(before.at));
        Cost { per_request: cpu / requests.max(1), utilisation }
    }
}

/// Every thread of the process and of its children. The nanoseconds of `schedstat` are exact where
/// the ticks of `stat` are hundredths of a second.
fn tree(process: u32) -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.map_err(Failure::io("read a process's accounts"))?.flatten() {
        // A thread that has just ended has no accounts left; a request path ends none.
        let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let on_cpu = read("schedstat").split_whitespace().next().and_then(|it| it.parse().ok());
        total += Duration::from_nanos(on_cpu.unwrap_or(0));
        for child in read("children").split_whitespace().filter_map(|it| it.parse().ok()) {
            total += tree(child)?;
        }
    }
    Ok(total)
}
