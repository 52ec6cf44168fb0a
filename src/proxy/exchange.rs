//! What one request has learnt about itself, told once when it has ended.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, Method, Version};
use parking_lot::Mutex;

use super::body::{BodyError, Holding, Room};
use super::reject::Rejection;
use super::request_id::RequestId;
use super::testing::Payer;
use crate::card::Token;

/// The client, as far as we believe what we are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientAddr(pub IpAddr);

/// One request and what became of it. Shared by the stages and the bodies that outlive them.
pub struct Exchange {
    /// Its name.
    pub id: RequestId,
    /// Who sent it.
    pub client: ClientAddr,
    /// When its head had arrived.
    pub started: Instant,
    /// The same on the wall clock.
    pub time: SystemTime,
    /// The head, as it arrived.
    pub asked: Asked,
    /// What the stages counted.
    pub tally: Tally,
    /// Who pays, where cards become tokens and are counted.
    payer: OnceLock<Payer>,
    /// The token whose card the request brings, or has put back, if it is one.
    charged: Mutex<Charged>,
    /// How a login went.
    login: Mutex<Option<&'static str>>,
    /// What is in memory of its body.
    held: Mutex<Option<Holding>>,
    /// A refusal that came up inside a body, where no status could be chosen any more.
    refused: Mutex<Option<Rejection>>,
}

/// Whose cards a request brings or puts back.
#[derive(Clone, Copy, Default)]
enum Charged {
    #[default]
    None,
    One(Token),
    Several,
}

/// The parts of the head that are logged.
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The host, lower case, without port.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// The protocol.
    pub version: Version,
    /// `Referer`.
    pub referrer: Option<Vec<u8>>,
    /// `User-Agent`.
    pub user_agent: Option<Vec<u8>>,
}

/// Counts of one request.
#[derive(Default)]
pub struct Tally {
    /// Bytes of the request body.
    pub request_bytes: AtomicU64,
    /// Bytes of the upstream's body.
    pub upstream_bytes: AtomicU64,
    /// Bytes of the answer's body, as the client got it.
    pub response_bytes: AtomicU64,
    /// Card numbers found in the request.
    pub cards_in: AtomicU32,
    /// Verification codes found in the request, where they are kept.
    pub codes_in: AtomicU32,
    /// Card numbers found in the answer.
    pub cards_out: AtomicU32,
    /// Microseconds from the start until the last piece of the request body came.
    pub request_moved_micros: AtomicU64,
    /// Microseconds from sending to the upstream until the head of its answer.
    pub upstream_micros: AtomicU64,
}

impl Exchange {
    /// Begins with the head of a request.
    #[must_use]
    pub fn new(id: RequestId, client: ClientAddr, asked: Asked) -> Arc<Self> {
        Arc::new(Self {
            id,
            client,
            started: Instant::now(),
            time: SystemTime::now(),
            asked,
            tally: Tally::default(),
            payer: OnceLock::new(),
            charged: Mutex::default(),
            login: Mutex::new(None),
            held: Mutex::new(None),
            refused: Mutex::new(None),
        })
    }

    /// Keeps the first refusal for whoever can still answer with it.
    pub fn refuse(&self, rejection: Rejection) {
        self.refused.lock().get_or_insert(rejection);
    }

    /// The reason that a body failed for.
    #[must_use]
    pub fn refusal(&self, error: BodyError) -> Rejection {
        self.take_refusal().unwrap_or(Rejection::UpstreamBody(error))
    }

    /// Whether there is room for so much of its body; it stays counted until the request has ended.
    pub(super) fn hold(&self, room: &Room, length: usize, limit_bytes: u64) -> bool {
        let mut held = self.held.lock();
        held.get_or_insert_with(|| room.holding(self.client.0)).grow(room, length, limit_bytes)
    }

    /// Notes who pays; the first one stays.
    pub(super) fn paid_by(&self, payer: Payer) {
        let _first_stays = self.payer.set(payer);
    }

    /// Who pays, if that is to be known.
    pub(super) fn payer(&self) -> Option<&Payer> {
        self.payer.get()
    }

    /// Notes that a token's card is brought, or a gateway shown it.
    pub(super) fn charge(&self, token: Token) {
        let mut charged = self.charged.lock();
        *charged = match *charged {
            Charged::None => Charged::One(token),
            Charged::One(before) if before == token => Charged::One(token),
            Charged::One(_) | Charged::Several => Charged::Several,
        };
    }

    /// The token whose card was brought or shown, if no other one was.
    pub(super) fn charged(&self) -> Option<Token> {
        match *self.charged.lock() {
            Charged::One(token) => Some(token),
            Charged::None | Charged::Several => None,
        }
    }

    /// Notes how a login went.
    pub fn login_went(&self, outcome: &'static str) {
        *self.login.lock() = Some(outcome);
    }

    /// How a login went, if this was one.
    #[must_use]
    pub fn login(&self) -> Option<&'static str> {
        *self.login.lock()
    }

    /// Takes the refusal that a body left behind.
    #[must_use]
    pub fn take_refusal(&self) -> Option<Rejection> {
        self.refused.lock().take()
    }
}

impl Asked {
    /// Copies what will be logged.
    #[must_use]
    pub fn of<B>(request: &http::Request<B>, host: String) -> Self {
        let bytes = |headers: &HeaderMap, name| {
            let value: Option<&http::HeaderValue> = headers.get(name);
            value.map(|value| value.as_bytes().to_vec())
        };
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        Self {
            method: request.method().clone(),
            host,
            target: target.to_owned(),
            version: request.version(),
            referrer: bytes(request.headers(), REFERER),
            user_agent: bytes(request.headers(), USER_AGENT),
        }
    }
}

impl Tally {
    /// Notes that a piece of the request body has come.
    pub fn request_moved(&self, started: Instant) {
        self.request_moved_micros.store(micros(started.elapsed()), Ordering::Relaxed);
    }

    /// Whether a piece of the request body came within the last `wait`.
    #[must_use]
    pub fn request_moved_within(&self, started: Instant, wait: Duration) -> bool {
        let moved = Duration::from_micros(self.request_moved_micros.load(Ordering::Relaxed));
        !moved.is_zero() && started.elapsed() < moved.saturating_add(wait)
    }

    /// The upstream's share of the time.
    pub fn upstream_took(&self, time: Duration) {
        self.upstream_micros.store(micros(time), Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
