//! Cards found, and left alone, on a route.

use prometheus::{IntCounterVec, Registry};

use super::cells::label_values;
use super::metrics::counters;

label_values! {
    /// Which way a card number was going.
    pub enum Direction {
        /// To the shop.
        Request => "request",
        /// To the client.
        Response => "response",
    }
}

label_values! {
    /// What kind of sensitive number was found.
    pub enum CardDatum {
        /// A card number.
        Card => "card",
        /// A card verification code.
        Code => "code",
    }
}

label_values! {
    /// What was done with a card number that was found.
    pub enum CardAction {
        /// An issued token, left as it is.
        Kept => "kept",
        /// Its middle was hidden.
        Masked => "masked",
        /// It was counted only.
        Observed => "observed",
        /// The message that held it was refused.
        Rejected => "rejected",
        /// A token stands in its place.
        Tokenized => "tokenized",
    }
}

label_values! {
    /// Which part of a message a card number was found in.
    pub enum CardPlace {
        /// The body.
        Body => "body",
        /// A cookie.
        Cookie => "cookie",
        /// Any other field of the head.
        Header => "header",
        /// A WebSocket message.
        Message => "message",
        /// `Referer`.
        Referrer => "referrer",
        /// The path or query.
        Target => "target",
    }
}

label_values! {
    /// Why a number of a card's form was left alone.
    pub enum SkipReason {
        /// Its field says that it is something else.
        FieldName => "field_name",
        /// It fails Luhn, in a field that the configuration names as a card field.
        InvalidCard => "invalid_card",
    }
}

pub(super) struct CardFamilies {
    pub(super) found: IntCounterVec,
    pub(super) skipped: IntCounterVec,
    pub(super) unexpected: IntCounterVec,
    pub(super) unread: IntCounterVec,
}

impl CardFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            found: counters(
                registry,
                "tillgate_cards_found_total",
                "Card numbers found, by what was done with them.",
                &["site", "route", "direction", "carrier", "action"],
            ),
            skipped: counters(
                registry,
                "tillgate_cards_skipped_total",
                "Numbers of a card's form that were left alone, by reason.",
                &["site", "route", "direction", "reason"],
            ),
            unexpected: counters(
                registry,
                "tillgate_cards_unexpected_total",
                "Card numbers found in the head of a request, where none belongs.",
                &["site", "route", "where"],
            ),
            unread: counters(
                registry,
                "tillgate_bodies_unread_total",
                "Bodies of observing routes that passed without having been read; enforced, they are refused.",
                &["site", "route", "direction"],
            ),
        }
    }
}
