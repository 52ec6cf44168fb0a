//! A bar on standard error for long work on rows, where there is a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const BAR: &str = "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left";
const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// A bar of so many rows as are known of later.
pub(super) fn rows(what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.enable_steady_tick(REDRAWN_EVERY);
    let bar = bar.with_message(what);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
