//! Which requests are logins.

use http::header::REFERER;
use http::request::Parts;
use http::{Method, Uri};

use super::account::{Account, Found};
use super::fields;
use super::path::{Plus, decode, normalise, views};
use crate::policy::{LoginRule, Site};

/// The last segment, without extension, of the paths that take a password in common shops. The body
/// must hold a password too, so that a wide net does no harm.
const LOGIN_SEGMENTS: [&str; 22] = [
    "login",
    "signin",
    "sign-in",
    "sign_in",
    "log-in",
    "log_in",
    "logon",
    "auth",
    "authenticate",
    "authentication",
    "session",
    "sessions",
    "token",
    "loginpost",
    "wp-login",
    "my-account",
    "do_login",
    "dologin",
    "do-login",
    "checklogin",
    "login_check",
    "logincheck",
];

/// Extensions that scripts and servlets put behind such a name.
const EXTENSIONS: [&str; 7] = [".php", ".html", ".aspx", ".asp", ".jsp", ".do", ".action"];

/// The parameters of a query that choose a page (OpenCart, Drupal, PrestaShop, WooCommerce, Joomla).
const ROUTE_PARAMETERS: [&str; 6] = ["route", "q", "controller", "wc-ajax", "task", "action"];

/// A request that may be a login, once its body has been read.
pub struct Expected<'p> {
    pub(super) site: &'p Site,
    pub(super) rule: Option<&'p LoginRule>,
    pub(super) path: String,
    pub(super) referrer: Option<String>,
    query: Option<String>,
}

impl<'p> Expected<'p> {
    pub(super) fn recognise(site: &'p Site, head: &Parts) -> Option<Self> {
        let rule = if site.logins.is_empty() {
            (head.method == Method::POST && is_login_uri(&head.uri)).then_some(None)
        } else {
            configured(site, head).map(Some)
        };
        let referrer = head.headers.get(REFERER).and_then(|value| value.to_str().ok());
        Some(Self {
            site,
            rule: rule?,
            path: normalise(head.uri.path()).into_owned(),
            referrer: referrer.and_then(local_path),
            query: head.uri.query().map(str::to_owned),
        })
    }

    /// Whom the attempt is for. `None` means that no account could be read: a configured login then
    /// counts for its network alone, and for a path that only looks like a login this is none.
    #[must_use]
    pub fn account(&self, content_type: Option<&[u8]>, body: &[u8]) -> Option<Account> {
        let field = self.rule.and_then(|rule| rule.account_field.as_deref());
        let mut found = Found::default();
        let mut see = |path: &[String], value: &str| found.see(field, path, value);
        // Many shops read a field from the query where the body has none.
        if let Some(query) = &self.query {
            fields::form(query.as_bytes(), &mut see);
        }
        fields::each(content_type, body, &mut see);
        let password = found.password;
        let account = found.account();
        match self.rule {
            Some(_) => (!account.names().is_empty()).then_some(account),
            None => password.then_some(account),
        }
    }
}

/// Whether a path is the usual one of a login.
pub(super) fn is_login_path(path: &str) -> bool {
    views(path).any(|view| {
        let last = view.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        is_login_segment(last)
    })
}

/// The path of a URI or of an absolute URL, normalised.
pub(super) fn local_path(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(normalise(uri.path()).into_owned())
}

fn configured<'p>(site: &'p Site, head: &Parts) -> Option<&'p LoginRule> {
    let mut rules = site.logins.iter().filter(|rule| rule.method == head.method).peekable();
    rules.peek()?;
    let path = normalise(head.uri.path());
    rules.find(|rule| views(&path).any(|view| rule.path.matches_loosely(view)))
}

fn is_login_uri(uri: &Uri) -> bool {
    is_login_path(&normalise(uri.path())) || uri.query().is_some_and(is_login_query)
}

/// `index.php?route=account/login`, whatever the script is called.
pub(super) fn is_login_query(query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        let routes = ROUTE_PARAMETERS.iter().any(|route| route.eq_ignore_ascii_case(name));
        routes && is_login_path(&decode(value.as_bytes(), Plus::Space))
    })
}

fn is_login_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let cut = |extension: &&str| {
        let at = bytes.len().checked_sub(extension.len())?;
        let (name, end) = bytes.split_at_checked(at)?;
        end.eq_ignore_ascii_case(extension.as_bytes()).then_some(name)
    };
    let name = EXTENSIONS.iter().find_map(cut).unwrap_or(bytes);
    // Joomla and Struts name a method: `user.login`, `account!login`.
    let name = name.rsplit(|byte| matches!(byte, b'.' | b'!')).next().unwrap_or(name);
    LOGIN_SEGMENTS.iter().any(|login| name.eq_ignore_ascii_case(login.as_bytes()))
}
