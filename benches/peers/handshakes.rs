//! What it costs to be called: connections that shake hands, take a ticket and leave.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::account::{Reading, Spent};
use crate::client::{Connection, config};
use crate::entrant::Entrant;
use crate::failure::Failure;
use crate::folder::Folder;

/// Clients at once; beside the figure stands how busy they kept the server.
const CLIENTS: u32 = 4;

/// How many there were, and what they cost the server.
pub(crate) fn measure(
    entrant: &Entrant,
    folder: &Folder,
    resuming: bool,
    duration: Duration,
) -> Result<(u32, Spent), Failure> {
    let certificate = folder.certificate(entrant.key);
    let mut clients = Vec::new();
    for nth in 0..CLIENTS {
        let config = config(certificate, b"http/1.1", resuming)?;
        Connection::open(&config, entrant.address, nth * 100)?.take_ticket()?;
        clients.push(config);
    }
    let before = Reading::of(entrant.process())?;
    let deadline = Instant::now() + duration;
    let call = |client: u32, config: &Arc<ClientConfig>| -> Result<u32, Failure> {
        let mut calls = 0;
        while Instant::now() < deadline {
            // A hundred ports of each address, then the next.
            let nth = (calls * CLIENTS + client) % 1_000_000;
            let connection = Connection::open(config, entrant.address, nth)?;
            match (connection.resumed(), resuming) {
                (false, true) => return Err(Failure::Full),
                (true, false) => return Err(Failure::Resumed),
                (true, true) | (false, false) => connection.take_ticket()?,
            }
            calls += 1;
        }
        Ok(calls)
    };
    let call = &call;
    let calls = thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .zip(&clients)
            .map(|(client, config)| scope.spawn(move || call(client, config)))
            .collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).sum::<Result<u32, _>>()
    })?;
    Ok((calls, Reading::of(entrant.process())?.since(&before)))
}
