//! Publishes and loads generations.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// The current generation of something; readers never wait for a writer.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// Starts with a first generation.
    #[must_use]
    pub fn new(first: T) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// Replaces the generation; whoever loaded the old one keeps it.
    pub fn publish(&self, next: T) {
        self.0.store(Arc::new(next));
    }

    /// The current generation, to be kept for as long as needed.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// The current generation, for one short look.
    #[must_use]
    pub fn peek(&self) -> Guard<Arc<T>> {
        self.0.load()
    }
}
