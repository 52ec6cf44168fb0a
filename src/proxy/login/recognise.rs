//! Which requests may be logins or other guarded attempts, by their heads.

use std::cell::OnceCell;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, REFERER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Uri};

use super::basic;
use super::fields;
use super::guess::Guess;
use super::path::{Plus, VIEWS_MAX, decode, guarded_views, normalise};
use crate::policy::{Carrier, GuardKind, GuardRule, Place, Site};

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

/// The parameters of a query that choose a page (OpenCart, Drupal, PrestaShop, WooCommerce, Joomla, Zen
/// Cart, CS-Cart, AbanteCart, Yii, and what scripts without a name call theirs).
const ROUTE_PARAMETERS: [&str; 21] = [
    "route",
    "q",
    "controller",
    "wc-ajax",
    "task",
    "action",
    "main_page",
    "dispatch",
    "rt",
    "r",
    "a",
    "act",
    "cmd",
    "do",
    "mod",
    "op",
    "p",
    "page",
    "path",
    "s",
    "view",
];

/// The last segments of the paths that GraphQL is served under.
const GRAPHQL_SEGMENTS: [&str; 2] = ["graphql", "gql"];

/// That of XML-RPC: `/xmlrpc.php` of WordPress, `/api/xmlrpc` of Magento 1.
const XML_RPC_SEGMENTS: [&str; 1] = ["xmlrpc"];

/// The largest attempt that is read, and the largest GraphQL request, whose path is shared with all
/// else that a shop does.
const BYTES_MAX: usize = 64 << 10;
const GRAPHQL_BYTES_MAX: usize = 1 << 20;

/// A request that may be an attempt, or several, once its body has been read.
pub struct Expected<'p> {
    pub(super) site: &'p Site,
    pub(super) candidates: Vec<Candidate<'p>>,
    pub(super) path: String,
    pub(super) referrer: Option<String>,
    pub(super) query: Option<String>,
    /// What the client has already: an answer that sets the same again sets nothing.
    pub(super) cookies: Vec<String>,
    /// What stands in the head.
    pub(super) basic: Option<Guess>,
    /// The method is one of those that only look.
    pub(super) looks: bool,
}

/// One rule that a request may fall under.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'p> {
    /// `None` is the built-in detection.
    pub(super) rule: Option<&'p Arc<GuardRule>>,
    pub(super) carrier: &'p Carrier,
    /// The method is not the rule's: many shops read the same fields under any.
    pub(super) other_method: bool,
}

impl<'p> Expected<'p> {
    pub(super) fn recognise(site: &'p Site, head: &Parts) -> Option<Self> {
        let candidates = candidates(site, head);
        if candidates.is_empty() {
            return None;
        }
        let referrer = head.headers.get(REFERER).and_then(|value| value.to_str().ok());
        let basic = candidates.iter().any(|candidate| *candidate.carrier == Carrier::Basic);
        Some(Self {
            site,
            path: normalise(head.uri.path()).into_owned(),
            referrer: referrer.and_then(local_path),
            query: head.uri.query().map(str::to_owned),
            cookies: cookies(head),
            basic: basic.then(|| basic::guess(&head.headers)).flatten(),
            looks: only_looks(&head.method),
            candidates,
        })
    }

    /// How much of the body must be read to know; `None` where the head tells all.
    #[must_use]
    pub fn body_bytes_max(&self) -> Option<usize> {
        let bytes = |candidate: &Candidate<'_>| match candidate.carrier {
            Carrier::Basic => None,
            Carrier::Fields if candidate.is_known_by_head() => None,
            Carrier::Fields | Carrier::XmlRpc => Some(BYTES_MAX),
            Carrier::Graphql(_) => Some(GRAPHQL_BYTES_MAX),
        };
        self.candidates.iter().filter_map(bytes).max()
    }

    /// Whether the address is a login's and nothing else's.
    pub(super) fn is_certain(&self) -> bool {
        let shared = |segment: &str| is_one_of(segment_name(segment), &SHARED_SEGMENTS);
        self.query.as_deref().is_some_and(is_login_query)
            || guarded_views(&self.path)
                .map(last_segment)
                .any(|last| is_login_segment(last) && !shared(last))
    }
}

impl Candidate<'_> {
    pub(super) fn kind(&self) -> GuardKind {
        self.rule.map_or(GuardKind::Login, |rule| rule.kind)
    }

    pub(super) fn is_login(&self) -> bool {
        self.kind() == GuardKind::Login
    }

    /// Whether nothing in the body matters: no condition, no field.
    pub(super) fn is_known_by_head(&self) -> bool {
        self.rule.is_some_and(|rule| {
            let anywhere = rule.when.as_ref().is_some_and(|when| when.place == Place::Anywhere);
            rule.kind != GuardKind::Login && !anywhere && rule.subject_field.is_none()
        })
    }
}

/// Whether a site takes guarded attempts at this address, whatever the method.
pub(super) fn is_guarded_address(site: &Site, uri: &Uri) -> bool {
    let path = normalise(uri.path());
    let again = decoded_again(&path);
    let mut rules = site.logins.iter().chain(&site.guards);
    let views = || guarded_views(&path).chain(again.iter().flat_map(|path| guarded_views(path)));
    (site.logins.is_empty() && usual(views(), uri.query()).is_some())
        || rules.any(|rule| views().any(|view| rule.path.matches_loosely(view)))
}

/// A path that a second server behind the first decodes once more.
fn decoded_again(path: &str) -> Option<String> {
    path.contains('%').then(|| normalise(path).into_owned())
}

/// Whether a path is the usual one of a login.
pub(super) fn is_login_path(path: &str) -> bool {
    guarded_views(path).map(last_segment).any(is_login_segment)
}

fn last_segment(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The path of a URI or of an absolute URL, normalised.
pub(super) fn local_path(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(normalise(uri.path()).into_owned())
}

/// Nothing is kept for a request that is none, which most are.
fn candidates<'p>(site: &'p Site, head: &Parts) -> Vec<Candidate<'p>> {
    let path = normalise(head.uri.path());
    let again = decoded_again(&path);
    let mut left = guarded_views(&path).chain(again.iter().flat_map(|path| guarded_views(path)));
    let views: [Option<&str>; 2 * VIEWS_MAX] = std::array::from_fn(|_| left.next());
    let mut found = Vec::new();
    if site.logins.is_empty()
        && (!only_looks(&head.method) || says_something(head))
        && let Some(carrier) = usual(views.iter().flatten().copied(), head.uri.query())
    {
        found.push(Candidate { rule: None, carrier, other_method: false });
    }
    let query = Query { text: head.uri.query().unwrap_or_default(), fields: OnceCell::new() };
    for rule in site.logins.iter().chain(&site.guards) {
        let carrier = &rule.carrier;
        let other_method = !takes(rule, &head.method);
        if (!other_method || may_take(rule, head))
            && views.iter().flatten().any(|view| rule.path.matches_loosely(view))
            && (*carrier != Carrier::Basic || head.headers.contains_key(AUTHORIZATION))
            && query.satisfies(rule)
        {
            found.push(Candidate { rule: Some(rule), carrier, other_method });
        }
    }
    found
}

fn takes(rule: &GuardRule, method: &Method) -> bool {
    rule.method == *method
        || (rule.method == Method::GET && *method == Method::HEAD)
        // A name and a password in the head are tried by any request.
        || rule.carrier == Carrier::Basic
}

/// Whether a rule of another method may be meant: `$_REQUEST` of PHP, a handler for every method and
/// a method in small letters all take what the form was meant to bring. The fields then decide.
fn may_take(rule: &GuardRule, head: &Parts) -> bool {
    let known_by_fields = rule.kind == GuardKind::Login || rule.subject_field.is_some();
    known_by_fields && (!only_looks(&head.method) || says_something(head))
}

fn only_looks(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// `name=value` of each cookie.
fn cookies(head: &Parts) -> Vec<String> {
    let values = head.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).map(|pair| pair.trim().to_owned()).collect()
}

/// Whether a request that only looks brings fields all the same.
fn says_something(head: &Parts) -> bool {
    let body =
        [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| head.headers.contains_key(name));
    body || head.uri.query().is_some()
}

/// The fields of a query, read once, for the first rule that asks.
struct Query<'h> {
    text: &'h str,
    fields: OnceCell<Vec<(Vec<String>, String)>>,
}

impl Query<'_> {
    fn satisfies(&self, rule: &GuardRule) -> bool {
        let Some(when) = rule.when.as_ref().filter(|when| when.place == Place::Query) else {
            return true;
        };
        let fields = self.fields.get_or_init(|| {
            let mut fields = Vec::new();
            fields::form(self.text.as_bytes(), &mut |path, value| {
                fields.push((path.to_vec(), value.to_owned()));
            });
            fields
        });
        fields.iter().any(|(path, value)| when.holds(path, value))
    }
}

/// What is detected without being configured.
fn usual<'v>(
    views: impl Iterator<Item = &'v str>,
    query: Option<&str>,
) -> Option<&'static Carrier> {
    static FIELDS: Carrier = Carrier::Fields;
    static GRAPHQL: Carrier = Carrier::Graphql(None);
    static XML_RPC: Carrier = Carrier::XmlRpc;
    for segment in views.map(last_segment) {
        let name = segment_name(segment);
        if is_one_of(name, &LOGIN_SEGMENTS) {
            return Some(&FIELDS);
        }
        if is_one_of(name, &GRAPHQL_SEGMENTS) {
            return Some(&GRAPHQL);
        }
        if is_one_of(name, &XML_RPC_SEGMENTS) {
            return Some(&XML_RPC);
        }
    }
    query.is_some_and(is_login_query).then_some(&FIELDS)
}

/// `index.php?route=account/login`, whatever the script is called.
pub(super) fn is_login_query(query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        // Most queries choose no page, and are not copied.
        if !name.contains(['%', '+']) && !is_route(name) {
            return false;
        }
        let name = decode(name.as_bytes(), Plus::Space);
        let name = name.split('\0').next().unwrap_or_default().trim();
        is_route(name) && is_login_path(&decode(value.as_bytes(), Plus::Space))
    })
}

fn is_route(name: &str) -> bool {
    ROUTE_PARAMETERS.iter().any(|route| route.eq_ignore_ascii_case(name))
}

fn is_login_segment(segment: &str) -> bool {
    is_one_of(segment_name(segment), &LOGIN_SEGMENTS)
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A segment without its extension and without what stands before a method's name.
fn segment_name(segment: &str) -> &[u8] {
    let bytes = segment.as_bytes();
    if memchr::memchr2(b'.', b'!', bytes).is_none() {
        return bytes;
    }
    let cut = |extension: &&str| {
        let at = bytes.len().checked_sub(extension.len())?;
        let (name, end) = bytes.split_at_checked(at)?;
        end.eq_ignore_ascii_case(extension.as_bytes()).then_some(name)
    };
    let name = EXTENSIONS.iter().find_map(cut).unwrap_or(bytes);
    // Joomla and Struts name a method: `user.login`, `account!login`.
    name.rsplit(|byte| matches!(byte, b'.' | b'!')).next().unwrap_or(name)
}
