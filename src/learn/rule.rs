//! The rule as a configuration takes it. Each candidate is read by the code that will read the file and
//! held against what was seen; the first that judges all of it right is printed.

use std::path::Path;
use std::sync::Arc;

use super::exchange::Exchange;
use super::lesson::Pair;
use super::signs::{self, Choice, quoted};
use super::{LearnError, NOWHERE};
use crate::config;
use crate::counters::Outcome;
use crate::policy::Site;
use crate::proxy::login::rehearse::Field;

/// What problems call the candidate.
const CANDIDATE: &str = "learnt rule";

/// How the guard's own signs judged.
#[derive(Clone, Copy)]
struct BuiltIn {
    wrong: Option<Outcome>,
    right: Option<Outcome>,
    script: Option<Option<Outcome>>,
}

/// A site with this among its keys.
pub(super) fn site(upstream: &str, lines: &str) -> Result<Arc<Site>, LearnError> {
    let upstream = quoted(upstream);
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:1\"\n[[site]]\nupstreams = [{upstream}]\n{lines}\n"
    );
    let loaded = config::of_text(Path::new(CANDIDATE), &text)?;
    loaded.snapshot.sites.into_iter().next().ok_or(LearnError::NoRule)
}

/// The best rule for a pair, with comments that say why; `built_in` is the site without it.
pub(super) fn learn(pair: &Pair, built_in: &Site) -> Result<String, LearnError> {
    let shape = shape(pair).ok_or(LearnError::NoAccount)?;
    for choice in signs::choices(pair) {
        let table = table(&shape, &choice);
        if holds(pair, &*site(NOWHERE, &table)?) {
            return Ok(commented(pair, (&shape, &choice), &BuiltIn::of(pair, built_in)));
        }
    }
    Err(LearnError::NoRule)
}

fn holds(pair: &Pair, candidate: &Site) -> bool {
    let names = pair.right.recorded().names_an_account(candidate);
    let refused =
        pair.strangers().iter().all(|each| each.outcome(candidate) == Some(Outcome::Failure));
    names && refused && pair.right.outcome(candidate) == Some(Outcome::Success)
}

/// Parameters and fields by which one address is the door to many pages.
const ROUTES: [&str; 12] = [
    "act",
    "action",
    "controller",
    "do",
    "method",
    "module",
    "op",
    "option",
    "page",
    "q",
    "route",
    "task",
];

/// What tells the request: its address, where the account stands, and what else it must hold.
fn shape(pair: &Pair) -> Option<Vec<String>> {
    let address = pair.right.address();
    let mut lines = vec![format!("path = {}", quoted(&address.path))];
    if pair.right.shows_basic() {
        lines.push("carrier = \"basic\"".to_owned());
        return Some(lines);
    }
    if address.method != http::Method::POST {
        lines.push(format!("method = {}", quoted(address.method.as_str())));
    }
    lines.extend(route(pair));
    let asked = pair.right.asked().unwrap_or_default();
    let text = |name| asked.get(name).and_then(serde_json::Value::as_str);
    if text("query").is_some() {
        lines.push("carrier = \"graphql\"".to_owned());
        let named = text("operationName").filter(|name| !name.is_empty());
        lines.extend(named.map(|name| format!("operation = {}", quoted(name))));
        return Some(lines);
    }
    if pair.right.is_xml_rpc() {
        lines.push("carrier = \"xmlrpc\"".to_owned());
        return Some(lines);
    }
    let field = account_field(pair)?;
    lines.push(format!("account_field = {}", quoted(&field)));
    Some(lines)
}

/// Where an address is the door to many pages, what opens this one.
fn route(pair: &Pair) -> Option<String> {
    let named = |name: &str| ROUTES.iter().any(|route| route.eq_ignore_ascii_case(name));
    let query = pair.right.request.uri.query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    if let Some((name, _)) = pairs.find(|(name, _)| named(name)) {
        let fields = pair.right.fields();
        let field = fields.iter().find(|field| field.path == [name])?;
        let (name, value) = (quoted(name), quoted(&field.value));
        return Some(format!("when = {{ query = {name}, value = {value} }}"));
    }
    // A condition that the shop does not make is a way round the rule: only where it must.
    let path = pair.right.address().path;
    let shared = path.ends_with('/') || path.contains("ajax") || path.ends_with("/index.php");
    let fields = pair.right.fields();
    let mut fields = fields.iter().filter(|_| shared);
    let field = fields.find(|field| matches!(&field.path[..], [name] if named(name)))?;
    let (name, value) = (quoted(&field.name()), quoted(&field.value));
    Some(format!("when = {{ field = {name}, value = {value} }}"))
}

/// The field that names the account: a usual name, then a value with an `@`, then the only one left.
fn account_field(pair: &Pair) -> Option<String> {
    let fields = pair.right.fields();
    let typed: Vec<&Field> = fields.iter().filter(|field| !field.is_password()).collect();
    let usual = typed.iter().find(|field| field.is_usual_account());
    let address = || typed.iter().find(|field| field.value.contains('@'));
    let wrong = pair.wrong.fields();
    // A customer typed the same name twice; what is drawn for each page differs.
    let kept = |field: &&&Field| {
        wrong.iter().any(|before| before.path == field.path && before.value == field.value)
            && field.value.len() > 1
    };
    let only = || {
        let mut kept = typed.iter().filter(kept);
        kept.next().filter(|_| kept.next().is_none())
    };
    let found = usual.or_else(address).or_else(only)?;
    Some(found.name())
}

fn table(shape: &[String], choice: &Choice) -> String {
    let lines = shape.iter().chain([&choice.line]).filter(|line| !line.is_empty());
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    format!("[[site.login]]\n{lines}")
}

fn commented(pair: &Pair, (shape, choice): (&[String], &Choice), built_in: &BuiltIn) -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Learnt from one wrong login and one right one. Once a site has a [[site.login]], only what its \
         tables name counts as a login there: learn every way in, such as the checkout's and an app's.",
    );
    comment(&mut text, &choice.why);
    text.push_str(&table(shape, choice));
    for difference in signs::differences(pair) {
        comment(&mut text, &format!("Seen: {difference}."));
    }
    comment(&mut text, &built_in.to_string());
    text
}

/// Wraps a comment at the width of the reference file.
fn comment(text: &mut String, words: &str) {
    const WIDTH: usize = 100;
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

impl BuiltIn {
    fn of(pair: &Pair, site: &Site) -> Self {
        let judged = |exchange: &Exchange| exchange.outcome(site);
        Self {
            wrong: judged(&pair.wrong),
            right: judged(&pair.right),
            script: pair.script.as_ref().map(judged),
        }
    }
}

impl std::fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = |outcome: Option<Outcome>| outcome.map_or("no login", Outcome::as_str);
        write!(f, "Without a rule: {} wrong, {} right", said(self.wrong), said(self.right))?;
        match self.script {
            Some(script) => write!(f, ", {} wrong and sent by a script.", said(script)),
            None => f.write_str("."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{posted, sent};
    use super::super::lesson::{Lesson, News};
    use super::*;

    type Answer<'a> = (u16, &'a [(&'a str, &'a str)], &'a str);

    const FORM: &str = "email=ada%40example.com&password=";

    /// The sign that is chosen for these two answers.
    fn sign(wrong: Answer<'_>, right: Answer<'_>) -> Result<String, LearnError> {
        let built_in = site(NOWHERE, "").unwrap();
        let mut lesson = Lesson::new(Arc::clone(&built_in));
        let login = |password: &str, (status, fields, page): Answer<'_>| {
            posted(&format!("{FORM}{password}"), status, fields, page)
        };
        assert!(matches!(lesson.see(login("w", wrong)), News::Wrong { .. }));
        if lesson.see(login("r", right)) == News::Alike {
            return Err(LearnError::NoRule);
        }
        let rule = learn(&lesson.pair()?, &built_in)?;
        let sign = rule.lines().find(|line| line.starts_with(['s', 'f']));
        Ok(sign.unwrap_or_default().to_owned())
    }

    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

    #[test]
    fn the_surest_sign_that_judges_both_right_is_chosen() {
        let cases: [(Answer<'_>, Answer<'_>, &str); 6] = [
            (
                (200, JSON, r#"{"ok":false,"echo":"\"ok\":true"}"#),
                (200, JSON, r#"{"ok":true,"user":{"id":7}}"#),
                r#"success = { json = { pointer = "/ok", value = "^true$" } }"#,
            ),
            (
                (401, &[], ""),
                (200, JSON, r#"{"user":{"id":7}}"#),
                r#"success = { json = { pointer = "/user", value = "." } }"#,
            ),
            // A box was ticked, and a basket filled: neither says who is in.
            (
                (401, &[], ""),
                (303, &[("location", "/in"), ("set-cookie", "remember_token=1")], ""),
                "",
            ),
            ((403, &[], "no"), (200, &[], "welcome"), "success = { status = [200] }"),
            (
                (200, &[], "<input type=password>"),
                (200, &[], "<a href='/logout'>out</a>"),
                r#"success = { body = """(?i)(href|action)=["'][^"']*logout""" }"#,
            ),
            // Where everybody has the session, the place is what is left.
            (
                (303, &[("location", "/konto/nochmal"), ("set-cookie", "sid=1")], ""),
                (303, &[("location", "/konto/mein"), ("set-cookie", "sid=2")], ""),
                r#"success = { location = "^(https?://[^/?#]+)?/konto/mein([?#]|$)" }"#,
            ),
        ];
        for (wrong, right, expected) in cases {
            assert_eq!(sign(wrong, right).unwrap(), expected, "{} {}", wrong.2, right.2);
        }
    }

    #[test]
    fn two_answers_alike_teach_nothing() {
        let page: Answer<'_> = (200, &[("set-cookie", "sid=1")], "<input type=password>");
        assert!(matches!(sign(page, page), Err(LearnError::NoRule)));
    }

    #[test]
    fn the_account_is_found_by_name_by_look_or_because_nothing_else_is_left() {
        let field = |form: &str| {
            let wrong = posted(&format!("{form}&pass=w&csrf=one"), 401, &[], "");
            let right = posted(&format!("{form}&pass=r&csrf=two"), 200, &[], "");
            account_field(&Pair { wrong, right, script: None, strangers_cookies: Vec::new() })
        };
        assert_eq!(field("go=1&login[username]=ada").as_deref(), Some("login.username"));
        assert_eq!(field("go=1&wer=ada%40example.com").as_deref(), Some("wer"));
        assert_eq!(field("kundennummer=4711").as_deref(), Some("kundennummer"));
        assert_eq!(field("eins=4711&zwei=4712"), None);
    }

    #[test]
    fn a_door_to_many_pages_is_told_by_what_opens_this_one() {
        let lines = |target: &str, body: &str| {
            let login = |status| sent(("POST", target), &[], body, (status, &[], ""));
            let (wrong, right) = (login(401), login(200));
            let pair = Pair { wrong, right, script: None, strangers_cookies: Vec::new() };
            shape(&pair).unwrap().join("; ")
        };
        let form = "email=ada&password=w&action=login&lang=de";
        let plain = "account_field = \"email\"";
        assert_eq!(lines("/login?lang=de", form), format!("path = \"/login\"; {plain}"));
        assert_eq!(
            lines("/index.php?lang=de&route=account%2Flogin", form),
            format!(
                "path = \"/index.php\"; when = {{ query = \"route\", value = \"account/login\" }}; {plain}"
            )
        );
        assert_eq!(
            lines("/wp-admin/admin-ajax.php", form),
            format!(
                "path = \"/wp-admin/admin-ajax.php\"; \
                 when = {{ field = \"action\", value = \"login\" }}; {plain}"
            )
        );
    }

    #[test]
    fn a_password_that_is_chosen_is_no_login() {
        let built_in = site(NOWHERE, "").unwrap();
        let is_login = |form: &str| posted(form, 200, &[], "").is_login(&built_in);
        assert!(!is_login("email=ada&password=new&password_again=new"));
        assert!(!is_login("q=socks"));
        assert!(is_login("email=ada&password=w&passkey_shown=1"));
    }
}
