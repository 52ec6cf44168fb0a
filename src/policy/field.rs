//! Patterns for the names of fields, nested names too, whatever the body is written in.

use super::pattern::glob;

/// `card[number]` or `card.number`: a field by the names of all that encloses it. Both writings mean
/// the same, case does not count, the place in a list does not count, and `*` is any run of
/// characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldPattern {
    pieces: Vec<String>,
    /// Of what encloses the field; `None` where a bare `*` says nothing of it.
    beside: Option<Vec<String>>,
}

impl FieldPattern {
    /// Reads a pattern; `None` where it names nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = join_names(&name_parts(text));
        if name.is_empty() {
            return None;
        }
        let pieces = |text: &str| text.split('*').map(str::to_owned).collect::<Vec<_>>();
        let beside = match name.rsplit_once('.') {
            Some((parent, _)) => Some(pieces(parent)),
            None => (!name.contains('*')).then(|| pieces("")),
        };
        Some(Self { pieces: pieces(&name), beside })
    }

    /// Whether a field of this name (see [`join_names`]) is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob(&self.pieces, name)
    }

    /// Whether a field of this name stands beside one that is meant: a verification code goes where
    /// its card goes, and nowhere else.
    #[must_use]
    pub fn matches_beside(&self, name: &str) -> bool {
        let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
        self.matches(name) || self.beside.as_ref().is_some_and(|pieces| glob(pieces, parent))
    }
}

/// The names in `card[number]`, `card.number` or `cards[0].number`, from the outside in.
#[must_use]
pub fn name_parts(text: &str) -> Vec<String> {
    text.split(['.', '[', ']']).map(|part| part.trim().to_lowercase()).collect()
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
    fn what_stands_beside_a_card_goes_with_it() {
        assert!(pattern("card[number]").matches_beside("card.cvc"));
        assert!(!pattern("card[number]").matches_beside("metadata.cvc"));
        assert!(pattern("number").matches_beside("cvc"));
        assert!(!pattern("number").matches_beside("metadata.cvc"));
        assert!(pattern("*.number").matches_beside("body.card.cvc"));
    }

    #[test]
    fn nothing_is_no_pattern() {
        assert!(FieldPattern::parse(" ").is_none() && FieldPattern::parse("[0]").is_none());
    }
}
