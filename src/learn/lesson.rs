//! What was seen so far: one wrong login, and one right one at the same address.

use std::sync::Arc;

use super::exchange::{Address, Exchange};
use super::{LearnError, signs};
use crate::counters::Outcome;
use crate::policy::Site;

/// The most addresses at which a wrong login is remembered: shops have one, or a few.
const ADDRESSES_MAX: usize = 8;

/// What there is to tell the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum News {
    /// Nothing of interest.
    Nothing,
    /// The first login at an address, which was asked to be wrong.
    Wrong {
        address: Address,
        /// It looks as if it was let in.
        looks_right: bool,
    },
    /// Another login at that address which was answered just alike.
    Alike,
    /// The right one.
    Right,
}

/// Watches.
pub(super) struct Lesson {
    built_in: Arc<Site>,
    wrong: Vec<Exchange>,
    right: Option<Exchange>,
    cookies: Vec<String>,
}

/// A wrong login and a right one.
pub(super) struct Pair {
    pub(super) wrong: Exchange,
    pub(super) right: Exchange,
    /// The wrong one again, as a script sends it.
    pub(super) script: Option<Exchange>,
    /// The cookies that were set for one who was not logged in.
    pub(super) strangers_cookies: Vec<String>,
}

impl Lesson {
    /// Begins; the site is one without rules.
    pub(super) fn new(built_in: Arc<Site>) -> Self {
        Self { built_in, wrong: Vec::new(), right: None, cookies: Vec::new() }
    }

    /// Looks at the next exchange.
    pub(super) fn see(&mut self, exchange: Exchange) -> News {
        if self.right.is_some() {
            return News::Nothing;
        }
        if !exchange.is_login(&self.built_in) {
            self.note_cookies(&exchange);
            return News::Nothing;
        }
        let address = exchange.address();
        let Some(place) = self.wrong.iter().position(|wrong| wrong.address() == address) else {
            self.note_cookies(&exchange);
            if self.wrong.len() == ADDRESSES_MAX {
                return News::Nothing;
            }
            let looks_right = exchange.outcome(&self.built_in) == Some(Outcome::Success);
            self.wrong.push(exchange);
            return News::Wrong { address, looks_right };
        };
        let wrong = self.wrong.swap_remove(place);
        if alike(&wrong, &exchange, &self.cookies) {
            self.note_cookies(&exchange);
            self.wrong.push(wrong);
            return News::Alike;
        }
        self.wrong = vec![wrong];
        self.right = Some(exchange);
        News::Right
    }

    /// Both.
    ///
    /// # Errors
    /// When there are not both.
    pub(super) fn pair(self) -> Result<Pair, LearnError> {
        let Self { mut wrong, right, cookies, .. } = self;
        let wrong = wrong.pop().ok_or(LearnError::NotSeen { wanted: "no login was seen" })?;
        let right = right.ok_or(LearnError::NotSeen { wanted: "no right login was seen" })?;
        Ok(Pair { wrong, right, script: None, strangers_cookies: cookies })
    }

    fn note_cookies(&mut self, exchange: &Exchange) {
        for name in exchange.cookies() {
            if !self.cookies.iter().any(|known| known == name) {
                self.cookies.push(name.to_owned());
            }
        }
    }
}

impl Pair {
    /// Takes in how a script was answered.
    pub(super) fn note_script(&mut self, script: Exchange) {
        self.strangers_cookies.extend(script.cookies().into_iter().map(str::to_owned));
        self.script = Some(script);
    }

    /// What somebody is answered who does not know the password.
    pub(super) fn strangers(&self) -> Vec<&Exchange> {
        std::iter::once(&self.wrong).chain(&self.script).collect()
    }
}

/// Whether a second answer says what the first did, as far as signs go. Cookies that were given
/// before are none: the first visit gets one, whatever its password.
fn alike(first: &Exchange, second: &Exchange, known: &[String]) -> bool {
    let news = second.cookies().iter().any(|name| !known.iter().any(|old| old == name));
    let said = |exchange: &Exchange| {
        let place = exchange.location();
        (exchange.status(), place, signs::page(exchange), signs::flags(exchange))
    };
    !news && said(first) == said(second)
}
