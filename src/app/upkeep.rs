//! Operators' commands on the vault, beside running instances or without any.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{AppError, confine, parts};
use crate::config::Startup;
use crate::keys::IfMissing;
use crate::telemetry::audit::{self, AuditError, AuditFault, AuditKey, Verified};
use crate::telemetry::{Audit, AuditEvent, Metrics};
use crate::vault::{Keeper, KeyListener, MasterStep, RotateProgress, Rotated};

/// Which key is to be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotateRequest {
    /// The one that seals the rows.
    DataKey {
        /// At most so many rows per second.
        rate: Option<NonZeroU32>,
    },
    /// The one that wraps the others.
    MasterKey,
}

/// What was replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyRotated {
    /// The sealing key.
    Data(Rotated),
    /// The master key.
    Master,
}

/// What has just been done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotateNews {
    /// Rows were sealed anew.
    Rows(RotateProgress),
    /// A step towards the new master key was made.
    Step(MasterStep),
}

/// A log whose chain was walked.
#[derive(Debug)]
pub struct CheckedLog {
    /// Which.
    pub path: PathBuf,
    /// What was found.
    pub found: Result<Verified, AuditFault>,
}

/// Replaces a key of the vault.
///
/// # Errors
/// When it cannot be finished; the same call goes on with it.
pub fn rotate_keys(
    startup: &Startup,
    request: RotateRequest,
    tell: &mut dyn FnMut(RotateNews),
) -> Result<KeyRotated, AppError> {
    confine::act_for_owner(startup)?;
    parts::harden();
    parts::make_data_dir(&startup.data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AppError::System)?;
    // A new key may be made only where an old one is named that it replaces.
    let replacing = startup.vault.previous_master_key.is_some();
    let missing = match request {
        RotateRequest::MasterKey if replacing => IfMissing::Create,
        RotateRequest::MasterKey | RotateRequest::DataKey { .. } => IfMissing::Refuse,
    };
    runtime.block_on(async {
        let mut keeper = parts::keeper(startup, missing).await?;
        let failed = Arc::new(Mutex::new(None));
        keeper.listen_to_keys(auditor(startup, &keeper, Arc::clone(&failed)));
        let rotated = match request {
            RotateRequest::DataKey { rate } => {
                let done = keeper.rotate(rate, &mut |rows| tell(RotateNews::Rows(rows))).await?;
                KeyRotated::Data(done)
            }
            RotateRequest::MasterKey => {
                keeper.rotate_master(&mut |step| tell(RotateNews::Step(step))).await?;
                KeyRotated::Master
            }
        };
        match failed.lock().take() {
            Some(error) => Err(AppError::Audit(error)),
            None => Ok(rotated),
        }
    })
}

/// Walks the chains of the audit log and, if there are any, of the commands' records.
///
/// # Errors
/// When the key that the chains are made with cannot be read.
pub fn verify_audit(startup: &Startup) -> Result<Vec<CheckedLog>, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AppError::System)?;
    let keeper = runtime.block_on(parts::keeper(startup, IfMissing::Refuse))?;
    let key = keeper.audit_key();
    let walk = |path: PathBuf, key: AuditKey| {
        let found = audit::verify(&path, &key);
        CheckedLog { path, found }
    };
    let mut walked = vec![walk(parts::audit_path(startup), AuditKey::new(key.expose()))];
    let commands = parts::commands_audit_path(startup);
    if audit::begun(&commands) {
        walked.push(walk(commands, AuditKey::of_commands(key.expose())));
    }
    Ok(walked)
}

/// Writes key events to the audit log. Where a running instance has it, that one sees the same
/// events in the store and writes them; the log is never held for longer than one record, so that
/// an instance can start meanwhile.
fn auditor(
    startup: &Startup,
    keeper: &Keeper,
    failed: Arc<Mutex<Option<AuditError>>>,
) -> KeyListener {
    let (path, key) = (parts::audit_path(startup), keeper.audit_key());
    Box::new(move |event| {
        match record(&path, AuditKey::new(key.expose()), parts::key_record(event)) {
            Ok(()) | Err(AuditError::InUse { .. }) => {}
            Err(error) => *failed.lock() = Some(error),
        }
    })
}

/// Opens a log for one record, and returns when it is on the disk.
pub(super) fn record(path: &Path, key: AuditKey, event: AuditEvent) -> Result<(), AuditError> {
    let dropped = Metrics::new().lines_dropped("audit");
    let audit = Audit::open(path, key, dropped, SystemTime::now())?;
    // A thread of its own, because the caller's is within a runtime and may not wait here.
    let failed = |source| AuditError::Open { path: path.to_owned(), source };
    let write = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        runtime.block_on(audit.record_durable(SystemTime::now(), event))
    };
    let thread = std::thread::scope(|scope| scope.spawn(write).join());
    thread.unwrap_or(Err(AuditError::NotWritten))
}
