//! The certificate a handshake is answered with.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Challenges, Identities};
use crate::policy::Live;

/// Looks at the current generation once per handshake, so a published certificate is seen by the
/// next client and the connections before it keep theirs.
pub(super) struct Resolver {
    live: Arc<Live<Identities>>,
}

/// Answers authorities that ask whether a name is ours.
pub(super) struct ChallengeResolver(pub(super) Challenges);

impl Resolver {
    pub(super) fn new(live: Arc<Live<Identities>>) -> Self {
        Self { live }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.live.peek().find(hello.server_name(), hello.signature_schemes())
    }
}

impl ResolvesServerCert for ChallengeResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.find(&hello)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl fmt::Debug for ChallengeResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeResolver").finish_non_exhaustive()
    }
}
