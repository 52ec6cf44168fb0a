//! A client that writes and reads HTTP/1.1 by hand, with or without TLS.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::wire::{self, Answer, Recorded, Stream};
use super::{DEADLINE, HOST, canary, certificates};

/// What a client says in its handshake; clones share the session cache.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: String,
}

/// One connection.
pub(crate) struct Client {
    reader: BufReader<Recorded>,
    handshake: Option<Handshake>,
    pub(crate) host: String,
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) kind: Option<HandshakeKind>,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) version: Option<ProtocolVersion>,
}

impl Tls {
    /// Trusts the tests' authority, offers TLS 1.2 and 1.3 and HTTP/1.1, asks for `name`.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, rustls::ALL_VERSIONS, &[b"http/1.1"])
    }

    pub(crate) fn with(
        name: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Self {
        Self::trusting(certificates::authority_pem(), name, versions, alpn)
    }

    /// The same with trust in another authority alone.
    pub(crate) fn trusting(
        authority_pem: &str,
        name: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Self {
        let mut config = ClientConfig::builder_with_provider(certificates::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(certificates::roots_of(authority_pem))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self { config: Arc::new(config), name: name.to_owned() }
    }

    /// The same client, which shows this certificate when it is asked.
    pub(crate) fn showing(&self, identity: &super::Identity) -> Self {
        let mut config = ClientConfig::builder_with_provider(certificates::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(certificates::roots_of(certificates::authority_pem()))
            .with_client_auth_cert(identity.certificates(), identity.private_key())
            .unwrap();
        config.alpn_protocols.clone_from(&self.config.alpn_protocols);
        Self { config: Arc::new(config), name: self.name.clone() }
    }

    /// Connects and finishes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<Client> {
        self.over(open(address)?)
    }

    /// The same behind these bytes, which a load balancer would send.
    pub(crate) fn connect_after(&self, address: SocketAddr, first: &[u8]) -> io::Result<Client> {
        let mut tcp = open(address)?;
        tcp.write_all(first)?;
        self.over(tcp)
    }

    /// The same, at the end of a tunnel to `target` through a proxy.
    pub(crate) fn connect_through(&self, proxy: SocketAddr, target: &str) -> io::Result<Client> {
        let (answer, client) = Client::through(proxy, target);
        assert_eq!(answer.status, 200, "CONNECT {target}");
        self.over(client.tcp().try_clone()?)
    }

    fn over(&self, mut tcp: TcpStream) -> io::Result<Client> {
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        let handshake = Handshake {
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            kind: connection.handshake_kind(),
            leaf: connection.peer_certificates().unwrap()[0].clone().into_owned(),
            version: connection.protocol_version(),
        };
        let stream = Box::new(StreamOwned::new(connection, tcp));
        Ok(Client { handshake: Some(handshake), ..Client::over(stream, &self.name) })
    }
}

impl Client {
    /// Asks a proxy for a connection; after a yes it is the other end that is spoken to.
    pub(crate) fn through(proxy: SocketAddr, target: &str) -> (Answer, Self) {
        let mut client = Self::plain(proxy);
        client.send(format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"));
        let answer = client.head();
        (answer, client)
    }

    /// Connects without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::try_plain(address).unwrap()
    }

    /// The same, where nobody may listen.
    pub(crate) fn try_plain(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Box::new(open(address)?), HOST))
    }

    /// The same from another address of this machine.
    pub(crate) fn plain_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&address.into(), DEADLINE)?;
        let tcp = TcpStream::from(socket);
        settle(&tcp)?;
        Ok(Self::over(Box::new(tcp), HOST))
    }

    fn over(stream: Box<dyn Stream>, host: &str) -> Self {
        let tape = canary::tape("what a client received");
        Self {
            reader: BufReader::new(Recorded::new(stream, &tape)),
            handshake: None,
            host: host.to_owned(),
        }
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        self.handshake.as_ref().expect("a connection without TLS")
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.reader.get_ref().stream.tcp()
    }

    /// Writes bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = &mut self.reader.get_mut().stream;
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Writes what fits before the socket's write timeout; how much that was.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reader.get_mut().stream.write(bytes)
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn post(
        &mut self,
        target: &str,
        content_type: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        self.request("POST", target, &[("content-type", content_type)], body.as_ref())
    }

    pub(crate) fn form(&mut self, target: &str, body: &str) -> Answer {
        self.post(target, "application/x-www-form-urlencoded", body)
    }

    pub(crate) fn json(&mut self, target: &str, body: &str) -> Answer {
        self.post(target, "application/json", body)
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let result = self.try_request(method, target, fields, body);
        result.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) fn try_request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.try_send(&bytes)?;
        self.try_answer(method)
    }

    /// The next final answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer("GET").unwrap()
    }

    pub(crate) fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let mut answer = self.try_head()?;
            if answer.status == 101 {
                return Ok(answer);
            }
            if answer.status < 200 {
                continue;
            }
            if method != "HEAD" && !matches!(answer.status, 204 | 304) {
                let (body, trailers) = wire::read_body(&mut self.reader, &answer.head, true)?;
                (answer.body, answer.trailers) = (body, trailers);
            }
            return Ok(answer);
        }
    }

    /// The next head, also an interim one; its body is left unread.
    pub(crate) fn head(&mut self) -> Answer {
        self.try_head().unwrap()
    }

    fn try_head(&mut self) -> io::Result<Answer> {
        let head = wire::read_head(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {}", head.start));
        Ok(Answer { status, head, body: Vec::new(), trailers: Vec::new() })
    }

    /// The next chunk of an answer's body.
    pub(crate) fn piece(&mut self) -> Option<Vec<u8>> {
        wire::read_chunk(&mut self.reader).unwrap()
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The same, where the connection may end before.
    pub(crate) fn try_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Everything up to the end of the connection, however it ends.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("the connection stays open")
            }
            Ok(_) | Err(_) => bytes,
        }
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
    settle(&tcp)?;
    Ok(tcp)
}

fn settle(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_read_timeout(Some(DEADLINE))?;
    tcp.set_write_timeout(Some(DEADLINE))?;
    tcp.set_nodelay(true)
}
