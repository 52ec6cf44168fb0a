//! The parts that outlive reloads, built from what only a restart changes.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::mm::MlockAllFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use super::AppError;
use crate::config::{self, MasterKeySource, PinPlace, SharedStore, Startup, VaultStore};
use crate::counters::{AttemptCounter, CounterFile, LOGIN_KEYS, LocalCounter, SharedCounter};
use crate::keys::{EnvKey, FileKey, IfMissing, KeySource, MasterKeys, PinSource, Pkcs11Key};
use crate::link::Link;
use crate::policy::{CertificateFiles, ConnectionLimits, RedisAddress, Snapshot};
use crate::proxy::login::LoginGuard;
use crate::proxy::{
    Deliveries, GatewayWatch, Generation, LockTeller, Proofs, Services, TargetError, Upstreams,
};
use crate::reload;
use crate::server::Doorman;
use crate::telemetry::audit::{AuditHandover, AuditKey};
use crate::telemetry::{
    AccessFormat, AccessLog, AccessTarget, Audit, AuditEvent, CardsSeen, Metrics, Protection,
};
use crate::tls::{Authority, AuthorityError, Identities, IdentityError};
use crate::vault::{
    CODE_KEYS, CodesPlace, HeldCode, Keeper, KeyEvent, KeyEventKind, KeyListener, StorePlace,
    Vault, VaultSettings,
};

/// What of our memory stays ours.
pub(super) struct Hardened {
    /// It is in no core dump.
    undumped: bool,
    /// It is not written to swap.
    locked: bool,
}

impl Hardened {
    /// Tells the metrics; what does not stand has been told to the log.
    pub(super) fn tell(&self, metrics: &Metrics) {
        metrics.protection(Protection::CoreDumps, self.undumped);
        metrics.protection(Protection::MemoryLock, self.locked);
    }
}

/// Keeps memory out of core dumps (DESIGN.md P1), and allows as many connections as the system does.
pub(super) fn harden() -> Hardened {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::setrlimit(Resource::Core, none);
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let undumped = limited.and(hidden);
    if let Err(error) = undumped {
        warn!(%error, "cannot switch core dumps off");
    }
    let files = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit { current: files.maximum, maximum: files.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, all) {
        warn!(%error, "cannot raise the limit of open files");
    }
    Hardened { undumped: undumped.is_ok(), locked: lock_memory() }
}

/// Keeps keys and verification codes out of swap, which outlives the process. Only where there is no
/// limit: under one, memory asked for later would be refused. What is locked is not given back to
/// the system when it is free, so it is for the operator to choose.
fn lock_memory() -> bool {
    if rustix::process::getrlimit(Resource::Memlock).current.is_some() {
        warn!(remedy = "LimitMEMLOCK=infinity", "memory is not locked and may be swapped out");
        return false;
    }
    // Only what is in use: a reservation that is never touched costs nothing.
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let locked = rustix::mm::mlockall(all);
    if let Err(error) = locked {
        warn!(%error, "memory is not locked and may be swapped out");
    }
    locked.is_ok()
}

/// For the one thread that serves no customer.
pub(super) fn runtime() -> Result<Runtime, AppError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::System)
}

/// Makes the folder for data, for nobody else to look into.
pub(super) fn create_data_dir(path: &Path) -> Result<(), AppError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AppError::DataDir { path: path.to_owned(), source })
}

/// Makes the folder for data; one that is open to others is closed.
pub(super) fn make_data_dir(path: &Path) -> Result<(), AppError> {
    create_data_dir(path)?;
    let failed = |source| AppError::DataDir { path: path.to_owned(), source };
    let mode = path.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if std::fs::set_permissions(path, Permissions::from_mode(0o700)).is_ok() {
        warn!(folder = %path.display(), mode = format!("{mode:o}"), "data folder closed to others");
        return Ok(());
    }
    // A folder that is not ours, as orchestrators mount them, may be ours by its group alone.
    let (path, open) = (path.to_owned(), mode & 0o007 != 0);
    if open { Err(AppError::DataDirMode { path, mode }) } else { Ok(()) }
}

/// The certificates of the files, or one that we make where there shall be no files.
pub(super) fn identities(
    startup: &Startup,
    served: &[CertificateFiles],
) -> Result<Identities, IdentityError> {
    if !startup.self_signed {
        return Identities::load(served);
    }
    let names = ["localhost".to_owned()];
    let made = Identities::self_signed(&startup.data_dir, &names, SystemTime::now())?;
    Ok(made.identities)
}

/// Counts connections, as many as there are files for.
pub(super) fn doorman(limits: &ConnectionLimits) -> Arc<Doorman> {
    let doorman = Doorman::new(rustix::process::getrlimit(Resource::Nofile).current);
    if let Some(connections) = doorman.falls_short(limits) {
        let remedy = "LimitNOFILE=65536";
        warn!(connections, remedy, "fewer connections than configured: too few files may be open");
    }
    doorman
}

/// Goes on with what the process before us kept in memory and has written down for us.
pub(super) fn take_over(services: &Services, codes: Vec<HeldCode>) {
    services.vault.take_in_codes(codes);
    services.counts.restore(SystemTime::now());
    services.seen.renew();
}

/// Opens the vault and the logs. Beside a process whose place we are to take, `audit` is its log, and
/// what it writes down at its very end is not read yet.
pub(super) async fn services(
    startup: &Startup,
    metrics: Metrics,
    audit: Option<AuditHandover>,
) -> Result<Services, AppError> {
    let metrics = Arc::new(metrics);
    let masters = Arc::new(master_keys(startup));
    let place = masters.current.describe();
    let settings = VaultSettings {
        store: store_place(startup),
        cvv_store: codes_place(startup).await?,
        cvv_ttl: startup.vault.cvv_ttl,
    };
    let vault = Vault::open(settings, masters).await?;
    let dropped = metrics.lines_dropped("audit");
    let key = AuditKey::new(vault.audit_key().expose());
    let (path, beside) = (audit_path(startup), audit.is_some());
    let audit = Arc::new(match audit {
        Some(handover) => Audit::join(&path, key, dropped, handover)?,
        None => Audit::open(&path, key, dropped, SystemTime::now())?,
    });
    if vault.master_made() {
        info!(place, "master key made; back it up");
        audit.record_durable(SystemTime::now(), AuditEvent::KeyCreated { place }).await?;
    }
    vault.listen_to_keys(key_teller(Arc::clone(&audit)));
    let access = access_log(startup, &metrics).map_err(AppError::Log)?;
    let local = LocalCounter::new(startup.counters_memory);
    let path = startup.data_dir.join("counters.state");
    let counts = CounterFile::new(&local, path, vault.accounts_key().expose());
    if !beside {
        counts.restore(SystemTime::now());
    }
    let counter: Arc<dyn AttemptCounter> = match &startup.counters {
        SharedStore::Own => Arc::new(local),
        SharedStore::Redis(address) => {
            let counter = SharedCounter::start(link(address, LOGIN_KEYS).await?, local);
            Arc::new(counter.map_err(AppError::System)?)
        }
    };
    let teller = LockTeller { audit: Arc::clone(&audit), metrics: Arc::clone(&metrics) };
    let logins = LoginGuard::new(counter, vault.accounts_key().expose(), Arc::new(teller));
    let proofs = Proofs::new(vault.accounts_key().expose());
    let seen = CardsSeen::open(seen_path(startup));
    let gateways = GatewayWatch::new(vault.accounts_key().expose());
    let deliveries = Deliveries::default();
    let upstreams = Arc::new(Upstreams::new(vault.accounts_key().expose()));
    let authority = None;
    let answers = Arc::default();
    Ok(Services {
        vault,
        logins,
        counts,
        answers,
        proofs,
        access,
        audit,
        authority,
        metrics,
        seen,
        gateways,
        deliveries,
        held: Arc::default(),
        upstreams,
    })
}

/// The first generation of the policy, with its names looked up.
pub(super) async fn generation(
    snapshot: Snapshot,
    services: &Services,
) -> Result<Generation, TargetError> {
    let Services { upstreams, metrics, .. } = services;
    let generation = Generation::new(snapshot, upstreams, metrics)?;
    upstreams.begin(&generation).await;
    metrics.card_modes(&generation.snapshot);
    Ok(generation)
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

/// Opens the vault for a command: one that exists, beside whoever else uses it.
pub(super) async fn keeper(startup: &Startup, missing: IfMissing) -> Result<Keeper, AppError> {
    let masters = Arc::new(master_keys(startup));
    Ok(Keeper::open(&store_place(startup), masters, missing).await?)
}

/// Where the master keys come from.
pub(super) fn master_keys(startup: &Startup) -> MasterKeys {
    let source = |source: &MasterKeySource| -> Box<dyn KeySource> {
        match source {
            MasterKeySource::Env(name) => Box::new(EnvKey { name: name.clone() }),
            MasterKeySource::File(path) => Box::new(FileKey { path: path.clone() }),
            MasterKeySource::Pkcs11(device) => Box::new(Pkcs11Key {
                module: device.module.clone(),
                token_label: device.token_label.clone(),
                key_label: device.key_label.clone(),
                pin: match &device.pin {
                    PinPlace::Env(name) => PinSource::Env(name.clone()),
                    PinPlace::File(path) => PinSource::File(path.clone()),
                },
            }),
        }
    };
    let previous = startup.vault.previous_master_key.as_ref().map(source);
    MasterKeys { current: source(&startup.vault.master_key), previous }
}

/// Tells the audit log of every key that comes or goes.
fn key_teller(audit: Arc<Audit>) -> KeyListener {
    Box::new(move |event| audit.record(SystemTime::now(), key_record(event)))
}

/// What the audit log says of it.
pub(super) fn key_record(event: KeyEvent) -> AuditEvent {
    let KeyEvent { change, purpose, key } = event;
    match change {
        KeyEventKind::Added => AuditEvent::KeyAdded { purpose, key },
        KeyEventKind::Dropped => AuditEvent::KeyDropped { purpose, key },
    }
}

/// Where the vault's rows are kept.
pub(super) fn store_place(startup: &Startup) -> StorePlace {
    match &startup.vault.store {
        VaultStore::Postgres(address) => StorePlace::Postgres(Arc::clone(address)),
        VaultStore::Sqlite => StorePlace::Sqlite(startup.data_dir.join("vault.db")),
    }
}

/// Where verification codes wait for their payment.
async fn codes_place(startup: &Startup) -> Result<CodesPlace, AppError> {
    Ok(match &startup.vault.cvv_store {
        SharedStore::Own => CodesPlace::Memory,
        SharedStore::Redis(address) => CodesPlace::Redis(link(address, CODE_KEYS).await?),
    })
}

/// A connection to a server that instances share. One that is away is no reason not to start.
async fn link(address: &Arc<RedisAddress>, keys: &'static str) -> Result<Arc<Link>, AppError> {
    let link = Link::start(Arc::clone(address), keys).await.map_err(AppError::System)?;
    Ok(Arc::new(link))
}

/// Where the audit log lies.
pub(super) fn audit_path(startup: &Startup) -> PathBuf {
    startup.data_dir.join("audit.log")
}

/// Where the records of operators' commands lie.
pub(super) fn commands_audit_path(startup: &Startup) -> PathBuf {
    startup.data_dir.join("audit-commands.log")
}

/// Where the list of seen cards lies.
pub(super) fn seen_path(startup: &Startup) -> PathBuf {
    startup.data_dir.join("cards-seen.json")
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
