//! Names in JSON (RFC 8259), and in many JSON texts one after the other.
//!
//! Lenient readers take comments, other quotes and more, each its own: after anything that the grammar
//! does not have, nothing is known.

use serde::de::IgnoredAny;

use super::{DEPTH_MAX, Name, is_single};

/// The keys around a place.
#[derive(Default)]
pub(super) struct Json {
    levels: Vec<Level>,
    state: State,
    literal: Name,
}

/// An object with the key whose value comes, or an array.
enum Level {
    Array,
    Object(Name),
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// After a value.
    After,
    /// Before a key; in an object that has just begun, its end may come instead.
    BeforeKey {
        first: bool,
    },
    /// Before a value; in an array that has just begun, its end may come instead.
    BeforeValue {
        first: bool,
    },
    /// After a key.
    Colon,
    /// After a backslash.
    Escape(Text),
    /// So many hexadecimal digits are to come.
    Hex(Text, u8),
    /// In a number, `true`, `false` or `null`.
    Literal,
    /// It is no JSON.
    Nowhere,
    /// Before the first value, and after each that nothing encloses.
    #[default]
    Outside,
    Within(Text),
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Text {
    Key,
    Value,
}

impl Json {
    pub(super) fn pass(&mut self, byte: u8) {
        self.state = match self.state {
            State::Within(text) => self.within(text, byte),
            State::Escape(text) => self.escaped(text, byte),
            State::Hex(text, left) => self.hex(text, left, byte),
            State::Literal => self.literal(byte),
            State::Nowhere => State::Nowhere,
            state if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => state,
            State::BeforeKey { first: true } | State::After if byte == b'}' => self.close(byte),
            State::BeforeValue { first: true } | State::After if byte == b']' => self.close(byte),
            State::BeforeKey { .. } if byte == b'"' => self.begin_key(),
            State::Colon if byte == b':' => State::BeforeValue { first: false },
            State::After if byte == b',' => match self.levels.last() {
                Some(Level::Array) => State::BeforeValue { first: false },
                Some(Level::Object(_)) => State::BeforeKey { first: false },
                None => State::Nowhere,
            },
            State::BeforeValue { .. } | State::Outside => self.begin(byte),
            State::After | State::BeforeKey { .. } | State::Colon => State::Nowhere,
        };
    }

    fn begin(&mut self, byte: u8) -> State {
        match byte {
            b'{' => self.open(Level::Object(Name::default()), State::BeforeKey { first: true }),
            b'[' => self.open(Level::Array, State::BeforeValue { first: true }),
            b'"' => State::Within(Text::Value),
            _ => {
                self.literal.clear();
                self.literal(byte)
            }
        }
    }

    fn begin_key(&mut self) -> State {
        if let Some(Level::Object(key)) = self.levels.last_mut() {
            key.clear();
        }
        State::Within(Text::Key)
    }

    fn open(&mut self, level: Level, state: State) -> State {
        if self.levels.len() == DEPTH_MAX {
            return State::Nowhere;
        }
        self.levels.push(level);
        state
    }

    fn close(&mut self, byte: u8) -> State {
        match (self.levels.pop(), byte) {
            (Some(Level::Array), b']') | (Some(Level::Object(_)), b'}') => self.after(),
            _ => State::Nowhere,
        }
    }

    fn after(&self) -> State {
        if self.levels.is_empty() { State::Outside } else { State::After }
    }

    fn within(&mut self, text: Text, byte: u8) -> State {
        match (byte, text) {
            (b'"', Text::Key) => State::Colon,
            (b'"', Text::Value) => self.after(),
            (b'\\', _) => {
                self.note(text, byte);
                State::Escape(text)
            }
            _ => {
                self.note(text, byte);
                State::Within(text)
            }
        }
    }

    fn escaped(&mut self, text: Text, byte: u8) -> State {
        self.note(text, byte);
        match byte {
            b'u' => State::Hex(text, 4),
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Within(text),
            _ => State::Nowhere,
        }
    }

    fn hex(&mut self, text: Text, left: u8, byte: u8) -> State {
        self.note(text, byte);
        match left.checked_sub(1) {
            Some(_) if !byte.is_ascii_hexdigit() => State::Nowhere,
            Some(0) | None => State::Within(text),
            Some(left) => State::Hex(text, left),
        }
    }

    fn literal(&mut self, byte: u8) -> State {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.' => {
                self.literal.push(byte);
                State::Literal
            }
            _ if !self.literal.bytes().is_some_and(is_literal) => State::Nowhere,
            b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}' => {
                self.state = self.after();
                self.pass(byte);
                self.state
            }
            _ => State::Nowhere,
        }
    }

    /// A byte within quotes: of a key, where it is one.
    fn note(&mut self, text: Text, byte: u8) {
        if text == Text::Key
            && let Some(Level::Object(key)) = self.levels.last_mut()
        {
            key.push(byte);
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        match self.state {
            State::BeforeValue { .. }
            | State::Escape(Text::Value)
            | State::Hex(Text::Value, _)
            | State::Literal
            | State::Outside
            | State::Within(Text::Value) => {}
            // A number within a key is a name, and no value of any field.
            State::After
            | State::BeforeKey { .. }
            | State::Colon
            | State::Escape(Text::Key)
            | State::Hex(Text::Key, _)
            | State::Nowhere
            | State::Within(Text::Key) => return None,
        }
        let keys = self.levels.iter().filter_map(|level| match level {
            Level::Array => None,
            Level::Object(key) => Some(unescape(key).filter(|key| is_single(key))),
        });
        let names: Vec<String> = keys.collect::<Option<_>>()?;
        Some(if names.is_empty() { vec![String::new()] } else { names })
    }
}

fn unescape(key: &Name) -> Option<String> {
    let quoted = [b"\"", key.bytes()?, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

fn is_literal(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
