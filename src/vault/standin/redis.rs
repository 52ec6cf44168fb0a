//! Stand-ins that instances share, in a Redis or Valkey server.
//!
//! The server sees names, which are keyed hashes of a token and a stand-in, and sealed codes: neither
//! its operator nor `MONITOR`, a replica or a dump on its disk tells a code, or which card it is of.
//! Keeping and taking are one script each, which nothing on the server can come between, and lives
//! end by the server's clock.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use redis::{Script, ScriptInvocation};
use tracing::error;
use zeroize::Zeroizing;

use super::{StandInError, StandInFuture, StandInStore, TOKENS_MAX, space, stand_in};
use crate::card::{Cvv, Token};
use crate::keys::SecretKey;
use crate::link::{Link, LinkOutage};

/// How many stand-ins are offered: the script takes the first that is free, and only a space that is
/// nearly full has none of them.
const CANDIDATES: usize = 16;

/// How many names the server keeps at most for one vault: about 100 MiB of it.
const NAMES_MAX: usize = 262_144;

/// What all names begin with, for the operator's eyes and for an access list (`~tillgate:*`). The tag
/// in braces keeps them in one slot of a cluster.
pub const CODE_KEYS: &str = "tillgate:{code}:";

const NAME_BYTES: usize = CODE_KEYS.len() + 32;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// How a code is sealed.
const VERSION: u8 = 1;

/// The number of digits, and the digits: as long for a short code as for a long one.
const PLAIN_BYTES: usize = 5;

/// [`StandInStore`] in a server that instances share.
pub(in crate::vault) struct RedisStandIns {
    link: Arc<Link>,
    ttl: Duration,
    names: hmac::Key,
    sealing: hmac::Key,
    lists: [String; 2],
    keep: Script,
    take: Script,
}

impl RedisStandIns {
    /// `key` is one for the vault's life, and the same for all instances.
    pub(in crate::vault) fn new(link: Arc<Link>, ttl: Duration, key: &SecretKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let part =
            |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, label).as_ref());
        let names = part(b"names of verification codes");
        Self {
            link,
            ttl,
            lists: [hashed(&names, b"unbound"), hashed(&names, b"bound")],
            names,
            sealing: part(b"sealed verification codes"),
            keep: Script::new(include_str!("keep.lua")),
            take: Script::new(include_str!("take.lua")),
        }
    }

    async fn keep_sealed(&self, code: Cvv, bound_to: &[Token]) -> Result<Cvv, StandInError> {
        let bound_to = bound_to.get(..TOKENS_MAX).unwrap_or(bound_to);
        let mut seed = [0; 8];
        rand::fill(&mut seed).map_err(|_| StandInError::Random)?;
        let offered = candidates(&code, u64::from_be_bytes(seed));
        let sealer = self.sealer()?;
        let mut call = self.prepared(&self.keep);
        let names: Vec<_> = offered.iter().map(|digits| self.names(bound_to, digits)).collect();
        for name in names.iter().flatten() {
            call.key(name);
        }
        let list = if bound_to.is_empty() { 1 } else { 2 };
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        call.arg(ttl_ms).arg(bound_to.len().max(1)).arg(NAMES_MAX).arg(list);
        for names in &names {
            call.arg(sealer.seal(&code, names)?);
        }
        let chosen: usize = self.link.call(&call).await?;
        offered.into_iter().nth(chosen).ok_or(StandInError::NoStandIn)
    }

    async fn take_sealed(
        &self,
        stand_in: &Cvv,
        tokens: &[Token],
    ) -> Result<Option<Box<Cvv>>, StandInError> {
        let tokens = tokens.iter().copied().map(Some).chain([None]);
        let asked: Vec<_> = tokens.map(|token| self.name(token, stand_in)).collect();
        let mut call = self.prepared(&self.take);
        for name in &asked {
            call.key(name);
        }
        let Some(value) = self.link.call::<Option<Vec<u8>>>(&call).await? else { return Ok(None) };
        let code = self.unseal(&value, &asked);
        if code.is_none() {
            error!("a verification code in the shared store is not as it was sealed");
        }
        Ok(code.map(Box::new))
    }

    fn prepared<'s>(&self, script: &'s Script) -> ScriptInvocation<'s> {
        let mut call = script.prepare_invoke();
        for list in &self.lists {
            call.key(list);
        }
        call
    }

    /// A key of its own for each code, so that none seals often enough for a nonce to come again
    /// (NIST SP 800-38D section 8.3).
    fn sealer(&self) -> Result<Sealer, StandInError> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| StandInError::Random)?;
        Sealer::of(&self.sealing, salt).ok_or(StandInError::Random)
    }

    /// The code of a value that was found under one of these names.
    fn unseal(&self, value: &[u8], asked: &[String]) -> Option<Cvv> {
        let (count, rest) = value.split_first()?;
        let (names, rest) = rest.split_at_checked(usize::from(*count) * NAME_BYTES)?;
        // Moved to another name, it is not what was asked for.
        let mut kept = names.chunks(NAME_BYTES);
        kept.find(|name| asked.iter().any(|asked| asked.as_bytes() == *name))?;
        let (version, rest) = rest.split_first()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let about = value.get(..value.len() - sealed.len())?;
        Sealer::of(&self.sealing, *salt)?.open(about, sealed)
    }

    /// Every name of a stand-in.
    fn names(&self, bound_to: &[Token], stand_in: &Cvv) -> Vec<String> {
        let unbound = bound_to.is_empty().then_some(None);
        let tokens = bound_to.iter().copied().map(Some).chain(unbound);
        tokens.map(|token| self.name(token, stand_in)).collect()
    }

    fn name(&self, token: Option<Token>, stand_in: &Cvv) -> String {
        // Digits only: a letter between them keeps two pairs apart.
        let token = token.as_ref().map_or(b"".as_slice(), Token::as_bytes);
        hashed(&self.names, &[token, b"/", stand_in.expose()].concat())
    }
}

impl StandInStore for RedisStandIns {
    fn keep<'a>(&'a self, code: Cvv, bound_to: &'a [Token]) -> StandInFuture<'a, Cvv> {
        Box::pin(self.keep_sealed(code, bound_to))
    }

    fn take<'a>(
        &'a self,
        stand_in: &'a Cvv,
        tokens: &'a [Token],
    ) -> StandInFuture<'a, Option<Box<Cvv>>> {
        Box::pin(self.take_sealed(stand_in, tokens))
    }

    /// The server tells nobody.
    fn take_expired(&self) -> u64 {
        0
    }

    fn outage(&self) -> Option<LinkOutage> {
        self.link.outage()
    }
}

impl From<LinkOutage> for StandInError {
    fn from(cause: LinkOutage) -> Self {
        Self::Unavailable { cause }
    }
}

/// Seals one code, once for each stand-in that is offered.
struct Sealer {
    key: RandomizedNonceKey,
    salt: [u8; SALT_BYTES],
}

impl Sealer {
    fn of(sealing: &hmac::Key, salt: [u8; SALT_BYTES]) -> Option<Self> {
        let key = hmac::sign(sealing, &salt);
        Some(Self { key: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()?, salt })
    }

    /// The whole value: the names, by which the script wipes it, are bound to what is sealed.
    fn seal(&self, code: &Cvv, names: &[String]) -> Result<Vec<u8>, StandInError> {
        let digits = code.expose();
        let counted = |count: usize| u8::try_from(count).map_err(|_| StandInError::NoStandIn);
        let mut value = vec![counted(names.len())?];
        names.iter().for_each(|name| value.extend_from_slice(name.as_bytes()));
        value.push(VERSION);
        value.extend_from_slice(&self.salt);
        // Room for the tag from the start: a buffer that grows leaves the secret in the old one.
        let mut text = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES + TAG_BYTES));
        text.push(counted(digits.len())?);
        text.extend_from_slice(digits);
        text.resize(PLAIN_BYTES, 0);
        let nonce = self.key.seal_in_place_append_tag(Aad::from(&value), &mut *text);
        let nonce = nonce.map_err(|_| StandInError::Random)?;
        value.extend_from_slice(nonce.as_ref());
        value.extend_from_slice(&text);
        Ok(value)
    }

    fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Cvv> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let text = self.key.open_in_place(nonce, Aad::from(about), &mut text).ok()?;
        let (length, digits) = text.split_first()?;
        Cvv::from_digits(digits.get(..usize::from(*length))?)
    }
}

/// From a random place on by random steps, without the code itself: neighbours would be in use
/// together.
fn candidates(code: &Cvv, seed: u64) -> Vec<Cvv> {
    let width = code.expose().len();
    let size = space(width);
    let part = |shift: u32| u32::try_from((seed >> shift) % u64::from(size)).unwrap_or_default();
    // No multiple of 2 or 5 has a factor in common with a power of ten: no value comes twice.
    let stride = match part(32) | 1 {
        stride if stride.is_multiple_of(5) => stride + 2,
        stride => stride,
    };
    let all = (0..size).filter_map(|step| stand_in((part(0) + step * stride) % size, width));
    all.filter(|digits| digits.expose() != code.expose()).take(CANDIDATES).collect()
}

/// 128 bits of HMAC-SHA-256, in hexadecimal.
fn hashed(key: &hmac::Key, about: &[u8]) -> String {
    let tag = hmac::sign(key, about);
    let digits = tag.as_ref().iter().take((NAME_BYTES - CODE_KEYS.len()) / 2);
    digits.fold(String::from(CODE_KEYS), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests;
