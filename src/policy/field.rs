//! Patterns for the names of fields, nested names too, whatever the body is written in.

use std::fmt;

use super::pattern::glob;

/// `card[number]` or `card.number`: a field by the names of all that encloses it. Both writings mean
/// the same, case does not count, the place in a list does not count, and `*` is any run of
/// characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldPattern {
    pieces: Vec<String>,
}

impl FieldPattern {
    /// Reads a pattern; `None` where it names nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = join_names(&name_parts(text));
        (!name.is_empty()).then(|| Self { pieces: name.split('*').map(str::to_owned).collect() })
    }

    /// Whether a field of this name (see [`join_names`]) is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob(&self.pieces, name)
    }
}

/// The names in `card[number]`, `card.number` or `cards[0].number`, from the outside in.
#[must_use]
pub fn name_parts(text: &str) -> Vec<String> {
    text.split(['.', '[', ']']).map(|part| part.trim().to_lowercase()).collect()
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

/// What encloses the field of this name: fields with the same stand beside each other.
#[must_use]
pub fn enclosing(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(enclosing, _)| enclosing)
}

/// The field's own name, without those of what encloses it.
#[must_use]
pub fn own_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, own)| own)
}

/// One name for all of them: joined by dots, without places in lists.
#[must_use]
pub fn join_names(parts: &[String]) -> String {
    let place = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let named: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !place(part)).collect();
    named.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> FieldPattern {
        FieldPattern::parse(text).unwrap()
    }

    fn name(text: &str) -> String {
        join_names(&name_parts(text))
    }

    #[test]
    fn brackets_dots_case_and_places_in_lists_are_all_one() {
        for written in ["card[number]", "card.number", "Card[Number]", "card[0][number]"] {
            assert_eq!(name(written), "card.number", "{written}");
            assert!(pattern(written).matches("card.number"), "{written}");
        }
    }

    #[test]
    fn a_field_is_meant_by_its_whole_name() {
        assert!(!pattern("card[number]").matches("metadata.card.number"));
        assert!(!pattern("card[number]").matches("card.number.note"));
        assert!(!pattern("number").matches("card.number"));
        assert!(pattern("*.number").matches("envelope.body.card.number"));
        assert!(pattern("*").matches("anything.at.all"));
        assert!(!pattern("*.number").matches("number"));
    }

    #[test]
    fn fields_of_one_object_stand_beside_each_other() {
        assert_eq!(enclosing("card.number"), enclosing("card.cvc"));
        assert_ne!(enclosing("card.number"), enclosing("metadata.cvc"));
        assert_eq!(enclosing("number"), "");
    }

    #[test]
    fn nothing_is_no_pattern() {
        assert!(FieldPattern::parse(" ").is_none() && FieldPattern::parse("[0]").is_none());
    }
}
