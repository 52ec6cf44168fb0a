//! The operator's API: who is locked, let him in, why was he refused.
//!
//! It is opened by the token alone, which no page of a stranger has. Account names come in bodies and are
//! hashed at once; they are never logged, answered or kept. What changes anything is in the audit log,
//! on its disk, before it is done.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;
use zeroize::Zeroizing;

use super::explain::explain;
use super::message::{AllowedRow, Done, Failed, LockRow, Locked, Whom};
use super::subject::{self, Subjects, WhomError};
use crate::counters::Lock;
use crate::policy::{Live, Secret};
use crate::proxy::login::DeskFull;
use crate::proxy::{Generation, Services};
use crate::telemetry::{AuditEvent, Rfc3339};

/// The largest question; names and addresses are short.
const BODY_BYTES_MAX: usize = 16 << 10;
/// How long a caller may take to send it.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// The most locks that are listed at once.
const LOCKS_MAX: usize = 1_000;
/// For how long something may be allowed: what is to last belongs into the configuration.
const ALLOWED_S_MAX: u64 = 30 * 24 * 3600;

type Reply = Response<Full<Bytes>>;

/// The API.
pub(super) struct Api {
    pub(super) services: Arc<Services>,
    pub(super) policy: Arc<Live<Generation>>,
    pub(super) token: Secret,
}

/// Why it does not do as it is asked.
#[derive(Debug, Error)]
enum ApiError {
    #[error("there is no record of it in the audit log, so it was not done")]
    Audit,
    #[error("send a JSON object of at most {} KiB", BODY_BYTES_MAX >> 10)]
    Body,
    #[error("as much is allowed already as can be; take some back")]
    Full,
    #[error("call this by an address or as localhost")]
    Host,
    #[error("{0}")]
    Json(serde_json::Error),
    #[error("only {allowed}")]
    Method { allowed: &'static str },
    #[error("there is nothing here")]
    NotFound,
    #[error("for_s is the number of seconds, at most {ALLOWED_S_MAX}; 0 takes it back")]
    Time,
    #[error("send the token of admin.token as `Authorization: Bearer …`")]
    Token,
    #[error(transparent)]
    Whom(#[from] WhomError),
}

impl Api {
    /// What its paths begin with.
    pub(super) const PREFIX: &'static str = "/api/";

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        match self.admitted(request).await {
            Ok(reply) => reply,
            Err(error) => {
                let mut reply = json(error.status(), &Failed { error: error.to_string() });
                let headers = reply.headers_mut();
                match error {
                    ApiError::Token => {
                        warn!("a call of the operator's API showed no token, or a wrong one");
                        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    }
                    ApiError::Method { allowed } => {
                        headers.insert(ALLOW, HeaderValue::from_static(allowed));
                    }
                    _ => {}
                }
                reply
            }
        }
    }

    async fn admitted(&self, request: Request<Incoming>) -> Result<Reply, ApiError> {
        called_by_address(request.headers())?;
        if !bearer(request.headers()).is_some_and(|shown| self.token.is(shown)) {
            return Err(ApiError::Token);
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(Self::PREFIX).unwrap_or_default();
        match (path, &head.method) {
            ("logins/locked", &Method::GET) => self.locked().await,
            ("logins/allow", &Method::POST) => self.allow(read(body).await?).await,
            ("logins/explain", &Method::POST) => self.explain(read(body).await?).await,
            ("logins/unlock", &Method::POST) => self.unlock(read(body).await?).await,
            ("logins/locked", _) => Err(ApiError::Method { allowed: "GET" }),
            ("logins/allow" | "logins/explain" | "logins/unlock", _) => {
                Err(ApiError::Method { allowed: "POST" })
            }
            _ => Err(ApiError::NotFound),
        }
    }

    async fn locked(&self) -> Result<Reply, ApiError> {
        let logins = &self.services.logins;
        let mut locks = logins.locked(LOCKS_MAX + 1).await;
        let more = locks.len() > LOCKS_MAX;
        locks.truncate(LOCKS_MAX);
        let now = SystemTime::now();
        let locked = locks.iter().map(|lock| self.lock_row(lock, now)).collect();
        let allowed =
            logins.desk().allowed().into_iter().map(|(dimension, key, left)| AllowedRow {
                dimension: dimension.as_str().to_owned(),
                key: key.to_string(),
                remaining_s: left.as_secs(),
            });
        let degraded = logins.is_degraded();
        Ok(json(StatusCode::OK, &Locked { locked, more, allowed: allowed.collect(), degraded }))
    }

    fn lock_row(&self, lock: &Lock, now: SystemTime) -> LockRow {
        let place = self.services.logins.desk().place(&lock.key);
        LockRow {
            dimension: lock.dimension.as_str().to_owned(),
            key: lock.key.to_string(),
            site: place.as_ref().map(|place| place.site.to_string()),
            network: place.and_then(|place| subject::network(lock.dimension, place.client)),
            failures: lock.failures,
            level: lock.level,
            barred: lock.barred,
            until: Rfc3339(now + lock.remaining).to_string(),
            remaining_s: lock.remaining.as_secs(),
        }
    }

    async fn unlock(&self, whom: Whom) -> Result<Reply, ApiError> {
        let subjects = self.subjects(&whom)?;
        let mut changed = 0;
        for (dimension, key) in subjects.to_unlock() {
            let (operator, kind) = (whom.operator, dimension.as_str());
            let key_text = key.to_string();
            self.record(AuditEvent::LoginUnlocked { operator, dimension: kind, key: key_text })
                .await?;
            changed += self.services.logins.release(dimension, key).await;
        }
        Ok(json(StatusCode::OK, &Done { changed }))
    }

    async fn allow(&self, whom: Whom) -> Result<Reply, ApiError> {
        let for_s = whom.for_s.filter(|for_s| *for_s <= ALLOWED_S_MAX).ok_or(ApiError::Time)?;
        let subjects = self.subjects(&whom)?;
        let mut changed = 0;
        for (dimension, key) in subjects.to_allow()? {
            let (operator, kind) = (whom.operator, dimension.as_str());
            let key_text = key.to_string();
            self.record(AuditEvent::LoginAllowed {
                operator,
                dimension: kind,
                key: key_text,
                for_s,
            })
            .await?;
            let time = Duration::from_secs(for_s);
            let allowed = self.services.logins.desk().allow(dimension, key, time);
            allowed.map_err(|DeskFull| ApiError::Full)?;
            changed += 1;
        }
        Ok(json(StatusCode::OK, &Done { changed }))
    }

    async fn explain(&self, whom: Whom) -> Result<Reply, ApiError> {
        let generation = self.policy.load();
        let subjects = Subjects::of(&whom, &generation.snapshot.sites, &self.services.logins)?;
        let asked = (&whom, &subjects);
        let explained = explain(&self.services, &generation.snapshot, asked).await?;
        Ok(json(StatusCode::OK, &explained))
    }

    fn subjects(&self, whom: &Whom) -> Result<Subjects, WhomError> {
        let generation = self.policy.load();
        Subjects::of(whom, &generation.snapshot.sites, &self.services.logins)
    }

    async fn record(&self, event: AuditEvent) -> Result<(), ApiError> {
        let written = self.services.audit.record_durable(SystemTime::now(), event).await;
        written.map_err(|_| ApiError::Audit)
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Audit => StatusCode::SERVICE_UNAVAILABLE,
            Self::Body | Self::Json(_) | Self::Time | Self::Whom(_) => StatusCode::BAD_REQUEST,
            Self::Full => StatusCode::CONFLICT,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }
}

/// A browser can be made to call us by a name that a stranger has pointed at us (DNS rebinding), and
/// never by our address.
fn called_by_address(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).ok_or(ApiError::Host)?;
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = host.parse::<std::net::SocketAddr>().is_ok()
        || bare(host).parse::<std::net::IpAddr>().is_ok();
    let name = host.split(':').next().unwrap_or_default();
    let known = address || name.eq_ignore_ascii_case("localhost");
    (known && hosts.next().is_none()).then_some(()).ok_or(ApiError::Host)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    // RFC 9110 §11.1: the name of a scheme has no case.
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

async fn read(body: Incoming) -> Result<Whom, ApiError> {
    let whole = timeout(BODY_WAIT, gather(body)).await.map_err(|_| ApiError::Body)??;
    serde_json::from_slice(&whole).map_err(ApiError::Json)
}

async fn gather(body: Incoming) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| ApiError::Body)?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    // What cannot be written down would be an empty body; none of these types can fail.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = Response::new(Full::from(bytes));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
