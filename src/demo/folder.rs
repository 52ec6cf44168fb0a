//! The demo's temporary folder: certificates, the configuration a person may edit, the logs, and
//! the sidecar's data. It goes away with the demo.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName,
};
use tempfile::TempDir;
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

use super::client::Endpoint;

const SERVER_NAME: &str = "localhost";
const PUBLIC_PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9464;
/// What a shop whose code has the gateway's address calls through the forward proxy.
pub(super) const GATEWAY_NAME: &str = "api.stand-in.example";
const ACCESS_LOG: &str = "access.log";

/// The folder and what was put into it.
pub(super) struct Folder {
    certificate: CertificateDer<'static>,
    directory: TempDir,
    gateway: TlsAcceptor,
    listen: SocketAddr,
}

/// Why the folder cannot be prepared.
#[derive(Debug, Error)]
pub enum FolderError {
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The disk refuses.
    #[error("cannot write to the temporary folder")]
    Disk(#[from] io::Error),
    /// The certificate's name is none.
    #[error("cannot name the sidecar")]
    Name(#[from] InvalidDnsNameError),
    /// TLS refuses what was made.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

impl Folder {
    /// Makes the folder, the sidecar's self-signed pair and the gateway's authority.
    ///
    /// # Errors
    /// When the disk or TLS refuses.
    pub(super) fn prepare(listen: Option<SocketAddr>) -> Result<Self, FolderError> {
        let directory = tempfile::Builder::new().prefix("tillgate-demo-").tempdir()?;
        let listen = listen.unwrap_or_else(|| preferred(PUBLIC_PORT));
        fs::create_dir(directory.path().join("tls"))?;
        fs::create_dir(directory.path().join("data"))?;
        let certificate = self_signed(directory.path(), listen.ip())?;
        let gateway = gateway_tls(directory.path())?;
        Ok(Self { certificate, directory, gateway, listen })
    }

    /// Where everything lies.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the sidecar's log lies.
    pub(super) fn log(&self) -> PathBuf {
        self.path().join("tillgate.log")
    }

    /// Where the sidecar's access log lies, as the configuration says.
    pub(super) fn access_log(&self) -> PathBuf {
        self.path().join(ACCESS_LOG)
    }

    /// The shop's log of what it received.
    pub(super) fn shop_log(&self) -> PathBuf {
        self.path().join("shop.log")
    }

    /// The gateway's side of TLS.
    pub(super) fn gateway_tls(&self) -> TlsAcceptor {
        self.gateway.clone()
    }

    /// The sidecar at that address, for a client that trusts its certificate and nothing else.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Result<Endpoint, FolderError> {
        let name = ServerName::try_from(SERVER_NAME)?;
        Ok(Endpoint::Tls { address, name, config: trust(self.certificate.clone())? })
    }

    /// Writes the configuration for a shop and a gateway that listen there.
    pub(super) fn write_config(
        &self,
        shop: SocketAddr,
        gateway: SocketAddr,
    ) -> io::Result<PathBuf> {
        let path = self.path().join("tillgate.toml");
        fs::write(&path, config(self.listen, preferred(ADMIN_PORT), shop, gateway))?;
        Ok(path)
    }
}

fn config(listen: SocketAddr, admin: SocketAddr, shop: SocketAddr, gateway: SocketAddr) -> String {
    format!(
        r#"# The demo's configuration. Edit and save it: the running sidecar takes it up.
data_dir = "data"

[admin]
listen = "{admin}"

[[listen]]
address = "{listen}"
tls = true

[[certificate]]
chain = "tls/demo.pem"
key = "tls/demo.key"

[[site]]
upstreams = ["http://{shop}"]

  [[site.login]]
  path = "/account/login"
  account_field = "email"

[cards]
requests = "tokenize"
responses = "mask"
token_format = "brand-four"

[login]
per_network = "20/min"
per_account = "5/min"
lockout = {{ failures = 10, within = "30m", lock = "30m" }}

[[gateway]]
name = "stand-in"
listen = "127.0.0.1:0"
hosts = ["{GATEWAY_NAME}"]
upstream = "https://{gateway}"
ca = "tls/gateway-ca.pem"

[forward_proxy]
listen = "127.0.0.1:0"

[log]
access = "{ACCESS_LOG}"
"#
    )
}

/// The well-known port if it is free now, else any.
fn preferred(port: u16) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_free) => address,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

fn self_signed(folder: &Path, listen: IpAddr) -> Result<CertificateDer<'static>, FolderError> {
    let key = KeyPair::generate()?;
    let certificate = server_params("tillgate demo", listen)?.self_signed(&key)?;
    fs::write(folder.join("tls/demo.pem"), certificate.pem())?;
    write_secret(&folder.join("tls/demo.key"), &key.serialize_pem())?;
    Ok(certificate.der().clone())
}

fn gateway_tls(folder: &Path) -> Result<TlsAcceptor, FolderError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "tillgate demo gateway authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let pem = authority.self_signed(&authority_key)?.pem();
    fs::write(folder.join("tls/gateway-ca.pem"), pem)?;

    let key = KeyPair::generate()?;
    let params = server_params("tillgate demo gateway", IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let leaf = params.signed_by(&key, &Issuer::new(authority, authority_key))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn server_params(name: &str, address: IpAddr) -> Result<CertificateParams, FolderError> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut names = vec![SERVER_NAME.to_owned()];
    names.extend(loopback.iter().map(IpAddr::to_string));
    if !loopback.contains(&address) && !address.is_unspecified() {
        names.push(address.to_string());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn trust(certificate: CertificateDer<'static>) -> Result<Arc<ClientConfig>, FolderError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use rustls_pki_types::pem::PemObject;
    use tokio::runtime::Builder;

    use super::*;
    use crate::demo::client::{Client, ClientError};
    use crate::demo::gateway::Gateway;
    use crate::demo::serve::{self, Stage};

    fn fetch(endpoint: Endpoint) -> Result<StatusCode, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::new(endpoint);
            let answer = client.get("/").await;
            client.close().await;
            answer.map(|answer| answer.status)
        })
    }

    #[test]
    fn the_browser_trusts_the_sidecars_certificate_and_no_other() {
        let folder = Folder::prepare(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let stage = Stage::open().unwrap();
        let served = |tls| {
            let (listener, address) = serve::bind().unwrap();
            stage.serve(listener, Some(tls), Arc::new(Gateway::default())).unwrap();
            folder.endpoint(address).unwrap()
        };
        let pair = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(folder.path().join("tls/demo.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(folder.path().join("tls/demo.key")).unwrap(),
            )
            .unwrap();
        let ours = served(TlsAcceptor::from(Arc::new(pair)));
        assert_eq!(fetch(ours).unwrap(), StatusCode::NOT_FOUND);
        let theirs = served(folder.gateway_tls());
        assert!(matches!(fetch(theirs), Err(ClientError::Connect { .. })));
        stage.close();
    }

    #[test]
    fn the_gateway_is_verified_by_its_own_authority() {
        let folder = Folder::prepare(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let stage = Stage::open().unwrap();
        let (listener, address) = serve::bind().unwrap();
        let gateway = Arc::new(Gateway::default());
        stage.serve(listener, Some(folder.gateway_tls()), gateway).unwrap();
        let authority = CertificateDer::from_pem_file(folder.path().join("tls/gateway-ca.pem"));
        let config = trust(authority.unwrap()).unwrap();
        let name = ServerName::from(address.ip());
        let status = fetch(Endpoint::Tls { address, name, config }).unwrap();
        assert_eq!(status, StatusCode::NOT_FOUND);
        stage.close();
    }

    #[test]
    fn the_configuration_is_toml_and_names_files_that_exist() {
        let folder = Folder::prepare(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let shop = SocketAddr::from(([127, 0, 0, 1], 1001));
        let gateway = SocketAddr::from(([127, 0, 0, 1], 1002));
        let path = folder.write_config(shop, gateway).unwrap();
        let config: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        assert_eq!(config["listen"][0]["address"].as_str(), Some("127.0.0.1:0"));
        assert_eq!(config["site"][0]["upstreams"][0].as_str(), Some("http://127.0.0.1:1001"));
        assert_eq!(config["gateway"][0]["upstream"].as_str(), Some("https://127.0.0.1:1002"));
        for name in [
            &config["certificate"][0]["chain"],
            &config["certificate"][0]["key"],
            &config["gateway"][0]["ca"],
        ] {
            assert!(folder.path().join(name.as_str().unwrap()).is_file(), "{name}");
        }
    }

    #[test]
    fn a_taken_port_is_left_to_its_owner() {
        let owner = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = owner.local_addr().unwrap().port();
        assert_eq!(preferred(taken).port(), 0);
    }
}
