//! Why a cell, or the whole run, has no figure.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What kept us from measuring.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("the answer differs from the origin's")]
    Answer,
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("the load met errors: {said}")]
    Load { said: String },
    #[error("{program} is missing; install it with: apt-get install {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("{name} does not start: {source}")]
    Start { name: &'static str, source: io::Error },
    #[error("{} took longer than {seconds} s", program.display())]
    Slow { program: PathBuf, seconds: u64 },
}

impl Failure {
    /// For `map_err`: what we were about to do.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
