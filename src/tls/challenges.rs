//! Certificates that answer an authority's question whether a name is ours (RFC 8737).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The protocol in which authorities ask (RFC 8737 §6.2).
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

type Answers = HashMap<String, Arc<CertifiedKey>>;

/// The answers to questions that are open, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Challenges(Arc<Shared>);

#[derive(Default)]
struct Shared {
    current: ArcSwap<Answers>,
    /// Held while one is added or withdrawn.
    writing: Mutex<()>,
}

/// An answer that is given until this is dropped.
#[must_use]
pub struct ChallengeGuard {
    challenges: Challenges,
    name: String,
}

/// The key of an answer cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the key of a challenge's certificate cannot be used")]
pub struct ChallengeKeyError;

impl Challenges {
    /// Answers for a name (lower case) with this certificate, in place of one that was given before.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn answer(
        &self,
        name: &str,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<ChallengeGuard, ChallengeKeyError> {
        let key = any_supported_type(key).map_err(|_| ChallengeKeyError)?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], key));
        self.change(|answers| drop(answers.insert(name.to_owned(), certified)));
        Ok(ChallengeGuard { challenges: self.clone(), name: name.to_owned() })
    }

    /// The answer to a client that speaks nothing but this protocol.
    pub(super) fn find(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.current.load().get(&name).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        let _alone = self.0.writing.lock();
        let mut answers = Answers::clone(&self.0.current.load());
        change(&mut answers);
        self.0.current.store(Arc::new(answers));
    }
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        self.challenges.change(|answers| drop(answers.remove(&self.name)));
    }
}

/// RFC 8737 §3: who asks offers this protocol and no other.
pub(super) fn asks(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| {
        protocols.next() == Some(PROTOCOL) && protocols.next().is_none()
    })
}
