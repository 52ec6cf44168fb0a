//! Certificates and handshakes, on both sides.
//!
//! Towards clients each listener has one [`Acceptor`] for as long as the process lives: how it answers
//! changes beneath it ([`Listeners`]), and so do the certificates, through a `Live<Identities>`; open
//! connections and session resumption outlast a reload.
//! An [`Authority`] of our own answers in the names of payment gateways, and of nobody else.
//! Towards upstreams a [`Connector`] verifies always; nothing here can switch that off. The one
//! crypto provider is aws-lc-rs, named explicitly so that no other can slip in as a process default.

mod accept;
mod admission;
mod authority;
mod challenges;
mod client_identity;
mod clients;
mod connect;
mod contents;
mod error;
mod failure;
#[cfg(test)]
mod fixture;
mod identities;
mod identity;
mod listeners;
mod look;
mod pinned;
mod resolver;
mod self_signed;
mod stamps;
mod staple;
mod tickets;

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

pub use accept::{Accepted, Acceptor};
pub use admission::Admission;
pub use authority::{Authority, AuthorityCertificate, AuthorityError, Coverage};
pub use challenges::{ChallengeGuard, ChallengeKeyError, Challenges};
pub use client_identity::ClientIdentity;
pub use clients::{Callers, ClientAuthError, revocations_end_s};
pub use connect::{ConnectError, Connector};
pub use error::{IdentityError, IdentityWarning};
pub use failure::HandshakeFailure;
pub use identities::{Identities, Renewed, Standing};
pub use listeners::{ListenerError, Listeners, PreparedListeners};
pub use self_signed::SelfSigned;
pub use stamps::FileStamp;
pub use tickets::Tickets;

/// RFC 8996 forbids TLS 1.0 and 1.1, and so does PCI DSS 4.2.1.
static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// AES-128 before AES-256, as Mozilla's profiles have it: a third less work per byte, and SHA-256 in the
/// handshake, which processors have instructions for. Guessing either key is out of anybody's reach.
static SUITES: &[SupportedCipherSuite] = &[
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let cipher_suites = SUITES.to_vec();
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
});

fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}
