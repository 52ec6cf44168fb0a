//! A customer of our own, where wrk and h2load have no words for what is asked: every connection in
//! hand, its session resumed or not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::{Domain, Socket, Type};

use crate::failure::Failure;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client of one thread brings along; remembers sessions when it is to resume them.
pub(crate) fn config(
    certificate: &CertificateDer<'static>,
    protocol: &[u8],
    resuming: bool,
) -> Result<Arc<ClientConfig>, Failure> {
    // As wrk and h2load are told to offer: what a record or a handshake costs is no server's taste.
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption =
        if resuming { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Whom we call, as the certificate says.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// One connection, its handshake done.
pub(crate) struct Connection {
    tls: StreamOwned<ClientConnection, TcpStream>,
}

impl Connection {
    /// Customers come from many addresses: `nth` says which is ours.
    pub(crate) fn open(
        config: &Arc<ClientConfig>,
        server: SocketAddr,
        nth: u32,
    ) -> Result<Self, Failure> {
        let mut socket = connect(server, nth).map_err(Failure::io("connect"))?;
        let mut tls = ClientConnection::new(Arc::clone(config), name())?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).map_err(Failure::io("shake hands"))?;
        }
        Ok(Self { tls: StreamOwned::new(tls, socket) })
    }

    pub(crate) fn resumed(&self) -> bool {
        self.tls.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Waits for what lets us resume (RFC 8446 §4.6.1: it comes after the handshake), then leaves.
    pub(crate) fn take_ticket(mut self) -> Result<(), Failure> {
        while self.tls.conn.tls13_tickets_received() == 0 {
            let read = self.tls.conn.read_tls(&mut self.tls.sock);
            if read.map_err(Failure::io("read a ticket"))? == 0 {
                let ended = std::io::ErrorKind::UnexpectedEof.into();
                return Err(Failure::io("read a ticket")(ended));
            }
            self.tls.conn.process_new_packets()?;
        }
        self.tls.conn.send_close_notify();
        self.tls.flush().map_err(Failure::io("leave"))
    }

    /// The body of a page.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.ask(&get(path), "200")
    }

    /// The body of an answer of known length, which must have this status.
    pub(crate) fn ask(&mut self, request: &str, status: &str) -> Result<Vec<u8>, Failure> {
        self.tls.write_all(request.as_bytes()).map_err(Failure::io("ask"))?;
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        let mut head = None;
        loop {
            let read = self.tls.read(&mut buffer).map_err(Failure::io("read an answer"))?;
            answer.extend_from_slice(&buffer[..read]);
            head = head.or_else(|| Head::of(&answer));
            match &head {
                Some(head) if head.status != status || read == 0 => {
                    return Err(Failure::load(&answer[..head.end]));
                }
                Some(head) if answer.len() >= head.end + head.length => {
                    return Ok(answer.split_off(head.end));
                }
                None if read == 0 => return Err(Failure::load(&answer)),
                Some(_) | None => {}
            }
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: peers\r\n\r\n")
}

pub(crate) fn post(path: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: peers\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// What stands before a body.
struct Head {
    status: String,
    length: usize,
    end: usize,
}

impl Head {
    /// Once it is whole.
    fn of(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        let status = head.strip_prefix("http/1.1 ")?.get(..3)?.to_owned();
        Some(Self { status, length: length.trim().parse().ok()?, end })
    }
}

/// From an address of its own per hundred, so that no limit per client is met and no port runs out.
fn connect(server: SocketAddr, nth: u32) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + nth / 100);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}
