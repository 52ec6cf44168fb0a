//! A proof of work: a client finds a number, which costs it a second and us nothing, before it may
//! log in while the site is under attack.
//!
//! A challenge is signed and names the site, the client's network, how much work it is and until when
//! it is good, so nothing is kept of those that are handed out. The number `n` that makes
//! `SHA-256(challenge . "." . n)` begin with enough zero bits (as in Hashcash) comes back in a cookie
//! or in a field of the head, and admits one login. It raises the price of guessing and proves no
//! more: a machine of its own hashes a hundred times as fast as a browser. What was shown is
//! remembered until it is stale, by each instance for itself.

mod spent;

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac, rand};
use http::HeaderMap;
use http::header::{COOKIE, Entry, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::{Value, json};

use self::spent::Spent;
use super::cookies;
use crate::coding::base64;
use crate::policy::{ProofOfWork, SiteName};
use crate::telemetry::ProofOutcome;

/// Where a program shows a proof; a browser has a cookie.
const FIELD: HeaderName = HeaderName::from_static("x-tillgate-proof");
/// The cookie's name over https, which no other host can set (RFC 6265bis §4.1.3.2), and over http.
const COOKIES: [&str; 2] = ["__Host-tillgate-proof", "tillgate-proof"];
/// What both end in.
const MARK: &[u8] = b"tillgate-proof=";
/// How many proofs of one request are looked at.
const SHOWN_MAX: usize = 4;
/// What the key is derived with.
const KEY_LABEL: &[u8] = b"proof of work v1";

const VERSION: u8 = 1;
const ID_BYTES: usize = 9;
const TAG_BYTES: usize = 32;
/// Version, bits, the time of its end, a name of its own, the signature: no padding in base64.
const CHALLENGE_BYTES: usize = 2 + 8 + ID_BYTES + TAG_BYTES;
/// The largest number that a browser counts to exactly has as many digits.
const DIGITS_MAX: usize = 16;

/// Hands out challenges and takes in what solves them. Outlives reloads.
pub struct Proofs {
    key: hmac::Key,
    spent: Mutex<Spent>,
}

/// A piece of work.
#[derive(Debug)]
pub struct Challenge {
    text: String,
    /// How many zero bits are to be found.
    pub bits: u8,
    /// How long there is time.
    pub lifetime: Duration,
}

/// Who is asked to work.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The site.
    pub site: &'a SiteName,
    /// The client.
    pub client: IpAddr,
}

impl Proofs {
    /// Derives its key from that of the accounts, which instances with one vault share.
    #[must_use]
    pub fn new(accounts_key: &[u8; 32]) -> Self {
        let accounts = hmac::Key::new(hmac::HMAC_SHA256, accounts_key);
        let derived = hmac::sign(&accounts, KEY_LABEL);
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        Self { key, spent: Mutex::default() }
    }

    /// A new challenge.
    #[must_use]
    pub fn challenge(&self, asker: Asker<'_>, work: ProofOfWork, now: SystemTime) -> Challenge {
        let ProofOfWork { bits, lifetime, .. } = work;
        let mut id = [0; ID_BYTES];
        // Without random bytes two askers of one network may get the same; one of them asks again.
        let _kept_zero = rand::fill(&mut id);
        let ends = seconds(now).saturating_add(lifetime.as_secs()).to_be_bytes();
        let mut bytes = Vec::with_capacity(CHALLENGE_BYTES);
        bytes.extend_from_slice(&[VERSION, bits]);
        bytes.extend_from_slice(&ends);
        bytes.extend_from_slice(&id);
        let tag = hmac::sign(&self.key, &signed(&bytes, asker));
        bytes.extend_from_slice(tag.as_ref());
        Challenge { text: base64::encode(&bytes), bits, lifetime }
    }

    /// Takes in what a request shows. One that is accepted is good for nothing afterwards, so it is
    /// looked at only where a proof is demanded.
    #[must_use]
    pub fn redeem(
        &self,
        headers: &HeaderMap,
        asker: Asker<'_>,
        work: ProofOfWork,
        now: SystemTime,
    ) -> ProofOutcome {
        let mut outcome = ProofOutcome::Missing;
        for shown in shown(headers).take(SHOWN_MAX) {
            outcome = self.judge(shown, asker, work, seconds(now));
            if outcome == ProofOutcome::Accepted {
                break;
            }
        }
        outcome
    }

    fn judge(&self, shown: &str, asker: Asker<'_>, work: ProofOfWork, now: u64) -> ProofOutcome {
        let Some((text, number)) = shown.split_once('.') else { return ProofOutcome::Forged };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || number.is_empty() || number.len() > DIGITS_MAX {
            return ProofOutcome::Forged;
        }
        let Some(challenge) = Signed::read(text) else { return ProofOutcome::Forged };
        // In constant time, and before anything is believed.
        if hmac::verify(&self.key, &signed(&challenge.body, asker), &challenge.tag).is_err() {
            return ProofOutcome::Forged;
        }
        let latest = now.saturating_add(work.lifetime.as_secs());
        // One that is good for longer was handed out before the operator shortened it.
        if !(now..=latest).contains(&challenge.ends) {
            return ProofOutcome::Late;
        }
        let hash = digest::digest(&digest::SHA256, shown.as_bytes());
        if challenge.bits < work.bits || zero_bits(hash.as_ref()) < u32::from(challenge.bits) {
            return ProofOutcome::TooLittle;
        }
        match self.spent.lock().spend(challenge.id, challenge.ends, now) {
            true => ProofOutcome::Accepted,
            false => ProofOutcome::Spent,
        }
    }
}

impl Challenge {
    /// As it is handed out.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a program needs to know.
    #[must_use]
    pub fn terms(&self) -> Value {
        json!({
            "challenge": self.text,
            "bits": self.bits,
            "expires_in": self.lifetime.as_secs(),
            "find": "n (decimal) so that SHA-256(challenge + \".\" + n) begins with so many zero bits",
            "header": FIELD.as_str(),
        })
    }
}

/// Takes proofs out of what the shop sees: they are for us alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(FIELD);
    let Entry::Occupied(mut entry) = headers.entry(COOKIE) else { return };
    // Nearly every request is done here.
    let held = |value: &HeaderValue| memchr::memmem::find(value.as_bytes(), MARK).is_some();
    if !entry.iter().any(held) {
        return;
    }
    let all = entry.iter().flat_map(|value| pairs(value.as_bytes()));
    let kept: Vec<&[u8]> = all.filter(|pair| proof_in(pair).is_none()).collect();
    match HeaderValue::from_bytes(&kept.join(&b"; "[..])) {
        Ok(value) if !value.is_empty() => drop(entry.insert(value)),
        Ok(_) | Err(_) => drop(entry.remove()),
    }
}

/// A challenge that came back.
struct Signed {
    body: Vec<u8>,
    bits: u8,
    ends: u64,
    id: [u8; ID_BYTES],
    tag: Vec<u8>,
}

impl Signed {
    fn read(text: &str) -> Option<Self> {
        if text.len() != CHALLENGE_BYTES / 3 * 4 {
            return None;
        }
        let mut body = base64::decode(text)?;
        let tag = body.split_off(body.len().checked_sub(TAG_BYTES)?);
        let (&[version, bits], rest) = body.split_first_chunk()?;
        let (ends, rest) = rest.split_first_chunk()?;
        let (ends, id) = (u64::from_be_bytes(*ends), rest.try_into().ok()?);
        (version == VERSION).then_some(Self { body, bits, ends, id, tag })
    }
}

/// What is signed: the challenge, and for whom it is. The site's length keeps the two apart.
fn signed(body: &[u8], asker: Asker<'_>) -> Vec<u8> {
    let site = asker.site.0.as_bytes();
    let network = match asker.client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        // One customer is given a /64, and a phone changes its address within it.
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64),
    };
    let length = u64::try_from(site.len()).unwrap_or(u64::MAX).to_be_bytes();
    [body, &length, site, &network.octets()].concat()
}

/// Every proof in a request, in the field first.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(FIELD).into_iter().map(HeaderValue::as_bytes);
    let cookies = headers.get_all(COOKIE).into_iter();
    let cookies = cookies.flat_map(|value| pairs(value.as_bytes())).filter_map(proof_in);
    fields.chain(cookies).filter_map(|value| str::from_utf8(value).ok())
}

fn pairs(cookies: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn proof_in(pair: &[u8]) -> Option<&[u8]> {
    let (name, value) = cookies::halves(pair);
    COOKIES.iter().any(|own| own.as_bytes() == name).then_some(value)
}

fn zero_bits(hash: &[u8]) -> u32 {
    let first = hash.first_chunk().map_or(u64::MAX, |first| u64::from_be_bytes(*first));
    first.leading_zeros()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
