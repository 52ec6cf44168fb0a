//! The parts of a written address: servers, parameters, percent-encoding.

use std::path::Path;

use zeroize::Zeroizing;

use super::{PORT, PostgresAddressError, PostgresHost, PostgresTls, PostgresTlsMode};

/// What may stand behind the `?`.
#[derive(Default)]
pub(super) struct Parameters {
    host: Option<String>,
    port: Option<String>,
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, PostgresAddressError> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?.to_string();
            let slot = match name {
                "host" => &mut parameters.host,
                "port" => &mut parameters.port,
                "sslmode" => &mut parameters.mode,
                "sslrootcert" => &mut parameters.root,
                "sslcert" => &mut parameters.certificate,
                "sslkey" => &mut parameters.key,
                "target_session_attrs" if ["primary", "read-write"].contains(&value.as_str()) => {
                    continue;
                }
                "target_session_attrs" => return Err(PostgresAddressError::SessionAttributes),
                _ => return Err(PostgresAddressError::Parameter),
            };
            *slot = Some(value);
        }
        Ok(parameters)
    }

    pub(super) fn tls(
        &self,
        hosts: &[PostgresHost],
        folder: &Path,
    ) -> Result<PostgresTls, PostgresAddressError> {
        let mode = match self.mode.as_deref() {
            // What leaves the machine is verified unless the operator says otherwise.
            None if hosts.iter().all(PostgresHost::is_local) => PostgresTlsMode::Prefer,
            None | Some("verify-full") => PostgresTlsMode::VerifyFull,
            Some("disable") => PostgresTlsMode::Disable,
            Some("prefer") => PostgresTlsMode::Prefer,
            // libpq: with an authority at hand, `require` is `verify-ca`.
            Some("require") if self.root.is_some() => return Err(PostgresAddressError::VerifyCa),
            Some("require") => PostgresTlsMode::Require,
            Some("verify-ca") => return Err(PostgresAddressError::VerifyCa),
            Some(_) => return Err(PostgresAddressError::TlsMode),
        };
        let path = |text: &String| folder.join(text);
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((path(certificate), path(key))),
            (None, None) => None,
            _ => return Err(PostgresAddressError::Identity),
        };
        Ok(PostgresTls { mode, root: self.root.as_ref().map(path), identity })
    }
}

pub(super) fn hosts(
    servers: &str,
    parameters: &Parameters,
) -> Result<Vec<PostgresHost>, PostgresAddressError> {
    let port = match &parameters.port {
        Some(text) => port(text)?,
        None => PORT,
    };
    let written = match &parameters.host {
        Some(host) if servers.is_empty() => host.as_str(),
        Some(_) => return Err(PostgresAddressError::NoHost),
        None => servers,
    };
    written.split(',').map(|server| one_host(server, port)).collect()
}

fn one_host(server: &str, usual: u16) -> Result<PostgresHost, PostgresAddressError> {
    if server.starts_with('/') {
        return Ok(PostgresHost::Socket { folder: server.into(), port: usual });
    }
    let (host, after) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after),
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let port = match after.strip_prefix(':') {
        Some(text) => port(text)?,
        None if after.is_empty() => usual,
        None => return Err(PostgresAddressError::Port),
    };
    let host = decoded(host)?.to_string();
    if host.is_empty() {
        return Err(PostgresAddressError::NoHost);
    }
    if host.starts_with('/') {
        return Ok(PostgresHost::Socket { folder: host.into(), port });
    }
    Ok(PostgresHost::Tcp { host, port })
}

fn port(text: &str) -> Result<u16, PostgresAddressError> {
    text.parse().ok().filter(|port| *port > 0).ok_or(PostgresAddressError::Port)
}

/// Undoes percent-encoding.
pub(super) fn decoded(text: &str) -> Result<Zeroizing<String>, PostgresAddressError> {
    // As long as what is written at most: a buffer that grows leaves a password behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2).ok_or(PostgresAddressError::Percent)?;
        let pair = str::from_utf8(pair).map_err(|_| PostgresAddressError::Percent)?;
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_| PostgresAddressError::Percent)?);
        rest = after;
    }
    let text = str::from_utf8(&bytes).map_err(|_| PostgresAddressError::Percent)?;
    Ok(Zeroizing::new(text.to_owned()))
}
