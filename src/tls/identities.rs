//! All certificates of one generation, and which of them answers for a name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::error::{IdentityError, IdentityWarning};
use super::identity::{Identity, unix_seconds};
use super::look::Look;
use crate::policy::CertificateFiles;

/// One generation of certificates, every key checked against its leaf. Empty where no TLS is spoken.
#[derive(Default)]
pub struct Identities {
    /// In the order of the configuration; the first answers where no name fits.
    all: Vec<Arc<Identity>>,
    /// Each pair as it was last looked at, with those that are not served.
    looks: HashMap<CertificateFiles, Look>,
    exact: HashMap<String, Vec<usize>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    digest: [u8; 32],
}

/// How a certificate stands. Times are in seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its first name, or its file where it has none.
    pub name: String,
    /// When it ends.
    pub not_after_s: i64,
    /// When it was loaded.
    pub loaded_s: i64,
    /// Whether its files hold something else, which was refused.
    pub differs: bool,
    /// Until when its authority's word is handed on; 0 where there must be one and is none.
    pub staple_until_s: Option<i64>,
}

/// The next generation, and what of it was refused.
pub struct Renewed {
    /// To be served from now on.
    pub identities: Identities,
    /// Pairs that changed and cannot be served: those before them stay.
    pub refused: Vec<IdentityError>,
}

impl Identities {
    /// Reads every chain and key; none where nothing is served over TLS.
    ///
    /// # Errors
    ///
    /// The first file that cannot be served; the message names it and the remedy.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, IdentityError> {
        Ok(Self::default().renew(files, SystemTime::now())?.identities)
    }

    /// Reads what has changed. A pair that cannot be served is refused alone, and the one that was in its
    /// place stays.
    ///
    /// # Errors
    ///
    /// A pair that cannot be served and has none before it.
    pub fn renew(
        &self,
        files: &[CertificateFiles],
        now: SystemTime,
    ) -> Result<Renewed, IdentityError> {
        let (mut looks, mut refused) = (HashMap::with_capacity(files.len()), Vec::new());
        let mut all = Vec::with_capacity(files.len());
        for pair in files {
            let (look, fault) = Look::again(self.looks.get(pair), pair, now)?;
            refused.extend(fault);
            all.extend(look.served.clone());
            looks.insert(pair.clone(), look);
        }
        Ok(Renewed { identities: Self::of(all, looks), refused })
    }

    fn of(all: Vec<Arc<Identity>>, looks: HashMap<CertificateFiles, Look>) -> Self {
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
        Self { all, looks, exact, wildcard, digest }
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

    /// How each certificate stands; the worst of those that carry the same first name.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let mut found: Vec<Standing> = Vec::with_capacity(self.all.len());
        let mut places = HashMap::new();
        for standing in self.all.iter().map(|identity| self.standing(identity)) {
            let place = *places.entry(standing.name.clone()).or_insert(found.len());
            match found.get_mut(place) {
                Some(earlier) => earlier.join(&standing),
                None => found.push(standing),
            }
        }
        found
    }

    fn standing(&self, identity: &Identity) -> Standing {
        let look = self.looks.get(&identity.files);
        Standing {
            name: identity.label(),
            not_after_s: identity.not_after_s,
            loaded_s: identity.loaded_s,
            differs: look.is_some_and(|look| look.refused.is_some()),
            staple_until_s: identity.staple_until_s(),
        }
    }

    /// What an operator should know about certificates that are served all the same, about their files,
    /// and about those that are still to come.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<IdentityWarning> {
        let of_files = self.looks.iter().flat_map(|(pair, look)| look.warnings(pair));
        let mut of_files: Vec<_> = of_files.collect();
        of_files.sort_by_cached_key(IdentityWarning::to_string);
        let served = self.all.iter().flat_map(|identity| identity.warnings(now));
        served.chain(of_files).collect()
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
        let now_s = || unix_seconds(SystemTime::now());
        usable.or(first).map(|identity| Arc::clone(identity.current(now_s)))
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

impl Standing {
    fn join(&mut self, other: &Self) {
        self.not_after_s = self.not_after_s.min(other.not_after_s);
        self.loaded_s = self.loaded_s.min(other.loaded_s);
        self.differs |= other.differs;
        let ends = [self.staple_until_s, other.staple_until_s].into_iter().flatten();
        self.staple_until_s = ends.min();
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
        f.debug_struct("Identities").field("standings", &self.standings()).finish_non_exhaustive()
    }
}

fn digest_of(all: &[Arc<Identity>]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    all.iter().for_each(|identity| context.update(&identity.digest));
    context.finish().as_ref().try_into().unwrap_or_default()
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
    fn how_certificates_stand_is_told_by_name() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let files = [
            authority.issue(folder.path(), "a", &["shop.example", "192.0.2.1"]),
            authority.issue(folder.path(), "b", &["shop.example"]),
        ];
        let standings = Identities::load(&files).unwrap().standings();
        let [standing] = standings.as_slice() else { panic!("one name") };
        assert_eq!((standing.name.as_str(), standing.not_after_s), ("shop.example", YEAR_2040_S));
        assert!(!standing.differs && standing.staple_until_s.is_none());
    }

    #[test]
    fn a_broken_pair_is_refused_alone_and_told_once() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let issue =
            |stem: &str| authority.issue(folder.path(), stem, &[&format!("{stem}.example")]);
        let files = [issue("a"), issue("b")];
        let first = Identities::load(&files).unwrap();
        issue("a");
        std::fs::write(&files[1].key, "half").unwrap();
        let Renewed { identities: second, refused } =
            first.renew(&files, SystemTime::now()).unwrap();
        assert!(matches!(refused.as_slice(), [IdentityError::NoKey { .. }]));
        assert!(!Arc::ptr_eq(&first.all[0], &second.all[0]), "renewed");
        assert!(Arc::ptr_eq(&first.all[1], &second.all[1]), "kept");
        let differs =
            |it: &Identities| it.standings().iter().map(|it| it.differs).collect::<Vec<_>>();
        assert_eq!(differs(&second), [false, true]);
        let third = second.renew(&files, SystemTime::now()).unwrap();
        assert!(third.refused.is_empty() && third.identities.same_as(&second));
        issue("b");
        let fourth = third.identities.renew(&files, SystemTime::now()).unwrap();
        assert!(fourth.refused.is_empty());
        assert_eq!(differs(&fourth.identities), [false, false]);
    }

    #[test]
    fn an_expired_certificate_takes_no_valid_ones_place_and_a_managed_one_may_be_missing() {
        let (folder, authority) = (tempdir().unwrap(), Authority::new());
        let files = [authority.issue(folder.path(), "a", &["a.example"])];
        let first = Identities::load(&files).unwrap();
        let key = KeyPair::generate().unwrap();
        let expired = authority.expired(&["a.example"], &key).pem();
        write_pair(folder.path(), "a", &expired, &key.serialize_pem());
        let second = first.renew(&files, SystemTime::now()).unwrap();
        assert!(matches!(second.refused.as_slice(), [IdentityError::Expired { .. }]));
        assert!(second.identities.same_as(&first));
        let mut missing = CertificateFiles::new(folder.path().join("m"), folder.path().join("n"));
        assert!(Identities::load(std::slice::from_ref(&missing)).is_err());
        missing.managed = true;
        let second = Identities::load(std::slice::from_ref(&missing)).unwrap();
        let told = second.warnings(SystemTime::now());
        assert!(second.is_empty() && matches!(told.as_slice(), [IdentityWarning::Awaited { .. }]));
        std::fs::write(&missing.chain, "half").unwrap();
        std::fs::write(&missing.key, "half").unwrap();
        let Renewed { identities: third, refused } =
            second.renew(&[missing], SystemTime::now()).unwrap();
        assert!(third.is_empty() && refused.len() == 1, "no reason not to serve the others");
        let told = third.warnings(SystemTime::now());
        assert!(told.iter().any(|told| matches!(told, IdentityWarning::AskedAgain { .. })));
    }

    #[test]
    fn without_files_there_is_nothing_to_answer_with() {
        let none = Identities::load(&[]).unwrap();
        assert!(none.is_empty() && none.find(Some("shop.example"), ECDSA).is_none());
    }
}
