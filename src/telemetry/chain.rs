//! Audit lines and the keyed chain through them.
//!
//! A line is a JSON object that ends in its `mac`: HMAC-SHA-256 over the mac before and every byte
//! of the line up to its own mac. Whoever does not have the key can change nothing unseen.

use std::time::SystemTime;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::access::ascii_controls;
use super::timestamp::Rfc3339;

const MAC_FIELD: &[u8] = b",\"mac\":\"";
const MAC_END: &[u8] = b"\"}";
const MAC_HEX: usize = 64;

/// The key of an audit log.
pub struct AuditKey(hmac::Key);

/// An HMAC-SHA-256.
pub(super) type Mac = [u8; 32];

/// The end of a chain: the number of its last record, and that record's mac.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ChainEnd {
    pub(super) seq: u64,
    pub(super) mac: Mac,
}

/// A line that has the form of a record; its mac is not yet checked.
pub(super) struct Parsed<'a> {
    signed: &'a [u8],
    pub(super) mac: Mac,
    pub(super) head: Head,
}

/// What the chain must know of a record.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) event: String,
    #[serde(default)]
    pub(super) fault: String,
    #[serde(default)]
    pub(super) torn_digest: String,
}

#[derive(Serialize)]
struct Line<'a, E> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    event: &'a E,
}

impl AuditKey {
    /// The caller wipes its own copy.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The key of the commands' log, derived from the other log's: a record of one is none of the
    /// other.
    #[must_use]
    pub fn of_commands(key: &[u8; 32]) -> Self {
        let derived = Self::new(key).mac("commands", &[]);
        Self::new(&derived)
    }

    /// The mac of `parts` for one purpose; purposes never share a mac.
    pub(super) fn mac(&self, purpose: &'static str, parts: &[&[u8]]) -> Mac {
        let mut context = self.begin(purpose);
        for part in parts {
            context.update(part);
        }
        finish(context)
    }

    pub(super) fn begin(&self, purpose: &'static str) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(b"\0");
        context
    }
}

pub(super) fn finish(context: hmac::Context) -> Mac {
    // HMAC-SHA-256 has 32 bytes; were it ever otherwise, no chain would verify.
    context.sign().as_ref().try_into().unwrap_or_default()
}

impl ChainEnd {
    /// The next line, with its line feed, and the end of the chain after it.
    pub(super) fn next<E: Serialize>(
        self,
        key: &AuditKey,
        at: SystemTime,
        event: &E,
    ) -> Result<(Self, String), serde_json::Error> {
        let seq = self.seq.saturating_add(1);
        let line = Line { seq, time: Rfc3339(at).to_string(), event };
        let mut text = ascii_controls(serde_json::to_string(&line)?);
        text.pop();
        let mac = key.mac("line", &[&self.mac, text.as_bytes()]);
        text.push_str(",\"mac\":\"");
        text.push_str(&hex(&mac));
        text.push_str("\"}\n");
        Ok((Self { seq, mac }, text))
    }
}

impl<'a> Parsed<'a> {
    /// Takes a line without its line feed apart.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(MAC_END)?;
        let (rest, mac) = rest.split_at_checked(rest.len().checked_sub(MAC_HEX)?)?;
        let signed = rest.strip_suffix(MAC_FIELD)?;
        let mut object = signed.to_vec();
        object.push(b'}');
        let head = serde_json::from_slice(&object).ok()?;
        Some(Self { signed, mac: unhex(mac)?, head })
    }

    /// Whether this line's mac follows from the one before.
    pub(super) fn follows(&self, key: &AuditKey, before: &Mac) -> bool {
        key.mac("line", &[before, self.signed]) == self.mac
    }

    pub(super) fn end(&self) -> ChainEnd {
        ChainEnd { seq: self.head.seq, mac: self.mac }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower case only: each mac has one writing, so that changing a letter's case is a change.
pub(super) fn unhex(text: &[u8]) -> Option<Mac> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
}
