//! The logins of a site, and what else strangers repeat there.

use std::collections::HashSet;
use std::sync::Arc;

use http::Method;

use super::compile::Compiler;
use super::presets;
use super::schema::{
    CarrierSchema, CountsSchema, KindSchema, LoginSchema, SignsSchema, SiteGuardSchema,
    SiteLoginSchema, SiteSchema, WhenSchema,
};
use super::source::At;
use crate::policy::{
    Carrier, Condition, Counted, FieldPath, GuardKind, GuardRule, LOGIN, Limit, LoginLimits,
    PathPattern, Place, Sign, ValuePattern,
};

/// The rules of a site: its logins, and its other guards.
type Guarded = (Vec<Arc<GuardRule>>, Vec<Arc<GuardRule>>);

/// What logins and other guards have in common.
pub(super) struct Common<'w> {
    pub(super) method: Option<&'w At<String>>,
    pub(super) carrier: Option<&'w At<CarrierSchema>>,
    pub(super) operation: Option<&'w At<String>>,
    pub(super) when: Option<&'w At<WhenSchema>>,
    pub(super) subject: (&'static str, Option<&'w At<String>>),
    pub(super) success: Option<&'w At<SignsSchema>>,
    pub(super) failure: (&'static str, Option<&'w At<SignsSchema>>),
    pub(super) limits: Option<&'w At<LoginSchema>>,
    pub(super) counted: Counted,
}

impl Compiler<'_> {
    pub(super) fn guarded(&mut self, site: &SiteSchema, base: &LoginLimits) -> Guarded {
        let mut names = HashSet::from([LOGIN]);
        for at in &site.guard {
            self.unique_name("site.guard", &at.get().name, &mut names);
        }
        let (mut logins, mut guards): (Vec<GuardRule>, Vec<GuardRule>) = (Vec::new(), Vec::new());
        for at in &site.login {
            let written = at.get();
            if let Some(shop) = &written.preset {
                let path = self.preset_path(written);
                let preset = presets::compile(*shop.get(), path.as_ref(), base);
                logins.extend(preset.logins);
                // What is written in the file takes the place of a preset's guard of the name.
                let own = |guard: &GuardRule| names.contains(&*guard.name);
                guards.extend(preset.guards.into_iter().filter(|guard| !own(guard)));
                continue;
            }
            let Some(path) = &written.path else {
                // A preset that was taken out is missing for a reason that is already told.
                if !self.problems.iter().any(|problem| problem.key == "site.login.preset") {
                    let remedy = "add `path = …`, or `preset = …`";
                    self.refuse(&at.span(), "site.login.path", "is missing", remedy);
                }
                continue;
            };
            let Some(login) = self.login_rule(written, path, base) else { continue };
            self.refuse_hidden(&logins, &login, path);
            logins.push(login);
        }
        for at in &site.guard {
            guards.extend(self.guard_rule(at, base));
        }
        let shared = |rules: Vec<GuardRule>| rules.into_iter().map(Arc::new).collect();
        (shared(logins), shared(guards))
    }

    /// With a preset only the path of its login page may be said.
    fn preset_path(&mut self, written: &SiteLoginSchema) -> Option<PathPattern> {
        let spans = [
            ("method", written.method.as_ref().map(At::span)),
            ("carrier", written.carrier.as_ref().map(At::span)),
            ("operation", written.operation.as_ref().map(At::span)),
            ("when", written.when.as_ref().map(At::span)),
            ("account_field", written.account_field.as_ref().map(At::span)),
            ("success", written.success.as_ref().map(At::span)),
            ("failure", written.failure.as_ref().map(At::span)),
            ("limits", written.limits.as_ref().map(At::span)),
        ];
        for (name, span) in spans {
            if let Some(span) = span {
                let remedy = "remove it, or write the login in a [[site.login]] of its own";
                let message = "does not go with `preset`";
                self.refuse(&span, &format!("site.login.{name}"), message, remedy);
            }
        }
        written.path.as_ref().and_then(|at| self.path_pattern("site.login.path", at))
    }

    fn refuse_hidden(&mut self, before: &[GuardRule], login: &GuardRule, path: &At<String>) {
        let text = login.path.to_string();
        let hides = |first: &GuardRule| {
            let same = first.method == login.method && first.carrier == login.carrier;
            same && first.when.is_none() && first.path.matches(&text)
        };
        if before.iter().any(hides) {
            let message = "never matches: a login before it does";
            self.refuse(&path.span(), "site.login.path", message, "move it up, or remove it");
        }
    }

    pub(super) fn login_rule(
        &mut self,
        written: &SiteLoginSchema,
        path: &At<String>,
        base: &LoginLimits,
    ) -> Option<GuardRule> {
        let table = "site.login";
        let common = Common {
            method: written.method.as_ref(),
            carrier: written.carrier.as_ref(),
            operation: written.operation.as_ref(),
            when: written.when.as_ref(),
            subject: ("account_field", written.account_field.as_ref()),
            success: written.success.as_ref(),
            failure: ("failure", written.failure.as_ref()),
            limits: written.limits.as_ref(),
            counted: GuardKind::Login.counts(),
        };
        let path = self.path_pattern("site.login.path", path);
        let rule = self.rule(table, GuardKind::Login, &common, base);
        Some(GuardRule { name: LOGIN.into(), path: path?, ..rule? })
    }

    pub(super) fn guard_rule(
        &mut self,
        at: &At<SiteGuardSchema>,
        base: &LoginLimits,
    ) -> Option<GuardRule> {
        let (table, written) = ("site.guard", at.get());
        let kind = match written.kind.as_ref().map(At::get) {
            Some(KindSchema::Coupon) => GuardKind::Coupon,
            Some(KindSchema::Other) | None => GuardKind::Other,
            Some(KindSchema::Payment) => GuardKind::Payment,
            Some(KindSchema::Registration) => GuardKind::Registration,
            Some(KindSchema::Reset) => GuardKind::Reset,
        };
        let failure = match (kind, &written.declined) {
            (GuardKind::Payment, Some(declined)) => ("declined", Some(declined)),
            (_, Some(declined)) => {
                let message = "is what a payment may be";
                let remedy = "write `kind = \"payment\"`, or `failure` in its place";
                self.refuse(&declined.span(), "site.guard.declined", message, remedy);
                ("declined", None)
            }
            (_, None) => ("failure", written.failure.as_ref()),
        };
        if let (Some(failure), Some(_)) = (&written.failure, &written.declined) {
            let message = "says the same as `declined`";
            self.refuse(&failure.span(), "site.guard.failure", message, "keep one of the two");
        }
        let counted = match written.counts.as_ref().map(At::get) {
            Some(CountsSchema::Attempts) => Counted::Attempts,
            Some(CountsSchema::Failures) => Counted::Failures,
            Some(CountsSchema::Successes) => Counted::Successes,
            None => kind.counts(),
        };
        let common = Common {
            method: written.method.as_ref(),
            carrier: written.carrier.as_ref(),
            operation: written.operation.as_ref(),
            when: written.when.as_ref(),
            subject: ("subject_field", written.subject_field.as_ref()),
            success: written.success.as_ref(),
            failure,
            limits: written.limits.as_ref(),
            counted,
        };
        let path = self.path_pattern("site.guard.path", &written.path);
        let rule = self.rule(table, kind, &common, base)?;
        if counted != Counted::Attempts && !kind.has_built_in_signs() && !rule.has_signs() {
            let message = "has no sign of how an attempt went";
            let remedy = match kind {
                GuardKind::Payment => "add `declined = { … }`",
                _ => "add `success = { … }` or `failure = { … }`, or `counts = \"attempts\"`",
            };
            self.refuse(&at.span(), table, message, remedy);
        }
        Some(GuardRule { name: written.name.get().as_str().into(), path: path?, ..rule })
    }

    fn rule(
        &mut self,
        table: &str,
        kind: GuardKind,
        written: &Common<'_>,
        base: &LoginLimits,
    ) -> Option<GuardRule> {
        let key = |name: &str| format!("{table}.{name}");
        let method = match written.method {
            None => Some(Method::POST),
            Some(at) => self.method(&key("method"), at),
        };
        let carrier = self.carrier(&key("operation"), written);
        let when = written.when.and_then(|at| self.condition(&key("when"), at));
        let (name, field) = written.subject;
        let subject_field = field.and_then(|at| self.field_path(&key(name), at));
        let success = self.signs(&key("success"), written.success);
        let failure: Vec<Sign> = self.signs(&key(written.failure.0), written.failure.1);
        let limits = written.limits.map(|at| self.login_limits(&key("limits"), at.get(), base));
        let limits = match kind {
            GuardKind::Login => limits,
            // What others name no subject of is not thereby one attempt on all: its network counts.
            _ => Some(LoginLimits {
                counted: written.counted,
                nameless: Limit::default(),
                ..limits.unwrap_or_else(|| base.clone())
            }),
        };
        let mut rule = GuardRule::login(PathPattern::parse("*")?);
        rule.kind = kind;
        rule.method = method?;
        rule.carrier = carrier;
        rule.limits = limits.map(Arc::new);
        Some(GuardRule { when, subject_field, success, failure, ..rule })
    }

    fn carrier(&mut self, key: &str, written: &Common<'_>) -> Carrier {
        let carrier = written.carrier.map(At::get);
        let operation = written.operation.map(|at| at.get().trim().to_owned());
        if let Some(at) = written.operation
            && !matches!(carrier, Some(CarrierSchema::Graphql))
        {
            let remedy = "write `carrier = \"graphql\"`, or remove the key";
            self.refuse(&at.span(), key, "names a GraphQL mutation", remedy);
        }
        match carrier {
            Some(CarrierSchema::Basic) => Carrier::Basic,
            Some(CarrierSchema::Fields) | None => Carrier::Fields,
            Some(CarrierSchema::Graphql) => Carrier::Graphql(operation),
            Some(CarrierSchema::Xmlrpc) => Carrier::XmlRpc,
        }
    }

    fn condition(&mut self, key: &str, at: &At<WhenSchema>) -> Option<Condition> {
        let WhenSchema { field, query, value } = at.get();
        let (place, name, at) = match (field, query) {
            (Some(field), None) => (Place::Anywhere, "field", field),
            (None, Some(query)) => (Place::Query, "query", query),
            _ => {
                let remedy = "give `field = \"…\"` or `query = \"…\"`";
                self.refuse(&at.span(), key, "needs one of the two", remedy);
                return None;
            }
        };
        let field = self.field_path(&format!("{key}.{name}"), at)?;
        let value = value.as_ref().map(|at| ValuePattern::parse(at.get()));
        Some(Condition { place, field, value })
    }

    fn field_path(&mut self, key: &str, at: &At<String>) -> Option<FieldPath> {
        let path = FieldPath::parse(at.get());
        if path.is_none() {
            self.refuse(&at.span(), key, "is empty", "name the field, or remove the key");
        }
        path
    }

    pub(super) fn method(&mut self, key: &str, at: &At<String>) -> Option<Method> {
        // RFC 9110 §9.1: methods are case-sensitive, and by convention in capitals.
        let capital = at.get().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let method = Method::from_bytes(at.get().as_bytes()).ok().filter(|_| capital);
        if method.is_none() {
            let message = format!("{} is not a method", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "write it as in \"POST\"");
        }
        method
    }
}
