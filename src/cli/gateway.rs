//! `tillgate gateway`: what the shop needs to call its payment gateways through us.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::CliError;
use crate::{app, config};

#[derive(Debug, Subcommand)]
pub(super) enum GatewayCommand {
    /// Print the certificate that the shop must trust to call its gateways through [forward_proxy].
    ///
    /// It is made when tillgate first runs, and again when the `hosts` of the gateways change; the
    /// key behind it never leaves the data folder.
    #[command(after_help = CA_HELP)]
    Ca {
        /// The configuration file, which names the data folder.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

const CA_HELP: &str = "\
Example:
  tillgate gateway ca --config /etc/tillgate/tillgate.toml > /etc/shop/tillgate-ca.pem

Then start the shop with HTTPS_PROXY=http://127.0.0.1:9501 (the address of [forward_proxy]), and
have it trust the file, by whichever of these its language reads:
  the whole system       copy it to /usr/local/share/ca-certificates/tillgate.crt, then run
                         update-ca-certificates
  curl                   CURL_CA_BUNDLE=FILE
  PHP                    php.ini: curl.cainfo = FILE and openssl.cafile = FILE
  Node.js                NODE_EXTRA_CA_CERTS=FILE (24 and later: NODE_USE_ENV_PROXY=1 too)
  Python                 REQUESTS_CA_BUNDLE=FILE (requests), SSL_CERT_FILE=FILE (urllib, httpx)
  Ruby, Go, Perl, Rust   SSL_CERT_FILE=FILE
Except for Node.js and the system's folder, the file replaces what was trusted before: where the
shop calls other servers too, append it to a copy of /etc/ssl/certs/ca-certificates.crt.";

/// Prints the authority's certificate.
pub(super) fn ca(path: &Path) -> Result<ExitCode, CliError> {
    let loaded = config::load(path)?;
    let certificate = app::authority_certificate(&loaded.startup)?;
    std::io::stdout().write_all(certificate.pem.as_bytes())?;
    if certificate.hosts != loaded.snapshot.intercepted_hosts() {
        let said = certificate.hosts.join(", ");
        writeln!(
            std::io::stderr(),
            "tillgate: this certificate is for {said}; the file names other hosts, for which \
             tillgate makes a new one when it runs with it"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
