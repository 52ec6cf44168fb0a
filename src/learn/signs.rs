//! What tells a right login from a wrong one, the surest sign first.
//!
//! Signs in a rule are alternatives, so one is chosen: each more would be one more way to look like a
//! success, and a guess that looks like one is not counted and makes its sender's network known. For the
//! same reason what a page text says comes last, and a cookie that strangers get too is no sign.

use regex::bytes::Regex;
use serde_json::Value;

use super::exchange::Exchange;
use super::lesson::Pair;

/// A line of a rule, and why it is there.
pub(super) struct Choice {
    /// `success = { … }`; empty where the built-in signs decide.
    pub(super) line: String,
    /// Complete sentences.
    pub(super) why: String,
}

/// Parts of the names of cookies that stand for who is logged in, rather than for a basket or a language.
const LOGIN_COOKIES: [&str; 12] = [
    "account", "auth", "customer", "ident", "jwt", "log", "member", "sess", "sid", "sign", "token",
    "user",
];

/// Parts of the names of those that only come when a box is ticked.
const OPTIONAL_COOKIES: [&str; 3] = ["remember", "persist", "keep"];

/// JSON members that only somebody logged in is given.
const LOGIN_MEMBERS: [&str; 11] = [
    "access_token",
    "accesstoken",
    "auth_token",
    "authtoken",
    "customer",
    "id_token",
    "jwt",
    "sessionid",
    "session",
    "token",
    "user",
];

/// Words in the address of the way out, which pages show to who is in.
const WAYS_OUT: [&str; 8] = [
    "logout",
    "log-out",
    "log_out",
    "logoff",
    "signout",
    "sign-out",
    "sign_out",
    "customer-logout",
];

/// A field for a password, as the guard's own signs know it.
const PASSWORD_INPUT: &str = "(?i)<input\\b[^>]*\\btype\\s*=\\s*[\"']?password\\b";

/// How deep JSON members are looked at.
const DEPTH_MAX: usize = 4;

/// The rules to try, the best first.
pub(super) fn choices(pair: &Pair) -> Vec<Choice> {
    let sharp = cookie(pair).into_iter().chain(json(pair));
    let loose = location(pair).into_iter().chain(status(pair)).chain(way_out(pair));
    sharp.chain([built_in()]).chain(loose).chain(password_again(pair)).collect()
}

/// What else differs, for the operator to choose from.
pub(super) fn differences(pair: &Pair) -> Vec<String> {
    let (wrong, right) = (&pair.wrong, &pair.right);
    let mut seen = vec![format!("status: {} wrong, {} right", wrong.status(), right.status())];
    let place = |exchange: &Exchange| exchange.location().unwrap_or_else(|| "none".to_owned());
    if wrong.location().is_some() || right.location().is_some() {
        seen.push(format!("Location: {} wrong, {} right", place(wrong), place(right)));
    }
    let only = |one: &Exchange, other: &Exchange| {
        let others = other.cookies();
        let own = one.cookies().into_iter().filter(|name| !others.contains(name));
        own.map(str::to_owned).collect::<Vec<_>>()
    };
    for (which, names) in [("wrong", only(wrong, right)), ("right", only(right, wrong))] {
        if !names.is_empty() {
            seen.push(format!("cookies set only when {which}: {}", names.join(", ")));
        }
    }
    let headers = |one: &Exchange, other: &Exchange| {
        let own =
            one.answer.headers.keys().filter(|name| !other.answer.headers.contains_key(*name));
        own.map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    for (which, names) in [("wrong", headers(wrong, right)), ("right", headers(right, wrong))] {
        if !names.is_empty() {
            seen.push(format!("headers only when {which}: {}", names.join(", ")));
        }
    }
    seen
}

fn cookie(pair: &Pair) -> Option<Choice> {
    let part_of = |name: &str, parts: &[&str]| {
        let name = name.to_ascii_lowercase();
        parts.iter().any(|part| name.contains(part))
    };
    let fit = |name: &&str| {
        part_of(name, &LOGIN_COOKIES)
            && !part_of(name, &OPTIONAL_COOKIES)
            && !pair.strangers_cookies.iter().any(|known| known == name)
    };
    let name = pair.right.cookies().into_iter().find(fit)?;
    Some(Choice {
        line: format!("success = {{ cookie = {} }}", quoted(name)),
        why: "This cookie came with the right password and at no other time, so that nobody is given \
              it for looking at a page."
            .to_owned(),
    })
}

fn json(pair: &Pair) -> Option<Choice> {
    let strangers: Vec<_> = pair.strangers().into_iter().flat_map(flags).collect();
    let flag = flags(&pair.right).into_iter().find(|flag| !strangers.contains(flag))?;
    Some(Choice {
        line: format!("success = {{ json = {} }}", flag.sign()),
        why: "The answer is JSON, and only the one to the right password holds this.".to_owned(),
    })
}

fn built_in() -> Choice {
    Choice {
        line: String::new(),
        why:
            "No sign is given: tillgate's own judged these logins right, whichever page a customer \
              is sent to afterwards."
                .to_owned(),
    }
}

fn location(pair: &Pair) -> Option<Choice> {
    let right = pair.right.location()?;
    let elsewhere =
        pair.strangers().iter().all(|exchange| exchange.location().as_ref() != Some(&right));
    elsewhere.then(|| Choice {
        line: format!(
            "success = {{ location = {} }}",
            // From its beginning: a page to go on to may stand in a parameter of a refusal.
            quoted(&format!("^(https?://[^/?#]+)?{}([?#]|$)", regex::escape(&right)))
        ),
        why: "Only the right password led to this page. Customers who log in elsewhere, such as at the \
              checkout, may be sent to another: learn that way in too, or widen the pattern."
            .to_owned(),
    })
}

fn status(pair: &Pair) -> Option<Choice> {
    let right = pair.right.status();
    let differs = pair.strangers().iter().all(|exchange| exchange.status() != right);
    differs.then(|| Choice {
        line: format!("success = {{ status = [{right}] }}"),
        why: "Only the right password was answered with this status.".to_owned(),
    })
}

fn way_out(pair: &Pair) -> Option<Choice> {
    let strangers: Vec<_> = pair.strangers().iter().map(|each| page(each).way_out).collect();
    let word = page(&pair.right).way_out.filter(|_| strangers.iter().all(Option::is_none))?;
    Some(Choice {
        line: format!("success = {{ body = {} }}", quoted(&link_to(word))),
        why: "The page after the right password shows a way to log out, and no other did. It must stand \
              in the first 64 KiB."
            .to_owned(),
    })
}

fn password_again(pair: &Pair) -> Option<Choice> {
    let asked = pair.strangers().iter().all(|exchange| page(exchange).password);
    (asked && !page(&pair.right).password).then(|| Choice {
        line: format!("failure = {{ body = {} }}", quoted(PASSWORD_INPUT)),
        why: "The form was shown again after the wrong password. Weak: every other answer counts as a \
              success; look for a better sign."
            .to_owned(),
    })
}

/// What a page says about who looks at it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Page {
    way_out: Option<&'static str>,
    password: bool,
}

/// What the page of an answer says.
pub(super) fn page(exchange: &Exchange) -> Page {
    let shows = |pattern: &str| Regex::new(pattern).is_ok_and(|it| it.is_match(&exchange.page));
    let way_out = WAYS_OUT.into_iter().find(|word| shows(&link_to(word)));
    Page { way_out, password: shows(PASSWORD_INPUT) }
}

fn link_to(word: &str) -> String {
    format!("(?i)(href|action)=[\"'][^\"']*{word}")
}

/// A JSON member that may tell who is in, by its place (RFC 6901). A flag is the shop's own word on it
/// and comes before what the shop gives out.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Flag {
    /// `true`.
    True(String),
    /// A text or an object.
    Given(String),
}

/// The members of a JSON answer that may tell who is in, the best first.
pub(super) fn flags(exchange: &Exchange) -> Vec<Flag> {
    let mut found = Vec::new();
    let Some(answer) = exchange.json() else { return found };
    members(&answer, "", &mut |pointer, name, value| {
        let given = LOGIN_MEMBERS.contains(&name.to_ascii_lowercase().as_str());
        let something = match value {
            Value::Bool(true) => return found.push(Flag::True(pointer.to_owned())),
            Value::String(text) => !text.is_empty(),
            Value::Object(object) => !object.is_empty(),
            Value::Array(_) | Value::Bool(false) | Value::Null | Value::Number(_) => false,
        };
        if given && something {
            found.push(Flag::Given(pointer.to_owned()));
        }
    });
    found.sort();
    found
}

impl Flag {
    fn sign(&self) -> String {
        match self {
            Self::True(pointer) => {
                format!("{{ pointer = {}, value = \"^true$\" }}", quoted(pointer))
            }
            Self::Given(pointer) => format!("{{ pointer = {}, value = \".\" }}", quoted(pointer)),
        }
    }
}

fn members(value: &Value, above: &str, see: &mut dyn FnMut(&str, &str, &Value)) {
    let Value::Object(object) = value else { return };
    for (name, value) in object {
        let step = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{above}/{step}");
        see(&pointer, name, value);
        if pointer.matches('/').count() < DEPTH_MAX {
            members(value, &pointer, see);
        }
    }
}

/// As TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
