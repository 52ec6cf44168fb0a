//! `tillgate login learn`: watches one wrong login and one right one, and prints the rule.
//!
//! The operator logs in through a small proxy on loopback, or hands over what a browser recorded. Every
//! rule that is printed has been read by the configuration's own code and judged what was seen right.
//! Passwords and account names stay in memory that is wiped: they are never printed, logged or written.

mod exchange;
#[cfg(test)]
mod fixture;
mod har;
mod lesson;
mod relay;
mod rule;
mod shop;
mod signs;
mod translate;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::config::{self, Problems};
use crate::policy::Site;
use exchange::Exchange;
use lesson::{Lesson, News, Pair};
use relay::Relay;
use shop::Shop;
use translate::Translator;

pub use har::HarError;
pub use shop::ShopError;

/// How many exchanges may wait to be looked at.
const SEEN_MAX: usize = 64;

/// What the built-in signs are asked about.
const NOWHERE: &str = "http://127.0.0.1:1";

/// How a login is learnt.
#[derive(Args, Clone, Debug)]
pub struct LearnOptions {
    /// The shop, as tillgate will reach it
    #[arg(long, value_name = "URL", required_unless_present = "from")]
    pub upstream: Option<String>,
    /// Where your browser reaches the recording proxy; this machine only [default: 127.0.0.1, a free port]
    #[arg(long, value_name = "ADDR", conflicts_with = "from")]
    pub listen: Option<SocketAddr>,
    /// The name customers call the shop by, where it differs from the URL's
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub host: Option<String>,
    /// PEM file of the authorities for an https URL
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub ca: Option<PathBuf>,
    /// Read what a browser recorded and saved as HAR, in place of watching
    #[arg(long, value_name = "FILE.har", conflicts_with = "upstream")]
    pub from: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "900")]
    pub wait: u64,
    /// Do not send the wrong login once more as a script would, to see that it is told apart too
    #[arg(long, conflicts_with = "from")]
    pub no_replay: bool,
}

/// Why nothing was learnt.
#[derive(Debug, Error)]
pub enum LearnError {
    /// The recording cannot be used.
    #[error(transparent)]
    Har(#[from] HarError),
    /// The address to listen on is not this machine alone.
    #[error(
        "{address} can be reached from elsewhere, and passwords pass here in the clear; listen on \
         127.0.0.1, and from another machine use ssh -L PORT:127.0.0.1:PORT"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
    },
    /// No field names an account.
    #[error("no field of the login names an account; write the rule by hand, with account_field")]
    NoAccount,
    /// The name of the shop is none.
    #[error("the shop's name is not understood")]
    Name(#[source] Box<regex::Error>),
    /// Nothing told the two apart.
    #[error(
        "nothing in the answers tells a right login from a wrong one for sure; look at the shop's \
         answers and write the signs by hand"
    )]
    NoRule,
    /// Not both were seen.
    #[error("{wanted}; nothing was learnt")]
    NotSeen {
        /// What is missing.
        wanted: &'static str,
    },
    /// The text of a rule is refused, or an option.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// The shop cannot be reached.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// No socket, no runtime or no terminal.
    #[error("the system refuses what learning needs")]
    System(#[from] io::Error),
}

impl LearnOptions {
    /// What stands at the end of the help.
    pub const HELP: &str = "\
Opens a small proxy on this machine in front of the shop. Log in through it with a browser, once with a \
wrong password and once with the right one of a test account; the rule is printed on standard output, \
what to do next on standard error. Neither passwords nor account names are printed, logged or written. \
The wrong login is then sent once more without cookies, as a guesser's script would send it.

Exit code: 0 a rule was printed, 1 not both logins were seen or they cannot be told apart, 2 wrong usage.

Examples:
  tillgate login learn --upstream http://127.0.0.1:8080 --host shop.example
  tillgate login learn --upstream http://127.0.0.1:8080 --wait 60 > login.toml
  tillgate login learn --from shop.example.har";
}

/// Learns and prints.
///
/// # Errors
/// When not both logins were seen, or no rule tells them apart.
pub fn run(options: &LearnOptions) -> Result<(), LearnError> {
    let learnt = match (&options.from, &options.upstream) {
        (Some(path), _) => {
            let built_in = rule::site(NOWHERE, "")?;
            let mut lesson = Lesson::new(Arc::clone(&built_in));
            let seen = har::read(path)?;
            seen.into_iter().try_for_each(|exchange| tell(&lesson.see(exchange)))?;
            rule::learn(&lesson.pair()?, &built_in)?
        }
        (None, upstream) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let upstream = upstream.as_deref().unwrap_or_default();
            runtime.block_on(watch(options, upstream))?
        }
    };
    io::stdout().write_all(learnt.as_bytes())?;
    Ok(())
}

async fn watch(options: &LearnOptions, upstream: &str) -> Result<String, LearnError> {
    let address = options.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    if !address.ip().is_loopback() {
        return Err(LearnError::Listen { address });
    }
    let built_in = shop_site(options, upstream)?;
    let tasks = TaskTracker::new();
    let upstream = built_in.upstreams.first().ok_or(LearnError::NoRule)?;
    let shop = Shop::new(upstream.clone(), tasks.clone())?;
    let authority = shop.authority();
    let name = options.host.as_deref().unwrap_or(&authority);
    let translator = Translator::new(name, &authority);
    let translator = translator.map_err(|error| LearnError::Name(Box::new(error)))?;
    let (seen, exchanges) = mpsc::channel(SEEN_MAX);
    let relay = Arc::new(Relay { shop, translator, seen });
    let listener = TcpListener::bind(address).await?;
    invite(listener.local_addr()?)?;
    tasks.spawn(Arc::clone(&relay).serve(listener, tasks.clone()));
    let mut pair = attend(Arc::clone(&built_in), exchanges, options.wait).await?;
    if !options.no_replay {
        match relay.replay(&pair.wrong).await {
            Ok(script) => pair.note_script(script),
            Err(error) => say(&format!("the wrong login could not be sent again: {error}"))?,
        }
    }
    rule::learn(&pair, &built_in)
}

/// The shop as a site without rules.
fn shop_site(options: &LearnOptions, upstream: &str) -> Result<Arc<Site>, LearnError> {
    if let Some(ca) = &options.ca {
        let ca = signs::quoted(&ca.display().to_string());
        return rule::site(upstream, &format!("ca = {ca}"));
    }
    let loaded = config::for_upstream(upstream, None, PathBuf::new())?;
    loaded.snapshot.sites.into_iter().next().ok_or(LearnError::NoRule)
}

/// Watches until both have been seen, somebody presses Ctrl-C, or it takes too long.
async fn attend(
    built_in: Arc<Site>,
    mut exchanges: mpsc::Receiver<Exchange>,
    wait_s: u64,
) -> Result<Pair, LearnError> {
    let mut lesson = Lesson::new(built_in);
    let end = tokio::time::sleep(Duration::from_secs(wait_s));
    tokio::pin!(end);
    loop {
        tokio::select! {
            Some(exchange) = exchanges.recv() => {
                let news = lesson.see(exchange);
                tell(&news)?;
                if news == News::Right {
                    return lesson.pair();
                }
            }
            _pressed = tokio::signal::ctrl_c() => return lesson.pair(),
            () = &mut end => return lesson.pair(),
        }
    }
}

fn invite(address: SocketAddr) -> io::Result<()> {
    say(&format!(
        "1. Open http://{address}/ in a browser and go to the page where customers log in.\n\
         2. Log in with a WRONG password."
    ))
}

fn tell(news: &News) -> io::Result<()> {
    match news {
        News::Nothing | News::Right => Ok(()),
        News::Alike => {
            say("   The answer is like that to the wrong password. Try again with the right one.")
        }
        News::Wrong { address, looks_right } => {
            if *looks_right {
                say(
                    "   This one looks as if it was let in. If the password was right, stop with Ctrl-C \
                     and begin again.",
                )?;
            }
            say(&format!(
                "   Seen: {} {}\n3. Log in the same way with the RIGHT password, of a test account.",
                address.method, address.path
            ))
        }
    }
}

fn say(words: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{words}")
}
