//! The operational log: JSON lines, on standard error or in a file.
//!
//! Other crates are heard from `warn` upwards only, whatever the level: what they say at `debug` may
//! quote what is on the wire. A panic is told by its place and never by a formatted message, which
//! may quote a request. Nothing here panics when standard error is closed.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use super::lines::{DroppedLines, Lines};

/// Why the log did not start.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The level is none of those there are.
    #[error("'{level}' is no level: use error, warn, info, debug, trace or off")]
    Level {
        /// As given.
        level: String,
    },
    /// A log was started before.
    #[error("logging was started before")]
    Started,
    /// The writer's thread did not start.
    #[error("cannot start the log's thread")]
    Thread(#[source] io::Error),
}

/// Keeps the log going; dropping it writes what waits.
#[must_use]
pub struct LoggingGuard {
    lines: Arc<Lines>,
}

/// Starts logging to `sink` for the whole process.
///
/// # Errors
/// When the level is unknown, or a log was started before.
pub fn start(
    level: &str,
    sink: Box<dyn Write + Send>,
    dropped: DroppedLines,
) -> Result<LoggingGuard, LoggingError> {
    let filter = filter(level)?;
    let lines = Lines::start("log", sink, Duration::ZERO, dropped);
    let lines = Arc::new(lines.map_err(LoggingError::Thread)?);
    let subscriber = subscriber(filter, LineWriter(Arc::clone(&lines)));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Started)?;
    panic::set_hook(Box::new(report));
    Ok(LoggingGuard { lines })
}

impl Drop for LoggingGuard {
    fn drop(&mut self) {
        self.lines.close();
    }
}

fn filter(level: &str) -> Result<Targets, LoggingError> {
    let named = ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
    let own = level.parse::<LevelFilter>().ok().filter(|_| named);
    let own = own.ok_or_else(|| LoggingError::Level { level: level.to_owned() })?;
    Ok(Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target(env!("CARGO_PKG_NAME"), own))
}

fn subscriber<W>(filter: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        // Its complaint would go to standard error by `eprintln`, which panics when that is closed.
        .log_internal_errors(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(layer)
}

fn report(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    // A literal message only: a formatted one may quote what was being worked on.
    let problem = info.payload().downcast_ref::<&'static str>().copied();
    error!(place, problem, "panicked");
}

#[derive(Clone)]
struct LineWriter(Arc<Lines>);

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LineWriter {
    /// Takes a whole line: the layer formats one and writes it in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Write for Captured {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(level: &str, event: impl FnOnce()) -> String {
        let output = Captured::default();
        let subscriber = subscriber(filter(level).unwrap(), output.clone());
        tracing::subscriber::with_default(subscriber, event);
        String::from_utf8(output.0.lock().clone()).unwrap()
    }

    #[test]
    fn a_line_is_flat_json_with_a_utc_time() {
        let text = captured("info", || tracing::info!(generation = 7, "reloaded"));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["message"], "reloaded");
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["generation"], 7);
        assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(value.get("target").is_none());
    }

    #[test]
    fn other_crates_are_not_heard_below_warn() {
        let text = captured("trace", || {
            tracing::debug!(target: "h2::codec", "a header");
            tracing::warn!(target: "h2::codec", "trouble");
            tracing::trace!("our own");
        });
        assert!(!text.contains("a header"));
        assert!(text.contains("trouble") && text.contains("our own"));
    }

    #[test]
    fn an_unknown_level_is_refused() {
        for level in ["", "loud", "3", "tillgate=debug"] {
            assert!(matches!(filter(level), Err(LoggingError::Level { .. })), "{level}");
        }
    }
}
