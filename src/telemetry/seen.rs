//! Which fields card numbers and verification codes were seen in: a bounded table for
//! `tillgate cards seen`.
//!
//! Field names are text from the wire, so they are no metric labels; here they are counted, without
//! a digit of them, up to a stated number of rows. The table lives in memory and is written to the
//! data folder now and then, and at the end, by a thread that serves no customer: a crash costs
//! what was counted since.

mod field;
mod file;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::cards::{CardAction, CardDatum, CardPlace, Direction};
use super::timestamp::Rfc3339;
use crate::scan::Carrier;

pub(super) use field::without_digits;

/// How many rows there may be; what does not fit is counted in one sum.
const ROWS_MAX: usize = 10_000;
/// How many audit records of unexpected cards there may be in a minute: someone who writes card
/// numbers into every URL must not fill the disk. The metric counts them all.
const TOLD_PER_MINUTE_MAX: u32 = 60;

/// One card number or verification code that was found, and what was done with it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Whose site.
    pub site: &'a str,
    /// Which route.
    pub route: &'a str,
    /// Which way it was going.
    pub direction: Direction,
    /// In which part of a message.
    pub place: CardPlace,
    /// What it is.
    pub datum: CardDatum,
    /// In what kind of text.
    pub carrier: Carrier,
    /// The field's name; text from the wire.
    pub field: &'a str,
    /// What was done with it.
    pub action: CardAction,
}

/// The table.
pub struct CardsSeen {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    report: SeenReport,
    /// The file does not say all of it yet.
    unsaved: bool,
    /// The minute in which audit records are counted, and how many there were.
    told: (u64, u32),
}

/// What has been seen so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SeenReport {
    /// How often what in which field.
    pub rows: BTreeMap<SeenKey, SeenCount>,
    /// How many were seen in fields for which there was no row left.
    pub beyond: u64,
}

/// What is counted apart. The order is that of the list.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SeenKey {
    /// Whose site.
    pub site: String,
    /// Which route.
    pub route: String,
    /// `request` or `response`.
    pub direction: Cow<'static, str>,
    /// Which part of a message.
    #[serde(rename = "where")]
    pub place: Cow<'static, str>,
    /// `card` or `code`.
    #[serde(rename = "what", default = "card")]
    pub datum: Cow<'static, str>,
    /// The field's name without digits; empty where none is known.
    pub field: String,
    /// What kind of text.
    pub carrier: Cow<'static, str>,
    /// What was done.
    pub action: Cow<'static, str>,
}

/// How often, and when.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SeenCount {
    /// How often.
    pub count: u64,
    /// When first, in seconds since 1970.
    pub first: u64,
    /// When last.
    pub last: u64,
}

impl Sighting<'_> {
    /// Whether no honest page sends a card number there: a URL, or a field of the head. They end up
    /// in logs and histories that nobody can clean.
    #[must_use]
    pub fn is_unexpected(&self) -> bool {
        let in_head = match self.place {
            CardPlace::Body | CardPlace::Message => false,
            CardPlace::Cookie | CardPlace::Header | CardPlace::Referrer | CardPlace::Target => true,
        };
        let in_request = in_head && self.direction == Direction::Request;
        in_request && self.datum == CardDatum::Card && self.action != CardAction::Kept
    }
}

impl CardsSeen {
    /// Goes on with the file at `path`. One that cannot be read is told, and begun anew.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let report = Self::read(&path).unwrap_or_else(|error| {
            warn!(%error, "the list of seen cards cannot be read, and is begun anew");
            SeenReport::default()
        });
        Self { path, state: Mutex::new(State { report, ..State::default() }) }
    }

    /// What the file at `path` says; nothing where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn read(path: &Path) -> io::Result<SeenReport> {
        file::read(path)
    }

    /// Counts a find.
    pub fn note(&self, at: SystemTime, sighting: &Sighting<'_>) {
        let key = SeenKey::of(sighting);
        let at = seconds(at);
        let mut state = self.state.lock();
        state.unsaved = true;
        let report = &mut state.report;
        let full = report.rows.len() >= ROWS_MAX;
        match report.rows.get_mut(&key) {
            Some(row) => row.add(at),
            None if !full => {
                report.rows.insert(key, SeenCount { count: 1, first: at, last: at });
            }
            None => report.beyond = report.beyond.saturating_add(1),
        }
    }

    /// Whether the audit log is told of one more unexpected card.
    #[must_use]
    pub fn may_tell(&self, at: SystemTime) -> bool {
        let minute = seconds(at) / 60;
        let told = &mut self.state.lock().told;
        if told.0 != minute {
            *told = (minute, 0);
        }
        told.1 = told.1.saturating_add(1);
        told.1 <= TOLD_PER_MINUTE_MAX
    }

    /// Writes the file, if there is anything new. A failure is told, and tried again next time.
    pub fn save(&self) {
        let report = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.unsaved) {
                return;
            }
            state.report.clone()
        };
        if let Err(error) = file::write(&self.path, &report) {
            self.state.lock().unsaved = true;
            error!(%error, "the list of seen cards is not written");
        }
    }
}

/// The list while another process takes our place.
impl CardsSeen {
    /// Writes the file for the one that goes on with it, and begins a list of what is seen here since.
    pub fn hand_over(&self) {
        self.save();
        let mut state = self.state.lock();
        state.report = SeenReport::default();
        state.unsaved = false;
    }

    /// Goes on with the file after all, and what was seen since.
    pub fn read_again(&self) {
        match Self::read(&self.path) {
            Ok(report) => self.state.lock().add(&report),
            Err(error) => warn!(%error, "the list of seen cards cannot be read"),
        }
    }

    /// Begins with the file anew: another process has written it since it was read.
    pub fn renew(&self) {
        self.state.lock().report = SeenReport::default();
        self.read_again();
    }

    /// What was seen since it was handed over, for the other process; nothing where that is nothing.
    #[must_use]
    pub fn rest(&self) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.unsaved.then(|| state.report.to_json().ok()).flatten().map(String::into_bytes)
    }

    /// Takes in what another process has seen since.
    pub fn take_in(&self, rest: &[u8]) {
        match file::parse(rest) {
            Ok(report) => self.state.lock().add(&report),
            Err(error) => warn!(%error, "what the process before us has seen is lost"),
        }
    }
}

impl State {
    fn add(&mut self, other: &SeenReport) {
        self.unsaved = true;
        self.report.beyond = self.report.beyond.saturating_add(other.beyond);
        for (key, count) in &other.rows {
            let full = self.report.rows.len() >= ROWS_MAX;
            match self.report.rows.get_mut(key) {
                Some(row) => row.merge(*count),
                None if !full => {
                    self.report.rows.insert(key.clone(), *count);
                }
                None => self.report.beyond = self.report.beyond.saturating_add(count.count),
            }
        }
    }
}

impl SeenKey {
    fn of(sighting: &Sighting<'_>) -> Self {
        Self {
            site: sighting.site.to_owned(),
            route: sighting.route.to_owned(),
            direction: Cow::Borrowed(sighting.direction.as_str()),
            place: Cow::Borrowed(sighting.place.as_str()),
            datum: Cow::Borrowed(sighting.datum.as_str()),
            field: without_digits(sighting.field),
            carrier: Cow::Borrowed(sighting.carrier.as_str()),
            action: Cow::Borrowed(sighting.action.as_str()),
        }
    }
}

impl SeenCount {
    fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    fn add(&mut self, at: u64) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(at);
    }

    /// When first, as people read it.
    #[must_use]
    pub fn first_time(&self) -> String {
        time(self.first)
    }

    /// When last.
    #[must_use]
    pub fn last_time(&self) -> String {
        time(self.last)
    }
}

/// What rows are about that were written before codes were counted.
fn card() -> Cow<'static, str> {
    Cow::Borrowed(CardDatum::Card.as_str())
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339, to the second.
fn time(seconds: u64) -> String {
    let at = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    Rfc3339(at).to_string().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests;
