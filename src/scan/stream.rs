//! A body as it arrives, in any pieces.

use std::sync::Arc;

use bytes::Bytes;

use super::{Carrier, Find, Rules};

/// Bytes whose every card number is known. Concatenated, the runs are the body.
pub struct Decided {
    /// The bytes; the very buffer that was put in where nothing is found in it.
    pub bytes: Bytes,
    /// What was found in them, in order, never overlapping.
    pub finds: Vec<Find>,
}

/// One body being scanned.
pub struct Stream {
    rules: Arc<Rules>,
    carrier: Carrier,
}

impl Stream {
    /// Begins a body of the declared carrier; one that turns out to be another is read as that.
    #[must_use]
    pub fn new(rules: Arc<Rules>, carrier: Carrier) -> Self {
        Self { rules, carrier }
    }

    /// Takes the next piece and appends what is now decided.
    pub fn push(&mut self, chunk: Bytes, decided: &mut Vec<Decided>) {
        let _ = (&self.rules, self.carrier);
        decided.push(Decided { bytes: chunk, finds: Vec::new() });
    }

    /// Ends the body and appends what was held back.
    pub fn finish(&mut self, decided: &mut Vec<Decided>) {
        let _ = decided;
    }
}
