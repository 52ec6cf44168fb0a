//! The same again and again, over a few connections, and what it costs the server.

use std::thread;

use crate::account::Reading;
use crate::client::{Connection, config};
use crate::entrant::Entrant;
use crate::entrant::Scene;
use crate::failure::Failure;

/// Who asks at once.
const CLIENTS: usize = 8;
/// How often a figure is taken; the median counts.
const ROUNDS: u32 = 5;

/// What is asked, and which status it must have.
pub(super) struct Question<'a> {
    pub(super) request: &'a (dyn Fn(u32) -> String + Sync),
    pub(super) status: &'static str,
}

/// CPU microseconds of one of so many, the median of some rounds.
pub(super) fn cost(
    scene: &Scene<'_>,
    entrant: &Entrant,
    question: &Question<'_>,
    count: u32,
) -> Result<f64, Failure> {
    let mut figures = Vec::new();
    for round in 0..ROUNDS {
        let from = round * count;
        let before = Reading::of(entrant.process())?;
        ask(scene, entrant, question, from..from + count)?;
        figures.push(Reading::of(entrant.process())?.since(&before).micros(count));
    }
    figures.sort_by(f64::total_cmp);
    Ok(figures[figures.len() / 2])
}

/// Asks every question of the range once.
pub(super) fn ask(
    scene: &Scene<'_>,
    entrant: &Entrant,
    question: &Question<'_>,
    range: std::ops::Range<u32>,
) -> Result<(), Failure> {
    let config = config(scene.folder.certificate(entrant.key), b"http/1.1", false)?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Connection::open(&config, entrant.address, 0)?);
    }
    let work = |client: usize, mut connection: Connection| -> Result<(), Failure> {
        for nth in range.clone().skip(client).step_by(CLIENTS) {
            connection.ask(&(question.request)(nth), question.status)?;
        }
        Ok(())
    };
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .zip(clients)
            .map(|(client, connection)| scope.spawn(move || work(client, connection)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}
