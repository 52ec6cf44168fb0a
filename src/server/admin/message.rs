//! What the operator's API is asked and answers, as JSON.

use serde::{Deserialize, Serialize};

use crate::telemetry::Operator;

/// Whom an act or a question is about. Names stand in bodies only: addresses of requests are logged.
/// Has no `Debug`: a name goes nowhere but into a keyed hash.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// The site; may be left out where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The guard; logins where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The account, as the customer types it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A client's address, or one of the networks that are counted: IPv4 /32 and /24, IPv6 /64 and /48.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A key as `locked` lists it, with its dimension: `account:0123…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who acts, as he says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// For how long, where something is allowed; zero takes it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}

/// What is locked and what is allowed.
#[derive(Debug, Deserialize, Serialize)]
pub struct Locked {
    /// The locks, what ends last first.
    pub locked: Vec<LockRow>,
    /// Whether there are more.
    pub more: bool,
    /// What operators have allowed in this instance.
    pub allowed: Vec<AllowedRow>,
    /// Whether shared counters fail, so that these are this instance's own.
    pub degraded: bool,
}

/// A lock.
#[derive(Debug, Deserialize, Serialize)]
pub struct LockRow {
    /// What kind of thing is locked.
    pub dimension: String,
    /// Its keyed hash.
    pub key: String,
    /// Where it was locked, if this instance did it.
    pub site: Option<String>,
    /// The client's network that locked it, if this instance saw it: in memory only.
    pub network: Option<String>,
    /// How many failures it took.
    pub failures: u32,
    /// How many locks there were shortly before.
    pub level: u32,
    /// Whether it holds until somebody vouches for the account.
    pub barred: bool,
    /// Until when (RFC 3339).
    pub until: String,
    /// How long from now.
    pub remaining_s: u64,
}

/// Something that is not refused for now.
#[derive(Debug, Deserialize, Serialize)]
pub struct AllowedRow {
    /// What kind of thing.
    pub dimension: String,
    /// Its keyed hash.
    pub key: String,
    /// How long from now.
    pub remaining_s: u64,
}

/// What was done.
#[derive(Debug, Deserialize, Serialize)]
pub struct Done {
    /// How many subjects it changed.
    pub changed: usize,
}

/// How the next attempt would fare.
#[derive(Debug, Deserialize, Serialize)]
pub struct Explained {
    /// Whether limits refuse, or only observe.
    pub mode: String,
    /// Every subject it would be counted under.
    pub subjects: Vec<StandingRow>,
    /// Whether the network is known for the account: others' failures then do not keep it out.
    pub known: bool,
    /// Whether an operator allowed it, so that nothing refuses.
    pub allowed: bool,
    /// Which of the lists of `[networks]` its network is on.
    pub listed: Option<String>,
    /// What speaks against it, if anything does.
    pub suspicion: Option<Suspicion>,
    /// The limit that would refuse it.
    pub next: Option<RefusalRow>,
}

/// What speaks against an attempt.
#[derive(Debug, Deserialize, Serialize)]
pub struct Suspicion {
    /// How much.
    pub points: u32,
    /// For which reasons.
    pub signals: Vec<String>,
    /// What is done with a stranger: none, tightened, delayed or proof.
    pub step: String,
}

/// How a subject stands.
#[derive(Debug, Deserialize, Serialize)]
pub struct StandingRow {
    /// What kind of thing it is.
    pub dimension: String,
    /// Its keyed hash.
    pub key: String,
    /// Failures in the window of its lockout.
    pub failures: u32,
    /// Over how many accounts, or from how many networks.
    pub spread: u32,
    /// Failures in a row, where they are limited.
    pub consecutive: u32,
    /// Attempts under way.
    pub held: u32,
    /// Locks within a day.
    pub level: u32,
    /// What would refuse the next attempt, if this subject alone counted.
    pub refusal: Option<RefusalRow>,
}

/// A limit that refuses.
#[derive(Debug, Deserialize, Serialize)]
pub struct RefusalRow {
    /// Its name, as in metrics and logs.
    pub reason: String,
    /// For how long.
    pub retry_after_s: u64,
}

/// Why nothing was done.
#[derive(Debug, Deserialize, Serialize)]
pub struct Failed {
    /// In words.
    pub error: String,
}
