//! The elements of an XML body, as loosely as shops read it.
//!
//! No document type is honoured: an entity that a body declares for itself may be the very name that
//! is looked for, so such a body is not read whole. Depth is bounded and walked without recursion.

use super::fields::Reading;

/// The deepest element that stays an element of its own; what is deeper counts as inside it.
const DEPTH_MAX: usize = 64;

/// The longest reference: `&#x10ffff;`, and some leading zeros.
const REFERENCE_BYTES_MAX: usize = 16;

/// Encodings that are read as they are, by the beginning of their names.
const ENCODINGS: [&str; 7] =
    ["utf-8", "utf8", "utf-16", "us-ascii", "iso-8859-", "windows-125", "ascii"];

/// One element.
#[derive(Default)]
pub(super) struct Element {
    /// Its name without prefix.
    pub(super) name: String,
    /// Its own text, without that of elements inside.
    pub(super) text: String,
    /// The elements inside, attributes first.
    pub(super) inside: Vec<Self>,
}

/// Reads a text; the root has no name and holds the document's elements.
pub(super) fn parse(text: &str) -> (Element, Reading) {
    let mut open = vec![Element::default()];
    let (mut left, mut reading) = (text, Reading::Whole);
    while let Some((before, markup)) = left.split_once('<') {
        say(&mut open, &decode(before));
        let Some(rest) = self::markup(markup, &mut open, &mut reading) else {
            reading = Reading::Partly;
            left = "";
            break;
        };
        left = rest;
    }
    say(&mut open, &decode(left));
    if open.len() > 1 {
        reading = Reading::Partly;
    }
    while open.len() > 1 {
        close(&mut open);
    }
    (open.pop().unwrap_or_default(), reading)
}

impl Element {
    /// Shows every element's text with its path.
    pub(super) fn leaves(&self, path: &mut Vec<String>, see: &mut dyn FnMut(&[String], &str)) {
        let text = self.text.trim();
        if !text.is_empty() || (self.inside.is_empty() && !path.is_empty()) {
            see(path, text);
        }
        for element in &self.inside {
            path.push(element.name.clone());
            element.leaves(path, see);
            path.pop();
        }
    }
}

/// What begins with `<`; the text after it, or `None` where it has no end.
fn markup<'t>(text: &'t str, open: &mut Vec<Element>, reading: &mut Reading) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("!--") {
        return after(rest, "-->");
    }
    if let Some(rest) = text.strip_prefix("![CDATA[") {
        let (inside, rest) = rest.split_once("]]>")?;
        say(open, inside);
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix('?') {
        let (declaration, rest) = rest.split_once("?>")?;
        if !is_readable(declaration) {
            *reading = Reading::Partly;
        }
        return Some(rest);
    }
    if let Some(rest) = text.strip_prefix('!') {
        *reading = Reading::Partly;
        // Behind the brackets of its own declarations, if it has any.
        let end = rest.find('>')?;
        let inner = rest.find('[').filter(|at| *at < end);
        return match inner {
            Some(_) => after(rest, "]").and_then(|rest| after(rest, ">")),
            None => rest.get(end.saturating_add(1)..),
        };
    }
    let (tag, rest) = tag(text)?;
    match tag.strip_prefix('/') {
        Some(name) => end(open, local(name.trim())),
        None => begin(open, tag),
    }
    Some(rest)
}

/// A tag's inside and what follows; `>` in quotes does not end it.
fn tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('>', None) => return Some((text.get(..at)?, text.get(at.saturating_add(1)..)?)),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn begin(open: &mut Vec<Element>, tag: &str) {
    let (tag, alone) = match tag.strip_suffix('/') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let name_end = tag.find(char::is_whitespace).unwrap_or(tag.len());
    let (name, attributes) = tag.split_at(name_end);
    let inside = attributes_of(attributes);
    let element = Element { name: local(name).to_owned(), text: String::new(), inside };
    if open.len() >= DEPTH_MAX {
        // Its name is lost, its text is not.
        if let Some(last) = open.last_mut() {
            last.inside.extend(element.inside);
        }
        return;
    }
    open.push(element);
    if alone {
        close(open);
    }
}

fn attributes_of(text: &str) -> Vec<Element> {
    let mut found = Vec::new();
    let mut left = text;
    while let Some((name, rest)) = left.split_once('=') {
        let rest = rest.trim_start();
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { break };
        let mut parts = rest.splitn(3, quote);
        let value = parts.nth(1).unwrap_or_default();
        let name = local(name.trim()).to_owned();
        found.push(Element { name, text: decode(value), inside: Vec::new() });
        left = parts.next().unwrap_or_default();
    }
    found
}

/// Closes up to the innermost element of this name; one that none has is none of ours.
fn end(open: &mut Vec<Element>, name: &str) {
    let Some(depth) = open.iter().rposition(|element| element.name == name) else { return };
    while open.len() > depth.max(1) {
        close(open);
    }
}

fn close(open: &mut Vec<Element>) {
    if let Some(element) = open.pop()
        && let Some(outer) = open.last_mut()
    {
        outer.inside.push(element);
    }
}

fn say(open: &mut [Element], text: &str) {
    if let Some(last) = open.last_mut() {
        last.text.push_str(text);
    }
}

fn after<'t>(text: &'t str, end: &str) -> Option<&'t str> {
    text.split_once(end).map(|(_, rest)| rest)
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn is_readable(declaration: &str) -> bool {
    let lower = declaration.to_ascii_lowercase();
    let Some((_, named)) = lower.split_once("encoding") else { return true };
    let named =
        named.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\''));
    ENCODINGS.iter().any(|known| named.starts_with(known))
}

/// Text with its references resolved (XML 1.0 §4.1); unknown ones stay.
fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut left = text;
    while let Some((before, rest)) = left.split_once('&') {
        decoded.push_str(before);
        let end = rest.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';');
        let reference = end
            .and_then(|end| Some((refer(rest.get(..end)?)?, rest.get(end.saturating_add(1)..)?)));
        match reference {
            Some((c, rest)) => {
                decoded.push(c);
                left = rest;
            }
            None => {
                decoded.push('&');
                left = rest;
            }
        }
    }
    decoded.push_str(left);
    decoded
}

fn refer(name: &str) -> Option<char> {
    let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
    match name {
        "amp" => Some('&'),
        "apos" => Some('\''),
        "gt" => Some('>'),
        "lt" => Some('<'),
        "quot" => Some('"'),
        name => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16),
            None => number(name.get(1..)?, 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Reading) {
        let (root, reading) = parse(text);
        let mut seen = Vec::new();
        root.leaves(&mut Vec::new(), &mut |path, value| {
            seen.push(format!("{}={value}", path.join("/")));
        });
        (seen, reading)
    }

    #[test]
    fn a_soap_login_shows_its_fields() {
        let soap = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"urn:x\"><s:Body>\
             <m:login><username>ann&#64;x</username><!-- <a> --><password><![CDATA[a<b]]></password>\
             </m:login></s:Body></s:Envelope>";
        let (seen, reading) = read(soap);
        assert!(seen.contains(&"Envelope/Body/login/username=ann@x".to_owned()), "{seen:?}");
        assert!(seen.contains(&"Envelope/Body/login/password=a<b".to_owned()), "{seen:?}");
        assert_eq!(reading, Reading::Whole);
    }

    #[test]
    fn attributes_are_fields() {
        let (seen, _) = read("<login user='ann' password=\"p>q\"/>");
        assert_eq!(seen, ["login/user=ann", "login/password=p>q"]);
    }

    #[test]
    fn what_may_hide_a_name_is_not_read_whole() {
        for text in [
            "<!DOCTYPE a [<!ENTITY e \"ann\">]><a><user>&e;</user></a>",
            "<?xml version='1.0' encoding='UTF-7'?><a/>",
            "<a><user>ann</user>",
            "<a b=\"",
            "<!-- a",
        ] {
            assert_eq!(read(text).1, Reading::Partly, "{text}");
        }
    }

    #[test]
    fn depth_costs_no_stack_and_hides_nothing() {
        let (seen, _) = read(&format!("{}ann", "<a>".repeat(100_000)));
        assert!(seen.iter().any(|leaf| leaf.ends_with("=ann")));
    }

    #[test]
    fn ends_that_do_not_match_lose_nothing() {
        let (seen, _) = read("<a><b>x</c></b><user>ann</user></a>");
        assert!(seen.contains(&"a/user=ann".to_owned()), "{seen:?}");
    }
}
