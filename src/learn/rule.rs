//! The rule as a configuration takes it. Each candidate is read by the code that will read the file and
//! held against what was seen; the first that judges all of it right is printed.

use std::fmt::Write as _;
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
    let field = account_field(pair).ok_or(LearnError::NoAccount)?;
    for choice in signs::choices(pair) {
        let table = table(pair, &field, &choice);
        if holds(pair, &*site(NOWHERE, &table)?) {
            return Ok(commented(pair, &field, &choice, &BuiltIn::of(pair, built_in)));
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

fn table(pair: &Pair, field: &str, choice: &Choice) -> String {
    let address = pair.right.address();
    let mut text = format!("[[site.login]]\npath = {}\n", quoted(&address.path));
    if address.method != http::Method::POST {
        let _infallible = writeln!(text, "method = {}", quoted(address.method.as_str()));
    }
    let _infallible = writeln!(text, "account_field = {}", quoted(field));
    if !choice.line.is_empty() {
        let _infallible = writeln!(text, "{}", choice.line);
    }
    text
}

fn commented(pair: &Pair, field: &str, choice: &Choice, built_in: &BuiltIn) -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Learnt from one wrong login and one right one. Once a site has a [[site.login]], only what its \
         tables name counts as a login there: learn every way in, such as the checkout's and an app's.",
    );
    if let Some(query) = pair.right.request.uri.query().filter(|query| query.contains('=')) {
        let names: Vec<_> = query.split('&').filter_map(|part| part.split('=').next()).collect();
        comment(
            &mut text,
            &format!(
                "The address had a query ({}=…). `path` does without it: what else is posted to this \
                 path with the account's field counts too.",
                names.join("=…&")
            ),
        );
    }
    comment(&mut text, &choice.why);
    text.push_str(&table(pair, field, choice));
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
    use super::super::fixture::posted;
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
                r#"success = { body = '"ok"\s*:\s*true' }"#,
            ),
            (
                (401, &[], ""),
                (200, JSON, r#"{"user":{"id":7}}"#),
                r#"success = { body = '"user"\s*:\s*\{\s*"' }"#,
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
                "success = { location = '/konto/mein([?#]|$)' }",
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
    fn a_password_that_is_chosen_is_no_login() {
        let registration = "email=ada&password=new&password_again=new";
        assert!(!posted(registration, 200, &[], "").is_login());
        assert!(!posted("q=socks", 200, &[], "").is_login());
        assert!(posted("email=ada&password=w&passkey_shown=1", 200, &[], "").is_login());
    }
}
