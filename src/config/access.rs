//! Access rules of routes, and virtual patches of sites.

use std::collections::HashSet;
use std::ops::Range;

use http::{HeaderName, Method, StatusCode};

use super::compile::Compiler;
use super::schema::{BlockSchema, HeaderPatternSchema, LimitModeSchema, RouteAccessSchema};
use super::source::At;
use crate::policy::{AccessRules, BlockRule, HeaderPattern, LimitMode, Listed, NetworkLists};

/// Statuses that would have to say more than a status: who may come in, what is allowed, where to go
/// (RFC 9110 §15.5.2, §15.5.6, §15.5.8, §15.5.22).
const STATUSES_WITH_FIELDS: [u16; 4] = [401, 405, 407, 426];

impl Compiler<'_> {
    pub(super) fn route_access(&mut self, written: &RouteAccessSchema) -> AccessRules {
        let table = "site.route.access";
        let key = |name: &str| format!("{table}.{name}");
        let allowed = written.allow.as_ref().map(|at| self.allowed_networks(&key("allow"), at));
        let denied = self.network_list(&key("deny"), &written.deny);
        let unlisted = if allowed.is_some() { Listed::Denied } else { Listed::Allowed };
        let allowed = allowed.into_iter().flatten().map(|network| (network, Listed::Allowed));
        let denied = denied.into_iter().map(|network| (network, Listed::Denied));
        AccessRules {
            mode: limit_mode(written.mode.as_ref()),
            networks: NetworkLists::new(allowed.chain(denied)),
            unlisted,
            methods: self.methods(&key("methods"), written.methods.as_ref()),
            required: self.header_patterns((&key("require"), false), &written.require),
            forbidden: self.header_patterns((&key("forbid"), true), &written.forbid),
        }
    }

    fn allowed_networks(&mut self, key: &str, at: &At<Vec<At<String>>>) -> Vec<ipnet::IpNet> {
        let networks = self.network_list(key, at.get());
        if at.get().is_empty() {
            let remedy = "name one, or remove the key to let everybody in";
            self.refuse(&at.span(), key, "names no network", remedy);
        } else if networks.is_empty() {
            let remedy = "add networks to the files it names";
            self.warn(&at.span(), key, "lets nobody in: its files hold no network", remedy);
        }
        networks
    }

    fn methods(&mut self, key: &str, written: Option<&At<Vec<At<String>>>>) -> Vec<Method> {
        let Some(at) = written else { return Vec::new() };
        if at.get().is_empty() {
            let remedy = "name one, or remove the key to mean all";
            self.refuse(&at.span(), key, "names no method", remedy);
        }
        at.get().iter().filter_map(|at| self.method(key, at)).collect()
    }

    fn header_patterns(
        &mut self,
        (key, any): (&str, bool),
        written: &[At<HeaderPatternSchema>],
    ) -> Vec<HeaderPattern> {
        let mut patterns = Vec::new();
        for at in written {
            let HeaderPatternSchema { name, value } = at.get();
            let name = self.pattern_name(&format!("{key}.name"), name, any && value.is_some());
            let value = value.as_ref().map(|at| self.hostile_regex(&format!("{key}.value"), at));
            if let (Some(name), Some(value)) = (name, value.map_or(Some(None), |it| it.map(Some))) {
                patterns.push(HeaderPattern { name, value });
            }
        }
        patterns
    }

    /// The name of a field, or `*` where that is `any`.
    fn pattern_name(
        &mut self,
        key: &str,
        at: &At<String>,
        any: bool,
    ) -> Option<Option<HeaderName>> {
        if at.get() == "*" && any {
            return Some(None);
        }
        let quoted = self.source.quote(&at.span());
        match HeaderName::from_bytes(at.get().as_bytes()).ok().filter(|_| at.get() != "*") {
            // HTTP/2 has none, and which hosts there are is said elsewhere.
            Some(name) if name == http::header::HOST => {
                let remedy = "say it with the `hosts` of a site";
                self.refuse(&at.span(), key, format!("{quoted} is not looked at"), remedy);
                None
            }
            Some(name) => Some(Some(name)),
            None => {
                let remedy = "write it as in \"User-Agent\"; \"*\" needs a `value`, and is nothing to require";
                self.refuse(&at.span(), key, format!("{quoted} is not a field"), remedy);
                None
            }
        }
    }

    pub(super) fn blocks(&mut self, written: &[At<BlockSchema>]) -> Vec<BlockRule> {
        let mut names = HashSet::new();
        let mut blocks = Vec::new();
        for at in written {
            self.unique_name("site.block", &at.get().name, &mut names);
            blocks.extend(self.block(at.get(), &at.span()));
        }
        blocks
    }

    fn block(&mut self, written: &BlockSchema, span: &Range<usize>) -> Option<BlockRule> {
        let BlockSchema { name, mode, status, methods, path, query, headers, body } = written;
        if path.is_none() && query.is_none() && headers.is_empty() && body.is_none() {
            let remedy = "give `path`, `query`, `headers` or `body`";
            self.refuse(span, "site.block", "does not say what is blocked", remedy);
        }
        let before = self.problems.len();
        let rule = BlockRule {
            name: name.get().as_str().into(),
            mode: limit_mode(mode.as_ref()),
            status: self.block_status(status.as_ref()),
            methods: self.methods("site.block.methods", methods.as_ref()),
            path: path.as_ref().and_then(|at| self.path_pattern("site.block.path", at)),
            query: query.as_ref().and_then(|at| self.hostile_regex("site.block.query", at)),
            headers: self.header_patterns(("site.block.headers", true), headers),
            body: body.as_ref().and_then(|at| self.hostile_regex("site.block.body", at)),
        };
        // A condition that is missing would block too much; what is wrong with it is told.
        (self.problems.len() == before).then_some(rule)
    }

    fn block_status(&mut self, written: Option<&At<std::num::NonZeroU32>>) -> StatusCode {
        let Some(at) = written else { return StatusCode::FORBIDDEN };
        let number = u16::try_from(at.get().get()).ok();
        let number = number.filter(|code| (400..600).contains(code));
        let number = number.filter(|code| !STATUSES_WITH_FIELDS.contains(code));
        number.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or_else(|| {
            let message = format!("{} is not a status for this", at.get());
            let remedy = "write one from 400 to 599, but not 401, 405, 407 or 426";
            self.refuse(&at.span(), "site.block.status", message, remedy);
            StatusCode::FORBIDDEN
        })
    }
}

fn limit_mode(written: Option<&At<LimitModeSchema>>) -> LimitMode {
    match written.map(At::get) {
        Some(LimitModeSchema::Observe) => LimitMode::Observe,
        Some(LimitModeSchema::Enforce) | None => LimitMode::Enforce,
    }
}
