//! The fields of a GraphQL document with the arguments they are given.
//!
//! Fields are counted as they are written: those of a fragment once, however often it is spread,
//! because a server merges fields of one name and the same arguments (§5.3.2), and under another
//! alias each is written again.

use super::lex::{Word, Words};

/// The deepest argument that is shown; no login nests its account deeper.
const DEPTH_MAX: usize = 32;

/// What a document asks for.
#[derive(Default)]
pub(super) struct Document {
    /// The names of its operations.
    pub(super) operations: Vec<String>,
    /// Every field that is given arguments.
    pub(super) fields: Vec<Field>,
    /// What its variables are where the request gives them no value.
    pub(super) defaults: Vec<Argument>,
    /// Whether any field is to be answered under another name, so that the answer has the shape that
    /// the client chose.
    pub(super) renames: bool,
}

/// A field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
}

/// An argument, or a part of one.
pub(super) struct Argument {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
}

/// What it is given.
pub(super) enum Value {
    Literal(String),
    Variable(String),
}

impl Document {
    pub(super) fn read(text: &str) -> Self {
        let mut document = Self::default();
        let mut words = Words::of(text).peekable();
        let mut depth = 0_usize;
        while let Some(word) = words.next() {
            match word {
                Word::Mark('{') => depth = depth.saturating_add(1),
                Word::Mark('}') => depth = depth.saturating_sub(1),
                // The variables of an operation, or the arguments of a directive.
                Word::Mark('(') => document.defaults.extend(arguments(&mut words)),
                Word::Mark('@') => drop(words.next()),
                Word::Spread => {
                    if words.next() == Some(Word::Name("on".to_owned())) {
                        words.next();
                    }
                }
                Word::Name(name) if depth == 0 => document.operations.push(name),
                Word::Name(name) => {
                    let mut name = name;
                    if words.next_if_eq(&Word::Mark(':')).is_some() {
                        document.renames = true;
                        if let Some(Word::Name(real)) = words.next() {
                            name = real;
                        }
                    }
                    if words.next_if_eq(&Word::Mark('(')).is_some() {
                        document.fields.push(Field { name, arguments: arguments(&mut words) });
                    }
                }
                Word::Mark(_) | Word::Text(_) | Word::Variable(_) => {}
            }
        }
        document
    }
}

/// The arguments up to the bracket that closes them; of variables that are declared (`$name: Type =
/// value`) the values.
fn arguments(words: &mut impl Iterator<Item = Word>) -> Vec<Argument> {
    let (mut found, mut path) = (Vec::new(), vec![String::new()]);
    let (mut last, mut is_type) = (None, false);
    let mut below = 0_usize;
    let mut show = |path: &[String], below: usize, value: Option<Value>| {
        if let Some(value) = value.filter(|_| below == 0) {
            found.push(Argument { path: path.to_vec(), value });
        }
    };
    for word in words {
        match word {
            // A name is a key if a colon follows, else a value.
            Word::Mark(':') => {
                is_type = matches!(last, Some(Value::Variable(_)));
                if let (Some(last), Some(key)) = (last.take(), path.last_mut()) {
                    let (Value::Literal(name) | Value::Variable(name)) = last;
                    *key = name;
                }
            }
            Word::Mark('=') => is_type = false,
            Word::Name(_) if is_type => {}
            Word::Mark(')') => break,
            Word::Mark('{' | '[') => {
                show(&path, below, last.take());
                if path.len() < DEPTH_MAX {
                    path.push(String::new());
                } else {
                    below = below.saturating_add(1);
                }
            }
            Word::Mark('}' | ']') => {
                show(&path, below, last.take());
                match below.checked_sub(1) {
                    Some(less) => below = less,
                    None => drop((path.len() > 1).then(|| path.pop())),
                }
            }
            word => {
                show(&path, below, last.take());
                last = match word {
                    Word::Name(text) | Word::Text(text) => Some(Value::Literal(text)),
                    Word::Variable(name) => {
                        is_type = false;
                        Some(Value::Variable(name))
                    }
                    Word::Mark(_) | Word::Spread => None,
                };
            }
        }
    }
    show(&path, below, last);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<String> {
        let shown = |argument: &Argument| match &argument.value {
            Value::Literal(text) => format!("{}={text}", argument.path.join("/")),
            Value::Variable(name) => format!("{}=${name}", argument.path.join("/")),
        };
        let line = |field: &Field| {
            let arguments: Vec<_> = field.arguments.iter().map(shown).collect();
            format!("{} {}", field.name, arguments.join(" "))
        };
        Document::read(text).fields.iter().map(line).collect()
    }

    #[test]
    fn literals_variables_and_objects_are_arguments() {
        let text = "mutation Enter($p: String!) @live(a: 1) { \
                    login(input: {email: \"a@b\", tags: [X, \"y\"]}, password: $p) @skip(if: false) \
                    { token } }";
        assert_eq!(fields(text), ["login input/email=a@b input/tags/=X input/tags/=y password=$p"]);
        assert_eq!(Document::read(text).operations, ["mutation", "Enter"]);
        assert!(!Document::read(text).renames);
    }

    #[test]
    fn every_alias_is_a_field_of_its_own() {
        let text = "mutation{a:login(e:1){t}b:login(e:2){t}...F} \
                    fragment F on Mutation{... on Mutation{c:login(e:3){t}}}";
        assert_eq!(fields(text), ["login e=1", "login e=2", "login e=3"]);
        assert!(Document::read(text).renames);
    }

    #[test]
    fn defaults_of_variables_are_values() {
        let text = "mutation($i: [In!]! = {email: \"a\"}, $p: String = \"b\"){login(i:$i,p:$p){t}}";
        let defaults = Document::read(text).defaults;
        let shown = defaults.iter().map(|argument| match &argument.value {
            Value::Literal(text) => format!("{}={text}", argument.path.join("/")),
            Value::Variable(name) => name.clone(),
        });
        assert_eq!(shown.collect::<Vec<_>>(), ["i/email=a", "p=b"]);
    }

    #[test]
    fn depth_costs_no_stack() {
        let text = format!("{{login(a:{}", "[".repeat(100_000));
        assert_eq!(fields(&text).len(), 1);
        assert_eq!(fields(&format!("{}login(a:1)", "{".repeat(100_000))), ["login a=1"]);
    }
}
