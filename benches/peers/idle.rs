//! What a customer who has asked once and says nothing more holds.

use std::thread::sleep;
use std::time::Duration;

use crate::account::resident_kib;
use crate::client::{Connection, config};
use crate::entrant::Entrant;
use crate::failure::Failure;
use crate::folder::Folder;

const PAGE: &str = "/1k.html";

/// After the last answer: what is given back late is given back.
const REST: Duration = Duration::from_secs(2);

/// KiB per connection at each of the counts, which rise. The entrant must be a fresh one, or it has
/// memory left from what it served before.
pub(crate) fn measure(
    entrant: &Entrant,
    folder: &Folder,
    counts: &[u32],
) -> Result<Vec<f64>, Failure> {
    let config = config(folder.certificate(entrant.key), b"http/1.1", false)?;
    let mut open = Vec::new();
    let ask_another = |nth| -> Result<Connection, Failure> {
        let mut connection = Connection::open(&config, entrant.address, nth)?;
        connection.get(PAGE)?;
        Ok(connection)
    };
    // The first makes what all share.
    let mut first = ask_another(0)?;
    sleep(REST);
    let before = resident_kib(entrant.process())?;
    let mut figures = Vec::new();
    for count in counts {
        let opened = u32::try_from(open.len()).unwrap_or(u32::MAX);
        for nth in opened..*count {
            open.push(ask_another(nth + 1)?);
        }
        sleep(REST);
        figures.push((resident_kib(entrant.process())? - before) / f64::from(*count));
    }
    // One that was hung up on would hold nothing.
    for connection in open.iter_mut().chain([&mut first]) {
        connection.get(PAGE)?;
    }
    Ok(figures)
}
