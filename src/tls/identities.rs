//! All certificates of one generation, and which of them answers for a name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::error::{IdentityError, IdentityWarning};
use super::identity::Identity;
use crate::policy::CertificateFiles;

/// One generation of certificates, every key checked against its leaf. Empty where no TLS is spoken.
#[derive(Default)]
pub struct Identities {
    /// In the order of the configuration; the first answers where no name fits.
    all: Vec<Identity>,
    exact: HashMap<String, Vec<usize>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    digest: [u8; 32],
}

/// When a certificate ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expiry {
    /// Its first name, or its file where it has none.
    pub name: String,
    /// Seconds since 1970.
    pub not_after_s: i64,
}

impl Identities {
    /// Reads every chain and key; none where nothing is served over TLS.
    ///
    /// # Errors
    ///
    /// The first file that cannot be served; the message names it and the remedy.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, IdentityError> {
        let all = files.iter().map(Identity::load).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(all))
    }

    fn of(all: Vec<Identity>) -> Self {
        let mut exact = HashMap::<String, Vec<usize>>::new();
        let mut wildcard = HashMap::<String, Vec<usize>>::new();
        for (index, identity) in all.iter().enumerate() {
            for name in &identity.names {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(key.to_owned()).or_default().push(index);
            }
        }
        let digest = digest_of(&all);
        Self { all, exact, wildcard, digest }
    }

    /// Whether there is nothing to answer a handshake with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether `other` would serve the very same, so that publishing it may be skipped.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// When each certificate ends; the soonest where several carry the same first name.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut found: Vec<Expiry> = Vec::with_capacity(self.all.len());
        for identity in &self.all {
            let name = identity.label();
            let not_after_s = identity.not_after_s;
            match found.iter_mut().find(|earlier| earlier.name == name) {
                Some(earlier) => earlier.not_after_s = earlier.not_after_s.min(not_after_s),
                None => found.push(Expiry { name, not_after_s }),
            }
        }
        found
    }

    /// What an operator should know about certificates that are served all the same.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<IdentityWarning> {
        self.all.iter().flat_map(|identity| identity.warnings(now)).collect()
    }

    /// Whether every one of `names` is answered by a certificate that carries it.
    #[must_use]
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.carries(name))
    }

    /// Whether a certificate here carries this name.
    pub(super) fn carries(&self, name: &str) -> bool {
        !self.candidates(name).is_empty()
    }

    /// The certificate for a name: exact before wildcard before the first. Where several carry the
    /// name (RSA beside ECDSA), the first whose key the client can verify.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let candidates = name.map(|name| self.candidates(name)).unwrap_or_default();
        let mut named = candidates.iter().filter_map(|index| self.all.get(*index));
        let first = named.clone().next().or_else(|| self.all.first());
        let usable = named.find(|identity| identity.certified.key.choose_scheme(schemes).is_some());
        usable.or(first).map(|identity| Arc::clone(&identity.certified))
    }

    fn candidates(&self, name: &str) -> &[usize] {
        // DNS names compare without case (RFC 4343) and a trailing dot is the same name.
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(found) = self.exact.get(&name) {
            return found;
        }
        // RFC 9525 §6.3: a wildcard stands for one whole label.
        let suffix = name.split_once('.').map(|(_, suffix)| suffix);
        suffix.and_then(|suffix| self.wildcard.get(suffix)).map_or(&[], Vec::as_slice)
    }
}

impl Identity {
    fn label(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.files.chain.display().to_string())
    }
}

/// Tells names and dates; keys have no mouth.
impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("expiries", &self.expiries()).finish_non_exhaustive()
    }
}

/// Over the chains alone: each key is known to be its leaf's, so it adds nothing.
fn digest_of(all: &[Identity]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for identity in all {
        // The count sets chains apart; a certificate's own DER length sets certificates apart.
        context.update(&identity.certified.cert.len().to_be_bytes());
        identity.certified.cert.iter().for_each(|der| context.update(der));
    }
    let mut out = [0; 32];
    let digest = context.finish();
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use tempfile::tempdir;

    use super::super::fixture::{Authority, YEAR_2040_S, key, write_pair};
    use super::*;

    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

    #[test]
    fn exact_names_come_before_wildcards_and_the_first_is_the_default() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let files = [
            authority.issue(folder.path(), "0", &["first.example"]),
            authority.issue(folder.path(), "1", &["*.shop.example", "shop.example"]),
            authority.issue(folder.path(), "2", &["www.shop.example"]),
        ];
        let identities = Identities::load(&files).unwrap();
        let found = |name| {
            let found = identities.find(name, ECDSA).unwrap();
            identities.all.iter().position(|one| Arc::ptr_eq(&one.certified, &found)).unwrap()
        };
        let cases = [
            (Some("www.shop.example"), 2),
            (Some("WWW.Shop.Example."), 2),
            (Some("api.shop.example"), 1),
            (Some("shop.example"), 1),
            (Some("a.b.shop.example"), 0),
            (Some("unknown.example"), 0),
            (Some("example"), 0),
            (None, 0),
        ];
        for (name, expected) in cases {
            assert_eq!(found(name), expected, "{name:?}");
        }
    }

    #[test]
    fn of_two_keys_for_a_name_the_one_the_client_can_verify_is_taken() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let pair = |stem: &str, key: &KeyPair| {
            let chain = authority.leaf(&["shop.example"], key).pem();
            write_pair(folder.path(), stem, &chain, &key.serialize_pem())
        };
        let files =
            [pair("ec", &key(&PKCS_ECDSA_P256_SHA256)), pair("rsa", &key(&PKCS_RSA_SHA256))];
        let identities = Identities::load(&files).unwrap();
        let kind =
            |schemes| identities.find(Some("shop.example"), schemes).unwrap().key.algorithm();
        assert_eq!(kind(ECDSA), rustls::SignatureAlgorithm::ECDSA);
        assert_eq!(kind(RSA), rustls::SignatureAlgorithm::RSA);
    }

    #[test]
    fn the_same_files_are_the_same_and_new_ones_are_not() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let files = [authority.issue(folder.path(), "a", &["shop.example"])];
        let one = Identities::load(&files).unwrap();
        assert!(one.same_as(&Identities::load(&files).unwrap()));
        authority.issue(folder.path(), "a", &["shop.example"]);
        assert!(!one.same_as(&Identities::load(&files).unwrap()));
    }

    #[test]
    fn expiries_are_told_by_name() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let files = [
            authority.issue(folder.path(), "a", &["shop.example", "192.0.2.1"]),
            authority.issue(folder.path(), "b", &["shop.example"]),
        ];
        let expiries = Identities::load(&files).unwrap().expiries();
        let expected = Expiry { name: "shop.example".to_owned(), not_after_s: YEAR_2040_S };
        assert_eq!(expiries, [expected]);
    }

    #[test]
    fn without_files_there_is_nothing_to_answer_with() {
        let none = Identities::load(&[]).unwrap();
        assert!(none.is_empty() && none.find(Some("shop.example"), ECDSA).is_none());
    }
}
