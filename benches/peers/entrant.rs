//! The proxies before the origin, each with a fair config: the same certificate, connections to the
//! origin kept, the client's address passed on, no access log unless said.

mod haproxy;
mod nginx;
mod pingora;
mod tillgate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::failure::Failure;
use crate::folder::{Folder, Key};
use crate::program::Programs;
use crate::server::{Server, free_address};

/// Who is measured: a column of the table.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
    Pingora,
    Lua,
    Passing,
    Guarding,
}

/// How all of them are set up for a comparison.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) workers: u8,
    pub(crate) key: Key,
}

/// What every one of them is told.
pub(crate) struct Scene<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) folder: &'a Folder,
    pub(crate) origin: SocketAddr,
    pub(crate) setup: Setup,
}

/// One of them, running.
pub(crate) struct Entrant {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) key: Key,
    server: Server,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Nginx, Self::HaProxy, Self::Pingora, Self::Lua, Self::Passing, Self::Guarding];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "HAProxy",
            Self::Pingora => "Pingora",
            Self::Lua => "nginx, Lua masking",
            Self::Passing => "tillgate, passing",
            Self::Guarding => "tillgate, everything on",
        }
    }

    /// Whether the others are compared with it.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::HaProxy)
    }

    /// Whether a card number in an answer must not get through.
    pub(crate) fn masks(self) -> bool {
        matches!(self, Self::Lua | Self::Guarding)
    }

    /// Whether what it needs is there.
    pub(crate) fn is_there(self, programs: &Programs) -> bool {
        match self {
            Self::Nginx | Self::Passing | Self::Guarding => true,
            Self::HaProxy => programs.haproxy.is_some(),
            Self::Pingora => programs.pingora.is_some(),
            Self::Lua => programs.lua.is_some(),
        }
    }
}

impl Entrant {
    pub(crate) fn start(kind: Kind, scene: &Scene<'_>) -> Result<Self, Failure> {
        let address = free()?;
        let name = format!("{}-{}-{}", stem(kind), scene.setup.key.stem(), scene.setup.workers);
        let log = scene.folder.at(&format!("{name}.log"));
        let mut command = match kind {
            Kind::Nginx => nginx::proxy(scene, &name, address, "")?,
            Kind::HaProxy => haproxy::proxy(scene, &name, address)?,
            Kind::Pingora => pingora::proxy(scene, address)?,
            Kind::Lua => nginx::proxy(scene, &name, address, nginx::MASKING)?,
            Kind::Passing => tillgate::proxy(scene, &name, address, tillgate::PASSING)?,
            Kind::Guarding => tillgate::proxy(scene, &name, address, tillgate::GUARDING)?,
        };
        let server = start(kind.name(), &mut command, address, &log)?;
        Ok(Self { kind, address, key: scene.setup.key, server })
    }

    /// As [`Kind::Guarding`], with more in its config.
    pub(crate) fn tillgate(scene: &Scene<'_>, name: &str, more: &str) -> Result<Self, Failure> {
        let address = free()?;
        let config = more.to_owned() + tillgate::GUARDING;
        let mut command = tillgate::proxy(scene, name, address, &config)?;
        let log = scene.folder.at(&format!("{name}.log"));
        let server = start("tillgate", &mut command, address, &log)?;
        Ok(Self { kind: Kind::Guarding, address, key: scene.setup.key, server })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn process(&self) -> u32 {
        self.server.process()
    }
}

/// The shop, as every entrant's origin.
pub(crate) fn origin(
    programs: &Programs,
    folder: &Folder,
) -> Result<(SocketAddr, Server), Failure> {
    let address = free()?;
    let mut command = nginx::origin(programs, folder, address)?;
    let server = start("the origin", &mut command, address, &folder.at("origin.log"))?;
    Ok((address, server))
}

fn stem(kind: Kind) -> &'static str {
    match kind {
        Kind::Nginx => "nginx",
        Kind::HaProxy => "haproxy",
        Kind::Pingora => "pingora",
        Kind::Lua => "lua",
        Kind::Passing => "passing",
        Kind::Guarding => "guarding",
    }
}

impl Scene<'_> {
    /// A file of the identity that this comparison is about.
    fn identity(&self, extension: &str) -> PathBuf {
        self.folder.at(self.setup.key.stem()).with_extension(extension)
    }
}

/// How many connections each may be told to hold: some take two files for one.
pub(crate) fn connections_max() -> u64 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (files.saturating_sub(200) / 2).min(20_000)
}

fn free() -> Result<SocketAddr, Failure> {
    free_address().map_err(Failure::io("find a free port"))
}

fn start(
    name: &'static str,
    command: &mut Command,
    address: SocketAddr,
    log: &Path,
) -> Result<Server, Failure> {
    Server::start(command, address, log).map_err(|source| Failure::Start { name, source })
}
