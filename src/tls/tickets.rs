//! The keys that session tickets are sealed with.
//!
//! A ticket lets a client come back without a full handshake, and whoever has its key can read what a
//! TLS 1.2 session said. So keys live for a short while: each period has its own. Without a secret of
//! the operator's the key of the next period is made from a chain that forgets its past, and lives as
//! long as the process. With one it is derived from that (HKDF, RFC 5869), so that instances, and a
//! process and its successor, read each other's tickets; then the secret's file must be replaced for
//! the past to be forgotten. Nothing here is touched by a reload that leaves the secret as it was.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use rustls::server::ProducesTickets;
use zeroize::{Zeroize, Zeroizing};

/// How long one key seals.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a ticket opens at most: its own period and the next.
const LIFETIME_S: u32 = 12 * 60 * 60;

/// The longest ticket that is looked at: a session with a client's certificates has some KiB.
const TICKET_BYTES_MAX: usize = 32 << 10;

const NAME_BYTES: usize = 16;
const SALT: &[u8] = b"tillgate session tickets v1";

/// Seals and opens tickets for the life of the process.
pub struct Tickets {
    source: Mutex<Source>,
    keys: ArcSwapOption<Keys>,
}

enum Source {
    /// A chain of our own, at this period.
    Own { period: u64, link: Zeroizing<[u8; 32]> },
    /// A secret that instances share, and the one before it, to open with.
    Shared { secret: Zeroizing<Vec<u8>>, before: Option<Former> },
}

/// A secret that was replaced, and the last period in which its tickets are opened: it may have been
/// replaced because somebody knows it.
struct Former {
    secret: Zeroizing<Vec<u8>>,
    last: u64,
}

/// What seals and opens in one period.
struct Keys {
    period: u64,
    seal: Arc<Key>,
    /// The period before, one that clocks ahead of ours are in already, and those of a secret before.
    open: Vec<Arc<Key>>,
}

struct Key {
    name: [u8; NAME_BYTES],
    period: u64,
    aead: RandomizedNonceKey,
}

impl Tickets {
    /// With a chain of our own.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new() -> Result<Self, Unspecified> {
        let mut link = Zeroizing::new([0; 32]);
        rand::fill(link.as_mut_slice())?;
        Ok(Self::of(Source::Own { period: period_of(SystemTime::now()), link }))
    }

    fn of(source: Source) -> Self {
        Self { source: Mutex::new(source), keys: ArcSwapOption::empty() }
    }

    /// Takes up the operator's secret, or does without one from now on. The same one changes nothing;
    /// tickets of the one before are still opened.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn share(&self, secret: Option<&[u8]>) -> Result<(), Unspecified> {
        let mut source = self.source.lock();
        let next = match (&mut *source, secret) {
            (Source::Own { .. }, None) => return Ok(()),
            (Source::Shared { secret: known, .. }, Some(secret)) if known.as_slice() == secret => {
                return Ok(());
            }
            (Source::Shared { secret: known, .. }, Some(secret)) => Source::Shared {
                secret: Zeroizing::new(secret.to_vec()),
                before: Some(Former {
                    secret: std::mem::take(known),
                    last: period_of(SystemTime::now()) + 1,
                }),
            },
            (Source::Own { .. }, Some(secret)) => {
                Source::Shared { secret: Zeroizing::new(secret.to_vec()), before: None }
            }
            (Source::Shared { .. }, None) => {
                let mut link = Zeroizing::new([0; 32]);
                rand::fill(link.as_mut_slice())?;
                Source::Own { period: period_of(SystemTime::now()), link }
            }
        };
        *source = next;
        drop(source);
        // Made again at the next ticket; what could be opened before can be opened still.
        let before = self.keys.swap(None);
        let keys = self.keys_at(period_of(SystemTime::now()));
        if let (Some(before), Some(keys)) = (before, keys) {
            let open = keys.open.iter().chain(&before.open).chain([&before.seal]).cloned();
            let (period, seal) = (keys.period, Arc::clone(&keys.seal));
            let next = Keys { period, seal, open: open.collect() };
            self.keys.store(Some(Arc::new(next)));
        }
        Ok(())
    }

    /// The chain of our own, for the process that takes over from this one; nothing where instances
    /// share a secret.
    #[must_use]
    pub fn hand_over(&self) -> Option<Zeroizing<Vec<u8>>> {
        match &*self.source.lock() {
            Source::Own { period, link } => {
                let mut bytes = Zeroizing::new(period.to_be_bytes().to_vec());
                bytes.extend_from_slice(link.as_slice());
                Some(bytes)
            }
            Source::Shared { .. } => None,
        }
    }

    /// Goes on with the chain of the process before this one; what is none is left alone.
    pub fn take_over(&self, bytes: &[u8]) {
        let Some((period, link)) = bytes.split_first_chunk() else { return };
        let Ok(link) = <[u8; 32]>::try_from(link) else { return };
        let mut source = self.source.lock();
        if let Source::Own { .. } = *source {
            let (period, link) = (u64::from_be_bytes(*period), Zeroizing::new(link));
            *source = Source::Own { period, link };
            self.keys.store(None);
        }
    }

    fn keys_at(&self, period: u64) -> Option<Arc<Keys>> {
        let known = self.keys.load_full();
        if let Some(known) = &known
            // A clock that is put back finds no older key, and goes on with the one there is.
            && known.period >= period
        {
            return Some(Arc::clone(known));
        }
        let mut source = self.source.lock();
        // Another thread may have been here first.
        if let Some(keys) = self.keys.load_full().filter(|keys| keys.period >= period) {
            return Some(keys);
        }
        let keys = Arc::new(source.keys(period, known.as_deref()).ok()?);
        self.keys.store(Some(Arc::clone(&keys)));
        Some(keys)
    }

    fn seal(&self, plain: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let keys = self.keys_at(period_of(now))?;
        let mut sealed = plain.to_vec();
        let name = Aad::from(keys.seal.name);
        let nonce = keys.seal.aead.seal_in_place_append_tag(name, &mut sealed).ok()?;
        Some([&keys.seal.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys_at(period_of(now))?;
        let key = [&keys.seal].into_iter().chain(&keys.open).find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.aead.open_in_place(nonce, Aad::from(*name), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

impl Source {
    fn keys(&mut self, period: u64, known: Option<&Keys>) -> Result<Keys, Unspecified> {
        match self {
            Self::Own { period: at, link } => {
                while *at < period {
                    let next =
                        expand(&Salt::new(HKDF_SHA256, SALT).extract(&link[..]), b"next", 0)?;
                    link.zeroize();
                    (*at, *link) = (*at + 1, next);
                }
                let seal = Key::of(&link[..], *at)?;
                let before = known
                    .into_iter()
                    .flat_map(|known| [&known.seal].into_iter().chain(&known.open));
                // Erasure is what ends a ticket's life: a key goes when its second period has begun.
                let open = before.filter(|key| key.period + 1 >= *at).cloned();
                Ok(Keys { period: *at, seal: Arc::new(seal), open: open.collect() })
            }
            Self::Shared { secret, before } => {
                let key = |secret: &[u8], period| Key::of(secret, period).map(Arc::new);
                let mut open =
                    vec![key(secret, period.saturating_sub(1))?, key(secret, period + 1)?];
                before.take_if(|before| before.last < period);
                if let Some(Former { secret, .. }) = before {
                    open.push(key(secret, period)?);
                    open.push(key(secret, period.saturating_sub(1))?);
                }
                Ok(Keys { period, seal: key(secret, period)?, open })
            }
        }
    }
}

impl Key {
    fn of(secret: &[u8], period: u64) -> Result<Self, Unspecified> {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let name = expand(&prk, b"name", period)?;
        let name = name.first_chunk().copied().ok_or(Unspecified)?;
        let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, &expand(&prk, b"key", period)?[..])?;
        Ok(Self { name, period, aead })
    }
}

fn expand(prk: &Prk, label: &[u8], period: u64) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut out = Zeroizing::new([0; 32]);
    let info = [label, &period.to_be_bytes()];
    prk.expand(&info, HKDF_SHA256)?.fill(out.as_mut_slice())?;
    Ok(out)
}

fn period_of(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / PERIOD.as_secs()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, SystemTime::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, SystemTime::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(periods: u32) -> SystemTime {
        SystemTime::now() + PERIOD * periods
    }

    #[test]
    fn a_ticket_opens_in_its_period_and_the_next_and_never_after() {
        for tickets in [Tickets::new().unwrap(), shared(b"secret")] {
            let ticket = tickets.seal(b"session", at(0)).unwrap();
            assert_eq!(tickets.open(&ticket, at(0)).unwrap(), b"session");
            assert_eq!(tickets.open(&ticket, at(1)).unwrap(), b"session");
            assert_eq!(tickets.open(&ticket, at(2)), None);
        }
    }

    fn shared(secret: &[u8]) -> Tickets {
        let tickets = Tickets::new().unwrap();
        tickets.share(Some(secret)).unwrap();
        tickets
    }

    #[test]
    fn instances_with_one_secret_open_each_others_tickets_also_where_clocks_differ() {
        let (one, other) = (shared(b"secret"), shared(b"secret"));
        let ticket = one.seal(b"session", at(1)).unwrap();
        assert_eq!(other.open(&ticket, at(0)).unwrap(), b"session");
        assert_eq!(shared(b"other").open(&ticket, at(0)), None);
        assert_eq!(Tickets::new().unwrap().open(&ticket, at(0)), None);
    }

    #[test]
    fn a_new_secret_still_opens_what_the_old_one_sealed() {
        let tickets = Tickets::new().unwrap();
        let own = tickets.seal(b"own", at(0)).unwrap();
        tickets.share(Some(b"first")).unwrap();
        let first = tickets.seal(b"first", at(0)).unwrap();
        tickets.share(Some(b"second")).unwrap();
        assert_eq!(tickets.open(&own, at(0)).unwrap(), b"own");
        assert_eq!(tickets.open(&first, at(0)).unwrap(), b"first");
        assert_eq!(shared(b"second").open(&first, at(0)), None);
        tickets.share(None).unwrap();
        assert_eq!(tickets.open(&first, at(0)).unwrap(), b"first");
    }

    #[test]
    fn a_successor_opens_the_tickets_of_its_predecessor() {
        let (old, new) = (Tickets::new().unwrap(), Tickets::new().unwrap());
        let ticket = old.seal(b"session", at(0)).unwrap();
        assert_eq!(new.open(&ticket, at(0)), None);
        new.take_over(&old.hand_over().unwrap());
        assert_eq!(new.open(&ticket, at(0)).unwrap(), b"session");
        new.take_over(b"junk");
        assert!(shared(b"secret").hand_over().is_none());
    }

    #[test]
    fn what_was_tampered_with_or_cut_does_not_open() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.seal(b"session", at(0)).unwrap();
        for place in 0..ticket.len() {
            let mut other = ticket.clone();
            other[place] ^= 1;
            assert_eq!(tickets.open(&other, at(0)), None, "{place}");
            assert_eq!(tickets.open(&ticket[..place], at(0)), None, "{place}");
        }
        assert_eq!(tickets.open(&vec![0; TICKET_BYTES_MAX + 1], at(0)), None);
    }
}
