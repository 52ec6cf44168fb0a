//! Watches what the configuration names, and swaps in the next generation whole or not at all.

mod lookout;
mod trail;
mod watch;

pub use watch::{POLL_INTERVAL, WatchError, Watcher};
