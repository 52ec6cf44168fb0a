//! The shop that every entrant stands before.

use std::net::SocketAddr;

use crate::case::{Case, Protocol};
use crate::entrant;
use crate::failure::Failure;
use crate::folder::{Folder, Key};
use crate::load::Load;
use crate::program::Programs;
use crate::server::Server;

/// Its server, which ends with it, and what it answers.
pub(crate) struct Origin {
    address: SocketAddr,
    answers: Vec<(&'static str, Vec<u8>)>,
    _server: Server,
}

impl Origin {
    /// Asked once for everything, before anybody stands before it.
    pub(crate) fn start(
        (programs, folder): (&Programs, &Folder),
        load: &Load<'_>,
        cases: &'static [Case],
    ) -> Result<Self, Failure> {
        let (address, server) = entrant::origin(programs, folder)?;
        let mut answers = Vec::new();
        for case in cases {
            let url = format!("http://{address}{}", case.path);
            let answer = load.answer(&url, (Protocol::Http1, case.post.as_ref()), Key::Ecdsa)?;
            answers.push((case.path, answer));
        }
        Ok(Self { address, answers, _server: server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn answer(&self, path: &str) -> Result<&[u8], Failure> {
        let answer = self.answers.iter().find(|(known, _)| *known == path);
        answer.map(|(_, answer)| answer.as_slice()).ok_or(Failure::Answer)
    }
}
