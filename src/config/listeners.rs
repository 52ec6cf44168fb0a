//! How TLS is spoken with clients, and the certificates it is spoken with.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::asn1_rs::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::compile::{Compiler, is};
use super::schema::{
    CertificateSchema, ClientAuthModeSchema, ClientAuthSchema, FileSchema, ListenSchema,
    ProfileSchema,
};
use super::sockets::listen_key;
use super::source::At;
use crate::policy::{
    CertificateFiles, ClientAuth, ClientAuthMode, ListenKey, ListenerTls, Secret, TlsPolicy,
    TlsProfile,
};

/// The largest list of revoked certificates.
const CRL_BYTES_MAX: u64 = 64 << 20;

/// The least that keys are derived from.
const TICKET_SECRET_BYTES_MIN: usize = 32;

impl Compiler<'_> {
    /// How TLS is spoken at each listener.
    pub(super) fn tls(&mut self, file: &FileSchema) -> TlsPolicy {
        let (mut listeners, mut before) = (Vec::new(), Vec::new());
        for listen in &file.listen {
            let listen = listen.get();
            // One that is none is told by whoever binds it.
            let Ok(address) = listen.address.get().parse() else { continue };
            let key = listen_key(address, before.iter().copied());
            before.push(address);
            if is(listen.tls.as_ref()) {
                listeners.push(self.listener_tls(key, listen));
            } else {
                self.refuse_idle_tls(listen);
            }
        }
        TlsPolicy { listeners, ticket_secret: self.ticket_secret(file) }
    }

    fn listener_tls(&mut self, key: ListenKey, written: &ListenSchema) -> ListenerTls {
        let profile = match written.profile.as_ref().map(At::get) {
            Some(ProfileSchema::Intermediate) => TlsProfile::Intermediate,
            Some(ProfileSchema::Modern) | None => TlsProfile::Modern,
        };
        let strict_sni = is(written.strict_sni.as_ref());
        let client_auth = written.client_auth.as_ref();
        let client_auth = client_auth.and_then(|at| self.client_auth(at.get()));
        ListenerTls { key, profile, strict_sni, client_auth }
    }

    /// Whoever asks for certificates where none can be shown believes in a door that is not there.
    fn refuse_idle_tls(&mut self, written: &ListenSchema) {
        let idle = [
            ("profile", written.profile.as_ref().map(At::span)),
            ("strict_sni", written.strict_sni.as_ref().filter(|at| *at.get()).map(At::span)),
            ("client_auth", written.client_auth.as_ref().map(At::span)),
        ];
        for (name, span) in idle {
            if let Some(span) = span {
                let message = "means nothing where no TLS is spoken";
                let remedy = "set `tls = true`, or remove it";
                self.refuse(&span, &format!("listen.{name}"), message, remedy);
            }
        }
    }

    fn client_auth(&mut self, written: &ClientAuthSchema) -> Option<ClientAuth> {
        let trust = self.trust("listen.client_auth.ca", Some(&written.ca));
        let revoked = match &written.crl {
            None => Some(Arc::default()),
            Some(at) => self.revoked("listen.client_auth.crl", at),
        };
        let mode = match written.mode.get() {
            ClientAuthModeSchema::Optional => ClientAuthMode::Optional,
            ClientAuthModeSchema::Required => ClientAuthMode::Required,
        };
        Some(ClientAuth { mode, trust: trust?, revoked: revoked? })
    }

    fn revoked(
        &mut self,
        key: &str,
        at: &At<String>,
    ) -> Option<Arc<[CertificateRevocationListDer<'static>]>> {
        let path = self.readable(key, at)?;
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= CRL_BYTES_MAX);
        let remedy = "give the lists that the authorities publish, in PEM or DER";
        let Some(bytes) = fs::read(&path).ok().filter(|_| small) else {
            self.refuse(&at.span(), key, "is too large to be read", remedy);
            return None;
        };
        let lists: Result<Vec<_>, _> = if bytes.starts_with(&[0x30]) {
            Ok(vec![CertificateRevocationListDer::from(bytes)])
        } else {
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect()
        };
        let sound = |der: &CertificateRevocationListDer<'_>| {
            CertificateRevocationList::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
        };
        let lists = lists.unwrap_or_default();
        if lists.is_empty() || !lists.iter().all(sound) {
            self.refuse(&at.span(), key, "is no list of revoked certificates", remedy);
            return None;
        }
        Some(lists.into())
    }

    fn ticket_secret(&mut self, file: &FileSchema) -> Option<Secret> {
        let key = "tls.ticket_secret";
        let at = file.tls.ticket_secret.as_ref()?;
        let secret = self.secret(key, at)?;
        if secret.expose().len() < TICKET_SECRET_BYTES_MIN {
            let remedy = "make one with `openssl rand -base64 48`";
            self.refuse(&at.span(), key, "is shorter than 32 bytes", remedy);
        }
        Some(secret)
    }

    pub(super) fn certificates(
        &mut self,
        written: &[At<CertificateSchema>],
    ) -> Vec<CertificateFiles> {
        let mut pairs = HashSet::<(PathBuf, PathBuf)>::new();
        let mut certificates = Vec::new();
        for certificate in written {
            let Some((chain, key)) = self.chain_and_key(certificate) else { continue };
            let ocsp = &certificate.get().ocsp;
            if !pairs.insert((self.path(chain), self.path(key))) {
                let remedy = "remove one of the two";
                self.refuse(&certificate.span(), "certificate", "is given twice", remedy);
            }
            let ocsp = ocsp.as_ref().map(|at| {
                let path = self.path(at);
                self.follow(path.clone());
                path
            });
            let chain = self.readable("certificate.chain", chain);
            let key = self.readable("certificate.key", key);
            if let (Some(chain), Some(key)) = (chain, key) {
                certificates.push(CertificateFiles { ocsp, ..CertificateFiles::new(chain, key) });
            }
        }
        certificates
    }

    /// The files of a certificate; none where it is asked for, or where that is not said.
    fn chain_and_key<'c>(
        &mut self,
        at: &'c At<CertificateSchema>,
    ) -> Option<(&'c At<String>, &'c At<String>)> {
        let CertificateSchema { chain, key, ocsp, acme, names } = at.get();
        match (chain, key, acme, names) {
            (Some(chain), Some(key), None, None) => return Some((chain, key)),
            (None, None, Some(_), _) if ocsp.is_none() => return None,
            _ => {}
        }
        let remedy = "write `chain` and `key`, or `acme` and `names`";
        self.refuse(&at.span(), "certificate", "is neither in files nor asked for", remedy);
        None
    }
}
