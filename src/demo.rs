//! `tillgate demo`: a small shop, a stand-in payment gateway, and the sidecar between them.
//!
//! It walks one purchase, prints what each side really recorded, holds that against the promises,
//! and then stays up for a person to look round. Nothing here is special to the sidecar: it is
//! started from an ordinary configuration file, as an operator would.

mod checkout;
mod client;
mod evidence;
mod folder;
mod form;
mod gateway;
mod pages;
mod records;
mod report;
mod serve;
mod shop;
mod traces;
mod walk;

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use thiserror::Error;
use tokio::runtime::Builder;

use crate::app::{self, Addresses, AppError};
use crate::config::{self, Problems};
use crate::telemetry::Metrics;
use crate::telemetry::logging::{self, LoggingError};

pub use client::ClientError;
pub use folder::FolderError;
pub use shop::ShopError;
pub use walk::WalkError;

use client::{Client, Endpoint};
use evidence::{Evidence, Promise};
use folder::Folder;
use gateway::Gateway;
use report::Report;
use serve::Stage;
use shop::Shop;
use walk::{CARD_NUMBER, Guess};

/// How the demo is run.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct DemoOptions {
    /// End after the walk instead of staying up
    #[arg(long)]
    pub once: bool,
    /// Where the shop is served (default: 127.0.0.1:8443, or a free port where that is taken)
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Why the demo failed.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The sidecar has no socket of a kind the demo configured.
    #[error("the sidecar listens on no {kind} address")]
    Address {
        /// Which kind.
        kind: &'static str,
    },
    /// The temporary folder cannot be prepared.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The configuration is refused.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The log cannot be started.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// What was to be printed cannot be.
    #[error("cannot print")]
    Print(#[source] io::Error),
    /// The walk found promises broken.
    #[error("{broken} of {all} promises are broken")]
    Promises {
        /// How many.
        broken: usize,
        /// Of how many.
        all: usize,
    },
    /// The shop and the gateway cannot be served.
    #[error("cannot serve the shop and the gateway")]
    Serve(#[source] io::Error),
    /// The shop cannot open.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The sidecar does not start.
    #[error("the sidecar does not start")]
    Sidecar(#[from] AppError),
    /// The walk broke off.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

/// Everything the walk looks at.
struct Scene<'a> {
    /// Where a sidecar is in front of the shop.
    access_log: Option<&'a Path>,
    browser: Endpoint,
    folder: &'a Path,
    gateway: &'a Gateway,
    shop: &'a Shop,
}

/// Runs the demo; without `once`, until it is told to stop.
///
/// # Errors
/// When something does not start, the walk breaks off, or a promise is broken.
pub fn run(options: &DemoOptions) -> Result<(), DemoError> {
    let folder = Folder::prepare(options.listen)?;
    let stage = Stage::open().map_err(DemoError::Serve)?;
    let outcome = perform(options, &folder, &stage);
    stage.close();
    outcome
}

fn perform(options: &DemoOptions, folder: &Folder, stage: &Stage) -> Result<(), DemoError> {
    // The sidecar must know where the shop listens, and the shop where the sidecar does: the shop's
    // port is taken first and served last.
    let (shop_listener, shop_address) = serve::bind().map_err(DemoError::Serve)?;
    let (gateway_listener, gateway_address) = serve::bind().map_err(DemoError::Serve)?;
    let gateway = Arc::new(Gateway::default());
    stage
        .serve(gateway_listener, Some(folder.gateway_tls()), Arc::clone(&gateway))
        .map_err(DemoError::Serve)?;
    let config = folder.write_config(shop_address, gateway_address).map_err(FolderError::Disk)?;

    let metrics = Metrics::new();
    let log = File::create(folder.log()).map_err(FolderError::Disk)?;
    let _logging = logging::start("info", Box::new(log), metrics.lines_dropped("log"))?;
    let sidecar = app::start(config::load(&config)?, Some(&config), metrics, None)?;
    let addresses = sidecar.addresses();
    let play = Play { addresses, config: &config, folder, gateway: &gateway, once: options.once };
    let outcome = play.run(stage, shop_listener);
    if outcome.is_ok() && !options.once {
        sidecar.wait();
    } else {
        sidecar.shutdown();
    }
    outcome
}

/// What there is once the sidecar listens.
struct Play<'a> {
    addresses: &'a Addresses,
    config: &'a Path,
    folder: &'a Folder,
    gateway: &'a Gateway,
    once: bool,
}

impl Play<'_> {
    /// Opens the shop, walks, and says where a person goes on.
    fn run(&self, stage: &Stage, shop_listener: TcpListener) -> Result<(), DemoError> {
        let log = self.folder.shop_log();
        let shop = Arc::new(Shop::open(stand_in(self.addresses)?, &log)?);
        stage.serve(shop_listener, None, Arc::clone(&shop)).map_err(DemoError::Serve)?;
        let address = reachable(self.addresses)?;
        let browser = self.folder.endpoint(address)?;
        let access_log = self.folder.access_log();
        let scene = Scene {
            access_log: Some(&access_log),
            browser,
            folder: self.folder.path(),
            gateway: self.gateway,
            shop: &shop,
        };
        let mut out = io::stdout();
        let mut report = Report { colour: wants_colour(), out: &mut out };
        show(&scene, &mut report)?;
        if self.once {
            return Ok(());
        }
        self.invite(&mut report, address).map_err(DemoError::Print)
    }

    fn invite(&self, report: &mut Report<'_>, address: SocketAddr) -> io::Result<()> {
        let (email, password) = shop::ACCOUNT;
        let forward = self.addresses.forward.map(|address| format!("http://{address}"));
        let authority = self.folder.path().join("data/forward-ca.pem");
        report.title("Look round")?;
        report.addresses(&[
            ("shop", format!("https://{address}/   (self-signed: your browser will ask)")),
            ("log in as", format!("{email}, password: {password}")),
            (
                "pay with",
                format!("{CARD_NUMBER} or 3782 822463 10005 (code 1234), any date to come"),
            ),
            ("metrics", format!("http://{}/metrics", self.addresses.admin)),
            (
                "HTTPS_PROXY",
                format!(
                    "{}   (for a shop that calls https://{})",
                    forward.unwrap_or_default(),
                    folder::GATEWAY_NAME
                ),
            ),
            ("which trusts", authority.display().to_string()),
            ("config", format!("{}   (edit and save it: it is reloaded)", self.config.display())),
            ("tillgate's log", self.folder.log().display().to_string()),
            ("access log", self.folder.access_log().display().to_string()),
            ("shop's log", self.folder.shop_log().display().to_string()),
            ("stop", "Ctrl-C, which also removes these files".to_owned()),
        ])
    }
}

/// Walks, prints, and fails if a promise is broken.
fn show(scene: &Scene<'_>, report: &mut Report<'_>) -> Result<(), DemoError> {
    report.introduction().map_err(DemoError::Print)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(DemoError::Serve)?;
    let (evidence, guesses) = runtime.block_on(walk(scene))?;
    let mut promises = evidence.promises();
    promises.push(evidence::guessing_promise(&guesses));
    print(report, &evidence, &guesses, &promises).map_err(DemoError::Print)?;
    let broken = promises.iter().filter(|promise| !promise.kept).count();
    if broken > 0 {
        return Err(DemoError::Promises { broken, all: promises.len() });
    }
    Ok(())
}

async fn walk(scene: &Scene<'_>) -> Result<(Evidence, Vec<Guess>), WalkError> {
    let mut browser = Client::new(scene.browser.clone());
    let seen = walk::buy(&mut browser).await?;
    browser.close().await;
    let mut browser = Client::new(scene.browser.clone());
    let guesses = walk::guess(&mut browser).await?;
    browser.close().await;
    if let (Some(access_log), Some(last)) = (scene.access_log, guesses.last()) {
        traces::await_line(access_log, &last.request_id).await?;
    }
    // Last, so that the files that are searched hold the whole walk.
    let evidence = Evidence::gather(seen, scene.shop, scene.gateway, scene.folder)?;
    Ok((evidence, guesses))
}

fn print(
    report: &mut Report<'_>,
    evidence: &Evidence,
    guesses: &[Guess],
    promises: &[Promise],
) -> io::Result<()> {
    report.title("One purchase, as each side recorded it")?;
    report.table(&evidence.rows())?;
    report.title("Wrong passwords, one after the other")?;
    report.guesses(guesses)?;
    report.title("Promises")?;
    report.promises(promises)
}

/// The public address as a client on this machine reaches it.
fn reachable(addresses: &Addresses) -> Result<SocketAddr, DemoError> {
    let bound = *addresses.https.first().ok_or(DemoError::Address { kind: "https" })?;
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, bound.port()))
}

fn stand_in(addresses: &Addresses) -> Result<SocketAddr, DemoError> {
    let (_, address) = addresses.gateways.first().ok_or(DemoError::Address { kind: "gateway" })?;
    Ok(*address)
}

/// <https://no-color.org>: any non-empty value turns colours off.
fn wants_colour() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

#[cfg(test)]
mod tests;
