//! Lookups among very many rows beside the same among few, turn by turn, so that both meet the same
//! machine.

use std::fs::{self, File};
use std::io::{copy, sink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tillgate::card::Token;
use tillgate::vault::Vault;

use crate::bare::Loop;
use crate::{Error, account, card, fill, median, micros, open, reveals, say};

/// Rows of the small vault, which the large one has too.
const FEW: u64 = 10_000;
/// Turns of each.
const TURNS: usize = 21;
/// Lookups of a turn.
const LOOKUPS: i64 = 1000;

/// A folder with a vault, as its store is read.
struct Side {
    reader: Loop,
    /// Chooses what to look for, so that the reader has not seen it.
    chooser: Loop,
    walls: Vec<Duration>,
    costs: Vec<Duration>,
}

/// Measures two vaults under `folder`, which are made where there are none.
pub(crate) async fn few_and_many(folder: &Path, rows: u64) -> Result<(), Error> {
    let (few, many) = (folder.join("few"), folder.join("many"));
    let tokens = prepare([&few, &many], rows).await?;
    let memory = account::resident_kib()?;
    let begun = Instant::now();
    let vault = open(&many).await?;
    say(&format!("start with {rows} rows"), &format!("{:.0?}", begun.elapsed()));
    // Until then the vault reads too.
    let followed = followed(&vault, begun).await?;
    say("until the filter answers", &format!("{followed:.0?}"));
    let mut sides = [Side::open(&few).await?, Side::open(&many).await?];
    let before = account::from_disk()?;
    for _ in 0..TURNS {
        for side in &mut sides {
            side.turn().await?;
        }
    }
    let read = account::from_disk()? - before;
    let [few, large] = sides.map(Side::medians);
    let times =
        |of: Duration, few: Duration| format!("{:.2} x", of.as_secs_f64() / few.as_secs_f64());
    say(&format!("a lookup among {FEW} rows, wall"), &micros(few.0));
    say("  CPU", &micros(few.1));
    say(&format!("a lookup among {rows} rows, wall"), &micros(large.0));
    say("  beside few rows", &times(large.0, few.0));
    say("  CPU", &micros(large.1));
    say("  beside few rows", &times(large.1, few.1));
    // What the system had taken out of memory meanwhile costs more than the lookup.
    let per_lookup = read / (TURNS as u64 * LOOKUPS.unsigned_abs());
    say("  read from the disk", &format!("{per_lookup} bytes"));
    reveals(&vault, &many, &tokens).await?;
    let memory = account::resident_kib()?.saturating_sub(memory);
    say("memory that the vault takes", &format!("{} MiB", memory >> 10));
    vault.close().await;
    Ok(())
}

/// Gives the tokens that both vaults have issued.
async fn prepare([few, many]: [&PathBuf; 2], rows: u64) -> Result<Vec<Token>, Error> {
    fs::create_dir_all(few)?;
    let vault = open(few).await?;
    let tokens = fill(&vault).await?;
    vault.close().await;
    if !many.join("vault.db").exists() {
        fs::create_dir_all(many)?;
        for file in ["vault.db", "master.key"] {
            fs::copy(few.join(file), many.join(file))?;
        }
        fill_apart(many, rows.saturating_sub(FEW))?;
    }
    let found = Loop::open_existing(many).await?.rows().await?;
    assert_eq!(found, rows, "{} was filled for another number of rows", many.display());
    // So that the system has in memory what it has room for.
    copy(&mut File::open(many.join("vault.db"))?, &mut sink())?;
    Ok(tokens)
}

/// Fills in a process of its own, whose memory is not counted here.
fn fill_apart(folder: &Path, rows: u64) -> Result<(), Error> {
    let mut fill = Command::new(std::env::current_exe()?);
    let filled = fill.arg("--fill").arg(folder).arg("--rows").arg(rows.to_string()).status()?;
    assert!(filled.success(), "the vault is not filled");
    Ok(())
}

/// Waits until numbers that are no tokens are told without the store.
async fn followed(vault: &Vault, begun: Instant) -> Result<Duration, Error> {
    loop {
        let asked = Instant::now();
        let _unknown = vault.standing((0..20).map(|n| card(60_000_000 + n)).collect()).await?;
        // A turn of the store's thread takes longer than twenty fingerprints.
        if asked.elapsed() < Duration::from_micros(60) {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Side {
    async fn open(folder: &Path) -> Result<Self, Error> {
        let reader = Loop::open_existing(folder).await?;
        let chooser = Loop::open_existing(folder).await?;
        Ok(Self { reader, chooser, walls: Vec::new(), costs: Vec::new() })
    }

    /// Wall and CPU time of lookups anywhere in the table.
    async fn turn(&mut self) -> Result<(), Error> {
        let prints = self.chooser.prints(LOOKUPS).await?;
        let (begun, before) = (Instant::now(), account::cpu()?);
        for print in prints.chunks(1) {
            assert_eq!(self.reader.find(print).await?, 1, "a row is missing");
        }
        self.walls.push(begun.elapsed() / prints.len() as u32);
        self.costs.push((account::cpu()? - before) / prints.len() as u32);
        Ok(())
    }

    fn medians(mut self) -> (Duration, Duration) {
        (median(&mut self.walls), median(&mut self.costs))
    }
}
