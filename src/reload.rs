//! Watches what the configuration names, and swaps in the next generation whole or not at all.
//!
//! A reload compiles everything first: a configuration and the certificates it names become valid
//! together, and one that fails changes nothing. Requests under way keep the generation they began
//! with; what needs a restart is told and left as it was. Addresses come and go, and connections at the
//! others notice nothing.

mod lookout;
mod trail;
mod watch;

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::warn;

pub use watch::{POLL_INTERVAL, WatchError, Watcher};

use crate::acme::Renewer;
use crate::config::{self, GatewayAddress, Loaded, Problem, Startup};
use crate::policy::{Gateway, Live, Snapshot, TlsPolicy};
use crate::proxy::{Generation, Services};
use crate::telemetry::{AuditEvent, CertificateStanding, Complaint, Metrics};
use crate::tls::{
    AuthorityCertificate, AuthorityError, Coverage, Identities, IdentityWarning, Listeners,
    PreparedListeners, Renewed, Standing, revocations_end_s,
};

/// What the configuration that a process starts with is called.
const FIRST_GENERATION: u64 = 1;

/// The addresses we listen on, as far as a reload adds and removes some.
pub trait Listening: Send {
    /// Listens where it is new; nothing is accepted there yet, and nothing else changes.
    ///
    /// # Errors
    /// When an address is taken or not ours; nothing is then left of it.
    fn prepare(&mut self, startup: &Startup) -> Result<(), Box<dyn Error>>;

    /// Accepts at what was prepared, and no longer at what is not named any more. Connections there
    /// have the grace to end.
    fn commit(&mut self, grace: Duration);
}

/// Publishes new generations of the policy and of the certificates.
pub struct Reloader {
    path: PathBuf,
    startup: Startup,
    policy: Arc<Live<Generation>>,
    identities: Arc<Live<Identities>>,
    listeners: Arc<Listeners>,
    services: Arc<Services>,
    listening: Box<dyn Listening>,
    watcher: Watcher,
    renewer: Renewer,
    generation: u64,
    /// Of what the policy in force was compiled from.
    digest: Vec<u8>,
}

/// What a reload replaces.
type Published = (Arc<Live<Generation>>, Arc<Live<Identities>>, Arc<Listeners>);

impl Reloader {
    /// Takes over what was loaded at the start.
    #[must_use]
    pub fn new(
        path: PathBuf,
        (startup, digest): (Startup, Vec<u8>),
        (policy, identities, listeners): Published,
        services: Arc<Services>,
        (listening, watcher, renewer): (Box<dyn Listening>, Watcher, Renewer),
    ) -> Self {
        let generation = FIRST_GENERATION;
        Self {
            path,
            startup,
            policy,
            identities,
            listeners,
            services,
            listening,
            watcher,
            renewer,
            generation,
            digest,
        }
    }

    /// Looks at the files and publishes what is new, if all of it is sound.
    pub fn reload(&mut self) {
        let loaded = match config::load(&self.path) {
            Ok(loaded) => loaded,
            Err(problems) => return self.refuse(problems.iter()),
        };
        // Followed before certificates are read: a change in between is told by the watcher.
        if let Err(error) = self.watcher.follow(&loaded.files) {
            warn!(%error, "cannot watch the files of the configuration");
        }
        let served = loaded.served(&self.startup.data_dir);
        let renewed = self.identities.load().renew(&served, SystemTime::now());
        let Renewed { identities, refused } = match renewed {
            Ok(renewed) => renewed,
            Err(error) => return self.refuse_certificates(&error.to_string()),
        };
        refused.iter().for_each(|error| self.refuse_certificates(&error.to_string()));
        let Loaded { startup, snapshot, acme, digest, warnings, .. } = loaded;
        let generation = if digest == self.digest {
            None
        } else if let Some(problem) = self.opened(&snapshot) {
            return self.refuse_policy(&[problem]);
        } else {
            match self.prepare(snapshot) {
                Ok(prepared) => Some(prepared),
                Err(problem) => return self.refuse_policy(&[problem]),
            }
        };
        if generation.is_some()
            && let Err(error) = self.listening.prepare(&startup)
        {
            return self.refuse_policy(&[explained(&*error)]);
        }
        // Without certificates nobody is to speak TLS; whoever still does keeps those there were.
        let wanted = !self.startup.self_signed && !identities.is_empty();
        if wanted && identities.same_as(&self.identities.load()) {
            // What is served is the same; how it stands may not be.
            self.tell_oddities(&identities);
            tell_standings(&identities, &self.services.metrics);
            self.identities.publish(identities);
        } else if wanted {
            self.publish_identities(identities);
        }
        if let Some((generation, listeners)) = generation {
            if let Err(error) = self.cover(&generation) {
                // Nothing is new to the addresses that are in force.
                let _cannot_fail = self.listening.prepare(&self.startup);
                return self.refuse_policy(&[error.to_string()]);
            }
            self.digest = digest;
            self.listeners.publish(listeners, &generation.snapshot.tls);
            self.publish(generation, &startup, &warnings);
            self.startup.listens = startup.listens;
            self.startup.gateways = startup.gateways;
            self.renewer.follow(Arc::new(acme));
        }
    }

    /// What would open a gateway to strangers: connections at the address that it leaves are still
    /// there when the new policy is in force, and so must be the question who calls.
    fn opened(&self, snapshot: &Snapshot) -> Option<String> {
        let exposed =
            self.startup.gateways.iter().filter(|bound| !bound.address.ip().is_loopback());
        let mut opened = exposed.filter(|bound| {
            let named = |gateway: &&Arc<Gateway>| gateway.name == bound.name;
            snapshot.gateways.iter().find(named).is_some_and(|found| found.access.is_open())
        });
        let GatewayAddress { name, address, .. } = opened.next()?;
        Some(format!(
            "gateway.access: gateway {name:?} listens on {address}, where others reach it; change \
             `listen` first and keep `access`, which can be removed once that is in force"
        ))
    }

    fn prepare(&self, snapshot: Snapshot) -> Result<(Generation, PreparedListeners), String> {
        let listeners = self.listeners.prepare(&snapshot.tls).map_err(|error| explained(&error))?;
        let Services { upstreams, metrics, .. } = &*self.services;
        let generation = Generation::new(snapshot, upstreams, metrics);
        Ok((generation.map_err(|error| error.to_string())?, listeners))
    }

    /// The names of the next generation must have certificates before the first request for them.
    fn cover(&self, generation: &Generation) -> Result<(), AuthorityError> {
        if let Some(authority) = &self.services.authority {
            let hosts = generation.snapshot.intercepted_hosts();
            tell_of_authority(&authority.cover(&hosts, SystemTime::now())?, &self.services);
        }
        Ok(())
    }

    fn publish(&mut self, generation: Generation, startup: &Startup, warnings: &[Problem]) {
        for key in self.startup.differences(startup) {
            warn!(key, "changed, but takes effect only after a restart");
        }
        for warning in warnings {
            warn!(problem = %warning, "configuration warning");
        }
        let (metrics, now) = (&self.services.metrics, SystemTime::now());
        tell_revocations(&generation.snapshot.tls, metrics, now);
        metrics.card_modes(&generation.snapshot);
        let grace = generation.snapshot.timeouts.drain;
        self.policy.publish(generation);
        // Before it is told: who hears of it finds every address as the file says.
        self.listening.commit(grace);
        self.generation += 1;
        self.services.metrics.config_reloaded(self.generation, SystemTime::now());
        self.audit(AuditEvent::ConfigReloaded { generation: self.generation });
    }

    fn publish_identities(&self, identities: Identities) {
        let (metrics, now) = (&self.services.metrics, SystemTime::now());
        self.tell_oddities(&identities);
        let certificates = tell_standings(&identities, metrics);
        self.identities.publish(identities);
        metrics.certificates_reloaded(certificates, now);
        self.audit(AuditEvent::CertificatesReloaded { certificates });
    }

    /// Those that are new: ten thousand keys with one fault are not to fill the log at each renewal.
    fn tell_oddities(&self, identities: &Identities) {
        let now = SystemTime::now();
        let known: HashSet<_> = self.identities.load().warnings(now).into_iter().collect();
        identities
            .warnings(now)
            .iter()
            .filter(|warning| !known.contains(warning))
            .for_each(warn_of);
    }

    fn refuse<'a>(&self, problems: impl Iterator<Item = &'a Problem>) {
        let texts: Vec<String> = problems.map(Problem::to_string).collect();
        self.refuse_policy(&texts);
    }

    fn refuse_policy(&self, problems: &[String]) {
        let complaints: Vec<Complaint<'_>> =
            problems.iter().map(|problem| Complaint { problem, remedy: None }).collect();
        self.services.metrics.reload_refused(&complaints);
        self.audit(AuditEvent::ReloadRefused { problem: problems.join("\n") });
    }

    fn refuse_certificates(&self, problem: &str) {
        self.services.metrics.certificates_refused(Complaint { problem, remedy: None });
        self.audit(AuditEvent::ReloadRefused { problem: problem.to_owned() });
    }

    fn audit(&self, event: AuditEvent) {
        self.services.audit.record(SystemTime::now(), event);
    }
}

/// An error with what it came from, on one line.
#[must_use]
pub fn explained(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Tells what a process starts with, whether it will be reloaded or not.
pub fn begin(identities: &Identities, tls: &TlsPolicy, metrics: &Metrics, now: SystemTime) {
    metrics.config_loaded(FIRST_GENERATION, now);
    tell_revocations(tls, metrics, now);
    if tell_of(identities, metrics, now) > 0 {
        metrics.certificates_loaded(now);
    }
}

/// Tells for whom the forward proxy's authority signs, and whether the shop must be told too.
pub fn tell_of_authority(coverage: &Coverage, services: &Services) {
    match coverage {
        Coverage::Issued(AuthorityCertificate { hosts, not_after, .. }) => {
            services.metrics.authority_issued(hosts, *not_after);
            let event = AuditEvent::AuthorityIssued { hosts: hosts.clone() };
            services.audit.record(SystemTime::now(), event);
        }
        Coverage::Kept(AuthorityCertificate { hosts, not_after, .. }) => {
            services.metrics.authority_in_force(hosts, *not_after);
        }
        Coverage::Nothing => {}
    }
}

/// Tells what is odd about certificates and when they end; says how many there are.
fn tell_of(identities: &Identities, metrics: &Metrics, now: SystemTime) -> usize {
    identities.warnings(now).iter().for_each(warn_of);
    tell_standings(identities, metrics)
}

fn warn_of(warning: &IdentityWarning) {
    warn!(problem = %warning, "certificate warning");
}

/// Tells until when the lists of revoked certificates are good. They count afterwards too, because the
/// next ones would take back more.
fn tell_revocations(tls: &TlsPolicy, metrics: &Metrics, now: SystemTime) {
    let lists = tls.listeners.iter().filter_map(|listener| {
        let end_s = revocations_end_s(listener.client_auth.as_ref()?)?;
        Some((listener.key.address.to_string(), time(end_s)))
    });
    let lists: Vec<_> = lists.collect();
    for (listener, end) in lists.iter().filter(|(_, end)| *end < now) {
        let since = now.duration_since(*end).unwrap_or_default().as_secs();
        let remedy = "fetch the next list; what was revoked since is let in";
        warn!(listener, out_of_date_s = since, remedy, "list of revoked certificates is old");
    }
    metrics.revocation_ends(&lists);
}

fn time(unix_s: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_s).unwrap_or_default())
}

fn tell_standings(identities: &Identities, metrics: &Metrics) -> usize {
    let known = identities.standings().into_iter().map(|standing| {
        let Standing { name, not_after_s, loaded_s, differs, staple_until_s } = standing;
        CertificateStanding {
            name,
            not_after: time(not_after_s),
            loaded: time(loaded_s),
            differs,
            staple_until: staple_until_s.map(time),
        }
    });
    let known: Vec<_> = known.collect();
    metrics.certificate_standings(&known);
    known.len()
}
