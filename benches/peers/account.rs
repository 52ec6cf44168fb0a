//! What a process and all it started cost, from the kernel's own accounts.

use std::fs;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// On-CPU time up to a moment.
pub(crate) struct Reading {
    cpu: Duration,
    at: Instant,
}

/// What one load cost.
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    /// CPU seconds per second of the load: how near its cores the server was.
    pub(crate) busy: f64,
}

impl Reading {
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        let mut cpu = Duration::ZERO;
        each(process, &mut |process| {
            cpu += on_cpu(process)?;
            Ok(())
        })?;
        Ok(Self { cpu, at: Instant::now() })
    }

    pub(crate) fn since(&self, before: &Self) -> Spent {
        let cpu = self.cpu.saturating_sub(before.cpu);
        Spent { cpu, busy: cpu.div_duration_f64(self.at.duration_since(before.at)) }
    }
}

impl Spent {
    /// CPU microseconds of each of so many.
    pub(crate) fn micros(&self, each: u32) -> f64 {
        self.cpu.div_duration_f64(Duration::from_micros(1)) / f64::from(each.max(1))
    }
}

/// Memory of the process and its children, as the kernel counts it resident.
pub(crate) fn resident_kib(process: u32) -> Result<f64, Failure> {
    let mut total = 0.0;
    each(process, &mut |process| {
        let status = fs::read_to_string(format!("/proc/{process}/status"));
        let status = status.map_err(Failure::io("read a process's memory"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        total += kib.unwrap_or(0.0);
        Ok(())
    })?;
    Ok(total)
}

fn each(process: u32, visit: &mut dyn FnMut(u32) -> Result<(), Failure>) -> Result<(), Failure> {
    visit(process)?;
    for thread in threads(process)?.flatten() {
        // Children belong to the thread that started them.
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|it| it.parse().ok()) {
            each(child, visit)?;
        }
    }
    Ok(())
}

/// Every thread of the process. The nanoseconds of `schedstat` are exact where the ticks of `stat`
/// are hundredths of a second.
fn on_cpu(process: u32) -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    for thread in threads(process)?.flatten() {
        // A thread that has just ended has no accounts left; a request path ends none.
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = schedstat.split_whitespace().next().and_then(|it| it.parse().ok());
        total += Duration::from_nanos(nanos.unwrap_or(0));
    }
    Ok(total)
}

fn threads(process: u32) -> Result<fs::ReadDir, Failure> {
    fs::read_dir(format!("/proc/{process}/task")).map_err(Failure::io("read a process's accounts"))
}
