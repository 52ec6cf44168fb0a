//! Why there is no certificate, and who is to be left alone for it.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use instant_acme::{Error as ClientError, Problem};
use thiserror::Error;

use super::call::CallError;
use super::hook::HookError;
use super::memory::Blame;
use crate::telemetry::AcmeOutcome;
use crate::tls::{ChallengeKeyError, ConnectError, IdentityError};

/// The longest text of an authority's, or of a command's, that is logged.
const WORDS_MAX: usize = 500;

/// Why an attempt failed.
#[derive(Debug, Error)]
pub(super) enum AcmeError {
    /// The authority offers no such challenge.
    #[error("the authority does not prove {name} by {challenge}; use another `challenge`")]
    ChallengeUnknown { name: String, challenge: &'static str },
    #[error("the authority or the way to it failed")]
    Client(#[from] ClientError),
    #[error("the authority cannot be verified")]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("the key of a challenge's certificate cannot be used")]
    Key(#[from] ChallengeKeyError),
    #[error("the authority did not decide in time")]
    Late,
    #[error("a certificate or its request cannot be made")]
    Make(#[from] rcgen::Error),
    #[error("{name} was not proven: {}", problem.as_ref().map_or_else(String::new, ToString::to_string))]
    NotProven { name: String, problem: Option<Problem> },
    #[error("cannot use {}", path.display())]
    Store { path: PathBuf, source: io::Error },
    #[error("what was issued does not carry every name, or has ended already")]
    Unfit,
    #[error("what was issued cannot be served")]
    Unusable(#[source] IdentityError),
}

impl AcmeError {
    pub(super) fn outcome(&self) -> AcmeOutcome {
        match self {
            Self::ChallengeUnknown { .. } | Self::NotProven { .. } => AcmeOutcome::Challenge,
            Self::Client(error) => client_outcome(error),
            Self::Connect(_) => AcmeOutcome::Unreachable,
            Self::Hook(_) => AcmeOutcome::Hook,
            Self::Late => AcmeOutcome::Timeout,
            Self::Key(_) | Self::Make(_) | Self::Store { .. } => AcmeOutcome::Storage,
            Self::Unfit | Self::Unusable(_) => AcmeOutcome::Unusable,
        }
    }

    pub(super) fn blame(&self) -> Blame {
        match self.outcome() {
            AcmeOutcome::Account | AcmeOutcome::ServerError | AcmeOutcome::Unreachable => {
                Blame::Authority
            }
            AcmeOutcome::RateLimited => Blame::Pace,
            AcmeOutcome::Challenge
            | AcmeOutcome::Hook
            | AcmeOutcome::Issued
            | AcmeOutcome::Refused
            | AcmeOutcome::Storage
            | AcmeOutcome::Timeout
            | AcmeOutcome::Unusable => Blame::Certificate,
        }
    }

    /// Whether the authority has forgotten our account.
    pub(super) fn account_is_gone(&self) -> bool {
        matches!(self, Self::Client(ClientError::Api(problem)) if kind(problem) == "accountDoesNotExist")
    }

    /// The error and everything it came from, in one line.
    pub(super) fn words(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !words.ends_with(&text) {
                words = format!("{words}: {text}");
            }
            cause = error.source();
        }
        words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
    }
}

/// The last part of a problem's type (RFC 8555 §6.7).
pub(super) fn kind(problem: &Problem) -> &str {
    let whole = problem.r#type.as_deref().unwrap_or_default();
    whole.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default()
}

fn client_outcome(error: &ClientError) -> AcmeOutcome {
    match error {
        ClientError::Api(problem) => problem_outcome(problem),
        ClientError::Timeout(_) => AcmeOutcome::Timeout,
        ClientError::Other(error) if error.is::<CallError>() => AcmeOutcome::Unreachable,
        ClientError::Http(_) | ClientError::InvalidUri(_) => AcmeOutcome::Unreachable,
        // What is no problem document is a proxy's page, or an authority that is not itself.
        _ => AcmeOutcome::ServerError,
    }
}

fn problem_outcome(problem: &Problem) -> AcmeOutcome {
    match kind(problem) {
        "accountDoesNotExist"
        | "externalAccountRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "unauthorized"
        | "userActionRequired" => AcmeOutcome::Account,
        "connection" | "dns" | "incorrectResponse" | "tls" => AcmeOutcome::Challenge,
        "rateLimited" => AcmeOutcome::RateLimited,
        "badNonce" | "serverInternal" => AcmeOutcome::ServerError,
        _ if problem.status.is_some_and(|status| status == 429) => AcmeOutcome::RateLimited,
        _ if problem.status.is_some_and(|status| status >= 500) => AcmeOutcome::ServerError,
        _ => AcmeOutcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(json: &str) -> (AcmeOutcome, Blame) {
        let problem: Problem = serde_json::from_str(json).unwrap();
        let error = AcmeError::Client(ClientError::Api(problem));
        (error.outcome(), error.blame())
    }

    #[test]
    fn who_is_left_alone_depends_on_what_the_authority_says() {
        let urn = "urn:ietf:params:acme:error:";
        let cases = [
            ("rateLimited", AcmeOutcome::RateLimited, Blame::Pace),
            ("serverInternal", AcmeOutcome::ServerError, Blame::Authority),
            ("externalAccountRequired", AcmeOutcome::Account, Blame::Authority),
            ("rejectedIdentifier", AcmeOutcome::Refused, Blame::Certificate),
            ("caa", AcmeOutcome::Refused, Blame::Certificate),
            ("dns", AcmeOutcome::Challenge, Blame::Certificate),
        ];
        for (kind, expected, blame) in cases {
            assert_eq!(
                outcome(&format!(r#"{{"type":"{urn}{kind}"}}"#)),
                (expected, blame),
                "{kind}"
            );
        }
        assert_eq!(outcome(r#"{"status":503}"#), (AcmeOutcome::ServerError, Blame::Authority));
    }
}
