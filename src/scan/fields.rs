//! Field names that decide: which hold cards, which hold codes, which never hold either.

use super::{names, token};
use crate::card::PAN_DIGITS_MIN;

/// Names that a route's configuration adds to the built-in ones. Compared case-insensitively.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldRules {
    /// Always a card number: never vetoed, weak ranges need no other context.
    pub card: Vec<String>,
    /// A card verification code.
    pub cvv: Vec<String>,
    /// Never looked at.
    pub ignored: Vec<String>,
}

/// The shortest verification code.
const CODE_BYTES_MIN: usize = 3;

/// Every built-in name of a verification code has one of these in it.
const CODE_STEMS: [&[u8]; 15] = [
    b"cav",
    b"ccv",
    b"cid",
    b"code",
    b"crypto",
    b"csc",
    b"cv2",
    b"cvc",
    b"cvd",
    b"cve",
    b"cvn",
    b"cvv",
    b"pruef",
    b"security",
    b"verif",
];

/// What a scan is asked to find; compiled once when a configuration is loaded.
#[derive(Debug)]
pub struct Rules {
    fields: FieldRules,
    codes: CodeRule,
    tokens: TokenRule,
    strict: bool,
}

/// Whether card verification codes are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CodeRule {
    Find,
    Skip,
}

/// Which tokens are looked for that have not the shape of a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokenRule {
    /// Opaque ones, and numbers that fail Luhn.
    All,
    /// Opaque ones.
    Opaque,
    /// None: what is no card passes.
    Skip,
}

impl Rules {
    /// Rules for what is sent to a payment gateway: verification codes, track data, and everything that
    /// may be a token.
    #[must_use]
    pub fn gateway(fields: FieldRules) -> Self {
        Self { fields, codes: CodeRule::Find, tokens: TokenRule::All, strict: false }
    }

    /// Rules for what a client sends: cards, verification codes and track data, and opaque tokens, which
    /// verification codes are tied to.
    #[must_use]
    pub fn requests(fields: FieldRules) -> Self {
        Self { fields, codes: CodeRule::Find, tokens: TokenRule::Opaque, strict: false }
    }

    /// Rules for what a server answers: cards and track data.
    #[must_use]
    pub fn responses(fields: FieldRules) -> Self {
        Self { fields, codes: CodeRule::Skip, tokens: TokenRule::Skip, strict: false }
    }

    /// Lifts the veto of field names such as `order_id` (DESIGN.md section 3).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Whether a short text may name a verification code: cheap, and never wrong the dangerous way.
    #[must_use]
    pub fn may_name_code(&self, text: &[u8]) -> bool {
        let names = |stem: &[u8]| text.windows(stem.len()).any(|at| at.eq_ignore_ascii_case(stem));
        self.finds_codes()
            && (has_code_stem(text) || self.fields.cvv.iter().any(|name| names(name.as_bytes())))
    }

    /// Whether a short text may hold an opaque token: cheap, and never wrong the dangerous way.
    #[must_use]
    pub fn may_hold_token(&self, text: &[u8]) -> bool {
        self.finds_tokens() && token::next(text, 0).is_some()
    }

    pub(super) fn finds_tokens(&self) -> bool {
        self.tokens != TokenRule::Skip
    }

    pub(super) fn finds_failing(&self) -> bool {
        self.tokens == TokenRule::All
    }

    pub(super) fn finds_codes(&self) -> bool {
        self.codes == CodeRule::Find
    }

    /// What is shorter holds nothing that is looked for: a verification code, or a number.
    pub(super) fn find_bytes_min(&self) -> usize {
        if self.finds_codes() { CODE_BYTES_MIN } else { PAN_DIGITS_MIN }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn names_cards(&self) -> bool {
        !self.fields.card.is_empty()
    }

    pub(super) fn is_card_field(&self, name: &str) -> bool {
        listed(&self.fields.card, name)
    }

    /// Whether a field of this name holds a verification code.
    #[must_use]
    pub fn names_code(&self, name: &str) -> bool {
        names::is_code(name) || listed(&self.fields.cvv, name)
    }

    pub(super) fn is_ignored_field(&self, name: &str) -> bool {
        listed(&self.fields.ignored, name)
    }
}

/// Whether one of [`CODE_STEMS`] stands in a text. Only where one may begin is it compared: a browser's
/// name, which every request brings, is read in a tenth of the instructions.
fn has_code_stem(text: &[u8]) -> bool {
    let begins = |byte: u8| matches!(byte | 0x20, b'c' | b'p' | b's' | b'v');
    let stands = |at: &[u8]| {
        CODE_STEMS
            .iter()
            .any(|stem| at.get(..stem.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(stem)))
    };
    let places = text.iter().enumerate().filter(|(_, byte)| begins(**byte));
    places.filter_map(|(at, _)| text.get(at..)).any(stands)
}

/// Whether a list has the whole name or its last part: `number` for `payment[number]`.
fn listed(list: &[String], name: &str) -> bool {
    if list.is_empty() || name.is_empty() {
        return false;
    }
    let apart = |c: char| matches!(c, '[' | ']' | '.' | ':' | '/');
    let last = name.rsplit(apart).find(|part| !part.is_empty()).unwrap_or(name);
    let same =
        |known: &String| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(last);
    list.iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stem_of_a_code_is_seen_wherever_it_stands_and_in_any_case() {
        let upper = |stem: &[u8]| stem.to_ascii_uppercase();
        for stem in CODE_STEMS {
            assert!(has_code_stem(stem), "{stem:?}");
            assert!(has_code_stem(&[b"x_", &upper(stem)[..]].concat()), "{stem:?}");
            assert!(has_code_stem(&[b"cv", stem, b"=123"].concat()), "{stem:?}");
            assert!(!has_code_stem(&stem[..stem.len() - 1]), "{stem:?}");
        }
        assert!(!has_code_stem(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"));
    }
}
