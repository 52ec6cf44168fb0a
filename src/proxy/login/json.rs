//! The leaves of JSON, and of what lenient parsers take for JSON.
//!
//! Shops accept more than RFC 8259: comments, junk around the text, any depth, numbers beyond every
//! type, lone surrogates. A strict reader that stops at one of these never sees the account behind
//! it, so this one goes on; it walks without recursion, so that depth costs nothing.

use std::iter::Peekable;
use std::str::Chars;

use super::fields::Reading;

/// The deepest values that are shown; no login nests its account deeper.
const DEPTH_MAX: usize = 32;

/// Shows every leaf. Only a string or a comment without end keeps the text from being read whole.
pub(super) fn leaves(text: &str, see: &mut dyn FnMut(&[String], &str)) -> Reading {
    let walk = Walk { left: text.chars().peekable(), path: Vec::new(), below: 0, word: None, see };
    walk.run()
}

struct Walk<'t, 's> {
    left: Peekable<Chars<'t>>,
    /// The key or, in an array, nothing, for every bracket that is open.
    path: Vec<String>,
    /// How many more brackets are open than are shown.
    below: usize,
    /// What was read last: a key if a colon follows, else a value.
    word: Option<String>,
    see: &'s mut (dyn FnMut(&[String], &str) + 's),
}

impl Walk<'_, '_> {
    fn run(mut self) -> Reading {
        while let Some(c) = self.left.next() {
            if self.step(c).is_none() {
                self.flush();
                return Reading::Partly;
            }
        }
        self.flush();
        Reading::Whole
    }

    fn step(&mut self, c: char) -> Option<()> {
        match c {
            '{' | '[' => self.open(),
            '}' | ']' => self.close(),
            ':' => self.name(),
            '=' => {
                let _arrow = self.left.next_if_eq(&'>');
                self.name();
            }
            ',' | ';' => {
                self.flush();
                self.rename(String::new());
            }
            '"' | '\'' => {
                self.flush();
                self.word = Some(self.string(c)?);
            }
            '#' => self.line(),
            '/' if self.left.next_if_eq(&'/').is_some() => self.line(),
            '/' if self.left.next_if_eq(&'*').is_some() => self.comment()?,
            c if c.is_whitespace() || c.is_control() => {}
            c => {
                self.flush();
                self.word = Some(self.bare(c));
            }
        }
        Some(())
    }

    fn open(&mut self) {
        self.flush();
        if self.path.len() < DEPTH_MAX {
            self.path.push(String::new());
        } else {
            self.below = self.below.saturating_add(1);
        }
    }

    fn close(&mut self) {
        self.flush();
        match self.below.checked_sub(1) {
            Some(below) => self.below = below,
            None => drop(self.path.pop()),
        }
    }

    fn name(&mut self) {
        if let Some(word) = self.word.take() {
            self.rename(word);
        }
    }

    fn rename(&mut self, key: String) {
        if self.below == 0
            && let Some(last) = self.path.last_mut()
        {
            *last = key;
        }
    }

    fn flush(&mut self) {
        if let Some(word) = self.word.take()
            && self.below == 0
        {
            (self.see)(&self.path, &word);
        }
    }

    fn line(&mut self) {
        while self.left.next_if(|c| !matches!(c, '\r' | '\n')).is_some() {}
    }

    fn comment(&mut self) -> Option<()> {
        loop {
            if self.left.next()? == '*' && self.left.peek() == Some(&'/') {
                self.left.next();
                return Some(());
            }
        }
    }

    fn string(&mut self, quote: char) -> Option<String> {
        let mut units = Vec::new();
        loop {
            let c = match self.left.next()? {
                c if c == quote => return Some(String::from_utf16_lossy(&units)),
                '\\' => match self.left.next()? {
                    'u' => {
                        units.push(self.escape());
                        continue;
                    }
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                },
                c => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }

    /// `\uXXXX`: one half of a pair stays alone until the string is whole.
    fn escape(&mut self) -> u16 {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.left.peek().and_then(|c| c.to_digit(16));
            let Some(digit) = digit.and_then(|digit| u16::try_from(digit).ok()) else { break };
            unit = unit << 4 | digit;
            self.left.next();
        }
        unit
    }

    /// A number, a literal or a key without quotes. Numbers that are one are spelled as one.
    fn bare(&mut self, first: char) -> String {
        let end = |c: &char| {
            c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ':' | '=' | ',' | ';' | '"')
        };
        let mut word = String::from(first);
        while let Some(c) = self.left.next_if(|c| !end(c) && *c != '/') {
            word.push(c);
        }
        if word == "null" {
            return String::new();
        }
        let fraction = word.contains(['.', 'e', 'E']);
        match word.parse::<f64>() {
            Ok(number) if fraction && number.is_finite() => number.to_string(),
            _ => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Reading) {
        let mut seen = Vec::new();
        let reading = leaves(text, &mut |path, value| {
            seen.push(format!("{}={value}", path.join("/")));
        });
        (seen, reading)
    }

    #[test]
    fn what_stands_before_the_account_does_not_hide_it() {
        let deep = format!("{{\"x\":{}{},\"email\":\"a\"}}", "[".repeat(40), "]".repeat(40));
        for text in [
            deep.as_str(),
            r#"{"x":1e999,"email":"a"}"#,
            r#"{"x":"\ud800","email":"a"}"#,
            r#"{"x":"\u12","email":"a"}"#,
            r#"{/*"*/"email":"a"}"#,
            "{// \"\n\"email\":\"a\"}",
            "{# \"\n\"email\":\"a\"}",
            r#""x" {"email":"a"}"#,
            r#"{'email':'a'}"#,
            r#"{email:"a"}"#,
            r#"{"email"=>"a"}"#,
            r#"{"x":}, "y" {"email":"a"}"#,
            r#"{"\u0065mail":"\u0061"}"#,
        ] {
            let (seen, reading) = read(text);
            assert!(seen.iter().any(|leaf| leaf.ends_with("email=a")), "{text} {seen:?}");
            assert_eq!(reading, Reading::Whole, "{text}");
        }
    }

    #[test]
    fn spellings_of_one_number_are_one() {
        for number in ["70", "70.0", "7e1", "0.7E2"] {
            assert_eq!(read(&format!("[{number}]")).0, ["=70"]);
        }
    }

    #[test]
    fn text_that_breaks_off_inside_a_string_is_not_read_whole() {
        assert_eq!(read(r#"{"email":"a","x":"b"#), (vec!["email=a".to_owned()], Reading::Partly));
        assert_eq!(read("{/* ").1, Reading::Partly);
    }

    #[test]
    fn depth_costs_no_stack() {
        let (seen, _) = read(&format!("{{\"email\":\"a\",\"x\":{}", "[".repeat(100_000)));
        assert_eq!(seen, ["email=a"]);
    }
}
