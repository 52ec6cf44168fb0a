//! A file → what the process starts with and what requests consult, or every problem at once.
//!
//! The text is parsed once, checked against the schema (`shape`), deserialized and compiled
//! (`compile`). Nothing is served from a file with a problem in it: the caller keeps what it has.
//! Reading is all that is done here: no socket is opened, nothing is written.

mod access;
mod acme;
mod balance;
mod cards;
mod compile;
mod environment;
mod forward;
mod gateways;
mod guards;
mod json;
mod listeners;
mod login_limits;
mod master_key;
mod networks;
mod pages;
mod presets;
mod problem;
mod proof;
mod response_headers;
mod schema;
mod secrets;
mod shape;
mod shared_store;
mod signals;
mod signs;
mod sites;
mod sockets;
mod source;
mod startup;
mod summary;
#[cfg(test)]
mod tests;
mod units;
mod upstreams;
mod values;
mod vault_store;
mod webhooks;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::Value;
use toml::de::{DeTable, Deserializer};
use zeroize::Zeroizing;

pub use master_key::{MasterKeySource, PinPlace, Pkcs11Source};
pub use problem::{Problem, Problems};
pub use startup::{
    AccessFormat, AccessLog, GatewayAddress, ListenAddress, LogLevel, LogStartup, Sandbox,
    SharedStore, Startup, VaultStartup, VaultStore,
};
pub use summary::summary;

use crate::policy::{
    AcmePolicy, CertificateFiles, Credentials, Listed, Pages, Secret, Snapshot, Trust,
};
use compile::{Compiler, Files};
use environment::Lookup;
use schema::{
    BalanceSchema, FileSchema, HealthSchema, ListenSchema, MaintenanceSchema, SiteSchema,
    UpstreamSchema,
};
use shape::Shape;
use source::{At, Source};

/// The largest file that is read: 10,000 shops with a certificate each fit, and a wrong path to a disk
/// image does not.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What problems call the command line.
const COMMAND_LINE: &str = "command line";

/// Where `run --upstream` listens when it is not told.
const LISTEN: &str = "127.0.0.1:8443";

/// A configuration without a problem.
#[derive(Debug)]
pub struct Loaded {
    /// What only a restart changes.
    pub startup: Startup,
    /// What a reload replaces.
    pub snapshot: Snapshot,
    /// The certificates to serve that are in files of the operator's.
    pub certificates: Vec<CertificateFiles>,
    /// Those that are asked for.
    pub acme: AcmePolicy,
    /// Names what the snapshot was compiled from: equal where a reload would change nothing.
    pub digest: Vec<u8>,
    /// Every file this came from: a change of any of them asks for a reload.
    pub files: Vec<PathBuf>,
    /// What an operator should know, in the order of the file.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// All the certificates to serve: those of the operator's, and those that are asked for and kept in
    /// this data folder.
    #[must_use]
    pub fn served(&self, data_dir: &Path) -> Vec<CertificateFiles> {
        self.certificates.iter().cloned().chain(self.acme.files(data_dir)).collect()
    }
}

/// Reads a configuration file and all the files it names but keys and chains, which are only found.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let lookup = |name: &str| std::env::var(name).ok();
    let whole = |message: String, remedy: &str| {
        let source = Source { file: path, text: "", folder: PathBuf::new() };
        Problems::new(vec![source.problem(&(0..0), "", message, remedy)])
    };
    let absolute = std::path::absolute(path)
        .map_err(|error| whole(format!("is not a path ({})", error.kind()), "check the path"))?;
    let bytes = read(path).map_err(|error| {
        let remedy = "check the path and who may read it";
        whole(format!("cannot be read ({})", error.kind()), remedy)
    })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(whole(format!("is larger than {FILE_BYTES_MAX} bytes"), "check the path"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let sound = String::from_utf8_lossy(error.as_bytes());
        let source = Source { file: path, text: &sound, folder: PathBuf::new() };
        let place = error.utf8_error().valid_up_to();
        let remedy = "save it as UTF-8";
        Problems::new(vec![source.problem(&(place..place), "", "is not UTF-8", remedy)])
    })?;
    let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
    let source = Source { file: path, text: &text, folder };
    let mut loaded = load_text(&source, &lookup)?;
    loaded.files.insert(0, absolute);
    loaded.digest = digest(&text, &loaded.snapshot);
    Ok(loaded)
}

/// What `run --upstream` serves: one shop for every host, over TLS with a made-up certificate.
///
/// # Errors
/// When the address of the upstream is none.
pub fn for_upstream(
    url: &str,
    listen: Option<SocketAddr>,
    data_dir: PathBuf,
) -> Result<Loaded, Problems> {
    let address = listen.map_or_else(|| LISTEN.to_owned(), |address| address.to_string());
    let listen = ListenSchema {
        address: At::nowhere(address),
        tls: Some(At::nowhere(true)),
        profile: None,
        strict_sni: None,
        client_auth: None,
        redirect_to_https: None,
        proxy_protocol: None,
    };
    let site = SiteSchema {
        hosts: None,
        upstreams: At::nowhere(vec![At::nowhere(UpstreamSchema::Address(url.to_owned()))]),
        ca: None,
        balance: BalanceSchema::default(),
        health: HealthSchema::default(),
        maintenance: MaintenanceSchema::default(),
        login: Vec::new(),
        guard: Vec::new(),
        block: Vec::new(),
        route: Vec::new(),
    };
    let file = FileSchema {
        listen: vec![At::nowhere(listen)],
        site: vec![At::nowhere(site)],
        ..FileSchema::default()
    };
    let source = Source { file: Path::new(COMMAND_LINE), text: "", folder: PathBuf::new() };
    let lookup = |_: &str| None;
    let mut loaded =
        compile((&source, &lookup), &file, Vec::new(), true).map_err(Problems::of_options)?;
    loaded.startup.vault.master_key = MasterKeySource::File(data_dir.join("master.key"));
    loaded.startup.data_dir = data_dir;
    Ok(loaded)
}

/// The text, and what it names: authorities, secrets, keys, networks and pages; what was read, not what the files hold
/// by now.
fn digest(text: &str, snapshot: &Snapshot) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(text.as_bytes());
    let sites = snapshot.sites.iter().flat_map(|site| &site.upstreams);
    for upstream in sites.chain(snapshot.gateways.iter().map(|gateway| &gateway.upstream)) {
        if let Trust::Anchors(anchors) = &upstream.trust {
            anchors.iter().for_each(|anchor| context.update(anchor));
        }
        for path in upstream.client.iter().flat_map(|files| [&files.chain, &files.key]) {
            // One that cannot be read is told by whoever uses it.
            context.update(&read(path).map(Zeroizing::new).unwrap_or_default());
        }
    }
    for gateway in &snapshot.gateways {
        if let Some(Trust::Anchors(anchors)) = &gateway.access.clients {
            anchors.iter().for_each(|anchor| context.update(anchor));
        }
    }
    for clients in snapshot.tls.listeners.iter().filter_map(|it| it.client_auth.as_ref()) {
        if let Trust::Anchors(anchors) = &clients.trust {
            anchors.iter().for_each(|anchor| context.update(anchor));
        }
        clients.revoked.iter().for_each(|list| context.update(list));
    }
    let routes = snapshot.sites.iter().flat_map(|site| &site.routes);
    let lists = routes.map(|route| &route.access.networks).chain([&snapshot.networks]);
    for list in lists {
        for (address, listed) in list.steps() {
            context.update(&address);
            context.update(&[listed.map_or(0, |listed| match listed {
                Listed::Allowed => 1,
                Listed::Denied => 2,
            })]);
        }
        // With its end, or a network that moves from one list to the next would be no change.
        context.update(&[3]);
    }
    for text in snapshot.pages.iter().flat_map(Pages::texts) {
        // With its end, or a line that moves from one page to the next would be no change.
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    secrets(snapshot).for_each(|secret| context.update(secret.expose()));
    context.finish().as_ref().to_vec()
}

fn secrets(snapshot: &Snapshot) -> impl Iterator<Item = &Secret> {
    let gateways = snapshot.gateways.iter().flat_map(|gateway| {
        let credentials = gateway.credentials.as_ref().map(|credentials| match credentials {
            Credentials::Header { value, .. } => value,
            Credentials::Signature { key, .. } => key,
        });
        gateway.access.bearer.iter().chain(credentials)
    });
    let webhooks = snapshot.webhooks.iter().flat_map(|webhook| &webhook.secrets);
    gateways.chain(webhooks).chain(&snapshot.tls.ticket_secret)
}

/// What a text would do as a file of this name in the folder where we are; nothing it names is watched.
///
/// # Errors
/// Every problem of the text at once.
pub fn of_text(name: &Path, text: &str) -> Result<Loaded, Problems> {
    let source = Source { file: name, text, folder: PathBuf::new() };
    load_text(&source, &|_: &str| None)
}

/// A span of time as the file writes it, `"30m"`; `None` where it is none.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    units::duration(text).ok()
}

/// The JSON Schema of the file.
#[must_use]
pub fn schema_json() -> Value {
    json::schema()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn load_text(source: &Source<'_>, lookup: Lookup<'_>) -> Result<Loaded, Problems> {
    let (mut root, errors) = DeTable::parse_recoverable(source.text);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| syntax_problem(source, error));
        return Err(Problems::new(problems.collect()));
    }
    let schema = json::schema();
    let mut shape = Shape { schema: &schema, source, lookup, problems: Vec::new() };
    shape.check(&mut root);
    let mut problems = shape.problems;
    let file = FileSchema::deserialize(Deserializer::from(root)).unwrap_or_else(|error| {
        problems.push(syntax_problem(source, &error));
        FileSchema::default()
    });
    compile((source, lookup), &file, problems, false)
}

fn syntax_problem(source: &Source<'_>, error: &toml::de::Error) -> Problem {
    let message = error.message().replace('\n', ", ");
    let span = error.span().unwrap_or_default();
    source.problem(&span, "", message, "mend the TOML (toml.io)")
}

fn compile(
    (source, lookup): (&Source<'_>, Lookup<'_>),
    file: &FileSchema,
    problems: Vec<Problem>,
    self_signed: bool,
) -> Result<Loaded, Problems> {
    let (warnings, files) = (Vec::new(), Files::default());
    let mut compiler = Compiler { source, lookup, problems, warnings, files, self_signed };
    let Some(compiled) = compiler.compile(file) else {
        return Err(Problems::new(compiler.problems));
    };
    let mut warnings = compiler.warnings;
    warnings.sort_by_key(|warning| warning.line);
    Ok(Loaded {
        startup: compiled.startup,
        snapshot: compiled.snapshot,
        certificates: compiled.certificates,
        acme: compiled.acme,
        digest: Vec::new(),
        files: compiler.files.in_order,
        warnings,
    })
}
