//! The webhooks: which paths of which site, and what proves that a provider calls.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::compile::Compiler;
use super::schema::{PresetSchema, SignatureSchema, WebhookSchema};
use super::secrets::{algorithm, encoding};
use super::source::At;
use crate::policy::{Mac, Secret, Site, Webhook, WebhookSignature};

/// What providers themselves advise.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

impl Compiler<'_> {
    pub(super) fn webhooks(
        &mut self,
        written: &[At<WebhookSchema>],
        sites: &[Arc<Site>],
    ) -> Vec<Arc<Webhook>> {
        let mut names = HashSet::new();
        let mut webhooks = Vec::new();
        for at in written {
            self.unique_name("webhook", &at.get().name, &mut names);
            webhooks.extend(self.webhook(at, sites).map(Arc::new));
        }
        webhooks
    }

    fn webhook(&mut self, at: &At<WebhookSchema>, sites: &[Arc<Site>]) -> Option<Webhook> {
        let written = at.get();
        let path = self.path_pattern("webhook.path", &written.path);
        let site = written.site.as_ref().map(|at| self.webhook_site(at, sites));
        let signature = self.webhook_signature(at);
        let key = "webhook.tolerance";
        let tolerance = self.duration(key, written.tolerance.as_ref(), TOLERANCE);
        let secrets = self.webhook_secrets(&written.secrets);
        Some(Webhook {
            name: written.name.get().as_str().into(),
            site: match site {
                Some(found) => Some(found?),
                None => None,
            },
            path: path?,
            signature: signature?,
            secrets,
            tolerance,
        })
    }

    fn webhook_site(&mut self, at: &At<String>, sites: &[Arc<Site>]) -> Option<Arc<str>> {
        let host = at.get().to_ascii_lowercase();
        let serves = |site: &&Arc<Site>| {
            *site.name.0 == host || site.hosts.iter().any(|pattern| pattern.matches(&host))
        };
        let found = sites.iter().find(serves).map(|site| Arc::clone(&site.name.0));
        if found.is_none() {
            let message = format!("{} is no site", self.source.quote(&at.span()));
            let remedy = "name a host of a [[site]], or remove the key to mean every site";
            self.refuse(&at.span(), "webhook.site", message, remedy);
        }
        found
    }

    fn webhook_signature(&mut self, at: &At<WebhookSchema>) -> Option<WebhookSignature> {
        match (&at.get().preset, &at.get().hmac) {
            (Some(preset), None) => match preset.get() {
                PresetSchema::Stripe => Some(WebhookSignature::Stripe),
            },
            (None, Some(written)) => {
                let table = "webhook.hmac";
                let SignatureSchema { header, .. } = written.get();
                let header = self.header_name(&format!("{table}.header"), header);
                let timestamp = written.get().timestamp_header.as_ref();
                let timestamp = self.optional_name(table, timestamp);
                Some(WebhookSignature::Field(Mac {
                    header: header?,
                    algorithm: algorithm(written.get().algorithm.as_ref()),
                    encoding: encoding(written.get().encoding.as_ref()),
                    timestamp,
                }))
            }
            _ => {
                let remedy = "give `preset = \"stripe\"` or `hmac = { header = \"…\" }`";
                self.refuse(&at.span(), "webhook", "does not say how it is signed", remedy);
                None
            }
        }
    }

    fn webhook_secrets(&mut self, list: &At<Vec<At<super::schema::SecretSchema>>>) -> Vec<Secret> {
        let key = "webhook.secrets";
        if list.get().is_empty() {
            let remedy = "name what the provider signs with, as in [{ file = \"…\" }]";
            self.refuse(&list.span(), key, "names no secret", remedy);
        }
        list.get().iter().filter_map(|at| self.secret(key, at)).collect()
    }
}
