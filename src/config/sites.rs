//! Sites with their routes.

use std::collections::HashSet;
use std::sync::Arc;

use super::cards::Choices;
use super::compile::Compiler;
use super::response_headers::HeaderChoices;
use super::schema::{FileSchema, RouteSchema, SiteSchema, UpstreamSchema};
use super::source::At;
use crate::policy::{
    AccessRules, HostPattern, Limits, LoginLimits, PathPattern, Route, Scheme, Site, SiteName,
    Upstream,
};

/// The name of a site without hosts, and of what is left when no route matched.
const DEFAULT: &str = "default";

/// The pattern of every path.
pub(super) const EVERY_PATH: &str = "*";

/// Longer names do not exist (RFC 1035 §2.3.4); gateways share the bound.
pub(super) const NAME_BYTES_MAX: usize = 253;

/// What sites and gateways inherit from the file.
pub(super) struct Base {
    pub(super) choices: Choices,
    pub(super) limits: Limits,
    pub(super) login: LoginLimits,
    pub(super) headers: HeaderChoices,
}

impl Compiler<'_> {
    pub(super) fn sites(&mut self, file: &FileSchema, base: &Base) -> Vec<Arc<Site>> {
        let mut taken = HashSet::new();
        let mut sites = Vec::new();
        for site in &file.site {
            let hosts = self.hosts(site, &mut taken);
            sites.extend(self.site(site.get(), hosts, base).map(Arc::new));
        }
        sites
    }

    fn site(&mut self, written: &SiteSchema, hosts: Vec<HostPattern>, base: &Base) -> Option<Site> {
        let first = written.hosts.as_ref().and_then(|hosts| hosts.get().first());
        let name = first.map_or(DEFAULT.to_owned(), |host| host.get().to_ascii_lowercase());
        let upstreams = self.upstreams(written);
        let (logins, guards) = self.guarded(written, &base.login);
        let blocks = self.blocks(&written.block);
        let routes = self.routes(&written.route, base)?;
        let name = SiteName(name.into());
        let balance = self.balance(written);
        let maintenance = self.maintenance(&written.maintenance);
        Some(Site { name, hosts, upstreams, balance, maintenance, logins, guards, blocks, routes })
    }

    /// The hosts of a site, which no other site has.
    fn hosts(
        &mut self,
        site: &At<SiteSchema>,
        taken: &mut HashSet<Option<String>>,
    ) -> Vec<HostPattern> {
        let key = "site.hosts";
        let Some(written) = &site.get().hosts else {
            if !taken.insert(None) {
                let message = "is missing, and only one site can serve every other host";
                self.refuse(&site.span(), key, message, "say which hosts this one serves");
            }
            return Vec::new();
        };
        if written.get().is_empty() {
            let remedy = "name one, or remove the key to serve every other host";
            self.refuse(&written.span(), key, "names no host", remedy);
        }
        let mut hosts = Vec::new();
        for at in written.get() {
            let quoted = self.source.quote(&at.span());
            let Some(pattern) = host(at.get()) else {
                let message = format!("{quoted} is not a host name");
                let remedy = "write it without port, as in \"shop.example\" or \"*.shop.example\"";
                self.refuse(&at.span(), key, message, remedy);
                continue;
            };
            if !taken.insert(Some(at.get().to_ascii_lowercase())) {
                let message = format!("{quoted} is served already");
                self.refuse(&at.span(), key, message, "leave it in one place");
            }
            hosts.push(pattern);
        }
        hosts
    }

    fn upstreams(&mut self, written: &SiteSchema) -> Vec<Upstream> {
        if written.upstreams.get().is_empty() {
            let remedy = "name one, as in \"http://127.0.0.1:8080\"";
            self.refuse(&written.upstreams.span(), "site.upstreams", "names no server", remedy);
        }
        let trust = self.trust("site.ca", written.ca.as_ref()).unwrap_or_default();
        let mut upstreams = Vec::new();
        for at in written.upstreams.get() {
            upstreams.extend(match at.get() {
                UpstreamSchema::Address(url) => {
                    self.upstream("site.upstreams", (url, at.span()), &trust)
                }
                UpstreamSchema::Server(server) => self.server(server, &trust),
            });
        }
        let https = upstreams.iter().any(|upstream| upstream.scheme == Scheme::Https);
        self.warn_of_idle_ca("site.ca", written.ca.as_ref(), https);
        upstreams
    }

    /// The routes of a site; the last one is what `[cards]`, `[limits]` and `[headers]` say.
    fn routes(&mut self, written: &[At<RouteSchema>], base: &Base) -> Option<Vec<Route>> {
        let mut routes: Vec<Route> = Vec::new();
        let mut quotes = Vec::new();
        for at in written {
            let RouteSchema { path, cards, limits, headers, access } = at.get();
            let choices = self.cards("site.route.cards", cards, &base.choices);
            self.refuse_process_limits("site.route.limits", limits);
            let limits = self.limits("site.route.limits", limits, &base.limits);
            let headers =
                self.header_choices("site.route.headers", headers, &base.headers).policy();
            let access = self.route_access(access);
            let Some(pattern) = self.path_pattern("site.route.path", path) else { continue };
            // A pattern that matches another one's text, stars and all, matches all it matches.
            let text = pattern.to_string();
            let quoted = self.source.quote(&path.span());
            let first = routes.iter().zip(&quotes).find(|(route, _)| route.path.matches(&text));
            if let Some((_, first)) = first {
                let message = format!("{quoted} never matches: {first} comes first");
                self.refuse(&path.span(), "site.route.path", message, "move it up, or remove it");
            }
            quotes.push(quoted);
            let name = text.as_str().into();
            let cards = choices.policy();
            routes.push(Route { name, path: pattern, cards, limits, access, headers });
        }
        let path = PathPattern::parse(EVERY_PATH)?;
        let (cards, limits) = (base.choices.policy(), base.limits.clone());
        let (access, headers) = (AccessRules::default(), base.headers.policy());
        routes.push(Route { name: DEFAULT.into(), path, cards, limits, access, headers });
        Some(routes)
    }
}

/// A host pattern without a port.
fn host(text: &str) -> Option<HostPattern> {
    let bracketed = text.starts_with('[') && text.ends_with(']');
    let sound = bracketed || !text.contains([':', '[', ']']);
    let labels = text.strip_prefix("*.").unwrap_or(text);
    let empty = !bracketed && labels.split('.').any(str::is_empty);
    (sound && !empty && text.len() <= NAME_BYTES_MAX).then(|| HostPattern::parse(text))?
}
