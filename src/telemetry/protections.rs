//! Which protections of the process stand.

use prometheus::{IntGaugeVec, Registry};

use super::Metrics;
use super::cells::label_values;
use super::metrics::gauges;

label_values! {
    /// What a process that was taken over could not do.
    pub enum Protection {
        /// Leave our memory in a core dump.
        CoreDumps => "core_dumps_off",
        /// Write outside its own folders.
        Landlock => "landlock",
        /// Have our memory written to swap.
        MemoryLock => "memory_locked",
        /// Gain rights by starting a program.
        NoNewPrivileges => "no_new_privs",
        /// Make system calls that no server needs.
        Seccomp => "seccomp",
        /// Be root.
        Unprivileged => "unprivileged",
    }
}

pub(super) struct ProtectionFamilies {
    stands: IntGaugeVec,
}

impl Metrics {
    /// Whether a protection stands.
    pub fn protection(&self, protection: Protection, stands: bool) {
        let series = self.protections.stands.with_label_values(&[protection.as_str()]);
        series.set(i64::from(stands));
    }
}

impl ProtectionFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let help = "1 where a protection of the process stands.";
        Self { stands: gauges(registry, "tillgate_protection", help, &["protection"]) }
    }
}
