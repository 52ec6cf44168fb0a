//! On what terms connections are open, which a reload may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls_pki_types::CertificateDer;

use super::{Acceptor, ClientIdentity};

/// On what terms a client was let in.
pub struct Admission {
    acceptor: Arc<Acceptor>,
    /// The state of the door that its chain was last shown to.
    seen: AtomicU64,
    chain: Vec<CertificateDer<'static>>,
    /// Who the client is; nothing where nobody asked.
    client: Option<Option<ClientIdentity>>,
}

impl Admission {
    pub(super) fn new(
        (acceptor, seen): (Arc<Acceptor>, u64),
        chain: Vec<CertificateDer<'static>>,
        client: Option<Option<ClientIdentity>>,
    ) -> Self {
        Self { acceptor, seen: AtomicU64::new(seen), chain, client }
    }

    /// Whether the client would be let in today. A reload may demand certificates, or take one back,
    /// and connections live for days.
    #[must_use]
    pub fn stands(&self) -> bool {
        let changes = self.acceptor.changes();
        if changes == self.seen.load(Ordering::Relaxed) {
            return true;
        }
        let stands = self.acceptor.admits(&self.chain);
        if stands {
            self.seen.store(changes, Ordering::Relaxed);
        }
        stands
    }

    /// Who the client is; nothing where nobody asked.
    #[must_use]
    pub fn client(&self) -> Option<Option<&ClientIdentity>> {
        self.client.as_ref().map(Option::as_ref)
    }
}
