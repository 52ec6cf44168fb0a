//! What only a restart changes: sockets, threads, the vault, the logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compile::Compiler;
use super::master_key::MasterKeySource;
use super::schema::{
    AccessFormatSchema, FileSchema, LevelSchema, LogSchema, SandboxSchema, VaultSchema,
};
use super::source::At;
use crate::policy::{ListenKey, PostgresAddress, RedisAddress};

/// Where data lies when the file does not say.
const DATA_DIR: &str = "/var/lib/tillgate";

/// Where the metrics are when the file does not say.
pub(super) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// How long a verification code is held when the file does not say.
const CVV_TTL: Duration = Duration::from_secs(15 * 60);

/// What the counters may take when the file does not say.
const COUNTERS_BYTES: u64 = 256 << 20;

/// The least they may: with fewer keys a single guesser fills them.
const COUNTERS_BYTES_MIN: u64 = 1 << 20;

/// Settings that a running process keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Startup {
    /// Where the vault, the master key and the audit file lie.
    pub data_dir: PathBuf,
    /// Whom to become when started as root.
    pub user: Option<String>,
    /// Its group, where that is not the user's own.
    pub group: Option<String>,
    /// What the process may write to.
    pub sandbox: Sandbox,
    /// How many worker threads; as many as there are cores where absent.
    pub workers: Option<NonZeroUsize>,
    /// Where the number of the process is written, if anywhere.
    pub pid_file: Option<PathBuf>,
    /// Where metrics and health are asked for.
    pub admin: SocketAddr,
    /// Where clients connect.
    pub listens: Vec<ListenAddress>,
    /// Where the shop calls us for each payment gateway.
    pub gateways: Vec<GatewayAddress>,
    /// Where the shop calls us as its forward proxy.
    pub forward: Option<SocketAddr>,
    /// The vault.
    pub vault: VaultStartup,
    /// Where failed logins are counted.
    pub counters: SharedStore,
    /// What the counters of this process may take, in bytes.
    pub counters_memory: usize,
    /// The logs.
    pub log: LogStartup,
    /// Whether a certificate is made up, for trying things out.
    pub self_signed: bool,
}

/// What the process may write to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sandbox {
    /// Whether writing is restricted at all.
    pub enabled: bool,
    /// Folders beside our own.
    pub write: Vec<PathBuf>,
}

/// An address that clients connect to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenAddress {
    /// What the policy calls it.
    pub key: ListenKey,
    /// Where; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether every request is sent on to `https://`.
    pub redirect_to_https: bool,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// An address that the shop calls for a payment gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayAddress {
    /// The gateway.
    pub name: Arc<str>,
    /// Where; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// How the vault is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VaultStartup {
    /// The database.
    pub store: VaultStore,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// Where the master key before comes from, while it is being replaced.
    pub previous_master_key: Option<MasterKeySource>,
    /// Where verification codes wait for the gateway.
    pub cvv_store: SharedStore,
    /// How long they are held for it.
    pub cvv_ttl: Duration,
}

/// The database of the vault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum VaultStore {
    /// A database that instances share.
    Postgres(Arc<PostgresAddress>),
    /// `vault.db` in the data directory.
    Sqlite,
}

/// Where something is kept that instances may share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SharedStore {
    /// In this process.
    Own,
    /// In a Redis or Valkey server.
    Redis(Arc<RedisAddress>),
}

/// What is logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogStartup {
    /// Where access lines go.
    pub access: AccessLog,
    /// Their shape.
    pub access_format: AccessFormat,
    /// The least level of the operational log.
    pub level: LogLevel,
}

/// Where access lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessLog {
    /// To the end of this file.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
}

/// The shape of access lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessFormat {
    /// As web servers have always written them.
    Combined,
    /// One JSON object per line.
    Json,
}

/// A level of the operational log, from the gravest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something should be looked at.
    Warn,
    /// What happened.
    Info,
    /// For finding out why.
    Debug,
    /// Everything.
    Trace,
}

impl Startup {
    /// The keys in which `other` differs: a reload leaves them as they are, and says so.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let compared = [
            ("data_dir", self.data_dir == other.data_dir),
            ("user", self.user == other.user),
            ("group", self.group == other.group),
            ("sandbox", self.sandbox == other.sandbox),
            ("workers", self.workers == other.workers),
            ("pid_file", self.pid_file == other.pid_file),
            ("admin.listen", self.admin == other.admin),
            ("forward_proxy.listen", self.forward == other.forward),
            ("vault.store", self.vault.store == other.vault.store),
            ("vault.master_key", self.vault.master_key == other.vault.master_key),
            (
                "vault.previous_master_key",
                self.vault.previous_master_key == other.vault.previous_master_key,
            ),
            ("vault.cvv_store", self.vault.cvv_store == other.vault.cvv_store),
            ("vault.cvv_ttl", self.vault.cvv_ttl == other.vault.cvv_ttl),
            ("counters.store", self.counters == other.counters),
            ("counters.memory", self.counters_memory == other.counters_memory),
            ("log.access", self.log.access == other.log.access),
            ("log.access_format", self.log.access_format == other.log.access_format),
            ("log.level", self.log.level == other.log.level),
            ("certificate", self.self_signed == other.self_signed),
        ];
        compared.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

impl LogLevel {
    /// The name used in configuration and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Compiler<'_> {
    /// `None` when the addresses cannot be told.
    pub(super) fn startup(&mut self, file: &FileSchema) -> Option<Startup> {
        let data_dir = match &file.data_dir {
            Some(at) if at.get().is_empty() => {
                self.refuse(&at.span(), "data_dir", "is empty", "name a folder");
                None
            }
            Some(at) => Some(self.path(at)),
            None => Some(PathBuf::from(DATA_DIR)),
        };
        let sockets = self.sockets(file);
        let log = self.log(&file.log);
        let counters = ("counters.store", "local");
        let counters = self.shared_store(counters, file.counters.store.as_ref());
        let counters_memory = self.counters_memory(file.counters.memory.as_ref());
        let data_dir = data_dir?;
        let vault = self.vault(&file.vault, &data_dir)?;
        if vault.store == VaultStore::Sqlite {
            self.warn_alone(("vault.cvv_store", "memory"), file.vault.cvv_store.as_ref());
            self.warn_alone(("counters.store", "local"), file.counters.store.as_ref());
        }
        let sockets = sockets?;
        let name = |at: &Option<At<String>>| at.as_ref().map(|at| at.get().clone());
        Some(Startup {
            data_dir,
            user: name(&file.user),
            group: name(&file.group),
            sandbox: self.sandbox(&file.sandbox),
            workers: file.workers.as_ref().map(|at| *at.get()),
            pid_file: file.pid_file.as_ref().map(|at| self.path(at)),
            admin: sockets.admin,
            listens: sockets.listens,
            gateways: sockets.gateways,
            forward: sockets.forward,
            vault,
            counters: counters?,
            counters_memory,
            log,
            self_signed: self.self_signed,
        })
    }

    fn vault(&mut self, written: &VaultSchema, data_dir: &Path) -> Option<VaultStartup> {
        let store = match &written.store {
            Some(at) => self.vault_store(at),
            None => Some(VaultStore::Sqlite),
        };
        let codes = ("vault.cvv_store", "memory");
        let cvv_store = self.shared_store(codes, written.cvv_store.as_ref());
        let cvv_ttl = self.duration("vault.cvv_ttl", written.cvv_ttl.as_ref(), CVV_TTL);
        let master_key = match &written.master_key {
            None => Some(MasterKeySource::File(data_dir.join("master.key"))),
            Some(at) => self.master_key("vault.master_key", at),
        };
        let previous = written.previous_master_key.as_ref();
        let previous = previous.map(|at| self.previous_master_key(at, master_key.as_ref()));
        let previous_master_key = match previous {
            None => None,
            Some(found) => Some(found?),
        };
        Some(VaultStartup {
            store: store?,
            master_key: master_key?,
            previous_master_key,
            cvv_store: cvv_store?,
            cvv_ttl,
        })
    }

    fn sandbox(&self, written: &SandboxSchema) -> Sandbox {
        let folders = written.write.iter().flat_map(|at| at.get());
        Sandbox {
            enabled: written.enabled.as_ref().is_none_or(|at| *at.get()),
            write: folders.map(|at| self.path(at)).collect(),
        }
    }

    fn counters_memory(&mut self, at: Option<&At<String>>) -> usize {
        let bytes = self.size("counters.memory", at, COUNTERS_BYTES);
        if let Some(at) = at
            && bytes < COUNTERS_BYTES_MIN
        {
            let remedy = "write \"1MiB\" or more; \"256MiB\" is usual";
            self.refuse(&at.span(), "counters.memory", "is too little", remedy);
        }
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn log(&mut self, written: &LogSchema) -> LogStartup {
        let access = match written.access.as_ref() {
            None => AccessLog::Stdout,
            Some(at) => match at.get().as_str() {
                "stdout" => AccessLog::Stdout,
                "off" => AccessLog::Off,
                "" => {
                    let remedy = "write \"stdout\", \"off\" or the path of a file";
                    self.refuse(&at.span(), "log.access", "is empty", remedy);
                    AccessLog::Off
                }
                _ => AccessLog::File(self.path(at)),
            },
        };
        let access_format = match written.access_format.as_ref().map(At::get) {
            Some(AccessFormatSchema::Combined) => AccessFormat::Combined,
            Some(AccessFormatSchema::Json) | None => AccessFormat::Json,
        };
        let level = match written.level.as_ref().map(At::get) {
            Some(LevelSchema::Error) => LogLevel::Error,
            Some(LevelSchema::Warn) => LogLevel::Warn,
            Some(LevelSchema::Info) | None => LogLevel::Info,
            Some(LevelSchema::Debug) => LogLevel::Debug,
            Some(LevelSchema::Trace) => LogLevel::Trace,
        };
        LogStartup { access, access_format, level }
    }
}
