//! What the operator sees: metrics, the access log, the audit log and the operational log.
//!
//! An event is said once: one method of [`Metrics`] counts it and logs it. No card number comes this
//! far as a type; text from the wire is masked here before it is formatted (DESIGN.md P1). Nothing
//! here makes a request wait, except an audit record that must be on the disk first.

mod access;
mod access_rules;
mod acme;
mod anchor;
pub mod audit;
mod audit_event;
mod cards;
mod cells;
mod chain;
mod combined;
mod connections;
mod forward;
mod gateways;
mod lines;
pub mod logging;
mod logins;
mod mask;
mod metrics;
mod operator;
mod protections;
mod reloads;
mod routes;
mod seen;
mod seldom;
mod swapped;
mod timestamp;
mod upgrades;
mod upstreams;
mod vaults;
mod verify;

pub use access::{AccessFormat, AccessLog, AccessRecord, AccessTarget};
pub use access_rules::BlockOutcome;
pub use acme::{AcmeFailed, AcmeOutcome};
pub use audit::Audit;
pub use audit_event::{AuditEvent, LastFour};
pub use cards::{CardAction, CardDatum, CardPlace, Direction, SkipReason};
pub use connections::{ConnectionGuard, Full, ListenerRole, ProxyHeaderFault, SlowPhase};
pub use forward::{ConnectOutcome, TunnelGuard};
pub use lines::DroppedLines;
pub use logins::ProofOutcome;
pub use mask::mask_text;
pub use metrics::Metrics;
pub use operator::Operator;
pub use protections::Protection;
pub use reloads::{CertificateStanding, Complaint};
pub use routes::{InFlight, RouteMetrics};
pub use seen::{CardsSeen, SeenCount, SeenKey, SeenReport, Sighting};
pub use timestamp::{HttpDate, Rfc3339};
pub use upstreams::UpstreamMetrics;
pub use vaults::{CvvEvent, TokenOrigin};
