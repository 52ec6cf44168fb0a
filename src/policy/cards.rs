//! What is done with card numbers, and in which direction.

use std::sync::Arc;

use crate::card::TokenFormat;
use crate::scan::Rules;

/// What is done with the cards of one route.
#[derive(Clone, Debug)]
pub struct CardPolicy {
    /// With cards in requests.
    pub requests: RequestAction,
    /// With cards in answers.
    pub responses: ResponseAction,
    /// The shape of the tokens made here.
    pub format: TokenFormat,
    /// With Luhn-invalid numbers in configured card fields.
    pub invalid_card: InvalidCard,
    /// What to look for in requests.
    pub request_rules: Arc<Rules>,
    /// What to look for in answers.
    pub response_rules: Arc<Rules>,
}

impl CardPolicy {
    /// How little gets past, for choosing between two policies.
    #[must_use]
    pub fn strictness(&self) -> (u8, u8) {
        let requests = match self.requests {
            RequestAction::Off => 0,
            RequestAction::Observe => 1,
            RequestAction::Tokenize => 2,
            RequestAction::Mask => 3,
            RequestAction::Reject => 4,
        };
        let responses = match self.responses {
            ResponseAction::Off => 0,
            ResponseAction::Observe => 1,
            ResponseAction::Mask => 2,
        };
        (requests, responses)
    }
}

/// What is done with a card number that a client sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestAction {
    /// Masked: the shop never needs it.
    Mask,
    /// Counted, and left as it is.
    Observe,
    /// Not even looked for.
    Off,
    /// The request is refused (422).
    Reject,
    /// Replaced by a token.
    Tokenize,
}

/// What is done with a card number that a shop answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseAction {
    /// Masked; issued tokens stay.
    Mask,
    /// Counted, and left as it is.
    Observe,
    /// Not even looked for.
    Off,
}

/// What is done with a Luhn-invalid number in a configured card field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InvalidCard {
    /// It reaches the shop, whose own error message reaches the customer.
    #[default]
    Pass,
    /// The request is refused (422).
    Reject,
}

macro_rules! names {
    ($type:ty, $($variant:ident => $name:literal),+) => {
        impl $type {
            /// The name used in configuration, metrics and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

names!(RequestAction, Mask => "mask", Observe => "observe", Off => "off", Reject => "reject", Tokenize => "tokenize");
names!(ResponseAction, Mask => "mask", Observe => "observe", Off => "off");
names!(InvalidCard, Pass => "pass", Reject => "reject");
