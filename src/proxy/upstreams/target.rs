//! An upstream with what is needed to reach it, prepared when a configuration is loaded.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::policy::{HttpVersions, Scheme, Trust, Upstream, UpstreamPlace};
use crate::telemetry::UpstreamMetrics;
use crate::tls::{ConnectError, Connector};

/// HTTP/2 and HTTP/1.1, as a handshake names them (RFC 7301 §6), the better one first.
const BOTH: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// An upstream with what is needed to reach it.
pub(in crate::proxy) struct Target {
    pub(in crate::proxy) upstream: Upstream,
    /// Names what its connections are verified by, too: no connection is used under anything else.
    pub(super) key: String,
    pub(in crate::proxy) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(in crate::proxy) metrics: UpstreamMetrics,
}

/// Where a server is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::proxy) enum Address {
    /// At this address.
    At(SocketAddr),
    /// At whatever the name leads to when it is called: nobody has looked it up yet.
    Named(String, u16),
    /// At a socket of this machine.
    Socket(Arc<Path>),
}

/// Why an upstream cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its name can be in no certificate.
    #[error("the upstream's name cannot be verified")]
    Name(#[from] rustls_pki_types::InvalidDnsNameError),
    /// Its authorities cannot be used.
    #[error("TLS towards the upstream cannot be set up")]
    Tls(#[from] ConnectError),
}

impl Target {
    pub(super) fn new(upstream: &Upstream, metrics: UpstreamMetrics) -> Result<Self, TargetError> {
        let (key, tls) = match upstream.scheme {
            Scheme::Http => (upstream.to_string(), None),
            Scheme::Https => {
                let Upstream { trust, pins, client, .. } = upstream;
                let connector = Connector::with(trust, pins, client.as_ref())?;
                let name = ServerName::try_from(upstream.verified_name().to_owned())?;
                let key = format!("{upstream} {}", trust_digest(upstream, connector.shown()));
                let mut config = connector.config();
                if upstream.http == HttpVersions::Agreed {
                    let offered = BOTH.map(<[u8]>::to_vec).to_vec();
                    Arc::make_mut(&mut config).alpn_protocols = offered;
                }
                (key, Some((TlsConnector::from(config), name)))
            }
        };
        Ok(Self { upstream: upstream.clone(), key, tls, metrics })
    }

    /// Its address, where that need not be looked up.
    pub(super) fn fixed(&self) -> Option<Address> {
        match &self.upstream.place {
            UpstreamPlace::Network { host, port } => {
                let address = host.parse::<IpAddr>().ok()?;
                Some(Address::At(SocketAddr::new(address, *port)))
            }
            UpstreamPlace::Socket(path) => Some(Address::Socket(Arc::clone(path))),
        }
    }

    /// Its name, where that is to be looked up.
    pub(super) fn named(&self) -> Option<(&str, u16)> {
        match &self.upstream.place {
            UpstreamPlace::Network { host, port } if self.fixed().is_none() => Some((host, *port)),
            UpstreamPlace::Network { .. } | UpstreamPlace::Socket(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => write!(f, "{address}"),
            Self::Named(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Names what a connection was verified by and what we showed, so that it is not used under anything
/// else.
fn trust_digest(upstream: &Upstream, shown: &[CertificateDer<'_>]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    match &upstream.trust {
        Trust::Anchors(anchors) => anchors.iter().for_each(|anchor| context.update(anchor)),
        Trust::System => context.update(b"system"),
    }
    context.update(upstream.verified_name().as_bytes());
    upstream.pins.iter().for_each(|pin| context.update(pin));
    shown.iter().for_each(|certificate| context.update(certificate));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
