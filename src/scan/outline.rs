//! Where in a body a place lies: the names of all that encloses it.
//!
//! A find knows the name before it; whether a number may be revealed there depends on every name
//! around. The body is read once, in order, in any pieces. Nothing is guessed: in a text whose
//! structure is not known, deeper than is followed, or such that two readers may find two structures
//! in it, a place has no name at all, and so matches no rule.

mod content;
mod form;
mod json;
mod multipart;
mod xml;

use super::Carrier;
use form::Form;
use json::Json;
use multipart::Multipart;
use xml::Xml;

/// How deep names are followed.
const DEPTH_MAX: usize = 32;
/// The longest name; a longer one is none.
const NAME_BYTES_MAX: usize = 256;

/// What some writers put before UTF-8, and readers leave out.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The names around a place that moves through a body.
pub struct Outline {
    kind: Kind,
    /// What may still come of the mark.
    mark: &'static [u8],
}

enum Kind {
    Form(Form),
    Json(Json),
    Multipart(Multipart),
    /// A text without names.
    Plain,
    Xml(Xml),
}

impl Outline {
    /// Before the first byte of a body with this `Content-Type`.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Self {
        let Some(carrier) = content::carrier(content_type) else { return Self::new(Kind::Plain) };
        Self::new(match carrier {
            Carrier::Form => Kind::Form(Form::of_body()),
            Carrier::Json => Kind::Json(Json::default()),
            Carrier::Multipart => match content::boundary(content_type) {
                Some(boundary) => Kind::Multipart(Multipart::new(&boundary)),
                None => Kind::Plain,
            },
            Carrier::Xml => Kind::Xml(Xml::default()),
            Carrier::Csv
            | Carrier::EventStream
            | Carrier::Html
            | Carrier::JavaScript
            | Carrier::Text => Kind::Plain,
        })
    }

    /// Before the first byte of the query of a URL.
    #[must_use]
    pub fn of_query() -> Self {
        Self::new(Kind::Form(Form::default()))
    }

    fn new(kind: Kind) -> Self {
        let mark = if matches!(kind, Kind::Json(_) | Kind::Xml(_)) { MARK } else { b"" };
        Self { kind, mark }
    }

    /// Moves past these bytes.
    pub fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some((_, left)) = self.mark.split_first().filter(|(first, _)| **first == byte) {
                self.mark = left;
                continue;
            }
            self.mark = b"";
            match &mut self.kind {
                Kind::Multipart(multipart) => multipart.pass(byte),
                // It may be of wide characters (RFC 4627 §3), or end here for readers in C.
                _ if byte == 0 => self.kind = Kind::Plain,
                Kind::Form(form) => form.pass(byte),
                Kind::Json(json) => json.pass(byte),
                Kind::Plain => return,
                Kind::Xml(xml) => xml.pass(byte),
            }
        }
    }

    /// The names around the place, from the outside in; `None` where they are not known.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        let names = match &self.kind {
            Kind::Form(form) => form.names(),
            Kind::Json(json) => json.names(),
            Kind::Multipart(multipart) => multipart.names(),
            Kind::Plain => None,
            Kind::Xml(xml) => xml.names(),
        };
        // Some readers end a name at NUL.
        let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        names.filter(|names| !names.iter().any(|name| name.contains(odd)))
    }
}

/// A name being read; one that is too long is none.
#[derive(Default)]
struct Name(Vec<u8>);

impl Name {
    fn push(&mut self, byte: u8) {
        if self.0.len() <= NAME_BYTES_MAX {
            self.0.push(byte);
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&self) -> Option<&[u8]> {
        (self.0.len() <= NAME_BYTES_MAX).then_some(&self.0)
    }
}

/// Whether a key of JSON or the name of an element is one name. In a form `card[number]` is the number
/// of the card; here it is a field of that very name.
fn is_single(name: &str) -> bool {
    !name.contains(['.', '[', ']'])
}

#[cfg(test)]
mod tests;
