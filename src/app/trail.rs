//! The audit log of operators' commands: apart from the one that a running instance holds, so that a
//! record is on the disk before what it tells of is done, whoever else runs.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::parts;
use crate::config::Startup;
use crate::keys::SecretKey;
use crate::telemetry::audit::{AuditError, AuditKey};
use crate::telemetry::{Audit, AuditEvent, Metrics};
use crate::vault::Keeper;

/// How long a record waits for another command's, which holds the log for a moment only.
const WAIT: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where the records of the commands go.
pub(super) struct Trail {
    path: PathBuf,
    key: SecretKey,
}

impl Trail {
    pub(super) fn of(startup: &Startup, keeper: &Keeper) -> Self {
        Self { path: parts::commands_audit_path(startup), key: keeper.audit_key() }
    }

    /// Returns when the record is on the disk.
    pub(super) fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        let end = Instant::now() + WAIT;
        loop {
            let key = AuditKey::of_commands(self.key.expose());
            match write(&self.path, key, event.clone()) {
                Err(AuditError::InUse { .. }) if Instant::now() < end => thread::sleep(LOOK_EVERY),
                done => return done,
            }
        }
    }
}

/// The log is never held for longer than one record.
fn write(path: &Path, key: AuditKey, event: AuditEvent) -> Result<(), AuditError> {
    let dropped = Metrics::new().lines_dropped("audit");
    let audit = Audit::open(path, key, dropped, SystemTime::now())?;
    // A thread of its own, because the caller's may be within a runtime and may not wait here.
    let failed = |source| AuditError::Open { path: path.to_owned(), source };
    let write = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        runtime.block_on(audit.record_durable(SystemTime::now(), event))
    };
    let thread = thread::scope(|scope| scope.spawn(write).join());
    thread.unwrap_or(Err(AuditError::NotWritten))
}
