//! A folder for one run: the certificate, the origin's files, and every program's config.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;

use crate::failure::Failure;
use crate::pages::{FORM, catalogue, page};

/// Every client offers the same, so that no server's taste decides what a record costs.
const CLIENT_TLS: &str = "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n\
    [all]\nMinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";

/// Removed when dropped.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = TempDir::new().map_err(Failure::io("make a folder"))?;
        let this = Self { folder };
        std::fs::create_dir(this.at("shop")).map_err(Failure::io("make a folder"))?;
        this.write("shop/1k.html", &page(1 << 10))?;
        this.write("shop/16k.html", &page(16 << 10))?;
        this.write("shop/16k.json", &catalogue(16 << 10))?;
        this.write("shop/100k.html", &page(100 << 10))?;
        this.write("client-tls.cnf", CLIENT_TLS)?;
        this.write("post.lua", &post())?;
        this.write_identity()?;
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
        std::fs::write(&file, text).map_err(Failure::io("write a file"))?;
        Ok(file)
    }

    /// `tls.pem` and `tls.key`, and both in `tls.both`, as HAProxy reads them.
    fn write_identity(&self) -> Result<(), Failure> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let leaf = CertificateParams::new(names)?.self_signed(&pair)?;
        let (chain, key) = (leaf.pem(), pair.serialize_pem());
        self.write("tls.pem", &chain)?;
        self.write("tls.key", &key)?;
        self.write("tls.both", &(chain + &key))?;
        Ok(())
    }
}

/// What makes wrk post.
fn post() -> String {
    let mut script = "wrk.method = \"POST\"\n".to_owned();
    let _ = writeln!(script, "wrk.body = \"{FORM}\"");
    script + "wrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"\n"
}
