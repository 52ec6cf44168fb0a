//! How TLS is spoken at each listener, as the policy in force says.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};
use rustls::version::TLS13;
use rustls::{ServerConfig, SupportedProtocolVersion};
use thiserror::Error;

use super::accept::{Acceptor, Door};
use super::clients::{Callers, ClientAuthError};
use super::resolver::{ChallengeResolver, Resolver};
use super::tickets::Tickets;
use super::{Challenges, Identities, VERSIONS, challenges, provider};
use crate::policy::{ListenKey, ListenerTls, Live, Secret, TlsPolicy, TlsProfile};

/// TLS 1.2 sessions remembered for clients without tickets.
const SESSIONS_MAX: usize = 4096;

/// The listeners that speak TLS with clients. What they share (sessions, the keys of tickets, open
/// challenges) outlasts every reload.
pub struct Listeners {
    identities: Arc<Live<Identities>>,
    challenges: Challenges,
    sessions: Arc<dyn StoresServerSessions>,
    tickets: Option<Arc<Tickets>>,
    challenge: Arc<ServerConfig>,
    acceptors: Mutex<HashMap<ListenKey, Arc<Acceptor>>>,
}

/// A policy that can be put in force.
pub struct PreparedListeners {
    doors: Vec<(ListenKey, Door)>,
}

/// A listener's policy cannot be put in force.
#[derive(Debug, Error)]
#[error("listen.client_auth: clients of {} cannot be asked for certificates", key.address)]
pub struct ListenerError {
    key: ListenKey,
    // Boxed: this stands in errors that are rare and moved often.
    source: Box<ClientAuthError>,
}

impl Listeners {
    /// Without a policy yet.
    #[must_use]
    pub fn new(identities: Arc<Live<Identities>>, challenges: Challenges) -> Self {
        let mut challenge = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect(SUITES)
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ChallengeResolver(challenges.clone())));
        challenge.alpn_protocols = vec![challenges::PROTOCOL.to_vec()];
        challenge.session_storage = Arc::new(NoServerSessionStorage {});
        challenge.send_tls13_tickets = 0;
        Self {
            identities,
            challenges,
            sessions: ServerSessionMemoryCache::new(SESSIONS_MAX),
            // Without randomness for their keys, resumption falls back to the sessions in memory.
            tickets: Tickets::new().ok().map(Arc::new),
            challenge: Arc::new(challenge),
            acceptors: Mutex::default(),
        }
    }

    /// Where answers to authorities' questions are put.
    #[must_use]
    pub fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// The keys of session tickets.
    #[must_use]
    pub fn tickets(&self) -> Option<&Arc<Tickets>> {
        self.tickets.as_ref()
    }

    /// Compiles a policy; nothing changes yet.
    ///
    /// # Errors
    /// Authorities or lists of revoked certificates that cannot be used.
    pub fn prepare(&self, policy: &TlsPolicy) -> Result<PreparedListeners, ListenerError> {
        let door = |listener: &ListenerTls| {
            let key = listener.key;
            let clients = listener.client_auth.as_ref().map(Callers::of).transpose();
            let failed = |source| ListenerError { key, source: Box::new(source) };
            Ok((key, self.door(listener, clients.map_err(failed)?)))
        };
        let doors = policy.listeners.iter().map(door).collect::<Result<_, _>>()?;
        Ok(PreparedListeners { doors })
    }

    /// Puts a policy in force, with the secret of its tickets. A listener that is in it no more keeps
    /// the policy it had.
    pub fn publish(&self, prepared: PreparedListeners, policy: &TlsPolicy) {
        if let Some(tickets) = &self.tickets {
            let secret = policy.ticket_secret.as_ref().map(Secret::expose);
            // Fails where there is no randomness: the keys of before go on.
            let _kept = tickets.share(secret);
        }
        let mut acceptors = self.acceptors.lock();
        for (key, door) in prepared.doors {
            match acceptors.get(&key) {
                Some(acceptor) => acceptor.replace(door),
                None => drop(acceptors.insert(key, Arc::new(Acceptor::new(door)))),
            }
        }
    }

    /// What accepts at a listener, always the same; as by default where no policy says more.
    #[must_use]
    pub fn acceptor(&self, key: ListenKey) -> Arc<Acceptor> {
        let made = || {
            let (profile, strict_sni, client_auth) = (TlsProfile::default(), false, None);
            let listener = ListenerTls { key, profile, strict_sni, client_auth };
            Arc::new(Acceptor::new(self.door(&listener, None)))
        };
        Arc::clone(self.acceptors.lock().entry(key).or_insert_with(made))
    }

    fn door(&self, listener: &ListenerTls, clients: Option<Callers>) -> Door {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(listener.profile))
            .expect(SUITES);
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let resolver = Resolver::new(Arc::clone(&self.identities));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        if clients.is_some() {
            // A resumed session shows no certificate, and the one it began with may be revoked.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.session_storage = Arc::clone(&self.sessions);
            if let Some(tickets) = &self.tickets {
                config.ticketer = Arc::<Tickets>::clone(tickets);
            }
        }
        let mut unaided = config.clone();
        unaided.ignore_client_order = false;
        let (config, unaided) = (Arc::new(config), Some(Arc::new(unaided)));
        let challenge = Some(Arc::clone(&self.challenge));
        let (identities, strict) = (Some(Arc::clone(&self.identities)), listener.strict_sni);
        Door { config, unaided, challenge, identities, strict, clients }
    }
}

static MODERN: &[&SupportedProtocolVersion] = &[&TLS13];

/// RFC 8996 forbids TLS 1.0 and 1.1 to both.
fn versions(profile: TlsProfile) -> &'static [&'static SupportedProtocolVersion] {
    match profile {
        TlsProfile::Intermediate => VERSIONS,
        TlsProfile::Modern => MODERN,
    }
}

const SUITES: &str = "aws-lc-rs has suites for TLS 1.2 and 1.3";
