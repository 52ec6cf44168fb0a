//! Processes that end as in a power cut, at random moments under load (issue item 4, promise P2).
//!
//! `TILLGATE_KILLS` says how often; 200 is what a release is held to.

use std::time::{Duration, Instant};

use crate::harness::traces::Traces;
use crate::harness::{Dice, Postgres, Purchases, Sidecar};

/// How often, where nobody says: enough to notice, in a few seconds.
const KILLS: usize = 8;

/// The longest time between the moment a process is doing something and its end.
const LINGER: Duration = Duration::from_millis(20);

/// The same for one that is starting, which takes longer.
const LINGER_STARTING: Duration = Duration::from_millis(400);

#[test]
fn p2_kill_9_at_random_moments_loses_and_doubles_no_token() {
    let mut purchases = Purchases::new();
    let mut sidecars = [purchases.setup("").start()];
    let traces = kill_and_restart(&mut purchases, &mut sidecars, None);
    let bytes = traces.assert_none_under(&sidecars[0].data());
    eprintln!("no code and no card in {bytes} bytes of the data folder");
}

#[test]
fn p2_kill_9_of_instances_and_their_server_loses_and_doubles_no_token() {
    let Some(mut server) = Postgres::start(&["log_statement=all"]) else { return };
    server.database("vault");
    let keys = tempfile::tempdir().unwrap();
    let tables = format!(
        "[vault]\nstore = \"{}\"\nmaster_key = {{ file = \"{}/master.key\" }}",
        server.url("vault"),
        keys.path().display()
    );
    let mut purchases = Purchases::new();
    let mut sidecars = [(); 2].map(|()| purchases.setup(&tables).start());
    let traces = kill_and_restart(&mut purchases, &mut sidecars, Some(&mut server));
    // What the server still holds in its memory is to be on the disk too.
    server.sql("vault", "CHECKPOINT");
    let bytes = traces.assert_none_under(&server.data());
    eprintln!("no code and no card in {bytes} bytes of PostgreSQL's files");
    traces.assert_none_in("the server's log", server.log().as_bytes());
    let rows = server.sql("vault", "SELECT t::text FROM tokens AS t");
    traces.assert_none_in("the rows", rows.as_bytes());
    sidecars.iter().for_each(|sidecar| _ = traces.assert_none_under(&sidecar.data()));
}

/// Kills one of the instances under load, as often as asked for, and sometimes the server with it or
/// the instance again while it starts; looks after each restart at what has become of the tokens.
fn kill_and_restart(
    purchases: &mut Purchases,
    sidecars: &mut [Sidecar],
    mut server: Option<&mut Postgres>,
) -> Traces {
    let kills = std::env::var("TILLGATE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (mut dice, begun) = (Dice::new(), Instant::now());
    let (mut starts_killed, mut servers_killed) = (0, 0);
    for round in 0..kills {
        let victim = dice.below(sidecars.len());
        let server = server.as_deref_mut().filter(|_| round % 4 == 3);
        let addresses: Vec<_> = sidecars.iter().map(|sidecar| sidecar.address("http")).collect();
        purchases.during(&addresses, || {
            purchases.shop.wait(purchases.shop.count() + dice.below(100) + 1);
            dice.linger(LINGER);
            if let Some(server) = server {
                server.kill9();
                sidecars[victim].kill9();
                server.start_again();
                servers_killed += 1;
            } else {
                sidecars[victim].kill9();
            }
        });
        if round % 3 == 2 {
            sidecars[victim].kill9_while_starting(|| dice.linger(LINGER_STARTING));
            starts_killed += 1;
        }
        sidecars[victim].restart();
        purchases.assert_kept(&sidecars[victim]);
    }
    let cards = purchases.assert_all_kept(&sidecars[0]);
    let traces = Traces::of(&purchases.cards());
    for sidecar in &*sidecars {
        traces.assert_none_in("what the process wrote", sidecar.written().as_bytes());
        traces.assert_none_in("the metrics page", sidecar.metrics().as_bytes());
    }
    let ((accepted, refused), received) = (purchases.outcomes(), purchases.shop.count());
    eprintln!(
        "{kills} kills, {starts_killed} more while starting, {servers_killed} with the server, \
         in {:.0?}: {received} tokens received for {cards} cards ({accepted} purchases answered, \
         {refused} refused), 0 lost, 0 doubled",
        begun.elapsed()
    );
    assert!(received >= kills);
    traces
}
