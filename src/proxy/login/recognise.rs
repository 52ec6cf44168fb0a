//! Which requests are logins.

use http::header::REFERER;
use http::request::Parts;
use http::{Method, Uri};

use super::account::{Account, Found, hints_at_password};
use super::fields::{self, Reading};
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

/// Those among them that other interfaces use as well.
const SHARED_SEGMENTS: [&str; 5] = ["auth", "my-account", "session", "sessions", "token"];

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
    /// counts for its network and its site, and for a path that only looks like a login this is none.
    ///
    /// # Errors
    ///
    /// When the body cannot be read to its end and [`Self::must_be_read`].
    pub fn account<'b>(
        &self,
        content_types: impl IntoIterator<Item = &'b [u8]>,
        body: &[u8],
    ) -> Result<Option<Account>, Unreadable> {
        let (found, reading) = self.look(content_types, body);
        let password = found.password;
        if reading == Reading::Partly && self.needs(password, body) {
            return Err(Unreadable);
        }
        let account = found.account();
        Ok(match self.rule {
            Some(_) => (!account.names().is_empty()).then_some(account),
            None => password.then_some(account),
        })
    }

    /// Whether a request is an attempt, once its body has been read.
    #[must_use]
    pub fn is_attempt(&self, account: Option<&Account>) -> bool {
        account.is_some() || self.rule.is_some()
    }

    /// Whether a body of which this is the beginning is refused rather than passed unread: it is, or
    /// padding would hide an account. Paths that other interfaces share (`/api/sessions`) demand it
    /// only where a password shows.
    #[must_use]
    pub fn must_be_read<'b>(
        &self,
        content_types: impl IntoIterator<Item = &'b [u8]>,
        body: &[u8],
    ) -> bool {
        self.needs(self.look(content_types, body).0.password, body)
    }

    fn needs(&self, password: bool, body: &[u8]) -> bool {
        self.rule.is_some() || self.is_certain() || password || hints_at_password(body)
    }

    fn look<'b>(
        &self,
        content_types: impl IntoIterator<Item = &'b [u8]>,
        body: &[u8],
    ) -> (Found, Reading) {
        let field = self.rule.and_then(|rule| rule.account_field.as_deref());
        let mut found = Found::default();
        let mut see = |path: &[String], value: &str| found.see(field, path, value);
        // Many shops read a field from the query where the body has none.
        if let Some(query) = &self.query {
            fields::form(query.as_bytes(), &mut see);
        }
        let content_types: Vec<_> = content_types.into_iter().collect();
        let reading = fields::each(&content_types, body, &mut see);
        (found, reading)
    }

    /// Whether the address is a login's and nothing else's.
    fn is_certain(&self) -> bool {
        let shared = |segment: &str| {
            let name = segment_name(segment);
            SHARED_SEGMENTS.iter().any(|shared| name.eq_ignore_ascii_case(shared.as_bytes()))
        };
        self.query.as_deref().is_some_and(is_login_query)
            || views(&self.path)
                .map(last_segment)
                .any(|last| is_login_segment(last) && !shared(last))
    }
}

/// A body that may be a login's could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

/// Whether a site takes logins at this address, whatever the method.
pub(super) fn is_login_address(site: &Site, uri: &Uri) -> bool {
    if site.logins.is_empty() {
        return is_login_uri(uri);
    }
    let path = normalise(uri.path());
    site.logins.iter().any(|rule| views(&path).any(|view| rule.path.matches_loosely(view)))
}

/// Whether a path is the usual one of a login.
pub(super) fn is_login_path(path: &str) -> bool {
    views(path).map(last_segment).any(is_login_segment)
}

fn last_segment(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
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
        let name = decode(name.as_bytes(), Plus::Space);
        let name = name.split('\0').next().unwrap_or_default().trim();
        let routes = ROUTE_PARAMETERS.iter().any(|route| route.eq_ignore_ascii_case(name));
        routes && is_login_path(&decode(value.as_bytes(), Plus::Space))
    })
}

fn is_login_segment(segment: &str) -> bool {
    let name = segment_name(segment);
    LOGIN_SEGMENTS.iter().any(|login| name.eq_ignore_ascii_case(login.as_bytes()))
}

/// A segment without its extension and without what stands before a method's name.
fn segment_name(segment: &str) -> &[u8] {
    let bytes = segment.as_bytes();
    let cut = |extension: &&str| {
        let at = bytes.len().checked_sub(extension.len())?;
        let (name, end) = bytes.split_at_checked(at)?;
        end.eq_ignore_ascii_case(extension.as_bytes()).then_some(name)
    };
    let name = EXTENSIONS.iter().find_map(cut).unwrap_or(bytes);
    // Joomla and Struts name a method: `user.login`, `account!login`.
    name.rsplit(|byte| matches!(byte, b'.' | b'!')).next().unwrap_or(name)
}
