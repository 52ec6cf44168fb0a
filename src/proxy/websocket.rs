//! WebSocket messages on their way through (RFC 6455): looked into and edited like bodies.
//!
//! Frames are read and written by ourselves, because no extension is negotiated on a connection that
//! is looked into, and what is left is small. Per direction a connection holds one piece of a frame
//! and what the scanner holds back; nothing is read before the last piece has been written.
//! Whether text is valid UTF-8 is left to the receiver, who must check it anyway (§8.1).

mod frame;
mod reader;
mod relay;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use frame::{Head, Key, Opcode, Sender, Violation};
pub use relay::{Outgoing, Relay};

use super::cards::Editor;
use super::pipe::Silence;
use super::reject::Rejection;
use super::upstreams::Joined;
use super::{Hold, Leave, Peer};
use crate::scan::Rules;
use crate::telemetry::CardPlace;

/// One direction reads this much at a time.
const READ_BYTES: usize = 16 << 10;
/// How long both sides have to read that we close, and to hang up.
const CLOSE_GRACE: Duration = Duration::from_secs(5);
/// A server that ends (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;

type Io = TokioIo<Upgraded>;

/// How one direction is looked into.
pub(super) struct Look {
    pub(super) editor: Arc<Editor>,
    pub(super) rules: Arc<Rules>,
}

/// A connection whose messages are looked into.
pub(super) struct Frames {
    /// What the client sends; nothing where that passes as it is.
    pub(super) requests: Option<Look>,
    /// What the shop sends.
    pub(super) responses: Option<Look>,
    /// The longest message of a client.
    pub(super) message_bytes_max: u64,
    /// How long a side may be silent.
    pub(super) idle: Duration,
    /// Tells when the connection must end.
    pub(super) leave: Leave,
    /// Is told why a connection is closed by us.
    pub(super) refused: Box<dyn Fn(&Rejection) + Send + Sync>,
}

/// One direction.
struct Lane<'a> {
    sender: Sender,
    relay: Relay,
    editor: Option<Arc<Editor>>,
    /// Of both directions together.
    silence: &'a Silence,
    /// How long a write may take.
    idle: Duration,
}

/// Our decision to close, for the direction that did not take it.
#[derive(Default)]
struct Closing {
    begun: CancellationToken,
    payload: OnceLock<Bytes>,
}

impl Frames {
    /// Joins the two connections once both have been handed over.
    pub(super) fn join(
        self,
        peer: &Peer,
        (client, hold): (OnUpgrade, Option<Hold>),
        (upstream, joined): (OnUpgrade, Joined),
    ) {
        let presence = Arc::clone(&peer.presence);
        peer.tasks.spawn(async move {
            let _held = (hold, presence, joined);
            match tokio::try_join!(client, upstream) {
                Ok((client, upstream)) => self.run(client, upstream).await,
                Err(error) => debug!(%error, "upgrade failed"),
            }
        });
    }

    async fn run(self, client: Upgraded, upstream: Upgraded) {
        let closing = Closing::default();
        let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
        let (upstream_in, upstream_out) = tokio::io::split(TokioIo::new(upstream));
        let (limit, idle) = (self.message_bytes_max, self.idle);
        let silence = Silence::new(idle);
        let up = Lane::new(Sender::Client, self.requests, limit, &silence, idle);
        let down = Lane::new(Sender::Server, self.responses, u64::MAX, &silence, idle);
        let refused = &*self.refused;
        let both = async {
            tokio::join!(
                up.run(client_in, upstream_out, &closing, refused),
                down.run(upstream_in, client_out, &closing, refused),
            )
        };
        let leaving = async {
            self.leave.hurry.cancelled().await;
            closing.go_away();
            closing.overdue().await;
        };
        tokio::select! {
            _ = both => {}
            () = closing.overdue() => {}
            () = leaving => {}
        }
    }
}

impl<'a> Lane<'a> {
    fn new(
        sender: Sender,
        look: Option<Look>,
        message_bytes_max: u64,
        silence: &'a Silence,
        idle: Duration,
    ) -> Self {
        let (editor, rules) = look.map(|look| (look.editor, look.rules)).unzip();
        let relay = Relay::new(sender, rules, message_bytes_max);
        Self { sender, relay, editor, silence, idle }
    }

    /// Passes messages on until the sender ends, or one of the two directions is refused.
    async fn run(
        mut self,
        mut from: ReadHalf<Io>,
        mut to: WriteHalf<Io>,
        closing: &Closing,
        refused: &(dyn Fn(&Rejection) + Send + Sync),
    ) {
        let mut read = vec![0; READ_BYTES];
        loop {
            // Whole frames only have been written at this point, so that a close may follow.
            let arrived = tokio::select! {
                biased;
                () = closing.begun.cancelled() => break,
                arrived = from.read(&mut read) => arrived,
                () = self.silence.too_long() => Ok(0),
            };
            let length = arrived.unwrap_or(0);
            let Some(arrived) = read.get(..length).filter(|arrived| !arrived.is_empty()) else {
                let _already_closed = to.shutdown().await;
                return;
            };
            self.silence.broken();
            self.relay.push(arrived);
            let mut wire = BytesMut::new();
            let passed = self.pass(&mut wire).await;
            if !self.write(&mut to, &wire).await {
                return;
            }
            if let Err(rejection) = passed {
                refused(&rejection);
                closing.begin(&rejection);
            }
        }
        if let Some(payload) = closing.payload.get() {
            let mut wire = BytesMut::new();
            close_head(self.sender).write(std::slice::from_ref(payload), &mut wire);
            let _gone = self.write(&mut to, &wire).await;
        }
        let _already_closed = to.shutdown().await;
        // Hanging up on unread bytes would take the close away from the peer's sight.
        while from.read(&mut read).await.is_ok_and(|length| length > 0) {}
    }

    /// Edits every frame that has arrived and writes it to `wire`; those before a refusal are there.
    async fn pass(&mut self, wire: &mut BytesMut) -> Result<(), Rejection> {
        while let Some(outgoing) = self.relay.next_frame().map_err(Rejection::Frame)? {
            let Outgoing { head, runs, carrier, begins } = outgoing;
            if let (Some(editor), true) = (&self.editor, begins) {
                editor.begin_message();
            }
            let payload = match &self.editor {
                Some(editor) if runs.iter().any(|run| !run.finds.is_empty()) => {
                    editor.edit_in(CardPlace::Message, runs, carrier).await?
                }
                Some(_) | None => runs.into_iter().map(|run| run.bytes).collect(),
            };
            head.write(&payload, wire);
        }
        Ok(())
    }

    /// Whether all of it could be written.
    async fn write(&self, to: &mut WriteHalf<Io>, wire: &[u8]) -> bool {
        if wire.is_empty() {
            return true;
        }
        let written = async { to.write_all(wire).await.and(to.flush().await) };
        matches!(timeout(self.idle, written).await, Ok(Ok(())))
    }
}

impl Closing {
    fn begin(&self, rejection: &Rejection) {
        self.with(rejection.close_code(), rejection.words());
    }

    /// We end, and the client may come again at once.
    fn go_away(&self) {
        self.with(GOING_AWAY, "going away, please connect again");
    }

    /// The first reason counts.
    fn with(&self, code: u16, words: &str) {
        let mut payload = BytesMut::new();
        payload.put_u16(code);
        payload.put_slice(words.as_bytes());
        self.payload.get_or_init(|| payload.freeze());
        self.begun.cancel();
    }

    async fn overdue(&self) {
        self.begun.cancelled().await;
        sleep(CLOSE_GRACE).await;
    }
}

/// To the other side of `sender`. What a client sends is masked, also by us in its place; nobody can
/// choose our words, so that a key which can be guessed does no harm (RFC 6455 §10.3).
fn close_head(sender: Sender) -> Head {
    let key = match sender {
        Sender::Client => Some([0x6b, 0xa5, 0x1e, 0xd3]),
        Sender::Server => None,
    };
    Head { last: true, opcode: Opcode::Close, key }
}
