//! What the vault costs, beside a bare loop on the same kind of file.
//!
//! `cargo bench --bench vault` measures new cards, returning cards and reveals;
//! `-- --rows 1000000` also fills a vault with that many rows and asks it beside one with few;
//! `-- --rows 1000000 --keep FOLDER` does nothing else, and keeps or takes what was filled there; and
//! `-- --postgres postgres://user@host/empty` measures a vault in that database. Rounds are interleaved
//! with those of the bare loop; figures are medians.

#![expect(clippy::as_conversions, reason = "figures for people: precision does not matter")]

mod account;
mod bare;
mod rows;
mod server;

use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tillgate::card::{Pan, Token, TokenFormat, luhn};
use tillgate::keys::{FileKey, MasterKeys};
use tillgate::vault::{CodesPlace, StorePlace, Tokenized, Vault, VaultSettings};

const FORMAT: TokenFormat = TokenFormat::BrandFour;
/// Requests at once.
const IN_FLIGHT: usize = 64;
/// Cards of one round.
const CARDS: u64 = 2000;
const ROUNDS: usize = 7;
/// Tokens that are revealed in one round, each in one round only: what was revealed is remembered.
const REVEALS: usize = 640;
/// How often a round is revealed once more: the scheduler's accounts of a thread that never waits lag
/// behind by milliseconds.
const AGAIN: usize = 50;
/// Cards whose tokens are asked for again and again: more than a core remembers of one set, fewer than
/// it remembers of all.
const RETURNING: u64 = 4000;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().skip_while(move |argument| *argument != name).nth(1);
    let rows: Option<u64> = value("--rows").map(|rows| rows.parse()).transpose()?;
    let postgres = value("--postgres");
    let (filled, kept) = (value("--fill").map(Path::new), value("--keep").map(Path::new));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(url) = postgres {
            return server::new_cards(url, tempfile::tempdir_in(".")?.path()).await;
        }
        if let (Some(folder), Some(rows)) = (filled, rows) {
            return bare::Loop::open_existing(folder).await?.fill(rows).await;
        }
        if let (Some(folder), Some(rows)) = (kept, rows) {
            return rows::few_and_many(folder, rows).await;
        }
        new_cards().await?;
        let folder = tempfile::tempdir_in(".")?;
        let vault = open(folder.path()).await?;
        let tokens = fill(&vault).await?;
        returning(&vault).await?;
        vault.close().await;
        let vault = open(folder.path()).await?;
        reveals(&vault, folder.path(), &tokens).await?;
        vault.close().await;
        drop(vault);
        match rows {
            Some(rows) => rows::few_and_many(tempfile::tempdir_in(".")?.path(), rows).await,
            None => Ok(()),
        }
    })
}

fn say(what: &str, figure: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{what:<58}{figure:>30}");
}

async fn open(folder: &Path) -> Result<Vault, Error> {
    let current = Box::new(FileKey { path: folder.join("master.key") });
    let masters = Arc::new(MasterKeys { current, previous: None });
    let settings = VaultSettings {
        store: StorePlace::Sqlite(folder.join("vault.db")),
        cvv_store: CodesPlace::Memory,
        cvv_ttl: Duration::from_secs(900),
    };
    Ok(Vault::open(settings, masters).await?)
}

/// Cards of the range that brands publish test numbers in.
fn card(number: u64) -> Pan {
    let mut digits = format!("411111{number:09}").into_bytes();
    digits.push(luhn::check_digit(&digits));
    Pan::from_digits(&digits).expect("sixteen digits")
}

/// New cards, 64 requests in flight and then one, beside commits of groups as large.
async fn new_cards() -> Result<(), Error> {
    let (ours, theirs) = (tempfile::tempdir_in(".")?, tempfile::tempdir_in(".")?);
    let vault = open(ours.path()).await?;
    let mut bare = bare::Loop::open(theirs.path()).await?;
    let (mut vaults, mut bares, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut waits, mut togethers) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as u64 {
        let groups = bare::groups(ours.path())?;
        let begun = Instant::now();
        waits.extend(tokenize(&vault, round * CARDS, CARDS, IN_FLIGHT).await?);
        vaults.push(begun.elapsed());
        let groups = bare::groups(ours.path())? - groups;
        let size = CARDS.div_ceil(groups.max(1));
        sizes.push(size);
        bares.push(bare.insert(CARDS, size).await?);
        togethers.push(bare.insert_together(CARDS, size).await?);
    }
    say_rates("", (&mut vaults, &mut bares), &mut sizes, &mut waits);
    let share = median(&mut togethers).as_secs_f64() / median(&mut vaults).as_secs_f64();
    say("  share of a bare loop, each group one statement", &format!("{:.0} %", 100.0 * share));
    let (mut alone, mut commits) = (Vec::new(), Vec::new());
    for round in 0..300 {
        alone.extend(tokenize(&vault, 1_000_000 + round, 1, 1).await?);
        commits.push(bare.insert(1, 1).await?);
    }
    say("one new card alone: median, p99", &spread(&mut alone));
    say("  one bare commit: median, p99", &spread(&mut commits));
    vault.close().await;
    Ok(())
}

/// What many at once reach, beside the loop with groups as large.
fn say_rates(
    place: &str,
    (vaults, bares): (&mut [Duration], &mut [Duration]),
    sizes: &mut [u64],
    waits: &mut [Duration],
) {
    let rate = |times: &mut [Duration]| CARDS as f64 / median(times).as_secs_f64();
    let (vault_rate, bare_rate) = (rate(vaults), rate(bares));
    sizes.sort_unstable();
    say(&format!("{place}new cards per second, 64 in flight"), &format!("{vault_rate:.0}"));
    say(&format!("  bare loop, groups of {}", sizes[sizes.len() / 2]), &format!("{bare_rate:.0}"));
    say("  share of the bare loop", &format!("{:.0} %", 100.0 * vault_rate / bare_rate));
    say("  wait of one card: median, p99", &spread(waits));
}

/// Tokenizes cards from `first` on; gives how long each took.
async fn tokenize(
    vault: &Vault,
    first: u64,
    count: u64,
    in_flight: usize,
) -> Result<Vec<Duration>, Error> {
    let next = Cell::new(first);
    let lane = || async {
        let mut waits = Vec::new();
        while next.get() < first + count {
            let number = next.replace(next.get() + 1);
            let begun = Instant::now();
            let made = vault.tokenize(vec![card(number)], FORMAT).await?;
            waits.push(begun.elapsed());
            assert!(matches!(made.as_slice(), [Tokenized::Created(_)]), "card {number} is known");
        }
        Ok::<_, Error>(waits)
    };
    let lanes: Result<Vec<_>, _> =
        join_all((0..in_flight).map(|_| lane())).await.into_iter().collect();
    Ok(lanes?.concat())
}

/// The tokens of ten thousand cards, made if they are not there.
async fn fill(vault: &Vault) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    for first in (0..10_000).step_by(500) {
        let made = vault.tokenize((first..first + 500).map(card).collect(), FORMAT).await?;
        tokens.extend(made.into_iter().filter_map(|made| match made {
            Tokenized::Created(token) | Tokenized::Known(token) => Some(token),
            Tokenized::AlreadyToken | Tokenized::Collided => None,
        }));
    }
    Ok(tokens)
}

async fn returning(vault: &Vault) -> Result<(), Error> {
    for number in 0..RETURNING {
        let _warmed = vault.tokenize(vec![card(number)], FORMAT).await?;
    }
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let before = account::cpu()?;
        for number in 0..RETURNING {
            let known = vault.tokenize(vec![card(number)], FORMAT).await?;
            assert!(matches!(known.as_slice(), [Tokenized::Known(_)]), "card {number} is new");
        }
        costs.push((account::cpu()? - before) / RETURNING as u32);
    }
    say("a returning card, CPU", &micros(median(&mut costs)));
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let before = account::cpu()?;
        for number in 0..RETURNING {
            let _unknown = vault.standing(vec![card(50_000_000 + number)]).await?;
        }
        costs.push((account::cpu()? - before) / RETURNING as u32);
    }
    say("a number that is no token, CPU", &micros(median(&mut costs)));
    Ok(())
}

/// Reveals one after the other and many at once, beside the store's own reads, of a vault that was just
/// opened; and the same once more, which it remembers.
async fn reveals(vault: &Vault, folder: &Path, tokens: &[Token]) -> Result<(), Error> {
    let mut bare = bare::Loop::open_existing(folder).await?;
    let prints = bare.prints(2000).await?;
    let mut rounds = tokens.chunks_exact(REVEALS);
    for (what, together) in [("one token", 1), ("64 tokens at once", IN_FLIGHT)] {
        let (mut ours, mut reads, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        let (mut again, mut short) = (Vec::new(), Vec::new());
        for asked in rounds.by_ref().take(ROUNDS) {
            ours.push(reveal(vault, asked, together, (1, &mut waits)).await?);
            again.push(reveal(vault, asked, together, (AGAIN, &mut short)).await?);
            let before = account::cpu()?;
            let mut read = 0;
            for group in prints.chunks(together) {
                read += bare.find(group).await?;
            }
            reads.push((account::cpu()? - before) / read as u32);
        }
        let (ours, reads) = (median(&mut ours), median(&mut reads));
        say(&format!("a reveal, {what}, CPU each"), &micros(ours));
        say("  the store's own read", &micros(reads));
        say("  the vault's share", &micros(ours.saturating_sub(reads)));
        say("  wait of one call: median, p99", &spread(&mut waits));
        say("  the same again, CPU each", &micros(median(&mut again)));
        say("  wait of one call: median, p99", &spread(&mut short));
    }
    Ok(())
}

/// Gives the CPU time of each.
async fn reveal(
    vault: &Vault,
    tokens: &[Token],
    together: usize,
    (times, waits): (usize, &mut Vec<Duration>),
) -> Result<Duration, Error> {
    let before = account::cpu()?;
    for _ in 0..times {
        for group in tokens.chunks(together) {
            let begun = Instant::now();
            let cards = vault.reveal(group.to_vec()).await?;
            waits.push(begun.elapsed());
            assert!(cards.iter().all(Option::is_some), "a token reveals nothing");
        }
    }
    Ok((account::cpu()? - before) / (times * tokens.len()) as u32)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn spread(times: &mut [Duration]) -> String {
    let middle = median(times);
    let late = times[times.len() * 99 / 100];
    format!("{}, {}", micros(middle), micros(late))
}

fn micros(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}
