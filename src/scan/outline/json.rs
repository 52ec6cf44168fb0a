//! Names in JSON, and in many JSON texts one after the other.

use super::{DEPTH_MAX, Name};

/// The keys around a place.
#[derive(Default)]
pub(super) struct Json {
    levels: Vec<Level>,
    /// How many levels lie deeper than is followed.
    beyond: usize,
    text: Text,
}

/// An object with the key whose value comes, or an array.
enum Level {
    Array,
    Object { key: Name, in_value: bool },
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Text {
    Escape,
    Inside,
    #[default]
    Outside,
}

impl Json {
    pub(super) fn pass(&mut self, byte: u8) {
        match (self.text, byte) {
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, byte) => {
                self.text = if byte == b'\\' { Text::Escape } else { Text::Inside };
                self.note(byte);
            }
            (Text::Escape, byte) => {
                self.text = Text::Inside;
                self.note(byte);
            }
            (Text::Outside, byte) => self.structure(byte),
        }
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if let Some(Level::Object { key, in_value: false }) = self.levels.last_mut() {
                    key.clear();
                }
            }
            b'{' => self.open(Level::Object { key: Name::default(), in_value: false }),
            b'[' => self.open(Level::Array),
            b'}' | b']' if self.beyond > 0 => self.beyond -= 1,
            b'}' | b']' => drop(self.levels.pop()),
            b':' | b',' if self.beyond == 0 => {
                if let Some(Level::Object { key, in_value }) = self.levels.last_mut() {
                    *in_value = byte == b':';
                    if byte == b',' {
                        key.clear();
                    }
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, level: Level) {
        if self.levels.len() < DEPTH_MAX && self.beyond == 0 {
            self.levels.push(level);
        } else {
            self.beyond += 1;
        }
    }

    /// A byte within quotes: of a key, where one is expected.
    fn note(&mut self, byte: u8) {
        if self.beyond == 0
            && let Some(Level::Object { key, in_value: false }) = self.levels.last_mut()
        {
            key.push(byte);
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        if self.beyond > 0 {
            return None;
        }
        let keys = self.levels.iter().filter_map(|level| match level {
            Level::Array => None,
            // A number within a key is a name, and no value of any field.
            Level::Object { in_value: false, .. } => Some(Some(String::new())),
            Level::Object { key, .. } => Some(unescape(key)),
        });
        let names: Vec<String> = keys.collect::<Option<_>>()?;
        Some(if names.is_empty() { vec![String::new()] } else { names })
    }
}

fn unescape(key: &Name) -> Option<String> {
    let quoted = [b"\"", key.bytes()?, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}
