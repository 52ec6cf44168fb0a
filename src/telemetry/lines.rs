//! Lines on their way to a file or stream, written by a thread of its own.
//!
//! Whoever logs appends to a bounded buffer and goes on; the thread takes all that has gathered and
//! writes it at once. When the buffer is full, a line is dropped and counted: a log that nobody
//! reads must not stop a shop.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

/// What may wait to be written.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Past this, the thread is woken at once.
const URGENT_BYTES: usize = 64 * 1024;
/// How long closing waits for a stream that takes nothing.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// Counts the lines that a log had to drop.
#[derive(Clone)]
pub struct DroppedLines(pub(super) IntCounter);

/// The near end: takes lines from any thread.
pub(super) struct Lines {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something to do.
    filled: Condvar,
    /// Something to do that cannot linger.
    urgent: Condvar,
    /// The thread has ended.
    ended: Condvar,
    dropped: DroppedLines,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    lines: u64,
    replacement: Option<File>,
    closing: bool,
    ended: bool,
}

impl Lines {
    /// Starts the thread. It lingers after the first line of a batch, so that a busy log costs few
    /// wake-ups and few writes.
    pub(super) fn start(
        name: &str,
        sink: Box<dyn Write + Send>,
        linger: Duration,
        dropped: DroppedLines,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            urgent: Condvar::new(),
            ended: Condvar::new(),
            dropped,
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(sink, linger))?;
        Ok(Self { shared })
    }

    /// Appends one line, which ends in a line feed, or drops it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.shared.state.lock();
        if state.closing || state.buffer.len() + line.len() > BUFFER_BYTES_MAX {
            self.shared.dropped.add(1);
            return;
        }
        let before = state.buffer.len();
        state.buffer.extend_from_slice(line);
        state.lines += 1;
        let after = state.buffer.len();
        drop(state);
        if before == 0 {
            self.shared.filled.notify_one();
        }
        if before < URGENT_BYTES && after >= URGENT_BYTES {
            self.shared.urgent.notify_one();
        }
    }

    /// Writes to another file from now on.
    pub(super) fn replace(&self, file: File) {
        self.shared.state.lock().replacement = Some(file);
    }

    /// Writes what waits and ends the thread; gives up after a while. Later lines are dropped.
    pub(super) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closing = true;
        self.shared.filled.notify_one();
        self.shared.urgent.notify_one();
        self.shared.ended.wait_while_for(&mut state, |state| !state.ended, CLOSE_GRACE);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self, mut sink: Box<dyn Write + Send>, linger: Duration) {
        let mut batch = Vec::new();
        let mut torn = false;
        loop {
            let lines = self.take(&mut batch, &mut sink, linger);
            if batch.is_empty() {
                break;
            }
            // A failed write may have left half a line: begin the next one on its own.
            let begun = if torn { sink.write_all(b"\n") } else { Ok(()) };
            torn = begun.and_then(|()| sink.write_all(&batch)).and_then(|()| sink.flush()).is_err();
            if torn {
                self.dropped.add(lines);
            }
            batch.clear();
        }
        self.state.lock().ended = true;
        self.ended.notify_all();
    }

    /// Waits for lines and takes them all; none means that the log is closed.
    fn take(&self, batch: &mut Vec<u8>, sink: &mut Box<dyn Write + Send>, linger: Duration) -> u64 {
        let mut state = self.state.lock();
        self.filled.wait_while(&mut state, |state| state.buffer.is_empty() && !state.closing);
        if !linger.is_zero() {
            let calm = |state: &mut State| !state.closing && state.buffer.len() < URGENT_BYTES;
            self.urgent.wait_while_for(&mut state, calm, linger);
        }
        std::mem::swap(&mut state.buffer, batch);
        if let Some(file) = state.replacement.take() {
            *sink = Box::new(file);
        }
        std::mem::take(&mut state.lines)
    }
}

impl DroppedLines {
    pub(super) fn add(&self, lines: u64) {
        self.0.inc_by(lines);
    }

    /// How many so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}
