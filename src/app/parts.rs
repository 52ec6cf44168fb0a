//! The parts that outlive reloads, built from what only a restart changes.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tracing::{info, warn};

use super::AppError;
use crate::config::{self, MasterKeySource, Startup};
use crate::counters::LocalCounter;
use crate::keys::{EnvKey, FileKey, IfMissing, KeySource, MasterKey, Obtained};
use crate::proxy::login::LoginGuard;
use crate::proxy::{Deliveries, GatewayWatch, LockTeller, Services};
use crate::reload;
use crate::telemetry::audit::AuditKey;
use crate::telemetry::{
    AccessFormat, AccessLog, AccessTarget, Audit, AuditEvent, CardsSeen, Metrics,
};
use crate::tls::{Authority, AuthorityError, Identities, IdentityError};
use crate::vault::{Vault, VaultSettings};

/// Keeps memory out of core dumps (DESIGN.md P1), and allows as many connections as the system does.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::setrlimit(Resource::Core, none);
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        warn!(%error, "cannot switch core dumps off");
    }
    let files = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit { current: files.maximum, maximum: files.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, all) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// Makes the folder for data, for nobody else to look into.
pub(super) fn make_data_dir(path: &Path) -> Result<(), AppError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AppError::DataDir { path: path.to_owned(), source })
}

/// A certificate made up for trying things out; it stays the same over restarts.
pub(super) fn self_signed(startup: &Startup) -> Result<Identities, IdentityError> {
    let names = ["localhost".to_owned()];
    let made = Identities::self_signed(&startup.data_dir, &names, SystemTime::now())?;
    Ok(made.identities)
}

/// Opens the vault and the logs.
pub(super) async fn services(startup: &Startup, metrics: Metrics) -> Result<Services, AppError> {
    let path = startup.data_dir.join("vault.db");
    let metrics = Arc::new(metrics);
    let source = key_source(startup);
    let obtained = source.obtain(IfMissing::for_vault(&path))?;
    let made = matches!(obtained, Obtained::Made(_));
    let master = obtained.into_key();
    let (log, key) = (audit_path(startup), audit_key(&master));
    let dropped = metrics.lines_dropped("audit");
    let audit = Arc::new(Audit::open(&log, key, dropped, SystemTime::now())?);
    if made {
        let place = source.describe();
        info!(place, "master key made; back it up");
        audit.record_durable(SystemTime::now(), AuditEvent::KeyCreated { place }).await?;
    }
    let access = access_log(startup, &metrics).map_err(AppError::Log)?;
    let counter = Arc::new(LocalCounter::new());
    let teller = LockTeller { audit: Arc::clone(&audit), metrics: Arc::clone(&metrics) };
    let key = master.derive("login accounts");
    let logins = LoginGuard::new(counter, key.expose(), Arc::new(teller));
    let settings = VaultSettings { path, cvv_ttl: startup.vault.cvv_ttl };
    let vault = Vault::open(settings, &master).await?;
    let seen = CardsSeen::open(seen_path(startup));
    let gateways = GatewayWatch::new(master.derive("gateway callers").expose());
    let deliveries = Deliveries::default();
    let authority = None;
    Ok(Services { vault, logins, access, audit, authority, metrics, seen, gateways, deliveries })
}

/// Opens the authority of the forward proxy, where there is one, for these names.
pub(super) fn authority(
    startup: &Startup,
    hosts: &[String],
    services: &Services,
) -> Result<Option<Authority>, AuthorityError> {
    if startup.forward.is_none() {
        return Ok(None);
    }
    let authority = Authority::open(&startup.data_dir)?;
    let coverage = authority.cover(hosts, SystemTime::now())?;
    reload::tell_of_authority(&coverage, services);
    Ok(Some(authority))
}

/// Where the master key comes from.
pub(super) fn key_source(startup: &Startup) -> Box<dyn KeySource> {
    match &startup.vault.master_key {
        MasterKeySource::Env(name) => Box::new(EnvKey { name: name.clone() }),
        MasterKeySource::File(path) => Box::new(FileKey { path: path.clone() }),
    }
}

/// Where the audit log lies.
pub(super) fn audit_path(startup: &Startup) -> PathBuf {
    startup.data_dir.join("audit.log")
}

/// Where the list of seen cards lies.
pub(super) fn seen_path(startup: &Startup) -> PathBuf {
    startup.data_dir.join("cards-seen.json")
}

/// What its chain is made with.
pub(super) fn audit_key(master: &MasterKey) -> AuditKey {
    AuditKey::new(master.derive("audit").expose())
}

fn access_log(startup: &Startup, metrics: &Metrics) -> std::io::Result<AccessLog> {
    let target = match &startup.log.access {
        config::AccessLog::File(path) => AccessTarget::File(path.clone()),
        config::AccessLog::Off => AccessTarget::Off,
        config::AccessLog::Stdout => AccessTarget::Stdout,
    };
    let format = match startup.log.access_format {
        config::AccessFormat::Combined => AccessFormat::Combined,
        config::AccessFormat::Json => AccessFormat::Json,
    };
    AccessLog::start(target, format, metrics.lines_dropped("access"))
}
