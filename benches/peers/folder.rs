//! A folder for one run: the certificate, the origin's files, and every program's config.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;

use crate::case::FORM;
use crate::failure::Failure;

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

/// Rows of a shop's list, padded to exactly this many bytes.
fn page(size: usize) -> String {
    let (head, tail) = ("<!doctype html><title>Shop</title>\n<ul class=\"products\">\n", "</ul>\n");
    let row = |number: usize| {
        format!(
            "<li id=\"p{number}\"><a href=\"/tea/{number}?ref=list\"><img src=\"/img/tea-{number}-320x240.jpg\" \
             alt=\"\"> Tea no. {number}</a> <span class=\"price\">{}.90 &euro;</span> <small>{} g, in stock</small></li>\n",
            4 + number % 37,
            50 * (1 + number % 5)
        )
    };
    fill(size, head, row, tail)
}

/// A catalogue as an API answers it, full of article numbers that are no card numbers.
fn catalogue(size: usize) -> String {
    let row = |number: usize| {
        format!(
            "{}{{\"id\":{},\"sku\":\"TEA-{number:05}\",\"ean\":\"{}\",\"name\":\"Tea no. {number}\",\
             \"price\":{}.90,\"stock\":{},\"changed\":\"2026-03-{:02}T08:15:00Z\"}}",
            if number == 0 { "" } else { "," },
            104_200 + number,
            4_006_381_333_931_usize + 7 * number,
            4 + number % 37,
            number * 13 % 97,
            1 + number % 28
        )
    };
    fill(size, "{\"products\":[", row, "]}")
}

fn fill(size: usize, head: &str, row: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let row = row(number);
        if text.len() + row.len() + tail.len() > size {
            break;
        }
        text.push_str(&row);
    }
    text.push_str(tail);
    let missing = size.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('\n', missing));
    text
}

/// What makes wrk post.
fn post() -> String {
    let mut script = "wrk.method = \"POST\"\n".to_owned();
    let _ = writeln!(script, "wrk.body = \"{FORM}\"");
    script + "wrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"\n"
}
