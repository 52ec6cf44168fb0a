//! A client over TLS 1.3 who asks for one thing after the other. What it does is not counted.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path as File, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::path::{How, Path};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The server's certificate.
pub(crate) struct Identity {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    leaf: CertificateDer<'static>,
}

/// One client; every connection is its own.
pub(crate) struct Client {
    runtime: Runtime,
    address: SocketAddr,
    leaf: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn make(folder: &File) -> Outcome<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = CertificateParams::new(["localhost".to_owned()])?.self_signed(&pair)?;
        let (chain, key) = (folder.join("tls.pem"), folder.join("tls.key"));
        std::fs::write(&chain, leaf.pem())?;
        std::fs::write(&key, pair.serialize_pem())?;
        Ok(Self { chain, key, leaf: leaf.der().clone() })
    }
}

impl Client {
    pub(crate) fn new(identity: &Identity, address: SocketAddr) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address, leaf: identity.leaf.clone() })
    }

    /// Asks so often, and reads each answer to its end.
    pub(crate) fn repeat(&self, path: &Path, times: u32) -> Outcome<()> {
        self.runtime.block_on(async {
            let settings = self.settings(path.how)?;
            match path.how {
                How::Http1 => self.http1(&settings, path, times).await,
                How::Http2 => self.http2(&settings, path, times).await,
                How::Handshake => {
                    for _ in 0..times {
                        self.http1(&self.settings(path.how)?, path, 1).await?;
                    }
                    Ok(())
                }
                How::Resumption => {
                    for _ in 0..times {
                        self.http1(&settings, path, 1).await?;
                    }
                    Ok(())
                }
            }
        })
    }

    async fn http1(&self, settings: &Arc<ClientConfig>, path: &Path, times: u32) -> Outcome<()> {
        let stream = TokioIo::new(self.connect(settings).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        for _ in 0..times {
            sender.ready().await?;
            read(sender.send_request(self.request(path)?).await?).await?;
        }
        drop(sender);
        // The program may have ended the connection before us.
        driver.join_next().await.transpose()?.map_or(Ok(()), |end| {
            end.or_else(|error| if error.is_shutdown() { Ok(()) } else { Err(error.into()) })
        })
    }

    async fn http2(&self, settings: &Arc<ClientConfig>, path: &Path, times: u32) -> Outcome<()> {
        let stream = TokioIo::new(self.connect(settings).await?);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        for _ in 0..times {
            sender.ready().await?;
            read(sender.send_request(self.request(path)?).await?).await?;
        }
        drop(sender);
        driver.join_next().await.transpose()?.map_or(Ok(()), |end| Ok(end?))
    }

    async fn connect(&self, settings: &Arc<ClientConfig>) -> Outcome<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        Ok(TlsConnector::from(Arc::clone(settings)).connect(name, stream).await?)
    }

    /// Remembers tickets as long as it lives.
    fn settings(&self, how: How) -> Outcome<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.leaf.clone())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut settings = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let spoken: &[u8] = if matches!(how, How::Http2) { b"h2" } else { b"http/1.1" };
        settings.alpn_protocols = vec![spoken.to_vec()];
        Ok(Arc::new(settings))
    }

    fn request(&self, path: &Path) -> Outcome<Request<Full<Bytes>>> {
        let authority = format!("localhost:{}", self.address.port());
        let uri = match path.how {
            How::Http2 => format!("https://{authority}{}", path.target),
            How::Http1 | How::Handshake | How::Resumption => path.target.to_owned(),
        };
        let mut request =
            Request::builder().uri(uri).header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
        if !matches!(path.how, How::Http2) {
            request = request.header("host", authority);
        }
        if let Some(form) = path.form {
            let request = request
                .method(Method::POST)
                .header("content-type", "application/x-www-form-urlencoded");
            return Ok(request.body(Full::from(form))?);
        }
        Ok(request.body(Full::default())?)
    }
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Outcome<()> {
    let status = response.status();
    if !status.is_success() && !status.is_redirection() {
        return Err(format!("the answer is {status}").into());
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
