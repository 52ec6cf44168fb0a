//! One-use stand-ins for card verification codes.
//!
//! A code is sensitive authentication data (PCI DSS 3.3.1): it lives in memory only, for a stated
//! time, is given out once, and is wiped. A stand-in has three or four digits like the code, far too
//! few to be unique, so it counts together with a token of the same request. Those that came
//! without one share a single space of 1,000 (or 10,000) values; when it is used up, `keep` fails.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use parking_lot::Mutex;
use thiserror::Error;

use crate::card::{Cvv, Token};

/// How many codes are kept at most.
pub const CODES_MAX: usize = 65_536;

/// How many (token, stand-in) pairs are kept at most: a request may carry many tokens.
const KEYS_MAX: usize = 4 * CODES_MAX;

/// The codes that wait for their one use.
pub struct StandIns {
    ttl: Duration,
    state: Mutex<State>,
}

/// Why a code was not kept.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StandInError {
    /// As many codes are waiting as may wait, or all stand-ins of this card are in use.
    #[error("too many verification codes are waiting for their payment")]
    Full,
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
}

/// A stand-in's digits, under one token or under none.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Key {
    token: Option<Token>,
    digits: u16,
    length: u8,
}

/// A code that waits.
struct Waiting {
    // Boxed: whoever moves it moves the pointer and leaves no copy of the code behind.
    code: Box<Cvv>,
    keys: Vec<Key>,
    expires: Instant,
}

#[derive(Default)]
struct State {
    next: u64,
    by_key: HashMap<Key, u64>,
    waiting: HashMap<u64, Waiting>,
    /// In the order of expiry.
    order: VecDeque<(Instant, u64)>,
    /// How many were wiped unused since somebody asked.
    expired: u64,
}

impl StandIns {
    /// Codes kept here live for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, state: Mutex::default() }
    }

    /// Keeps a code and gives its stand-in: as many digits, never the code itself, never one that
    /// is waiting under the same token. `bound_to` are the tokens of the request, none if it has none.
    ///
    /// # Errors
    /// When no more codes can be kept or no stand-in is free.
    pub fn keep(&self, code: Cvv, bound_to: &[Token], now: Instant) -> Result<Cvv, StandInError> {
        let mut seed = [0; 4];
        rand::fill(&mut seed).map_err(|_| StandInError::Random)?;
        let mut state = self.state.lock();
        state.sweep(now);
        if state.waiting.len() >= CODES_MAX
            || state.by_key.len().saturating_add(bound_to.len().max(1)) > KEYS_MAX
        {
            return Err(StandInError::Full);
        }
        let (stand_in, keys) = state.free_stand_in(&code, bound_to, u32::from_be_bytes(seed))?;
        state.put(Waiting { code: Box::new(code), keys, expires: now + self.ttl });
        Ok(stand_in)
    }

    /// Gives the code of a stand-in that came with one of `tokens`, or that was kept without any.
    /// Gives it once.
    #[must_use]
    pub fn take(&self, stand_in: &Cvv, tokens: &[Token], now: Instant) -> Option<Box<Cvv>> {
        let mut state = self.state.lock();
        state.sweep(now);
        let tokens = tokens.iter().copied().map(Some).chain([None]);
        let id = tokens.into_iter().find_map(|token| {
            Key::of(token, stand_in).and_then(|key| state.by_key.get(&key).copied())
        })?;
        // A clock read before another's sweep may be behind, so the entry itself is asked.
        let entry = state.remove(id)?;
        (entry.expires > now).then_some(entry.code)
    }

    /// Wipes what has expired, for the time when nobody calls.
    pub fn sweep(&self, now: Instant) {
        self.state.lock().sweep(now);
    }

    /// How many codes have expired unused since the last call, for the metrics page.
    #[must_use]
    pub fn take_expired(&self) -> u64 {
        std::mem::take(&mut self.state.lock().expired)
    }

    /// How many codes are waiting.
    #[cfg(test)]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

impl State {
    /// The first free stand-in from a random place on.
    fn free_stand_in(
        &self,
        code: &Cvv,
        bound_to: &[Token],
        seed: u32,
    ) -> Result<(Cvv, Vec<Key>), StandInError> {
        let size = if code.expose().len() == 4 { 10_000 } else { 1000 };
        let width = code.expose().len();
        for step in 0..size {
            let text = format!("{:0width$}", (seed % size + step) % size);
            let Some(stand_in) = Cvv::from_digits(text.as_bytes()) else { continue };
            let keys = keys_of(bound_to, &stand_in);
            let free = !keys.iter().any(|key| self.by_key.contains_key(key));
            if free && stand_in.expose() != code.expose() {
                return Ok((stand_in, keys));
            }
        }
        Err(StandInError::Full)
    }

    fn put(&mut self, entry: Waiting) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_key.extend(entry.keys.iter().map(|key| (*key, id)));
        // Nearly always the end: clocks read by two threads may be used in the other order.
        let place = self.order.partition_point(|(expires, _)| *expires <= entry.expires);
        self.order.insert(place, (entry.expires, id));
        self.waiting.insert(id, entry);
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let entry = self.waiting.remove(&id)?;
        for key in &entry.keys {
            self.by_key.remove(key);
        }
        Some(entry)
    }

    fn sweep(&mut self, now: Instant) {
        // Taken codes leave their place behind: clear up when those are the most.
        if self.order.len() > 2 * self.waiting.len() + 64 {
            self.order.retain(|(_, id)| self.waiting.contains_key(id));
        }
        while let Some((expires, id)) = self.order.front().copied() {
            if expires > now {
                return;
            }
            self.order.pop_front();
            self.expired += u64::from(self.remove(id).is_some());
        }
    }
}

impl Key {
    fn of(token: Option<Token>, stand_in: &Cvv) -> Option<Self> {
        let text = std::str::from_utf8(stand_in.expose()).ok()?;
        Some(Self { token, digits: text.parse().ok()?, length: u8::try_from(text.len()).ok()? })
    }
}

fn keys_of(bound_to: &[Token], stand_in: &Cvv) -> Vec<Key> {
    if bound_to.is_empty() {
        return Key::of(None, stand_in).into_iter().collect();
    }
    bound_to.iter().filter_map(|token| Key::of(Some(*token), stand_in)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(900);

    fn cvv(digits: &[u8]) -> Cvv {
        Cvv::from_digits(digits).unwrap()
    }

    fn token(digits: &[u8]) -> Token {
        Token::parse(digits).unwrap()
    }

    fn code(taken: Option<Box<Cvv>>) -> Option<Vec<u8>> {
        taken.map(|code| code.expose().to_vec())
    }

    #[test]
    fn a_code_comes_back_exactly_once_and_only_with_its_token() {
        let (codes, now) = (StandIns::new(TTL), Instant::now());
        let (ours, other) = (token(b"4000000000001111"), token(b"4000000000002222"));
        let stand_in = codes.keep(cvv(b"123"), &[other, ours], now).ok().unwrap();
        assert_eq!(stand_in.expose().len(), 3);
        assert_ne!(stand_in.expose(), b"123");
        let foreign = token(b"4000000000003333");
        assert_eq!(code(codes.take(&stand_in, &[foreign], now)), None);
        assert_eq!(code(codes.take(&stand_in, &[], now)), None);
        assert_eq!(code(codes.take(&stand_in, &[foreign, ours], now)), Some(b"123".to_vec()));
        assert_eq!(code(codes.take(&stand_in, &[other], now)), None);
        assert_eq!(codes.waiting(), 0);
    }

    #[test]
    fn a_form_posted_twice_has_two_live_stand_ins() {
        let (codes, now, card) = (StandIns::new(TTL), Instant::now(), token(b"4000000000001111"));
        let first = codes.keep(cvv(b"0123"), &[card], now).ok().unwrap();
        let second = codes.keep(cvv(b"0123"), &[card], now).ok().unwrap();
        assert_ne!(first.expose(), second.expose());
        assert_eq!(code(codes.take(&first, &[card], now)), Some(b"0123".to_vec()));
        assert_eq!(code(codes.take(&second, &[card], now)), Some(b"0123".to_vec()));
    }

    #[test]
    fn an_expired_code_is_gone_and_wiped_by_a_sweep() {
        let (codes, now) = (StandIns::new(TTL), Instant::now());
        let stand_in = codes.keep(cvv(b"123"), &[], now).ok().unwrap();
        codes.sweep(now + TTL - Duration::from_nanos(1));
        assert_eq!(codes.waiting(), 1);
        codes.sweep(now + TTL);
        assert_eq!(codes.waiting(), 0);
        assert_eq!((codes.take_expired(), codes.take_expired()), (1, 0));
        assert_eq!(code(codes.take(&stand_in, &[], now)), None);
    }

    #[test]
    fn a_live_stand_in_is_never_given_again() {
        let (codes, now) = (StandIns::new(TTL), Instant::now());
        let mut seen = std::collections::HashSet::new();
        // All values but the code itself.
        for _ in 0..999 {
            let stand_in = codes.keep(cvv(b"123"), &[], now).ok().unwrap();
            assert!(seen.insert(stand_in.expose().to_vec()));
        }
        assert_eq!(codes.keep(cvv(b"123"), &[], now).err(), Some(StandInError::Full));
        let last = cvv(seen.iter().next().unwrap());
        assert!(codes.take(&last, &[], now).is_some());
        assert!(codes.keep(cvv(b"123"), &[], now).is_ok());
    }

    #[test]
    fn the_number_of_codes_is_bounded_and_expiry_makes_room() {
        let (codes, now) = (StandIns::new(TTL), Instant::now());
        let card = |n: usize| token(format!("{:016}", n / 500).as_bytes());
        for n in 0..CODES_MAX {
            assert!(codes.keep(cvv(b"123"), &[card(n)], now).is_ok());
        }
        let full = codes.keep(cvv(b"123"), &[card(CODES_MAX)], now);
        assert_eq!(full.err(), Some(StandInError::Full));
        assert!(codes.keep(cvv(b"123"), &[card(0)], now + TTL).is_ok());
        assert_eq!(codes.waiting(), 1);
    }

    #[test]
    fn the_queue_of_expiries_does_not_outgrow_what_waits() {
        let (codes, now) = (StandIns::new(TTL), Instant::now());
        let _waiting = codes.keep(cvv(b"123"), &[], now).ok().unwrap();
        for _ in 0..5000 {
            let stand_in = codes.keep(cvv(b"123"), &[], now).ok().unwrap();
            assert!(codes.take(&stand_in, &[], now).is_some());
        }
        assert!(codes.state.lock().order.len() <= 68);
    }
}
