//! What is suspicious, and what is then done.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::compile::Compiler;
use super::schema::{CardTestingSchema, LoginSchema, RiskSchema, Switch, TrustedDeviceSchema};
use super::source::At;
use crate::policy::{COUNTED_MAX, CardTesting, LimitMode, RiskSteps, SignalPolicy, TrustedDevice};

impl Compiler<'_> {
    /// What is suspicious; it refuses in the mode that limits do.
    pub(super) fn signals(&mut self, written: &LoginSchema, mode: LimitMode) -> SignalPolicy {
        let off = RiskSteps { tighten: None, delay: None, proof: None };
        let risk = match written.risk.as_ref().map(At::get) {
            Some(Switch::Off) => off,
            Some(Switch::On(table)) => self.risk(table),
            None => RiskSteps::default(),
        };
        let trusted_device = match written.trusted_device.as_ref().map(At::get) {
            Some(Switch::Off) => None,
            Some(Switch::On(table)) => Some(self.trusted_device(table)),
            None => Some(TrustedDevice::default()),
        };
        let card_testing = match written.card_testing.as_ref().map(At::get) {
            Some(Switch::Off) => None,
            Some(Switch::On(table)) => Some(self.card_testing(table)),
            None => Some(CardTesting::default()),
        };
        let card_testing = card_testing.map(|limits| Arc::new(CardTesting { mode, ..limits }));
        SignalPolicy { risk, card_testing, trusted_device }
    }

    /// Only logins are weighed; the limits of other guards are written in the same words without these.
    pub(super) fn refuse_signals(&mut self, table: &str, written: &LoginSchema) {
        if table == "login" {
            return;
        }
        let spans = [
            ("trusted_device", written.trusted_device.as_ref().map(At::span)),
            ("risk", written.risk.as_ref().map(At::span)),
            ("card_testing", written.card_testing.as_ref().map(At::span)),
        ];
        for (name, span) in spans {
            if let Some(span) = span {
                let key = format!("{table}.{name}");
                self.refuse(&span, &key, "is no limit of a guard", "write it in [login]");
            }
        }
    }

    fn risk(&mut self, written: &RiskSchema) -> RiskSteps {
        let base = RiskSteps::default();
        let steps = RiskSteps {
            tighten: threshold(written.tighten.as_ref(), base.tighten),
            delay: threshold(written.delay.as_ref(), base.delay),
            proof: threshold(written.proof.as_ref(), base.proof),
        };
        let order: Vec<_> =
            [steps.tighten, steps.delay, steps.proof].into_iter().flatten().collect();
        let last = written.proof.as_ref().or(written.delay.as_ref()).or(written.tighten.as_ref());
        if let Some(at) = last
            && !order.is_sorted()
        {
            let message = "has a later step before an earlier one";
            let remedy = "make tighten ≤ delay ≤ proof, or write \"off\" for one of them";
            self.refuse(&at.span(), "login.risk", message, remedy);
        }
        steps
    }

    fn trusted_device(&mut self, written: &TrustedDeviceSchema) -> TrustedDevice {
        let base = TrustedDevice::default();
        let (lifetime, within) = (written.lifetime.as_ref(), written.within.as_ref());
        TrustedDevice {
            lifetime: self.duration("login.trusted_device.lifetime", lifetime, base.lifetime),
            failures: written.failures.as_ref().map_or(base.failures, |at| *at.get()),
            within: self.duration("login.trusted_device.within", within, base.within),
        }
    }

    fn card_testing(&mut self, written: &CardTestingSchema) -> CardTesting {
        let base = CardTesting::default();
        let key = |name: &str| format!("login.card_testing.{name}");
        let within = written.declines_within.as_ref();
        let declines_within = self.duration(&key("declines_within"), within, base.declines_within);
        let within = written.cards_within.as_ref();
        let cards_within = self.duration(&key("cards_within"), within, base.cards_within);
        CardTesting {
            mode: base.mode,
            declines: self.counted(&key("declines"), written.declines.as_ref(), base.declines),
            declines_within,
            cards: self.counted(&key("cards"), written.cards.as_ref(), base.cards),
            cards_within,
            session_cookies: self.cookie_names(written.session_cookies.as_ref()),
        }
    }

    /// A limit of what is counted one by one, of which so many are kept.
    fn counted(
        &mut self,
        key: &str,
        written: Option<&At<NonZeroU32>>,
        default: NonZeroU32,
    ) -> NonZeroU32 {
        let Some(at) = written else { return default };
        if *at.get() > COUNTED_MAX {
            let remedy = format!("write a number of at most {COUNTED_MAX}, or switch it off");
            self.refuse(&at.span(), key, "is more than can be told apart", remedy);
        }
        *at.get()
    }

    fn cookie_names(&mut self, written: Option<&At<Vec<At<String>>>>) -> Vec<Box<str>> {
        let mut names = Vec::new();
        for at in written.into_iter().flat_map(At::get) {
            if !is_token(at.get()) {
                let message = format!("{} is no cookie's name", self.source.quote(&at.span()));
                let remedy = "write it as the shop sets it, as in \"SESSID\"";
                self.refuse(&at.span(), "login.card_testing.session_cookies", message, remedy);
            }
            names.push(at.get().as_str().into());
        }
        names
    }
}

fn threshold(
    written: Option<&At<Switch<NonZeroU32>>>,
    default: Option<NonZeroU32>,
) -> Option<NonZeroU32> {
    match written.map(At::get) {
        Some(Switch::Off) => None,
        Some(Switch::On(points)) => Some(*points),
        None => default,
    }
}

/// A token (RFC 9110 §5.6.2), as RFC 6265 §4.1.1 wants a cookie's name.
fn is_token(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(letter)
}
