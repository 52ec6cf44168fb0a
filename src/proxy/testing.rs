//! Card testing: whoever tries one card after the other is stopped.
//!
//! We see every card that becomes a token, and every answer of a provider that is called through us:
//! cards are counted for the session of the shop that brings them, declines for session and network.
//! A session is the shop's own cookie, known by its keyed hash alone.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::exchange::Exchange;
use super::reject::Rejection;
use super::services::Services;
use crate::card::{Pan, Token};
use crate::counters::{Bringer, CardRefusal};
use crate::policy::{CardTesting, LimitMode, RequestAction, Route, SignalPolicy, Site};
use crate::telemetry::AuditEvent;

/// The cookies that are a session in common shops and frameworks; the first that is there counts.
const SESSION_COOKIES: [&str; 14] = [
    "PHPSESSID",
    "OCSESSID",
    "JSESSIONID",
    "ASP.NET_SessionId",
    "connect.sid",
    "sessionid",
    "session",
    "session_id",
    "_session_id",
    "session-",
    "frontend",
    "osCsid",
    "zenid",
    "sid",
];
/// The beginnings of such names: PrestaShop, WooCommerce, Drupal, Shopware 5.
const SESSION_PREFIXES: [&str; 5] =
    ["PrestaShop-", "wp_woocommerce_session_", "SSESS", "SESS", "session-"];
/// And how they end in Laravel and Rails.
const SESSION_SUFFIX: &str = "_session";

/// Who pays, as far as a head tells; read when a card is found.
pub(super) struct Payer {
    limits: Arc<CardTesting>,
    cookies: Vec<HeaderValue>,
}

impl Payer {
    /// Of a request on a route where cards become tokens, if they are counted.
    pub(super) fn of(policy: &SignalPolicy, route: &Route, headers: &HeaderMap) -> Option<Self> {
        let limits = policy.card_testing.as_ref()?;
        (route.cards.requests == RequestAction::Tokenize).then(|| Self {
            limits: Arc::clone(limits),
            cookies: headers.get_all(COOKIE).iter().cloned().collect(),
        })
    }

    /// The value of the cookie that is the session: a configured one before the usual ones.
    fn session(&self) -> Option<&[u8]> {
        let configured =
            |name: &[u8]| self.limits.session_cookies.iter().any(|known| known.as_bytes() == name);
        self.cookie(configured).or_else(|| {
            let exact =
                |known: &&str| self.cookie(|name| name.eq_ignore_ascii_case(known.as_bytes()));
            SESSION_COOKIES.iter().find_map(exact).or_else(|| self.cookie(is_like_session))
        })
    }

    fn cookie(&self, is_it: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        let pairs = self.cookies.iter().flat_map(|field| field.as_bytes().split(|it| *it == b';'));
        let named = pairs.filter_map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            let (name, value) = pair.split_at_checked(equals)?;
            Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
        });
        let mut fitting = named.filter(|(name, value)| !value.is_empty() && is_it(name));
        fitting.next().map(|(_, value)| value)
    }
}

fn is_like_session(name: &[u8]) -> bool {
    let begins = |prefix: &&str| name.starts_with(prefix.as_bytes());
    SESSION_PREFIXES.iter().any(begins) || name.ends_with(SESSION_SUFFIX.as_bytes())
}

impl Services {
    /// Takes cards from whoever brings them, before the vault keeps and the shop sees them. Tells by
    /// whom they were brought, where that is to be known.
    ///
    /// # Errors
    /// When too many were brought, or declined.
    pub(super) fn bring_cards(
        &self,
        site: &str,
        exchange: &Exchange,
        pans: &[Pan],
    ) -> Result<Option<Bringer>, Rejection> {
        let Some(payer) = exchange.payer() else { return Ok(None) };
        let bringer = self.logins.signals().bringer(site, exchange.client, payer.session());
        for pan in pans {
            let print = self.vault.print(pan.expose());
            let brought = self.logins.signals().bring(&bringer, &print, &payer.limits);
            match (brought, payer.limits.mode) {
                (Ok(()), _) => {}
                (Err(CardRefusal { signal, .. }), LimitMode::Observe) => {
                    let id = exchange.id.as_str();
                    self.metrics.card_testing_observed(site, signal.as_str(), id);
                }
                (Err(refusal), LimitMode::Enforce) => {
                    return Err(self.cards_refused(site, exchange, (&bringer, refusal)));
                }
            }
        }
        Ok(Some(bringer))
    }

    /// Remembers who brought the cards of these tokens, for the provider's answer.
    pub(super) fn remember_bringer(
        &self,
        exchange: &Exchange,
        bringer: Option<Bringer>,
        tokens: &[Token],
    ) {
        let Some(bringer) = bringer else { return };
        for token in tokens {
            exchange.charge(*token);
            self.logins.signals().stands_for(&self.vault.print(token.as_bytes()), bringer);
        }
    }

    /// Notes for whoever brought it that a provider declined the card of a token.
    pub(super) fn card_declined(&self, gateway: &str, bringer: &Bringer, token: &Token) {
        let signals = self.logins.signals();
        signals.told_of(&self.vault.print(token.as_bytes()));
        signals.declined(bringer);
        self.metrics.card_declined(gateway);
    }

    /// Notes that the shop declined a payment, unless its provider has told us already.
    pub(super) fn payment_declined(&self, site: &Site, exchange: &Exchange) {
        let Some(payer) = exchange.payer() else { return };
        if exchange.charged().is_some_and(|token| self.bringer_of(&token).is_none()) {
            return;
        }
        let signals = self.logins.signals();
        signals.declined(&signals.bringer(&site.name.0, exchange.client, payer.session()));
    }

    /// Who brought the card of a token, if that was lately and is known here.
    pub(super) fn bringer_of(&self, token: &Token) -> Option<Bringer> {
        self.logins.signals().brought_by(&self.vault.print(token.as_bytes()))
    }

    /// Not every refusal of a flood is in the audit log; the metric counts them all.
    fn cards_refused(
        &self,
        site: &str,
        exchange: &Exchange,
        (bringer, refusal): (&Bringer, CardRefusal),
    ) -> Rejection {
        let CardRefusal { signal, retry_after } = refusal;
        let (reason, id) = (signal.as_str(), exchange.id.as_str());
        self.metrics.card_testing_refused(site, reason, retry_after, id);
        if self.logins.signals().may_tell(site) {
            let event = AuditEvent::CardTestingRefused {
                site: site.to_owned(),
                network: bringer.network.to_string(),
                session: bringer.session.map(|session| session.to_string()),
                reason,
                request_id: id.to_owned(),
            };
            self.audit.record(SystemTime::now(), event);
        }
        Rejection::CardTesting { reason, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(cookies: &[&'static str], configured: &str) -> Option<String> {
        let session_cookies = vec![configured.into()];
        let limits = Arc::new(CardTesting { session_cookies, ..CardTesting::default() });
        let cookies = cookies.iter().map(|field| HeaderValue::from_static(field)).collect();
        let payer = Payer { limits, cookies };
        payer.session().map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn the_session_is_the_configured_cookie_or_a_usual_one() {
        let table: [(&[&'static str], &str, Option<&str>); 9] = [
            (&["a=1; PHPSESSID=abc; b=2"], "none", Some("abc")),
            (&["a=1", "phpsessid=abc"], "none", Some("abc")),
            (&["sid=1; PHPSESSID=2"], "none", Some("2")),
            (&["PHPSESSID=1; basket=2"], "basket", Some("2")),
            (&["PrestaShop-0f=x%3D%3D"], "none", Some("x%3D%3D")),
            (&["shop_session=eyJ=="], "none", Some("eyJ==")),
            (&["PHPSESSID=; a=1"], "none", None),
            (&["nonsense; =x"], "none", None),
            (&[], "none", None),
        ];
        for (cookies, configured, expected) in table {
            assert_eq!(session(cookies, configured).as_deref(), expected, "{cookies:?}");
        }
    }
}
