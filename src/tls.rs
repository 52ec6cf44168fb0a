//! Certificates and handshakes, on both sides.
//!
//! Towards clients one [`Acceptor`] lives as long as the process: the certificates change beneath
//! it through a `Live<Identities>`, so open connections and session resumption outlast a reload.
//! An [`Authority`] of our own answers in the names of payment gateways, and of nobody else.
//! Towards upstreams a [`Connector`] verifies always; nothing here can switch that off. The one
//! crypto provider is aws-lc-rs, named explicitly so that no other can slip in as a process default.

mod accept;
mod authority;
mod callers;
mod connect;
mod error;
mod failure;
#[cfg(test)]
mod fixture;
mod identities;
mod identity;
mod pinned;
mod resolver;
mod self_signed;

use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};

pub use accept::Acceptor;
pub use authority::{Authority, AuthorityCertificate, AuthorityError, Coverage};
pub use callers::Callers;
pub use connect::{ConnectError, Connector};
pub use error::{IdentityError, IdentityWarning};
pub use failure::HandshakeFailure;
pub use identities::{Expiry, Identities};
pub use self_signed::SelfSigned;

/// RFC 8996 forbids TLS 1.0 and 1.1, and so does PCI DSS 4.2.1.
static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}
