//! A site that is closed for work on it, except to those who do the work.

use super::exchange::Exchange;
use super::generation::Place;
use super::reject::Rejection;

/// Turns requests away while a site is closed.
///
/// # Errors
/// When it is, for this client.
pub(super) fn admit(place: &Place<'_>, exchange: &Exchange) -> Result<(), Rejection> {
    let maintenance = &place.site.maintenance;
    if !maintenance.enabled && !place.targets.is_flagged() {
        return Ok(());
    }
    let client = exchange.client.0.to_canonical();
    if maintenance.allow.iter().any(|network| network.contains(&client)) {
        return Ok(());
    }
    Err(Rejection::Maintenance { retry_after: maintenance.retry_after })
}
