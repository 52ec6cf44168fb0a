//! How connections are told that their time is over.
//!
//! In two steps, because most must not notice. First nothing new is accepted and each connection
//! ends where its client expects it to: with an answer that says so (HTTP/1.1), or with a GOAWAY that
//! names the last request taken (HTTP/2). Then those that wait for nothing are closed, and WebSockets
//! are told to come back (1001).

use tokio_util::sync::CancellationToken;

/// The two steps for a set of connections.
#[derive(Clone, Default)]
pub struct Leave {
    /// Nothing new; what is under way is the last.
    pub closing: CancellationToken,
    /// Nobody is waited for who asks for nothing.
    pub hurry: CancellationToken,
}

impl Leave {
    /// The steps of a part: it leaves with the whole, or by itself.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { closing: self.closing.child_token(), hurry: self.hurry.child_token() }
    }

    /// Both steps at once.
    pub fn now(&self) {
        self.closing.cancel();
        self.hurry.cancel();
    }
}
