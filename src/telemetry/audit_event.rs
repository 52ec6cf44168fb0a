//! What the audit log tells. A card number appears as its token and its last four digits, because
//! the types here have room for nothing else.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::mask::mask_text;
use super::operator::Operator;
use super::seen::without_digits;
use super::timestamp::Rfc3339;
use crate::card::{Pan, Token};

/// Something that must be provable later.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditEvent {
    /// Failed logins locked an account.
    AccountLocked {
        /// Where.
        site: String,
        /// The keyed hash of the account's name.
        account: String,
        /// How many failures it took.
        failures: u32,
        /// Until when.
        #[serde(serialize_with = "instant")]
        until: SystemTime,
    },
    /// A customer's card is erased by a command, with all tokens it has.
    CardErased {
        /// By whom.
        operator: Operator,
        /// The tokens, which stay and stand for nothing.
        #[serde(serialize_with = "token_texts")]
        tokens: Vec<Token>,
        /// Why, as it was given.
        #[serde(serialize_with = "masked")]
        reason: String,
    },
    /// A card number went to a payment gateway.
    CardRevealed {
        /// Which gateway.
        gateway: String,
        /// In which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
        /// What the shop knows it as.
        #[serde(serialize_with = "token_text")]
        token: Token,
        /// Its last four digits.
        last_four: LastFour,
    },
    /// Another process took our place.
    Upgraded {
        /// Its number.
        process: u32,
    },
    /// A new process could not take our place.
    UpgradeRefused {
        /// Why.
        problem: String,
    },
    /// Somebody brought one card after the other and was refused. Not every one of a flood is told.
    CardTestingRefused {
        /// Whose site.
        site: String,
        /// The keyed hash of the client's network.
        network: String,
        /// The keyed hash of the shop's session, if there was one.
        session: Option<String>,
        /// What there was too much of.
        reason: &'static str,
        /// In which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
    },
    /// The forward proxy's authority has a new certificate.
    AuthorityIssued {
        /// The names that it may sign for.
        hosts: Vec<String>,
    },
    /// A card number is shown by a command.
    CardShown {
        /// To whom.
        operator: Operator,
        /// How much of it: `full` or `masked`.
        extent: &'static str,
        /// What the shop knows it as.
        #[serde(serialize_with = "token_text")]
        token: Token,
        /// Its last four digits.
        last_four: LastFour,
        /// Why, as it was given.
        #[serde(serialize_with = "masked")]
        reason: String,
    },
    /// New certificates are in force.
    CertificatesReloaded {
        /// How many.
        certificates: usize,
    },
    /// A new configuration is in force.
    ConfigReloaded {
        /// Its generation.
        generation: u64,
    },
    /// A key of the vault is in use from now on.
    KeyAdded {
        /// What it is for: the purpose of a data key, or `master`.
        purpose: &'static str,
        /// Its public name.
        key: String,
    },
    /// A master key was made.
    KeyCreated {
        /// Where it lies; never the key.
        place: String,
    },
    /// A key of the vault opens nothing any more.
    KeyDropped {
        /// What it was for.
        purpose: &'static str,
        /// Its public name.
        key: String,
    },
    /// An operator lets somebody in for a time, whatever the limits say, or takes that back.
    LoginAllowed {
        /// By whom, as the command says; whoever has the token may leave it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
        /// What kind of thing.
        dimension: &'static str,
        /// Its keyed hash.
        key: String,
        /// For how long; zero takes it back.
        for_s: u64,
    },
    /// Failed attempts locked something else than an account.
    LoginLocked {
        /// Where the last of them was.
        site: String,
        /// What kind of thing is locked.
        dimension: &'static str,
        /// Its keyed hash.
        key: String,
        /// How many failures it took.
        failures: u32,
        /// Until when.
        #[serde(serialize_with = "instant")]
        until: SystemTime,
    },
    /// A login, or an attempt that a guard counts, was refused. Not every one of a flood is told.
    LoginRefused {
        /// Where.
        site: String,
        /// The guard that counts it, where it is no login.
        #[serde(skip_serializing_if = "Option::is_none")]
        guard: Option<String>,
        /// The keyed hash of the client's network.
        network: String,
        /// The keyed hashes of the accounts named, where it was read so far.
        accounts: Vec<String>,
        /// The rule that refused, as in metrics and logs.
        reason: &'static str,
        /// How suspicious it was, where that had consequences.
        score: u32,
        /// What it was suspicious for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        signals: Vec<&'static str>,
        /// In which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
    },
    /// An operator has failures and locks forgotten.
    LoginUnlocked {
        /// By whom, as the command says; whoever has the token may leave it out.
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<Operator>,
        /// What kind of thing.
        dimension: &'static str,
        /// Its keyed hash.
        key: String,
    },
    /// A changed configuration or certificate was refused.
    ReloadRefused {
        /// What is wrong with it.
        problem: String,
    },
    /// A request to a payment gateway was not sent on. What it held is not told: it may have been a
    /// card number.
    RevealRefused {
        /// Which gateway.
        gateway: String,
        /// Which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
        /// Why.
        reason: &'static str,
    },
    /// A gateway reveals far more card numbers than it usually does: told once a minute at most.
    RevealRateUnusual {
        /// Which gateway.
        gateway: String,
        /// How many in this minute so far.
        reveals: u32,
        /// How many there usually are in a minute.
        usual_per_minute: f64,
    },
    /// The process began.
    Started {
        /// Of which version.
        version: &'static str,
    },
    /// The process ended in order.
    Stopped,
    /// A card number was found in the head of a request, where none belongs. Not every one is told:
    /// there is a limit per minute.
    UnexpectedCard {
        /// Whose site.
        site: String,
        /// Which route.
        route: String,
        /// Which part of the head.
        #[serde(rename = "where")]
        place: &'static str,
        /// The field's name, text from the wire.
        #[serde(serialize_with = "field_name")]
        field: String,
        /// In which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
    },
    /// The vault's database is copied by a command.
    VaultBackedUp {
        /// By whom.
        operator: Operator,
        /// To which file.
        #[serde(serialize_with = "masked")]
        file: String,
    },
    /// Every card of the vault is written to a sealed file by a command.
    VaultExported {
        /// By whom.
        operator: Operator,
        /// To which file.
        #[serde(serialize_with = "masked")]
        file: String,
    },
    /// Cards are taken into the vault by a command.
    VaultImported {
        /// By whom.
        operator: Operator,
        /// From which file.
        #[serde(serialize_with = "masked")]
        file: String,
    },
    /// A key of the vault is replaced by a command.
    VaultRotated {
        /// By whom.
        operator: Operator,
        /// Which: `data` or `master`.
        key: &'static str,
    },
    /// A call to a webhook was not the provider's. Not every one of a flood is told.
    WebhookRefused {
        /// Which webhook.
        webhook: String,
        /// In which request.
        #[serde(serialize_with = "masked")]
        request_id: String,
        /// Why.
        reason: &'static str,
    },
}

/// The last four digits of a card number (PCI DSS 3.4.1 allows them to be shown).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LastFour([u8; 4]);

/// What the log itself has to tell.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum ChainEvent<'a> {
    /// So many records stand before this one.
    Anchor { records: u64 },
    /// The log was not as it was left.
    FaultFound { fault: &'a str },
    /// The line before was cut short, by a crash; these are its bytes' length and keyed digest.
    TornLine { torn_bytes: u64, torn_digest: &'a str },
}

impl LastFour {
    /// Those of a number.
    #[must_use]
    pub fn of(pan: &Pan) -> Self {
        Self(pan.last_four().try_into().unwrap_or([b'*'; 4]))
    }
}

impl fmt::Display for LastFour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("****"))
    }
}

impl Serialize for LastFour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn token_text<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.as_str())
}

fn token_texts<S: Serializer>(tokens: &[Token], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tokens.iter().map(Token::as_str))
}

fn instant<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Rfc3339(*at))
}

fn field_name<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&without_digits(name))
}

/// A request id may be the client's.
fn masked<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mask_text(text))
}
