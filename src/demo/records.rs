//! What the shop keeps: sessions, orders, and a plain-text log of every body it received.
//!
//! It is careless on purpose, like the shops tillgate is for: the order holds the card number as it
//! arrived and the log holds everything. All of it is bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use serde::Serialize;

const ENTRIES_KEPT: usize = 500;
const LOG_FILE_BYTES_MAX: usize = 8 << 20;
const ORDERS_KEPT: usize = 200;
const SESSIONS_KEPT: usize = 200;

/// Everything the shop remembers.
pub(super) struct Records {
    log: Mutex<Log>,
    orders: Mutex<Orders>,
    sessions: Mutex<VecDeque<Session>>,
}

/// A bought thing.
#[derive(Clone, Serialize)]
pub(super) struct Order {
    pub(super) number: usize,
    pub(super) account: String,
    pub(super) item: String,
    pub(super) price: String,
    pub(super) name: String,
    /// As the customer's form brought it.
    pub(super) card_number: String,
    pub(super) brand: &'static str,
    /// When, in the words of the order history.
    pub(super) bought: &'static str,
    /// The gateway's id of the charge.
    pub(super) charge: String,
    /// The card number as the gateway's answer brought it.
    pub(super) charged_number: String,
}

/// A body as it arrived.
#[derive(Clone)]
pub(super) struct Entry {
    /// Method and path.
    pub(super) request: String,
    pub(super) body: String,
}

struct Log {
    entries: VecDeque<Entry>,
    file: File,
    file_bytes_left: usize,
}

#[derive(Default)]
struct Orders {
    count: usize,
    kept: VecDeque<Order>,
}

struct Session {
    id: String,
    account: String,
}

impl Records {
    /// Starts empty, with a new log file.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        let file = File::create(log)?;
        let log = Log { entries: VecDeque::new(), file, file_bytes_left: LOG_FILE_BYTES_MAX };
        Ok(Self { log: Mutex::new(log), orders: Mutex::default(), sessions: Mutex::default() })
    }

    /// Writes a received body into the log. A file that is full or broken ends the file, not the shop.
    pub(super) fn log(&self, request: String, body: &[u8]) {
        let body = String::from_utf8_lossy(body).into_owned();
        let line = format!("{request} {}\n", body.escape_debug());
        let mut log = self.log.lock();
        log.file_bytes_left = match log.file_bytes_left.checked_sub(line.len()) {
            Some(left) if log.file.write_all(line.as_bytes()).is_ok() => left,
            _ => 0,
        };
        keep(&mut log.entries, Entry { request, body }, ENTRIES_KEPT);
    }

    /// The log's entries, oldest first.
    pub(super) fn logged(&self) -> Vec<Entry> {
        self.log.lock().entries.iter().cloned().collect()
    }

    /// Takes an order, which is told its number.
    pub(super) fn place(&self, order: impl FnOnce(usize) -> Order) {
        let mut orders = self.orders.lock();
        orders.count += 1;
        let order = order(1000 + orders.count);
        keep(&mut orders.kept, order, ORDERS_KEPT);
    }

    /// An account's orders, latest first.
    pub(super) fn orders_of(&self, account: &str) -> Vec<Order> {
        let orders = self.orders.lock();
        orders.kept.iter().rev().filter(|order| order.account == account).cloned().collect()
    }

    /// Opens a session; `None` when the system has no randomness.
    pub(super) fn log_in(&self, account: &str) -> Option<String> {
        let mut secret = [0; 16];
        rand::fill(&mut secret).ok()?;
        let id: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let session = Session { id: id.clone(), account: account.to_owned() };
        keep(&mut self.sessions.lock(), session, SESSIONS_KEPT);
        Some(id)
    }

    /// Ends a session.
    pub(super) fn log_out(&self, id: &str) {
        self.sessions.lock().retain(|session| session.id != id);
    }

    /// Whose session this is.
    pub(super) fn account(&self, id: &str) -> Option<String> {
        let sessions = self.sessions.lock();
        sessions.iter().find(|session| session.id == id).map(|session| session.account.clone())
    }
}

fn keep<T>(kept: &mut VecDeque<T>, new: T, most: usize) {
    if kept.len() == most {
        kept.pop_front();
    }
    kept.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_entries_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&folder.path().join("shop.log")).unwrap();
        for n in 0..ENTRIES_KEPT + 3 {
            records.log("POST /checkout".to_owned(), n.to_string().as_bytes());
        }
        let logged = records.logged();
        assert_eq!(logged.len(), ENTRIES_KEPT);
        assert_eq!(logged.first().unwrap().body, "3");
    }

    #[test]
    fn a_line_break_in_a_body_stays_on_its_line_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.log");
        let records = Records::open(&path).unwrap();
        records.log("POST /checkout".to_owned(), b"a=1\nPOST /forged");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "POST /checkout a=1\\nPOST /forged\n");
    }
}
