//! Checks a parsed file against the JSON Schema of its types.
//!
//! serde stops at the first mistake; this walks the whole file, notes each mistake with its line,
//! takes the faulty part out, and so leaves a tree that deserializes. A table whose required key is
//! missing or faulty is taken out as a whole. Variables of the environment are put in on the way.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::environment::{EnvironmentError, Lookup, expand};
use super::problem::Problem;
use super::source::Source;

/// How far apart two names may be, for one to be meant by the other (Damerau-Levenshtein).
const TYPOS_MAX: usize = 3;

/// How long a wrong value may be, to be taken for a mistyped word and shown.
const WORD_CHARACTERS_MAX: usize = 24;

/// Checks one file.
pub(super) struct Shape<'a> {
    pub(super) schema: &'a Value,
    pub(super) source: &'a Source<'a>,
    pub(super) lookup: Lookup<'a>,
    pub(super) problems: Vec<Problem>,
}

/// Whether a part of the file may stay in the tree.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    Drop,
    Keep,
}

type Node<'i> = Spanned<DeValue<'i>>;

impl<'a> Shape<'a> {
    /// Checks the whole file and leaves what is sound of it.
    pub(super) fn check(&mut self, root: &mut Spanned<DeTable<'_>>) {
        let _ = self.table(self.schema, "", &(0..0), root.get_mut());
    }

    fn node(&mut self, schema: &'a Value, key: &str, node: &mut Node<'_>) -> Fate {
        // The example stands beside the reference, not behind it.
        let (property, schema) = (schema, self.resolve(schema));
        let schema = self.alternative(schema, node.get_ref());
        let span = node.span();
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        match (kind, node.get_mut()) {
            ("object", DeValue::Table(table)) => self.table(schema, key, &span, table),
            ("array", DeValue::Array(array)) => {
                let items = schema.get("items").unwrap_or(&Value::Null);
                let kept =
                    mem::replace(array, DeArray::new()).into_iter().filter_map(|mut item| {
                        (self.node(items, key, &mut item) == Fate::Keep).then_some(item)
                    });
                *array = kept.collect();
                Fate::Keep
            }
            ("boolean", DeValue::Boolean(_)) => Fate::Keep,
            ("integer", DeValue::Integer(number)) => self.integer(schema, key, &span, number),
            ("string", DeValue::String(text)) => self.text(schema, key, &span, text),
            (_, found) => {
                let message = format!("is {}, not {}", article(found.type_str()), expected(kind));
                // The usual slip in TOML: one pair of brackets for two, or two for one.
                let remedy = match (kind, found) {
                    ("array", DeValue::Table(_)) => format!("write [[{key}]] above it"),
                    ("object", DeValue::Array(_)) => format!("write [{key}] above it, once"),
                    _ => example(property, kind),
                };
                self.note(&span, key, message, remedy)
            }
        }
    }

    fn table(
        &mut self,
        schema: &'a Value,
        key: &str,
        span: &Range<usize>,
        table: &mut DeTable<'_>,
    ) -> Fate {
        let known = schema.get("properties").and_then(Value::as_object);
        let mut kept = DeTable::new();
        let mut lost = Vec::new();
        for (name, mut node) in mem::take(table) {
            let below = join(key, name.get_ref());
            let fate = match known.and_then(|known| known.get(name.get_ref().as_ref())) {
                Some(property) => self.node(property, &below, &mut node),
                None => {
                    let names = known.into_iter().flatten().map(|(name, _)| name.as_str());
                    let remedy = self.remedy_for_unknown(key, name.get_ref(), names.collect());
                    self.note(&name.span(), &below, "is not a key".to_owned(), remedy)
                }
            };
            match fate {
                Fate::Drop => lost.push(name.into_inner()),
                Fate::Keep => drop(kept.insert(name, node)),
            }
        }
        *table = kept;
        let mut fate = Fate::Keep;
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !table.contains_key(*name)) {
            fate = Fate::Drop;
            // What was taken out is there, and what is wrong with it is told.
            if !lost.iter().any(|lost| lost == name) {
                let remedy = format!("add `{name} = …`");
                fate = self.note(span, &join(key, name), "is missing".to_owned(), remedy);
            }
        }
        fate
    }

    fn integer(
        &mut self,
        schema: &Value,
        key: &str,
        span: &Range<usize>,
        number: &DeInteger<'_>,
    ) -> Fate {
        let least = schema.get("minimum").and_then(Value::as_i64).unwrap_or(0);
        let narrow = schema.get("format").is_some_and(|format| format == "uint32");
        let most = if narrow { i64::from(u32::MAX) } else { i64::MAX };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if value < least => {
                let message = format!("is {value}");
                self.note(span, key, message, format!("write a number of at least {least}"))
            }
            Ok(value) if value <= most => Fate::Keep,
            _ => {
                let remedy = format!("write a number of at most {most}");
                self.note(span, key, "is too large".to_owned(), remedy)
            }
        }
    }

    fn text(
        &mut self,
        schema: &Value,
        key: &str,
        span: &Range<usize>,
        text: &mut Cow<'_, str>,
    ) -> Fate {
        match expand(text, self.lookup) {
            Ok(expanded) => *text = Cow::Owned(expanded),
            Err(error) => {
                let remedy = match &error {
                    EnvironmentError::Unset { name } => format!("set {name} and start again"),
                    EnvironmentError::Unclosed => {
                        "write `${NAME}`, or `$${` for the characters themselves".to_owned()
                    }
                };
                return self.note(span, key, error.to_string(), remedy);
            }
        }
        let choices = choices(schema);
        if choices.is_empty() || choices.contains(&text.as_ref()) {
            return Fate::Keep;
        }
        let quoted = self.source.quote(span);
        // What is no word may be an address with a password in it.
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '"' | '\'' | '-' | '_');
        let shown = quoted.chars().count() <= WORD_CHARACTERS_MAX && quoted.chars().all(word);
        let what = if shown { quoted.as_str() } else { "the value" };
        let message = format!("{what} is not one of the choices");
        let remedy = match nearest(text, &choices) {
            Some(choice) => format!("did you mean \"{choice}\"?"),
            None => format!("write one of {}", list(&choices, "\"")),
        };
        self.note(span, key, message, remedy)
    }

    fn remedy_for_unknown(&self, table: &str, name: &str, known: Vec<&str>) -> String {
        if let Some(meant) = nearest(name, &known) {
            return format!("did you mean `{meant}`?");
        }
        let top = self.schema.get("properties").and_then(|keys| keys.get(name));
        match top.and_then(|schema| self.resolve(schema).get("type")).and_then(Value::as_str) {
            // The usual slip in TOML: a key after a [table] belongs to that table.
            Some("object") | None => format!("the keys here are {}", list(&known, "`")),
            Some(_) => format!("move it above the first [table]: here it belongs to [{table}]"),
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        let pointer = target.and_then(|target| target.strip_prefix('#'));
        pointer.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }

    /// Of a value that may be of several types, the one that fits; the first where none does.
    fn alternative(&self, schema: &'a Value, found: &DeValue<'_>) -> &'a Value {
        let Some(several) = schema.get("anyOf").and_then(Value::as_array) else { return schema };
        let kind = match found {
            DeValue::Table(_) => "object",
            DeValue::Array(_) => "array",
            other => other.type_str(),
        };
        let mut each = several.iter().map(|one| self.resolve(one));
        let fits = each.find(|one| one.get("type").is_some_and(|it| it == kind));
        fits.or_else(|| several.first().map(|one| self.resolve(one))).unwrap_or(schema)
    }

    fn note(&mut self, span: &Range<usize>, key: &str, message: String, remedy: String) -> Fate {
        self.problems.push(self.source.problem(span, key, message, remedy));
        Fate::Drop
    }
}

/// The words a text may be; none means any text.
fn choices(schema: &Value) -> Vec<&str> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let described = described.filter_map(|choice| choice.get("const"));
    plain.chain(described).filter_map(Value::as_str).collect()
}

fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known));
    let (distance, nearest) = near.min()?;
    // A short name with three typos is another name.
    let most = TYPOS_MAX.min(nearest.chars().count() / 2);
    (distance <= most).then_some(nearest)
}

fn list(names: &[&str], quote: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{quote}{name}{quote}")).collect();
    quoted.join(", ")
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn expected(kind: &str) -> &'static str {
    match kind {
        "array" => "an array",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "object" => "a table",
        _ => "a text in quotes",
    }
}

fn example(schema: &Value, kind: &str) -> String {
    let first = schema.get("examples").and_then(|examples| examples.get(0));
    match first.or_else(|| schema.get("default")) {
        Some(example) => format!("write it as in {example}"),
        None => format!("write {}", expected(kind)),
    }
}
