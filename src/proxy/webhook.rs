//! A provider's call to the shop: its signature and time are checked before the shop sees a byte.
//!
//! What is signed is the body as it arrived, so it is read whole first, up to a megabyte. A
//! delivery counts once: a second one is refused until its time is too old anyway. One that the shop
//! did not take may come again, because providers repeat what failed.

mod deliveries;
pub mod signature;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub use deliveries::{Deliveries, DeliveryId};
pub(super) use signature::WebhookFault;

use signature::verify;

use super::body::Source;
use super::exchange::Exchange;
use super::reject::Rejection;
use super::{Proxy, Services};
use crate::policy::Webhook;
use crate::telemetry::AuditEvent;

/// The largest delivery (413): nobody has shown yet that it may send one, and providers send kilobytes.
const DELIVERY_BYTES_MAX: u64 = 1 << 20;

/// A delivery under way. Dropped before it is settled, it may come again.
pub(super) struct Delivery {
    services: Arc<Services>,
    id: DeliveryId,
    taken: bool,
}

impl Proxy {
    /// Checks a call that must be a provider's; nothing where no webhook covers it.
    pub(super) async fn admit_webhook(
        &self,
        covered: Option<&Arc<Webhook>>,
        exchange: &Exchange,
        (headers, source): (&HeaderMap, &mut Source),
    ) -> Result<Option<Delivery>, Rejection> {
        let Some(webhook) = covered else { return Ok(None) };
        let limit_bytes = DELIVERY_BYTES_MAX;
        let most = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let read = source.read_up_to(most.saturating_add(1)).await;
        let (pieces, _) = read.map_err(|error| exchange.refusal(error))?;
        if pieces.iter().map(Bytes::len).sum::<usize>() > most {
            return Err(Rejection::BodyTooLarge { limit_bytes });
        }
        let body = match pieces.as_slice() {
            [one] => one.clone(),
            many => Bytes::from(many.concat()),
        };
        source.put_back(pieces);
        let now = exchange.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let admitted = verify(webhook, headers, &body, now).and_then(|id| {
            let until = now.saturating_add(webhook.tolerance.saturating_mul(2));
            let first = self.services.deliveries.begin(id, until, now);
            first.then_some(id).ok_or(WebhookFault::Replayed)
        });
        match admitted {
            Ok(id) => {
                self.services.metrics.webhook_delivered(&webhook.name);
                let services = Arc::clone(&self.services);
                Ok(Some(Delivery { services, id, taken: false }))
            }
            Err(fault) => Err(self.webhook_refused(webhook, exchange, fault)),
        }
    }

    fn webhook_refused(
        &self,
        webhook: &Webhook,
        exchange: &Exchange,
        fault: WebhookFault,
    ) -> Rejection {
        let (name, id) = (&webhook.name, exchange.id.as_str());
        self.services.metrics.webhook_refused(name, fault.as_str(), id);
        if self.services.gateways.may_tell(name) {
            let event = AuditEvent::WebhookRefused {
                webhook: name.to_string(),
                request_id: id.to_owned(),
                reason: fault.as_str(),
            };
            self.services.audit.record(SystemTime::now(), event);
        }
        Rejection::Webhook(fault)
    }
}

impl Delivery {
    /// Ends it by what the shop answered: only what it took may not come again.
    pub(super) fn settle(mut self, status: StatusCode) {
        self.taken = status.is_success() || status.is_redirection();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.taken {
            self.services.deliveries.forget(&self.id);
        }
    }
}
