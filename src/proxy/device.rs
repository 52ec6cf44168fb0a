//! Trusted browsers: a signed cookie names the accounts that have logged in there.
//!
//! A lock keeps strangers out and must not keep the customer out (OWASP ASVS 5.0, 6.1.1): a browser
//! that shows a fresh signature for the account it tries is measured by a small budget of its own. The
//! cookie is for us alone: it is taken out of what the shop sees, and is written to no log.
//!
//! Its value is `v1.` and, in base64, 16 random bytes that name the browser, then for each account,
//! the latest first, eight bytes of time and 32 of HMAC-SHA-256 over account, browser and time. The
//! account's key is hashed with the site's name, so a signature is good for one account of one site;
//! the key is derived from that of the accounts, which outlives every rotation.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{hmac, rand};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, COOKIE, Entry, HeaderName, HeaderValue, SET_COOKIE};

use super::cookies;
use crate::coding::base64;
use crate::counters::CounterKey;
use crate::policy::Scheme;

/// What both names of the cookie end in.
const NAME: &str = "tillgate-device";
/// RFC 6265bis §4.1.3.2: a browser takes no such cookie from another host, nor without TLS.
const HOST_PREFIX: &str = "__Host-";
/// The layout of the value.
const VERSION: &str = "v1.";
/// What the key is derived with.
const KEY_LABEL: &[u8] = b"trusted devices v1";
/// How many accounts one browser is trusted with: a family, not a shop of stolen ones.
const ACCOUNTS_MAX: usize = 4;
/// How many cookies of the name are looked at: a planted one must not hide the right one.
const COOKIES_MAX: usize = 2;
/// How far the clock of another instance may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(60);

const ID_BYTES: usize = 16;
const TIME_BYTES: usize = 8;
const TAG_BYTES: usize = 32;
/// No cookie of ours is longer, as base64.
const VALUE_BYTES_MAX: usize =
    (ID_BYTES + ACCOUNTS_MAX * (TIME_BYTES + TAG_BYTES)).div_ceil(3) * 4 + VERSION.len();

/// What stands beside `Cache-Control` for caches of others (RFC 9213 §3, and its forerunner).
const TARGETED: [&str; 2] = ["cdn-cache-control", "surrogate-control"];

/// Signs for browsers, and knows its own signature.
pub struct Devices {
    key: hmac::Key,
}

/// The name of a browser, which nobody chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceId([u8; ID_BYTES]);

/// What a browser has shown, not yet believed.
#[derive(Debug, Default)]
pub struct Shown(Vec<Pass>);

/// A client, as far as its device goes.
pub struct Browser {
    /// What it has shown.
    pub shown: Shown,
    /// What it speaks to whoever is in front of us.
    pub scheme: Scheme,
}

/// One cookie.
#[derive(Debug)]
struct Pass {
    id: DeviceId,
    stamps: Vec<Stamp>,
}

/// That an account logged in, and when.
#[derive(Clone, Debug)]
struct Stamp {
    issued: [u8; TIME_BYTES],
    tag: Vec<u8>,
}

impl Shown {
    /// Whether there is nothing to believe.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Devices {
    /// Derives its key from that of the accounts.
    #[must_use]
    pub fn new(accounts_key: &[u8; 32]) -> Self {
        let accounts = hmac::Key::new(hmac::HMAC_SHA256, accounts_key);
        let derived = hmac::sign(&accounts, KEY_LABEL);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// The browser, if the account logged in there no longer than `lifetime` ago.
    #[must_use]
    pub fn recognise(
        &self,
        shown: &Shown,
        account: &CounterKey,
        (now, lifetime): (SystemTime, Duration),
    ) -> Option<DeviceId> {
        let trusted = |pass: &&Pass| {
            let mut stamps = pass.stamps.iter();
            stamps
                .any(|stamp| stamp.is_fresh(now, lifetime) && self.is_ours(stamp, pass.id, account))
        };
        shown.0.iter().find(trusted).map(|pass| pass.id)
    }

    /// The `Set-Cookie` for a browser where an account has just logged in. Accounts that logged in
    /// there before stay; the one that did longest ago makes room.
    #[must_use]
    pub fn grant(
        &self,
        shown: &Shown,
        account: &CounterKey,
        scheme: Scheme,
        (now, lifetime): (SystemTime, Duration),
    ) -> Option<HeaderValue> {
        let pass = shown.0.first();
        let id = pass.map_or_else(DeviceId::fresh, |pass| Some(pass.id))?;
        let issued = seconds(now).to_be_bytes();
        let tag = hmac::sign(&self.key, &message(id, account, issued)).as_ref().to_vec();
        let before = pass.into_iter().flat_map(|pass| &pass.stamps);
        let others = before
            .filter(|stamp| stamp.is_fresh(now, lifetime) && !self.is_ours(stamp, id, account));
        let stamps = std::iter::once(Stamp { issued, tag }).chain(others.cloned());
        let value = Pass { id, stamps: stamps.take(ACCOUNTS_MAX).collect() }.write();
        let (prefix, secure) = match scheme {
            Scheme::Http => ("", ""),
            Scheme::Https => (HOST_PREFIX, "; Secure"),
        };
        let age = lifetime.as_secs();
        let cookie = format!(
            "{prefix}{NAME}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
        );
        let mut cookie = HeaderValue::try_from(cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Compares in constant time.
    fn is_ours(&self, stamp: &Stamp, id: DeviceId, account: &CounterKey) -> bool {
        hmac::verify(&self.key, &message(id, account, stamp.issued), &stamp.tag).is_ok()
    }
}

impl Browser {
    /// Takes the cookie out of a request.
    #[must_use]
    pub fn take(headers: &mut HeaderMap, over_tls: bool, peer_is_trusted: bool) -> Self {
        let scheme = scheme(over_tls, headers, peer_is_trusted);
        Self { shown: take(headers, scheme), scheme }
    }
}

impl DeviceId {
    /// `None` where the system has no random bytes.
    fn fresh() -> Option<Self> {
        let mut id = [0; ID_BYTES];
        rand::fill(&mut id).is_ok().then_some(Self(id))
    }

    /// The bytes, to be counted under.
    #[must_use]
    pub(super) fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl Stamp {
    fn is_fresh(&self, now: SystemTime, lifetime: Duration) -> bool {
        let (issued, now) = (u64::from_be_bytes(self.issued), seconds(now));
        issued <= now.saturating_add(AHEAD_MAX.as_secs())
            && now.saturating_sub(issued) < lifetime.as_secs()
    }
}

impl Pass {
    fn read(value: &str) -> Option<Self> {
        if value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let bytes = base64::decode(value.strip_prefix(VERSION)?)?;
        let (id, rest) = bytes.split_first_chunk()?;
        let mut stamps = Vec::new();
        for stamp in rest.chunks(TIME_BYTES + TAG_BYTES) {
            let (issued, tag) = stamp.split_first_chunk()?;
            stamps.push(Stamp { issued: *issued, tag: tag.to_vec() });
        }
        Some(Self { id: DeviceId(*id), stamps })
    }

    fn write(&self) -> String {
        let stamps = self.stamps.iter().flat_map(|stamp| [&stamp.issued[..], &stamp.tag]);
        let bytes: Vec<&[u8]> = std::iter::once(&self.id.0[..]).chain(stamps).collect();
        format!("{VERSION}{}", base64::encode(&bytes.concat()))
    }
}

/// Takes the cookie out of a request, under either name; only the one that fits the scheme is read.
fn take(headers: &mut HeaderMap, scheme: Scheme) -> Shown {
    let ours =
        |value: &HeaderValue| memchr::memmem::find(value.as_bytes(), NAME.as_bytes()).is_some();
    if !headers.get_all(COOKIE).iter().any(ours) {
        return Shown::default();
    }
    let Entry::Occupied(entry) = headers.entry(COOKIE) else { return Shown::default() };
    let (_, fields) = entry.remove_entry_mult();
    let fields: Vec<HeaderValue> = fields.collect();
    let mut shown = Vec::new();
    for field in fields {
        let (left, taken) = split(field.as_bytes(), scheme);
        shown.extend(taken);
        if let Ok(left) = HeaderValue::from_bytes(&left)
            && !left.is_empty()
        {
            headers.append(COOKIE, left);
        }
    }
    shown.truncate(COOKIES_MAX);
    Shown(shown)
}

/// One `Cookie` field without ours, byte for byte, and what ours held.
fn split(field: &[u8], scheme: Scheme) -> (Vec<u8>, Vec<Pass>) {
    let (mut left, mut passes) = (Vec::new(), Vec::new());
    for pair in field.split(|byte| *byte == b';') {
        let (name, value) = cookies::halves(pair);
        let hosted = name.strip_prefix(HOST_PREFIX.as_bytes());
        if hosted.unwrap_or(name) != NAME.as_bytes() {
            left.push(pair);
        } else if hosted.is_some() == (scheme == Scheme::Https) {
            passes.extend(std::str::from_utf8(value).ok().and_then(Pass::read));
        }
    }
    let left = left.join(&b";"[..]);
    (left.trim_ascii_start().to_vec(), passes)
}

/// Puts the cookie beside those of the shop. No shared cache may keep the answer then: it would trust
/// the next customer's browser (RFC 9111 §7.3: a cookie alone stops no cache).
pub(super) fn put(headers: &mut HeaderMap, cookie: HeaderValue) {
    headers.append(SET_COOKIE, cookie);
    for name in TARGETED {
        headers.remove(name);
    }
    if let Some(kept_private) = keep_private(headers) {
        headers.insert(CACHE_CONTROL, kept_private);
    }
}

/// `Cache-Control` with `private`, unless it says as much already.
fn keep_private(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields = headers.get_all(CACHE_CONTROL).into_iter();
    let fields: Vec<_> = fields.filter_map(|field| field.to_str().ok()).collect();
    let text = fields.join(",").to_ascii_lowercase();
    // Quoted lists of fields name what is private: the rest would not be.
    if text.contains('"') {
        return Some(HeaderValue::from_static("private, no-cache"));
    }
    let directives = || text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    if directives().any(|directive| matches!(directive, "private" | "no-store")) {
        return None;
    }
    let shared = |directive: &&str| {
        let name = directive.split('=').next().unwrap_or_default();
        matches!(name, "public" | "s-maxage" | "proxy-revalidate")
    };
    let kept = directives().filter(|directive| !shared(directive));
    HeaderValue::try_from(kept.chain(["private"]).collect::<Vec<_>>().join(", ")).ok()
}

fn message(id: DeviceId, account: &CounterKey, issued: [u8; TIME_BYTES]) -> Vec<u8> {
    // All of fixed length.
    [&account.as_bytes()[..], &id.0, &issued].concat()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The scheme the client speaks to whoever is in front of us.
fn scheme(over_tls: bool, headers: &HeaderMap, peer_is_trusted: bool) -> Scheme {
    let told = headers.get(HeaderName::from_static("x-forwarded-proto"));
    let told = told.filter(|_| peer_is_trusted).map(HeaderValue::as_bytes);
    match told {
        Some(told) if told.eq_ignore_ascii_case(b"https") => Scheme::Https,
        Some(told) if told.eq_ignore_ascii_case(b"http") => Scheme::Http,
        Some(_) | None if over_tls => Scheme::Https,
        Some(_) | None => Scheme::Http,
    }
}

#[cfg(test)]
mod tests;
