//! The words of a GraphQL document (specification of October 2021, §2.1).

use std::str::Chars;

/// One word.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// A punctuator, or what is none of the others.
    Mark(char),
    /// A name, an enum value, `true`, `false`, `null` or a number.
    Name(String),
    /// `...`.
    Spread,
    /// A string or a block string, with its escapes resolved.
    Text(String),
    /// `$name`.
    Variable(String),
}

/// The words up to the end, or up to a string that has none: no server executes what comes with it.
pub(super) struct Words<'t> {
    left: Chars<'t>,
}

impl<'t> Words<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { left: text.chars() }
    }

    fn name(&mut self, first: char) -> String {
        let mut name = String::from(first);
        name.push_str(&self.run(is_name));
        name
    }

    fn run(&mut self, wanted: fn(char) -> bool) -> String {
        let text = self.left.as_str();
        let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
        let (run, rest) = text.split_at(end);
        self.left = rest.chars();
        run.to_owned()
    }

    fn skip(&mut self, text: &str) -> bool {
        let Some(rest) = self.left.as_str().strip_prefix(text) else { return false };
        self.left = rest.chars();
        true
    }

    fn string(&mut self) -> Option<String> {
        if self.skip("\"\"") {
            return self.block();
        }
        let mut text = String::new();
        loop {
            match self.left.next()? {
                '"' => return Some(text),
                '\n' | '\r' => return None,
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.left.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' if self.skip("{") => {
                let digits = self.run(|c| c.is_ascii_hexdigit());
                self.skip("}");
                scalar(&digits)
            }
            'u' => {
                let digits: String = self.left.by_ref().take(4).collect();
                scalar(&digits)
            }
            c => c,
        })
    }

    /// Up to three quotes that no backslash stands before.
    fn block(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            if self.skip("\"\"\"") {
                return Some(text.trim().to_owned());
            }
            if self.skip("\\\"\"\"") {
                text.push_str("\"\"\"");
                continue;
            }
            text.push(self.left.next()?);
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            let word = match self.left.next()? {
                c if c.is_whitespace() || c == ',' || c == '\u{feff}' => continue,
                '#' => {
                    self.run(|c| !matches!(c, '\n' | '\r'));
                    continue;
                }
                '"' => Word::Text(self.string()?),
                '$' => Word::Variable(self.run(is_name)),
                '.' if self.skip("..") => Word::Spread,
                c if is_name(c) || c == '-' => Word::Name(self.name(c)),
                c => Word::Mark(c),
            };
            return Some(word);
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+')
}

fn scalar(digits: &str) -> char {
    let number = u32::from_str_radix(digits, 16).ok();
    number.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let shown = |word| match word {
            Word::Mark(c) => c.to_string(),
            Word::Name(name) => name,
            Word::Spread => "...".to_owned(),
            Word::Text(text) => format!("'{text}'"),
            Word::Variable(name) => format!("${name}"),
        };
        Words::of(text).map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_document_is_cut_into_words() {
        assert_eq!(
            words("mutation M($e:String=\"x\"){login(email:$e,n:-1.5e+3)#{\n{token ...F}}"),
            "mutation M ( $e : String = 'x' ) { login ( email : $e n : -1.5e+3 ) { token ... F } }"
        );
    }

    #[test]
    fn strings_are_read_as_servers_read_them() {
        assert_eq!(words(r#""a\"\u0062\u{63}" x"#), "'a\"bc' x");
        assert_eq!(words(r#"""" d "e" \""" """ x"#), "'d \"e\" \"\"\"' x");
        assert_eq!(words("\"\" x \"open"), "'' x");
    }
}
