//! Operators' commands on the vault, beside running instances or without any.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::{AppError, parts};
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

/// Replaces a key of the vault.
///
/// # Errors
/// When it cannot be finished; the same call goes on with it.
pub fn rotate_keys(
    startup: &Startup,
    request: RotateRequest,
    tell: &mut dyn FnMut(RotateNews),
) -> Result<KeyRotated, AppError> {
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

/// Walks the audit log's chain.
///
/// # Errors
/// When the key that the chain is made with cannot be read.
pub fn verify_audit(startup: &Startup) -> Result<Result<Verified, AuditFault>, AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AppError::System)?;
    let keeper = runtime.block_on(parts::keeper(startup, IfMissing::Refuse))?;
    let key = AuditKey::new(keeper.audit_key().expose());
    Ok(audit::verify(&parts::audit_path(startup), &key))
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
        if let Err(error) = record(&path, AuditKey::new(key.expose()), parts::key_record(event)) {
            *failed.lock() = Some(error);
        }
    })
}

fn record(path: &Path, key: AuditKey, event: AuditEvent) -> Result<(), AuditError> {
    let dropped = Metrics::new().lines_dropped("audit");
    let audit = match Audit::open(path, key, dropped, SystemTime::now()) {
        Err(AuditError::InUse { .. }) => return Ok(()),
        opened => opened?,
    };
    // A thread of its own, because the caller's is within a runtime and may not wait here.
    let failed = |source| AuditError::Open { path: path.to_owned(), source };
    let write = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        runtime.block_on(audit.record_durable(SystemTime::now(), event))
    };
    let thread = std::thread::scope(|scope| scope.spawn(write).join());
    thread.unwrap_or(Err(AuditError::NotWritten))
}
