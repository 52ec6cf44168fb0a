//! Our side of a handshake as server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::challenges;
use super::clients::CurrentCallers;
use super::resolver::Resolver;
use super::{Admission, Callers, ClientIdentity, Identities, VERSIONS, provider};
use crate::policy::Live;

/// A fatal `unrecognized_name` (RFC 6066 §3) in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

const CHACHA20: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Accepts handshakes at one listener for as long as the process lives; how, a reload may change.
pub struct Acceptor {
    door: Live<Door>,
    /// Grows with every change of `door`.
    changes: AtomicU64,
}

/// How handshakes are answered at a listener.
pub(super) struct Door {
    pub(super) config: Arc<ServerConfig>,
    /// For clients whose processors have no instructions for AES: the suite that they name first.
    pub(super) unaided: Option<Arc<ServerConfig>>,
    /// For authorities that ask whether a name is ours.
    pub(super) challenge: Option<Arc<ServerConfig>>,
    /// What there is to answer with, where that is known beforehand.
    pub(super) identities: Option<Arc<Live<Identities>>>,
    /// Whether a name that no certificate carries is refused.
    pub(super) strict: bool,
    /// Whose certificates clients show.
    pub(super) clients: Option<Callers>,
}

/// How a handshake ended well.
#[expect(clippy::large_enum_variant, reason = "the small one is one in a million")]
pub enum Accepted<S> {
    /// An authority has seen that a name is ours, and wants no more.
    Challenge,
    /// A client came in, on these terms.
    Client(TlsStream<S>, Admission),
}

/// A client asked for a name that no certificate here carries, or for none.
#[derive(Clone, Copy, Debug, Error)]
#[error("no certificate for the name that the client asks for")]
pub(super) struct UnknownName;

impl Acceptor {
    pub(super) fn new(door: Door) -> Self {
        Self { door: Live::new(door), changes: AtomicU64::new(0) }
    }

    pub(super) fn replace(&self, door: Door) {
        self.door.publish(door);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often the terms have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether a client that showed this chain would be let in today.
    pub(super) fn admits(&self, chain: &[CertificateDer<'static>]) -> bool {
        self.door.peek().clients.as_ref().is_none_or(|clients| clients.admits(chain))
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
        Self::fixed(Arc::new(config))
    }

    /// One configuration for ever.
    #[must_use]
    pub fn fixed(config: Arc<ServerConfig>) -> Self {
        let (unaided, challenge, identities, clients) = (None, None, None, None);
        Self::new(Door { config, unaided, challenge, identities, strict: false, clients })
    }

    /// Finishes a handshake.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn accept<S>(self: &Arc<Self>, stream: S) -> io::Result<Accepted<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start =
            LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        // In this order: a change in between is then looked at again by the first request.
        let seen = self.changes();
        let door = self.door.load();
        let hello = start.client_hello();
        if let Some(config) = door.challenge.as_ref().filter(|_| challenges::asks(&hello)) {
            start.into_stream(Arc::clone(config)).await?.get_mut().0.shutdown().await?;
            return Ok(Accepted::Challenge);
        }
        if !door.knows(&hello) {
            // rustls would say `access_denied`, which tells nobody what is wrong.
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, UnknownName));
        }
        let config = Arc::clone(door.config_for(&hello));
        let stream = start.into_stream(config).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = shown.first().and_then(ClientIdentity::of);
        let asked = door.clients.is_some().then_some(identity);
        let admission = Admission::new((Arc::clone(self), seen), shown.to_vec(), asked);
        Ok(Accepted::Client(stream, admission))
    }
}

impl Door {
    /// Telephones name ChaCha20 first where AES would cost their battery; all others get our order.
    fn config_for(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        // RFC 8701: a value that means nothing may stand before it.
        let known = |suite: &&CipherSuite| !matches!(suite, CipherSuite::Unknown(_));
        let first = hello.cipher_suites().iter().find(known);
        let slow_at_aes = first.is_some_and(|suite| CHACHA20.contains(suite));
        self.unaided.as_ref().filter(|_| slow_at_aes).unwrap_or(&self.config)
    }

    fn knows(&self, hello: &ClientHello<'_>) -> bool {
        let Some(identities) = self.identities.as_ref().map(|live| live.peek()) else {
            return true;
        };
        match self.strict {
            true => hello.server_name().is_some_and(|name| identities.carries(name)),
            // The first certificate answers for any name; before it has been issued, nothing does.
            false => !identities.is_empty(),
        }
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
    use tokio_rustls::{TlsConnector, client};

    use super::super::fixture::{Authority, first};
    use super::*;
    use crate::policy::{ListenKey, ListenerTls, TlsPolicy, TlsProfile};
    use crate::tls::{Challenges, Connector, HandshakeFailure, Listeners};

    type Pair = (TlsStream<TcpStream>, client::TlsStream<TcpStream>);

    struct Scene {
        folder: TempDir,
        authority: Authority,
        live: Arc<Live<Identities>>,
        listeners: Listeners,
        acceptor: Arc<Acceptor>,
    }

    impl Scene {
        fn new() -> Self {
            let (folder, authority) = (tempdir().unwrap(), Authority::new());
            let live = Arc::new(Live::new(issue(&folder, &authority)));
            let listeners = Listeners::new(Arc::clone(&live), Challenges::default());
            publish(&listeners, TlsProfile::Intermediate, false);
            let acceptor = listeners.acceptor(key());
            Self { folder, authority, live, listeners, acceptor }
        }

        fn client(&self) -> Arc<ClientConfig> {
            Connector::new(&self.authority.trust()).unwrap().config()
        }

        fn renew(&self) {
            self.live.publish(issue(&self.folder, &self.authority));
            publish(&self.listeners, TlsProfile::Intermediate, false);
        }

        /// A handshake over a socket, and one byte each way so that tickets have arrived.
        async fn connect(&self, client: &Arc<ClientConfig>, name: &str) -> io::Result<Pair> {
            let (near, far) = sockets().await;
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let connector = TlsConnector::from(Arc::clone(client));
            let (accepted, connected) =
                tokio::join!(self.acceptor.accept(near), connector.connect(name, far));
            let Accepted::Client(accepted, _) = accepted? else { panic!("a challenge") };
            let mut pair = (accepted, connected?);
            exchange(&mut pair).await;
            Ok(pair)
        }

        /// What a client that says `hello` is told it did wrong.
        async fn failure(&self, hello: &[u8]) -> HandshakeFailure {
            let (near, mut far) = sockets().await;
            far.write_all(hello).await.unwrap();
            far.shutdown().await.unwrap();
            HandshakeFailure::of(&self.acceptor.accept(near).await.err().unwrap())
        }
    }

    fn key() -> ListenKey {
        ListenKey { address: "127.0.0.1:443".parse().unwrap(), repeat: 0 }
    }

    fn publish(listeners: &Listeners, profile: TlsProfile, strict_sni: bool) {
        let listener = ListenerTls { key: key(), profile, strict_sni, client_auth: None };
        let policy = TlsPolicy { listeners: vec![listener], ticket_secret: None };
        listeners.publish(listeners.prepare(&policy).unwrap(), &policy);
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

    #[tokio::test]
    async fn a_modern_listener_agrees_on_a_key_that_no_quantum_computer_finds() {
        let scene = Scene::new();
        publish(&scene.listeners, TlsProfile::Modern, false);
        let pair = scene.connect(&scene.client(), "shop.example").await.unwrap();
        let group = pair.0.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        let old = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots(&scene.authority))
            .with_no_client_auth();
        let refused = scene.connect(&Arc::new(old), "shop.example").await.err().unwrap();
        assert_eq!(HandshakeFailure::of(&refused), HandshakeFailure::OldVersion);
    }

    #[tokio::test]
    async fn a_client_without_instructions_for_aes_gets_chacha20_and_all_others_aes_128() {
        let scene = Scene::new();
        for (first, expected) in [
            (CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256),
            (CHACHA20[0], CHACHA20[0]),
        ] {
            let mut provider = (*provider()).clone();
            provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
            let client = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(VERSIONS)
                .unwrap()
                .with_root_certificates(roots(&scene.authority))
                .with_no_client_auth();
            let client = Arc::new(client);
            for _ in 0..2 {
                let pair = scene.connect(&client, "shop.example").await.unwrap();
                let agreed = pair.0.get_ref().1.negotiated_cipher_suite().unwrap();
                assert_eq!(agreed.suite(), expected);
            }
            let again = scene.connect(&client, "shop.example").await.unwrap();
            assert_eq!(again.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }

    #[tokio::test]
    async fn where_names_are_strict_others_are_refused_and_elsewhere_the_first_answers() {
        let scene = Scene::new();
        let name = "shop.example";
        for (strict, unknown) in
            [(false, HandshakeFailure::ClientAlert), (true, HandshakeFailure::UnknownName)]
        {
            publish(&scene.listeners, TlsProfile::Modern, strict);
            scene.connect(&scene.client(), name).await.unwrap();
            let refused = scene.connect(&scene.client(), "other.example").await.err().unwrap();
            assert_eq!(HandshakeFailure::of(&refused), unknown);
        }
    }

    #[tokio::test]
    async fn an_authority_that_asks_whether_a_name_is_ours_gets_the_answer_and_nothing_more() {
        let scene = Scene::new();
        let key = rcgen::KeyPair::generate().unwrap();
        let answer = scene.authority.direct(&["new.example"], &key);
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let guard =
            scene.listeners.challenges().answer("new.example", answer.clone(), &der).unwrap();
        let mut asking = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .unwrap()
            .with_root_certificates(roots(&scene.authority))
            .with_no_client_auth();
        asking.alpn_protocols = vec![challenges::PROTOCOL.to_vec()];
        let asking = TlsConnector::from(Arc::new(asking));
        publish(&scene.listeners, TlsProfile::Modern, true);
        let ask = async || {
            let (near, far) = sockets().await;
            let name = ServerName::try_from("new.example").unwrap();
            let (accepted, asked) =
                tokio::join!(scene.acceptor.accept(near), asking.connect(name, far));
            let shown = asked.ok().map(|asked| first(asked.get_ref().1.peer_certificates()));
            (matches!(accepted, Ok(Accepted::Challenge)), shown)
        };
        assert_eq!(ask().await, (true, Some(answer)));
        drop(guard);
        assert_eq!(ask().await, (false, None));
    }
}
