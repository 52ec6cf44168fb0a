//! Names in XML and SOAP, without their prefixes: those are the writer's choice.

use super::{DEPTH_MAX, Name};

/// The elements around a place, and within a tag the attribute.
#[derive(Default)]
pub(super) struct Xml {
    elements: Vec<Option<String>>,
    /// How many elements lie deeper than is followed.
    beyond: usize,
    state: State,
    name: Name,
    attribute: Name,
    /// The byte before, and the one before that, for what ends with more than one.
    last: u8,
    last_but_one: u8,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// In an attribute's value, until this quote.
    Attribute(u8),
    /// In `<![CDATA[`, until `]]>`.
    CharacterData,
    /// In `</…>`.
    Close,
    /// In `<!--`, until `-->`.
    Comment,
    /// In `<!`, of which more will tell what it is.
    Declaration,
    /// In `<?`, until `?>`.
    Instruction,
    /// In the name of an element that begins.
    Open,
    /// Within a tag, after the element's name.
    Tag,
    #[default]
    Text,
}

impl Xml {
    pub(super) fn pass(&mut self, byte: u8) {
        match self.state {
            State::Text if byte == b'<' => {
                self.name.clear();
                self.state = State::Open;
            }
            State::Text => {}
            State::Open => self.open(byte),
            State::Tag => self.tag(byte),
            State::Attribute(quote) if byte == quote => {
                self.attribute.clear();
                self.state = State::Tag;
            }
            State::Attribute(_) => {}
            State::Close if byte == b'>' => {
                self.leave();
                self.state = State::Text;
            }
            State::Close => {}
            State::Declaration => self.declaration(byte),
            State::Comment => self.until(b'-', byte),
            State::CharacterData => self.until(b']', byte),
            State::Instruction => {
                if self.last == b'?' && byte == b'>' {
                    self.state = State::Text;
                }
            }
        }
        (self.last_but_one, self.last) = (self.last, byte);
    }

    fn open(&mut self, byte: u8) {
        let empty = self.name.bytes().is_some_and(<[u8]>::is_empty);
        match byte {
            b'/' if empty => self.state = State::Close,
            b'!' if empty => self.state = State::Declaration,
            b'?' if empty => self.state = State::Instruction,
            b'>' | b'/' => {
                self.enter();
                self.tag(byte);
            }
            byte if byte.is_ascii_whitespace() => {
                self.enter();
                self.state = State::Tag;
            }
            byte => self.name.push(byte),
        }
    }

    fn tag(&mut self, byte: u8) {
        self.state = State::Tag;
        match byte {
            b'>' => {
                if self.last == b'/' {
                    self.leave();
                }
                self.attribute.clear();
                self.state = State::Text;
            }
            b'"' | b'\'' => self.state = State::Attribute(byte),
            b'=' => {}
            byte if byte.is_ascii_whitespace() => {
                if self.last != b'=' {
                    self.attribute.clear();
                }
            }
            byte => self.attribute.push(byte),
        }
    }

    fn declaration(&mut self, byte: u8) {
        self.name.push(byte);
        match self.name.bytes().unwrap_or_default() {
            b"--" => self.state = State::Comment,
            b"[CDATA[" => self.state = State::CharacterData,
            // An internal subset has brackets, and in them its own `>`.
            [.., b'>'] if self.name.bytes().is_some_and(is_closed) => self.state = State::Text,
            _ => {}
        }
    }

    /// Ends at this letter, twice, and a `>`.
    fn until(&mut self, letter: u8, byte: u8) {
        if byte == b'>' && self.last == letter && self.last_but_one == letter {
            self.state = State::Text;
        }
    }

    fn enter(&mut self) {
        self.attribute.clear();
        if self.elements.len() < DEPTH_MAX && self.beyond == 0 {
            self.elements.push(local(&self.name));
        } else {
            self.beyond += 1;
        }
    }

    fn leave(&mut self) {
        match self.beyond.checked_sub(1) {
            Some(less) => self.beyond = less,
            None => drop(self.elements.pop()),
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        if self.beyond > 0 {
            return None;
        }
        let mut names: Vec<String> = self.elements.iter().cloned().collect::<Option<_>>()?;
        match self.state {
            // Without a name where blanks stand around the `=`.
            State::Attribute(_) => names.push(local(&self.attribute).filter(|it| !it.is_empty())?),
            State::CharacterData | State::Text => {}
            State::Close
            | State::Comment
            | State::Declaration
            | State::Instruction
            | State::Open
            | State::Tag => return None,
        }
        Some(names)
    }
}

/// A name without its prefix.
fn local(name: &Name) -> Option<String> {
    let text = name.text()?;
    Some(text.rsplit(':').next().unwrap_or_default().to_owned())
}

fn is_closed(declaration: &[u8]) -> bool {
    let count = |wanted| declaration.iter().filter(|byte| **byte == wanted).count();
    count(b'[') == count(b']')
}
