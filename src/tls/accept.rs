//! Our side of a handshake as server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};

use super::callers::CurrentCallers;
use super::resolver::Resolver;
use super::{Callers, Identities, VERSIONS, provider};
use crate::policy::Live;

/// TLS 1.2 sessions remembered for clients without tickets.
const SESSIONS_MAX: usize = 4096;

/// Accepts handshakes for the life of the process.
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// One configuration for every generation of certificates: its ticket keys (rotated by rustls
    /// every six hours) and sessions outlast a reload.
    #[must_use]
    pub fn new(live: Arc<Live<Identities>>) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver::new(live)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        // Without randomness for ticket keys, resumption falls back to the sessions in memory.
        if let Ok(ticketer) = Ticketer::new() {
            config.ticketer = ticketer;
        }
        Self { config: Arc::new(config) }
    }

    /// For those who call a gateway: `callers` says at each handshake whose certificates are demanded.
    /// No session is resumed, because a resumed one shows no certificate, and what was demanded may
    /// have changed.
    #[must_use]
    pub fn of_gateway(
        live: Arc<Live<Identities>>,
        callers: impl Fn() -> Option<Callers> + Send + Sync + 'static,
    ) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(Arc::new(CurrentCallers(Box::new(callers))))
            .with_cert_resolver(Arc::new(Resolver::new(live)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Self { config: Arc::new(config) }
    }

    /// For `tokio_rustls::TlsAcceptor`.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, ProtocolVersion};
    use rustls_pki_types::ServerName;
    use tempfile::{TempDir, tempdir};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

    use super::super::fixture::{Authority, first};
    use super::*;
    use crate::tls::{Connector, HandshakeFailure};

    type Pair = (server::TlsStream<TcpStream>, client::TlsStream<TcpStream>);

    struct Scene {
        folder: TempDir,
        authority: Authority,
        live: Arc<Live<Identities>>,
        acceptor: Acceptor,
    }

    impl Scene {
        fn new() -> Self {
            let (folder, authority) = (tempdir().unwrap(), Authority::new());
            let live = Arc::new(Live::new(issue(&folder, &authority)));
            let acceptor = Acceptor::new(Arc::clone(&live));
            Self { folder, authority, live, acceptor }
        }

        fn client(&self) -> Arc<ClientConfig> {
            Connector::new(&self.authority.trust()).unwrap().config()
        }

        fn renew(&self) {
            self.live.publish(issue(&self.folder, &self.authority));
        }

        /// A handshake over a socket, and one byte each way so that tickets have arrived.
        async fn connect(&self, client: &Arc<ClientConfig>, name: &str) -> io::Result<Pair> {
            let (near, far) = sockets().await;
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let connector = TlsConnector::from(Arc::clone(client));
            let acceptor = TlsAcceptor::from(self.acceptor.config());
            let (accepted, connected) =
                tokio::join!(acceptor.accept(near), connector.connect(name, far));
            let mut pair = (accepted?, connected?);
            exchange(&mut pair).await;
            Ok(pair)
        }

        /// What a client that says `hello` is told it did wrong.
        async fn failure(&self, hello: &[u8]) -> HandshakeFailure {
            let (near, mut far) = sockets().await;
            far.write_all(hello).await.unwrap();
            far.shutdown().await.unwrap();
            let refused = TlsAcceptor::from(self.acceptor.config()).accept(near).await;
            HandshakeFailure::of(&refused.err().unwrap())
        }
    }

    fn issue(folder: &TempDir, authority: &Authority) -> Identities {
        let files = [authority.issue(folder.path(), "shop", &["shop.example", "*.shop.example"])];
        Identities::load(&files).unwrap()
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, far)
    }

    async fn exchange((near, far): &mut Pair) {
        near.write_all(b"1").await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'1');
        far.write_all(b"2").await.unwrap();
        far.flush().await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'2');
    }

    #[tokio::test]
    async fn a_published_certificate_is_seen_by_the_next_handshake_and_disturbs_no_other() {
        let scene = Scene::new();
        let client = scene.client();
        let mut open = scene.connect(&client, "shop.example").await.unwrap();
        let old = first(open.1.get_ref().1.peer_certificates());
        scene.renew();

        let newcomer = scene.connect(&scene.client(), "shop.example").await.unwrap();
        assert_ne!(first(newcomer.1.get_ref().1.peer_certificates()), old);
        exchange(&mut open).await;
        let again = scene.connect(&client, "shop.example").await.unwrap();
        assert_eq!(again.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    }

    #[tokio::test]
    async fn both_versions_are_spoken_and_both_resume_after_a_reload() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let scene = Scene::new();
            let mut client = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots(&scene.authority))
                .with_no_client_auth();
            client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let client = Arc::new(client);
            let pair = scene.connect(&client, "www.shop.example").await.unwrap();
            let (_, session) = pair.0.get_ref();
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            scene.renew();
            let again = scene.connect(&client, "www.shop.example").await.unwrap();
            assert_eq!(again.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }

    fn roots(authority: &Authority) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        if let crate::policy::Trust::Anchors(anchors) = authority.trust() {
            roots.add_parsable_certificates(anchors.iter().cloned());
        }
        roots
    }

    #[tokio::test]
    async fn our_own_client_refuses_a_wrong_name_and_a_strange_authority() {
        let scene = Scene::new();
        let pair = scene.connect(&scene.client(), "shop.example").await.unwrap();
        assert_eq!(pair.1.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(pair.1.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let stranger = Connector::new(&Authority::new().trust()).unwrap().config();
        for (client, name) in [(scene.client(), "other.example"), (stranger, "shop.example")] {
            let refused = scene.connect(&client, name).await.err().unwrap();
            assert_eq!(HandshakeFailure::of(&refused), HandshakeFailure::ClientAlert);
        }
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let scene = Scene::new();
        let plain = b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
        assert_eq!(scene.failure(plain).await, HandshakeFailure::NotTls);
        assert_eq!(scene.failure(b"").await, HandshakeFailure::Closed);
        let mut http3_only = (*scene.client()).clone();
        http3_only.alpn_protocols = vec![b"h3".to_vec()];
        let refused = scene.connect(&Arc::new(http3_only), "shop.example").await.err().unwrap();
        assert_eq!(HandshakeFailure::of(&refused), HandshakeFailure::NothingInCommon);
        let timeout = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(HandshakeFailure::of(&timeout), HandshakeFailure::Timeout);
        let alert = Error::AlertReceived(AlertDescription::UnknownCA);
        let alert = io::Error::new(io::ErrorKind::InvalidData, alert);
        assert_eq!(HandshakeFailure::of(&alert), HandshakeFailure::ClientAlert);
    }
}
