//! Questions to whoever sits at the terminal, on standard error.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::UsageError;
use crate::card::Pan;

/// Digits, separators and the end of the line.
const LINE_MAX: usize = 64;

/// What was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Answer {
    No,
    Yes,
}

/// Has the last four digits typed: a hurried Enter says no.
pub(super) fn last_four(what: &str, last_four: &str) -> Result<Answer, io::Error> {
    let question = format!("{what} the card that ends in {last_four}? Type its last four digits: ");
    io::stderr().write_all(question.as_bytes())?;
    let answer = line()?;
    Ok(if answer.trim_ascii() == last_four.as_bytes() { Answer::Yes } else { Answer::No })
}

/// Fails where nobody can be asked.
pub(super) fn demand_terminal() -> Result<(), UsageError> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(());
    }
    Err(UsageError::NoTerminal)
}

/// Reads a card number from standard input; from a terminal, without showing it.
pub(super) fn card() -> Result<Option<Pan>, io::Error> {
    let _hidden = if io::stdin().is_terminal() {
        let hidden = Hidden::begin()?;
        io::stderr().write_all(b"Card number (not shown): ")?;
        Some(hidden)
    } else {
        None
    };
    let text = line()?;
    let mut digits = Zeroizing::new(Vec::with_capacity(LINE_MAX));
    digits.extend(text.trim_ascii().iter().filter(|byte| !matches!(byte, b' ' | b'-')));
    Ok(Pan::from_digits(&digits))
}

/// Whether standard output is a file, which would keep what is written.
pub(super) fn stdout_is_file() -> Result<bool, io::Error> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(stdout.metadata()?.is_file())
}

fn line() -> Result<Zeroizing<Vec<u8>>, io::Error> {
    let mut text = Zeroizing::new(Vec::with_capacity(LINE_MAX));
    let most = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    io::stdin().lock().take(most).read_until(b'\n', &mut text)?;
    Ok(text)
}

/// A terminal that does not show what is typed, until it is dropped.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> Result<Self, io::Error> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        // Without signals from keys: one would end us and leave the terminal mute.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
