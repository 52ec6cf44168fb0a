//! What is told while it goes on, and in the last line. All of it on standard error.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Verdict;

const BAR: &str = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left{msg}";
const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// The tallies of all threads, and the bar where there is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    files: AtomicU64,
    skipped: AtomicU64,
    bytes: AtomicU64,
    findings: AtomicU64,
    failures: AtomicU64,
}

impl Progress {
    /// Begins. `measure` tells how many bytes there are to read; only a bar needs to know.
    pub(super) fn new(measure: impl FnOnce() -> u64) -> Self {
        Self {
            bar: if io::stderr().is_terminal() { bar(measure()) } else { ProgressBar::hidden() },
            began: Instant::now(),
            files: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            findings: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn file_read(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn file_skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn found(&self) {
        let count = self.findings.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.bar.is_hidden() {
            self.bar.set_message(format!(", {count} found"));
        }
    }

    /// Counts something that could not be read or copied and says why.
    pub(super) fn failed(&self, why: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.say(&format!("tillgate: {why}\n"));
    }

    /// Does something to the terminal without the bar in the way.
    pub(super) fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bar.suspend(act)
    }

    /// Counts the bytes that are read from a file.
    pub(super) fn counting<R: Read>(&self, reader: R) -> Counting<'_, R> {
        Counting { reader, progress: self }
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn verdict(&self) -> Verdict {
        match (self.findings.load(Ordering::Relaxed), self.failures()) {
            (0, 0) => Verdict::Clean,
            (0, _) => Verdict::Incomplete,
            (_, _) => Verdict::Found,
        }
    }

    /// Says what it came to.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        let read = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        let mut line = format!(
            "{}, {}, {}, {:.2} s",
            counted(read(&self.files), "file", ""),
            HumanBytes(read(&self.bytes)),
            counted(read(&self.findings), "finding", ""),
            self.began.elapsed().as_secs_f64(),
        );
        if read(&self.skipped) > 0 {
            line.push_str(&format!(
                ", {}",
                counted(read(&self.skipped), "binary file", " skipped")
            ));
        }
        if self.failures() > 0 {
            line.push_str(&format!(", {} failed", self.failures()));
        }
        line.push('\n');
        self.say(&line);
    }

    fn say(&self, text: &str) {
        let _nobody_listens = self.aside(|| io::stderr().write_all(text.as_bytes()));
    }
}

fn counted(count: u64, what: &str, rest: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}{rest}")
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    bar.enable_steady_tick(REDRAWN_EVERY);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A file whose bytes are counted as they are read.
pub(super) struct Counting<'a, R> {
    reader: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(room)?;
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.bar.inc(bytes);
        Ok(count)
    }
}
