//! One name and password, where a request may hold many.

use zeroize::Zeroizing;

use super::account::Account;

/// The most guesses that one request may hold; honest ones hold one.
pub(super) const GUESSES_MAX: usize = 8;

/// One name and password. Has no `Debug`: both are nobody's business.
#[derive(Clone)]
pub(super) struct Guess {
    pub(super) account: Account,
    secret: Zeroizing<String>,
}

impl Guess {
    pub(super) fn new(account: Account, secret: Zeroizing<String>) -> Self {
        Self { account, secret }
    }

    /// The password, to be hashed with a key.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Adds a guess that is not there yet: the same name and password twice are one guess, which is
    /// how clients send several calls at once.
    pub(super) fn add(found: &mut Vec<Self>, guess: Option<Self>) {
        let same = |one: &Self, other: &Self| {
            one.account.names() == other.account.names() && one.secret == other.secret
        };
        // One more than allowed is kept, to be seen and refused.
        if let Some(guess) = guess
            && found.len() <= GUESSES_MAX
            && !found.iter().any(|known| same(known, &guess))
        {
            found.push(guess);
        }
    }
}
