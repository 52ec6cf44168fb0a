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
    #[error("the connection failed: {0}")]
    Connection(#[from] hyper::Error),
    #[error("a handshake that should resume a session was a full one")]
    Full,
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("a card number came through")]
    Leak,
    #[error("the load met errors: {said}")]
    Load { said: String },
    #[error("{program} is missing; install it with: apt-get install {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("a handshake that should be full resumed a session")]
    Resumed,
    #[error("{requests} answers of {size} bytes cannot be {bytes} bytes")]
    Short { requests: u32, size: usize, bytes: u64 },
    #[error("{name} does not start: {source}")]
    Start { name: &'static str, source: io::Error },
    #[error("{} took longer than {seconds} s", program.display())]
    Slow { program: PathBuf, seconds: u64 },
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Failure {
    /// An answer that is none.
    pub(crate) fn load(said: &[u8]) -> Self {
        Self::Load { said: String::from_utf8_lossy(said).into_owned() }
    }

    /// For `map_err`: what we were about to do.
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
