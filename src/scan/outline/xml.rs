//! Names in XML and SOAP, without their prefixes: those are the writer's choice.
//!
//! After anything that is not well-formed (XML 1.0, fifth edition), and after a document type, whose
//! entities may put any text in any place, nothing is known.

use super::content::is_true;
use super::{DEPTH_MAX, Name, is_single};

/// The elements around a place, and within a tag the attribute.
#[derive(Default)]
pub(super) struct Xml {
    /// With their prefixes, as their ends must have them.
    elements: Vec<Vec<u8>>,
    /// Whether the outermost element has begun.
    rooted: bool,
    /// Whether anything has.
    begun: bool,
    state: State,
    name: Name,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// After the name of an attribute and its `=`.
    AttributeEquals,
    AttributeName,
    /// In an attribute's value, until this quote.
    AttributeValue(u8),
    /// In `<![CDATA[`, after so many `]`.
    CharacterData(u8),
    /// In `</…`.
    Close,
    /// In `</… `, after the name.
    CloseBlank,
    /// In `<!--`, after so many dashes.
    Comment(u8),
    /// The same, with nothing before those.
    CommentBegun(u8),
    /// In `<!`, of which more will tell what it is.
    Declaration,
    /// After `/` within a tag.
    Empty,
    /// In `<?`, and whether after a question mark.
    Instruction {
        asked: bool,
    },
    /// It is no XML.
    Nowhere,
    /// In the name of an element that begins.
    Open,
    /// Within a tag, after the element's name or an attribute, and a blank.
    Tag,
    /// Within a tag, after an attribute.
    TagBlank,
    #[default]
    Text,
}

impl Xml {
    pub(super) fn pass(&mut self, byte: u8) {
        self.state = match self.state {
            State::Text => self.text(byte),
            State::Open => self.open(byte),
            State::Tag | State::TagBlank => self.tag(byte),
            State::Empty if byte == b'>' => self.leave(),
            State::AttributeName | State::AttributeEquals => self.attribute(byte),
            State::AttributeValue(quote) if byte == quote => State::TagBlank,
            State::AttributeValue(_) if byte == b'<' => State::Nowhere,
            State::AttributeValue(quote) => State::AttributeValue(quote),
            State::Close | State::CloseBlank => self.close(byte),
            State::Declaration => self.declaration(byte),
            State::CharacterData(ends) => match byte {
                b']' => State::CharacterData(ends.saturating_add(1)),
                b'>' if ends >= 2 => State::Text,
                _ => State::CharacterData(0),
            },
            State::Comment(dashes) => match (byte, dashes) {
                (b'>', 2) => State::Text,
                // §2.5: two dashes end it, for some readers alone.
                (_, 2) => State::Nowhere,
                (b'-', _) => State::Comment(dashes.saturating_add(1)),
                _ => State::Comment(0),
            },
            State::CommentBegun(dashes) => match (byte, dashes) {
                // HTML's readers end it here.
                (b'>', _) => State::Nowhere,
                (b'-', 0) => State::CommentBegun(1),
                (b'-', _) => State::Comment(2),
                _ => State::Comment(0),
            },
            State::Instruction { asked } => self.instruction(asked, byte),
            State::Empty | State::Nowhere => State::Nowhere,
        };
    }

    fn text(&mut self, byte: u8) -> State {
        match byte {
            b'<' => {
                self.name.clear();
                State::Open
            }
            byte if self.elements.is_empty() && !byte.is_ascii_whitespace() => State::Nowhere,
            _ => State::Text,
        }
    }

    fn open(&mut self, byte: u8) -> State {
        let empty = self.name.is_empty();
        match byte {
            b'/' if empty => State::Close,
            b'!' if empty => State::Declaration,
            b'?' if empty => State::Instruction { asked: false },
            b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n' => match self.enter() {
                State::Tag => self.tag(byte),
                other => other,
            },
            byte => self.push_name(byte, State::Open),
        }
    }

    fn tag(&mut self, byte: u8) -> State {
        match byte {
            b'>' => State::Text,
            b'/' => State::Empty,
            byte if byte.is_ascii_whitespace() => State::Tag,
            // §3.1: a blank stands before each attribute.
            byte if self.state == State::TagBlank || !is_name(byte) => State::Nowhere,
            byte => {
                self.name.clear();
                self.push_name(byte, State::AttributeName)
            }
        }
    }

    fn attribute(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::AttributeEquals, b'"' | b'\'') => State::AttributeValue(byte),
            (State::AttributeEquals, _) => State::Nowhere,
            (_, b'=') => State::AttributeEquals,
            (_, byte) => self.push_name(byte, State::AttributeName),
        }
    }

    fn close(&mut self, byte: u8) -> State {
        match byte {
            b'>' if self.elements.last().map(Vec::as_slice) == self.name.bytes() => self.leave(),
            b' ' | b'\t' | b'\r' | b'\n' => State::CloseBlank,
            byte if self.state == State::Close => self.push_name(byte, State::Close),
            _ => State::Nowhere,
        }
    }

    fn declaration(&mut self, byte: u8) -> State {
        self.begun = true;
        self.name.push(byte);
        match self.name.bytes().unwrap_or_default() {
            b"--" => State::CommentBegun(0),
            b"[CDATA[" if !self.elements.is_empty() => State::CharacterData(0),
            begun if b"--".starts_with(begun) || b"[CDATA[".starts_with(begun) => {
                State::Declaration
            }
            _ => State::Nowhere,
        }
    }

    fn instruction(&mut self, asked: bool, byte: u8) -> State {
        let ends = asked && byte == b'>';
        if ends && self.name.bytes().is_some_and(|text| is_harmless(text, self.begun)) {
            self.begun = true;
            return State::Text;
        }
        // Lenient readers end it at the first `>`.
        if matches!(byte, b'<' | b'>') {
            return State::Nowhere;
        }
        self.name.push(byte);
        State::Instruction { asked: byte == b'?' }
    }

    fn push_name(&mut self, byte: u8, state: State) -> State {
        self.name.push(byte);
        if is_name(byte) && self.name.bytes().is_some() { state } else { State::Nowhere }
    }

    fn enter(&mut self) -> State {
        let second = self.rooted && self.elements.is_empty();
        let Some(name) = self.name.bytes().filter(|name| !name.is_empty()) else {
            return State::Nowhere;
        };
        if second || self.elements.len() == DEPTH_MAX {
            return State::Nowhere;
        }
        self.elements.push(name.to_vec());
        (self.rooted, self.begun) = (true, true);
        State::Tag
    }

    fn leave(&mut self) -> State {
        match self.elements.pop() {
            Some(_) => State::Text,
            None => State::Nowhere,
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        let attribute = match self.state {
            State::AttributeValue(_) => Some(self.name.bytes()?),
            State::CharacterData(_) | State::Text => None,
            State::AttributeEquals
            | State::AttributeName
            | State::Close
            | State::CloseBlank
            | State::Comment(_)
            | State::CommentBegun(_)
            | State::Declaration
            | State::Empty
            | State::Instruction { .. }
            | State::Nowhere
            | State::Open
            | State::Tag
            | State::TagBlank => return None,
        };
        let names = self.elements.iter().map(Vec::as_slice).chain(attribute);
        names.map(|name| local(name).filter(|name| is_single(name))).collect()
    }
}

/// RFC 3629 for what is not ASCII.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.' | 0x80..)
}

/// A name without its prefix.
fn local(name: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(name).ok()?.rsplit(':').next().unwrap_or_default().to_owned())
}

/// Whether a processing instruction changes nothing. That which declares XML (§2.8) is the first thing of
/// all, and may name a charset in which the rest says something else. UTF-16 is not one of those: it
/// has no markup without NUL, and .NET writes it before UTF-8.
fn is_harmless(text: &[u8], begun: bool) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let target = text.split([' ', '\t', '\r', '\n', '?']).next().unwrap_or_default();
    if target != "xml" {
        return target.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    }
    let Some((_, after)) = text.split_once("encoding") else { return !begun };
    let value = after.trim_start().strip_prefix('=').map(str::trim_start).unwrap_or_default();
    let quote = if value.starts_with('"') { '"' } else { '\'' };
    let charset = value.split(quote).nth(1).unwrap_or_default();
    !begun && !after.contains("encoding") && (is_true(charset) || charset == "utf-16")
}
