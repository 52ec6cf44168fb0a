//! Operators' commands on the vault, beside running instances or without any.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::trail::Trail;
use super::{AppError, confine, parts};
use crate::config::Startup;
use crate::keys::IfMissing;
use crate::telemetry::audit::{self, AuditError, AuditFault, AuditKey, Verified};
use crate::telemetry::{AuditEvent, Operator};
use crate::vault::{KeyListener, MasterStep, RotateProgress, Rotated};

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

impl RotateRequest {
    /// A short name, for the audit log.
    fn key(self) -> &'static str {
        match self {
            Self::DataKey { .. } => "data",
            Self::MasterKey => "master",
        }
    }
}

/// Replaces a key of the vault, after the audit log says so.
///
/// # Errors
/// When it cannot be recorded or finished; the same call goes on with it.
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
        let (trail, failed) = (Trail::of(startup, &keeper), Arc::new(Mutex::new(None)));
        let (operator, key) = (Operator::current(), request.key());
        trail.record(AuditEvent::VaultRotated { operator, key })?;
        keeper.listen_to_keys(auditor(trail, Arc::clone(&failed)));
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

/// Writes down every key that comes or goes by this command. A running instance reads the keys again
/// every few seconds and tells in its own log what it finds, which may be several at once.
fn auditor(trail: Trail, failed: Arc<Mutex<Option<AuditError>>>) -> KeyListener {
    Box::new(move |event| {
        if let Err(error) = trail.record(parts::key_record(event)) {
            *failed.lock() = Some(error);
        }
    })
}
