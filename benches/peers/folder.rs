//! A folder for one run: the certificates, the origin's files, and every program's config.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use crate::case::CARD;
use crate::failure::Failure;
use crate::pages::{catalogue, page};

/// Every client offers the same, so that no server's taste decides what a record costs.
const CLIENT_TLS: &str = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n\
    [all]\nMinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";

/// Whose signature a full handshake holds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Key {
    Ecdsa,
    Rsa,
}

/// Removed when dropped.
pub(crate) struct Folder {
    folder: TempDir,
    ecdsa: CertificateDer<'static>,
    rsa: CertificateDer<'static>,
}

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = TempDir::new().map_err(Failure::io("make a folder"))?;
        let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let ecdsa = identity(folder.path(), Key::Ecdsa, &ecdsa)?;
        let rsa = identity(folder.path(), Key::Rsa, &rsa)?;
        let this = Self { folder, ecdsa, rsa };
        std::fs::create_dir(this.at("shop")).map_err(Failure::io("make a folder"))?;
        for (name, text) in [
            ("1k.html", page(1 << 10)),
            ("16k.html", page(16 << 10)),
            ("16k.json", catalogue(16 << 10)),
            ("100k.html", page(100 << 10)),
            ("100k.json", catalogue(100 << 10)),
            ("1m.html", page(1 << 20)),
            ("card.html", page(4 << 10) + "<p>Paid with " + CARD + ".</p>\n"),
            ("card.json", format!("{{\"paid\":true,\"card\":\"{CARD}\"}}")),
        ] {
            this.write(&format!("shop/{name}"), &text)?;
        }
        this.write("client-tls.cnf", CLIENT_TLS)?;
        Ok(this)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let file = self.at(name);
        write(&file, text)?;
        Ok(file)
    }

    /// Of the certificate that servers show with this key; no authority signed it.
    pub(crate) fn certificate(&self, key: Key) -> &CertificateDer<'static> {
        match key {
            Key::Ecdsa => &self.ecdsa,
            Key::Rsa => &self.rsa,
        }
    }
}

impl Key {
    /// The stem of its files.
    pub(crate) fn stem(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA 2048",
        }
    }
}

/// A `.pem` and a `.key`, and both in one `.both`, as HAProxy reads them.
fn identity(folder: &Path, key: Key, pair: &KeyPair) -> Result<CertificateDer<'static>, Failure> {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let leaf = CertificateParams::new(names)?.self_signed(pair)?;
    let (chain, secret) = (leaf.pem(), pair.serialize_pem());
    let stem = folder.join(key.stem());
    write(&stem.with_extension("pem"), &chain)?;
    write(&stem.with_extension("key"), &secret)?;
    write(&stem.with_extension("both"), &(chain + &secret))?;
    Ok(leaf.der().clone())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(Failure::io("write a file"))
}
