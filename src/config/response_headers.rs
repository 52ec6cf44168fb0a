//! What browsers are told, from `[headers]` and what a route says otherwise.

use std::time::Duration;

use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};

use super::compile::{Compiler, is};
use super::schema::{FileSchema, HeadersSchema};
use super::source::At;
use super::units;
use crate::policy::{Framing, ResponseHeaders};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Long enough for a browser that comes twice a year.
const TRANSPORT: Duration = Duration::from_secs(180 * 24 * 3600);

/// What the lists that browsers are shipped with ask for (hstspreload.org).
const PRELOAD_MIN: Duration = Duration::from_secs(365 * 24 * 3600);

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// The policies of Referrer Policy §3.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

/// Fields without which an answer is another one.
const NEEDED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "location",
    "set-cookie",
    "transfer-encoding",
    "www-authenticate",
];

/// The choices of a table of headers, with what it inherits.
#[derive(Clone)]
pub(super) struct HeaderChoices {
    transport: Option<Duration>,
    subdomains: bool,
    preload: bool,
    nosniff: bool,
    referrer: Option<HeaderValue>,
    permissions: Option<HeaderValue>,
    framing: Option<Framing>,
    remove: Vec<HeaderName>,
    replace: bool,
}

impl HeaderChoices {
    /// What is said when nothing is written. Whoever redirects to https has made up his mind: browsers
    /// keep that redirect, too.
    pub(super) fn new(file: &FileSchema) -> Self {
        let value = HeaderValue::from_static;
        let redirects =
            file.listen.iter().any(|listen| is(listen.get().redirect_to_https.as_ref()));
        Self {
            transport: redirects.then_some(TRANSPORT),
            subdomains: false,
            preload: false,
            nosniff: true,
            referrer: Some(value("strict-origin-when-cross-origin")),
            // Devices that no shop needs; a camera or a place may be asked for.
            permissions: Some(value("bluetooth=(), hid=(), midi=(), serial=(), usb=()")),
            framing: None,
            remove: Vec::new(),
            replace: false,
        }
    }

    pub(super) fn policy(&self) -> ResponseHeaders {
        let mut always = Vec::new();
        if self.nosniff {
            always.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        }
        always.extend(self.referrer.clone().map(|value| (REFERRER_POLICY, value)));
        always.extend(self.permissions.clone().map(|value| (PERMISSIONS_POLICY, value)));
        ResponseHeaders {
            replace: self.replace,
            always,
            transport: self.transport.and_then(|age| self.transport_value(age)),
            framing: self.framing.clone(),
            remove: self.remove.clone(),
        }
    }

    fn transport_value(&self, age: Duration) -> Option<HeaderValue> {
        let subdomains = if self.subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        HeaderValue::try_from(format!("max-age={}{subdomains}{preload}", age.as_secs())).ok()
    }
}

impl Compiler<'_> {
    pub(super) fn header_choices(
        &mut self,
        table: &str,
        written: &HeadersSchema,
        base: &HeaderChoices,
    ) -> HeaderChoices {
        let key = |name: &str| format!("{table}.{name}");
        let flag = |at: &Option<At<bool>>, base| at.as_ref().map_or(base, |at| *at.get());
        let choices = HeaderChoices {
            transport: self.transport(&key("hsts"), written.hsts.as_ref(), base.transport),
            subdomains: flag(&written.hsts_subdomains, base.subdomains),
            preload: flag(&written.hsts_preload, base.preload),
            nosniff: flag(&written.nosniff, base.nosniff),
            referrer: match &written.referrer_policy {
                None => base.referrer.clone(),
                Some(at) => self.referrer(&key("referrer_policy"), at),
            },
            permissions: match &written.permissions_policy {
                None => base.permissions.clone(),
                Some(at) => self.permissions(&key("permissions_policy"), at),
            },
            framing: match &written.frame_ancestors {
                None => base.framing.clone(),
                Some(at) => self.framing(&key("frame_ancestors"), at.get()),
            },
            remove: match &written.remove {
                None => base.remove.clone(),
                Some(at) => self.removed(&key("remove"), at.get()),
            },
            replace: flag(&written.replace, base.replace),
        };
        let long = choices.transport.is_some_and(|age| age >= PRELOAD_MIN);
        if let Some(at) = written.hsts_preload.as_ref().filter(|at| *at.get())
            && !(long && choices.subdomains)
        {
            let message = "is not taken without `hsts_subdomains` and a year of `hsts`";
            let remedy = "set hsts = \"365d\" and hsts_subdomains = true, or remove it";
            self.refuse(&at.span(), &key("hsts_preload"), message, remedy);
        }
        choices
    }

    fn transport(
        &mut self,
        key: &str,
        written: Option<&At<String>>,
        base: Option<Duration>,
    ) -> Option<Duration> {
        let Some(at) = written.filter(|at| at.get() != "auto") else { return base };
        if at.get() == "off" {
            return None;
        }
        let Ok(age) = units::duration(at.get()) else {
            let message = format!("{} is not a time", self.source.quote(&at.span()));
            let remedy = "write \"auto\", \"off\" or a time up to a year, as in \"180d\"";
            self.refuse(&at.span(), key, message, remedy);
            return base;
        };
        if age < DAY {
            let remedy = "lengthen it once https is known to work";
            self.warn(&at.span(), key, "protects nobody who comes less than daily", remedy);
        }
        Some(age)
    }

    fn referrer(&mut self, key: &str, at: &At<String>) -> Option<HeaderValue> {
        if at.get() == "off" {
            return None;
        }
        if !REFERRER_POLICIES.contains(&at.get().as_str()) {
            let message = format!("{} is not a referrer policy", self.source.quote(&at.span()));
            let remedy = format!("write \"off\" or one of {}", REFERRER_POLICIES.join(", "));
            self.refuse(&at.span(), key, message, remedy);
        }
        HeaderValue::from_str(at.get()).ok()
    }

    fn permissions(&mut self, key: &str, at: &At<String>) -> Option<HeaderValue> {
        if at.get() == "off" {
            return None;
        }
        // The older `Feature-Policy` was written `usb 'none'`, which browsers now drop as a whole.
        let entry = |entry: &str| entry.split_once('=').is_some_and(|(name, _)| is_feature(name));
        let sound = at.get().split(',').all(entry) && at.get().is_ascii();
        let value = HeaderValue::from_str(at.get()).ok().filter(|_| sound);
        if value.is_none() {
            let message = format!("{} is not a permissions policy", self.source.quote(&at.span()));
            let remedy = "write it as in \"usb=(), camera=(self)\", or \"off\"";
            self.refuse(&at.span(), key, message, remedy);
        }
        value
    }

    fn framing(&mut self, key: &str, written: &[At<String>]) -> Option<Framing> {
        let mut sources = Vec::new();
        for at in written {
            let source = match at.get().as_str() {
                word @ ("none" | "self") => Some(format!("'{word}'")),
                text => is_origin(text).then(|| text.to_owned()),
            };
            // CSP Level 3 §6.4.2: beside others, 'none' would mean nothing.
            let alone = at.get() != "none" || written.len() == 1;
            if source.is_none() || !alone {
                let quoted = self.source.quote(&at.span());
                let message = format!("{quoted} cannot say who may frame a page");
                let remedy =
                    "write [\"none\"], or \"self\" and origins as in \"https://partner.example\"";
                self.refuse(&at.span(), key, message, remedy);
            }
            sources.extend(source);
        }
        let policy = format!("frame-ancestors {}", sources.join(" "));
        let options = match sources.as_slice() {
            [only] if only == "'none'" => Some(HeaderValue::from_static("DENY")),
            [only] if only == "'self'" => Some(HeaderValue::from_static("SAMEORIGIN")),
            _ => None,
        };
        let policy = HeaderValue::try_from(policy).ok().filter(|_| !sources.is_empty())?;
        Some(Framing { policy, options })
    }

    fn removed(&mut self, key: &str, written: &[At<String>]) -> Vec<HeaderName> {
        let mut names = Vec::new();
        for at in written {
            let name = HeaderName::from_bytes(at.get().as_bytes()).ok();
            let name = name.filter(|name| !NEEDED.contains(&name.as_str()));
            if name.is_none() {
                let quoted = self.source.quote(&at.span());
                let message = format!("{quoted} is not a field that an answer can do without");
                self.refuse(&at.span(), key, message, "write it as in \"X-Powered-By\"");
            }
            names.extend(name);
        }
        names
    }
}

fn is_feature(name: &str) -> bool {
    let name = name.trim();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// A source of CSP: a scheme and a host, whose first label may be `*`.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:*".contains(&byte);
    rest.is_some_and(|host| !host.is_empty() && host.bytes().all(sound))
}
