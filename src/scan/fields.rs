//! Field names that decide: which hold cards, which hold codes, which never hold either.

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

/// What a scan is asked to find; compiled once when a configuration is loaded.
#[derive(Debug)]
pub struct Rules {
    fields: FieldRules,
    codes: CodeRule,
    strict: bool,
}

/// Whether card verification codes are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CodeRule {
    Find,
    Skip,
}

impl Rules {
    /// Rules for what a client sends: cards, verification codes and track data.
    #[must_use]
    pub fn requests(fields: FieldRules) -> Self {
        Self { fields, codes: CodeRule::Find, strict: false }
    }

    /// Rules for what a server answers: cards and track data.
    #[must_use]
    pub fn responses(fields: FieldRules) -> Self {
        Self { fields, codes: CodeRule::Skip, strict: false }
    }

    /// Lifts the veto of field names such as `order_id` (DESIGN.md section 3).
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}
