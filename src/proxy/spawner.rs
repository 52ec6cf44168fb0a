//! Gives HTTP/2's tasks an owner.

use tokio_util::task::TaskTracker;

/// Spawns on a tracker.
#[derive(Clone)]
pub struct Spawner(pub TaskTracker);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
