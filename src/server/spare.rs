//! Files held in reserve: when the process may open no more, one is given up so that a connection can
//! be accepted all the same, to be answered or to be hung up on.

use std::fs::File;

/// Files that are open for no other reason.
pub(super) struct Spare {
    held: Vec<File>,
    count: usize,
}

impl Spare {
    pub(super) fn new(count: usize) -> Self {
        let mut spare = Self { held: Vec::new(), count };
        spare.refill();
        spare
    }

    /// Makes room for what comes next.
    pub(super) fn lend(&mut self) {
        self.held.clear();
    }

    /// Takes back what it can get.
    pub(super) fn refill(&mut self) {
        while self.held.len() < self.count {
            let Ok(file) = File::open("/dev/null") else { return };
            self.held.push(file);
        }
    }
}
