//! Stand-ins of one process: codes are in its memory only.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use parking_lot::Mutex;

use super::{StandInError, StandInFuture, StandInStore, TOKENS_MAX, space, stand_in};
use crate::card::{Cvv, Token};
use crate::link::LinkOutage;

/// How many codes are kept at most.
pub const CODES_MAX: usize = 65_536;

/// How many (token, stand-in) pairs are kept at most: a request may carry many tokens.
const KEYS_MAX: usize = 4 * CODES_MAX;

/// [`StandInStore`] in memory.
pub struct MemoryStandIns {
    ttl: Duration,
    state: Mutex<State>,
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

/// A waiting code, on its way to the process that goes on with it.
pub struct HeldCode {
    /// The code.
    pub code: Box<Cvv>,
    /// What stands for it.
    pub stand_in: Cvv,
    /// The tokens that it counts together with.
    pub tokens: Vec<Token>,
    /// How long it lives.
    pub left: Duration,
}

#[derive(Default)]
struct State {
    /// Whose the codes are now, where they are not ours.
    heir: Option<Arc<dyn StandInStore>>,
    next: u64,
    by_key: HashMap<Key, u64>,
    waiting: HashMap<u64, Waiting>,
    /// Codes that came without a token, in the order of expiry.
    unbound: VecDeque<(Instant, u64)>,
    /// The others.
    bound: VecDeque<(Instant, u64)>,
    /// How many were wiped unused since somebody asked.
    expired: u64,
}

impl MemoryStandIns {
    /// Codes kept here live for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, state: Mutex::default() }
    }

    #[cfg(test)]
    fn keep_at(&self, code: Cvv, bound_to: &[Token], now: Instant) -> Result<Cvv, StandInError> {
        self.state.lock().keep((code, bound_to), self.ttl, now)
    }

    #[cfg(test)]
    fn take_at(&self, stand_in: &Cvv, tokens: &[Token], now: Instant) -> Option<Box<Cvv>> {
        self.state.lock().take(stand_in, tokens, now)
    }

    /// Copies what waits, for another process: `heir` is asked from now on.
    pub fn lend(&self, heir: Arc<dyn StandInStore>, now: Instant) -> Vec<HeldCode> {
        let mut state = self.state.lock();
        state.sweep(now);
        let lent = state.waiting.values().filter_map(|waiting| waiting.held(now)).collect();
        state.heir = Some(heir);
        lent
    }

    /// The other process is none after all.
    pub fn take_back(&self) {
        self.state.lock().heir = None;
    }

    /// The other process has them: ours are wiped.
    pub fn forget_lent(&self) {
        let mut state = self.state.lock();
        let heir = state.heir.take();
        *state = State { heir, ..State::default() };
    }

    /// Takes in what waited in another process.
    pub fn take_in(&self, held: HeldCode, now: Instant) {
        let HeldCode { code, stand_in, tokens, left } = held;
        let tokens = tokens.into_iter().map(Some);
        let unbound = (tokens.len() == 0).then_some(None);
        let keys = tokens.chain(unbound).filter_map(|token| Key::of(token, &stand_in));
        let waiting = Waiting { code, keys: keys.collect(), expires: now + left.min(self.ttl) };
        let mut state = self.state.lock();
        state.make_room(waiting.keys.len());
        state.put(waiting);
    }

    /// Wipes what has expired, for the time when nobody calls.
    pub fn sweep(&self, now: Instant) {
        self.state.lock().sweep(now);
    }

    /// How many codes are waiting.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

impl StandInStore for MemoryStandIns {
    fn keep<'a>(&'a self, code: Cvv, bound_to: &'a [Token]) -> StandInFuture<'a, Cvv> {
        // Under one lock: what is kept in this very moment is lent with the others, or kept there.
        let mut state = self.state.lock();
        match state.heir.clone() {
            Some(heir) => Box::pin(async move { heir.keep(code, bound_to).await }),
            None => Box::pin(ready(state.keep((code, bound_to), self.ttl, Instant::now()))),
        }
    }

    fn take<'a>(
        &'a self,
        stand_in: &'a Cvv,
        tokens: &'a [Token],
    ) -> StandInFuture<'a, Option<Box<Cvv>>> {
        let mut state = self.state.lock();
        match state.heir.clone() {
            Some(heir) => Box::pin(async move { heir.take(stand_in, tokens).await }),
            None => Box::pin(ready(Ok(state.take(stand_in, tokens, Instant::now())))),
        }
    }

    fn take_expired(&self) -> u64 {
        std::mem::take(&mut self.state.lock().expired)
    }

    fn outage(&self) -> Option<LinkOutage> {
        None
    }
}

impl State {
    /// Keeps a code for so long.
    fn keep(
        &mut self,
        (code, bound_to): (Cvv, &[Token]),
        ttl: Duration,
        now: Instant,
    ) -> Result<Cvv, StandInError> {
        let mut seed = [0; 4];
        rand::fill(&mut seed).map_err(|_| StandInError::Random)?;
        self.sweep(now);
        let bound_to = bound_to.get(..TOKENS_MAX).unwrap_or(bound_to);
        self.make_room(bound_to.len());
        let (stand_in, keys) =
            self.pick(&code, bound_to, u32::from_be_bytes(seed)).ok_or(StandInError::NoStandIn)?;
        self.evict_holders(&keys);
        self.put(Waiting { code: Box::new(code), keys, expires: now + ttl });
        Ok(stand_in)
    }

    /// Gives a code, once.
    fn take(&mut self, stand_in: &Cvv, tokens: &[Token], now: Instant) -> Option<Box<Cvv>> {
        self.sweep(now);
        let tokens = tokens.iter().copied().map(Some).chain([None]);
        let id = tokens.into_iter().find_map(|token| {
            Key::of(token, stand_in).and_then(|key| self.by_key.get(&key).copied())
        })?;
        // A clock read before another's sweep may be behind, so the entry itself is asked.
        let entry = self.remove(id)?;
        (entry.expires > now).then_some(entry.code)
    }

    /// The first free stand-in from a random place on; where all are in use, the one that has been
    /// for the longest time.
    fn pick(&self, code: &Cvv, bound_to: &[Token], seed: u32) -> Option<(Cvv, Vec<Key>)> {
        let width = code.expose().len();
        let (size, length) = (space(width), u8::try_from(width).ok()?);
        let own = Key::of(None, code).map(|key| key.digits);
        let mut oldest: Option<(u64, u16)> = None;
        let mut chosen = None;
        for step in 0..size {
            let digits = u16::try_from((seed % size + step) % size).ok()?;
            if Some(digits) == own {
                continue;
            }
            let holders = keys_of(bound_to, digits, length);
            let newest = holders.filter_map(|key| self.by_key.get(&key).copied()).max();
            let Some(newest) = newest else {
                chosen = Some(digits);
                break;
            };
            if oldest.is_none_or(|(id, _)| newest < id) {
                oldest = Some((newest, digits));
            }
        }
        let digits = chosen.or_else(|| oldest.map(|(_, digits)| digits))?;
        Some((stand_in(u32::from(digits), width)?, keys_of(bound_to, digits, length).collect()))
    }

    /// Wipes the oldest until one more fits.
    fn make_room(&mut self, tokens: usize) {
        while self.waiting.len() >= CODES_MAX
            || self.by_key.len().saturating_add(tokens.max(1)) > KEYS_MAX
        {
            let oldest = self.unbound.pop_front().or_else(|| self.bound.pop_front());
            let Some((_, id)) = oldest else { return };
            self.expired += u64::from(self.remove(id).is_some());
        }
    }

    /// Wipes what has one of these keys, so that no stand-in ever means two codes.
    fn evict_holders(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(id) = self.by_key.get(key).copied() {
                self.expired += u64::from(self.remove(id).is_some());
            }
        }
    }

    fn put(&mut self, entry: Waiting) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_key.extend(entry.keys.iter().map(|key| (*key, id)));
        let is_bound = entry.keys.iter().any(|key| key.token.is_some());
        let order = if is_bound { &mut self.bound } else { &mut self.unbound };
        // Nearly always the end: clocks read by two threads may be used in the other order.
        let place = order.partition_point(|(expires, _)| *expires <= entry.expires);
        order.insert(place, (entry.expires, id));
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
        for bound in [false, true] {
            let mut order = std::mem::take(if bound { &mut self.bound } else { &mut self.unbound });
            // Taken codes leave their place behind: clear up when those are the most.
            if order.len() > 2 * self.waiting.len() + 64 {
                order.retain(|(_, id)| self.waiting.contains_key(id));
            }
            while let Some((expires, id)) = order.front().copied()
                && expires <= now
            {
                order.pop_front();
                self.expired += u64::from(self.remove(id).is_some());
            }
            *(if bound { &mut self.bound } else { &mut self.unbound }) = order;
        }
    }
}

impl Waiting {
    /// A copy for another process.
    fn held(&self, now: Instant) -> Option<HeldCode> {
        let key = self.keys.first()?;
        Some(HeldCode {
            code: Box::new(Cvv::from_digits(self.code.expose())?),
            stand_in: stand_in(u32::from(key.digits), usize::from(key.length))?,
            tokens: self.keys.iter().filter_map(|key| key.token).collect(),
            left: self.expires.saturating_duration_since(now),
        })
    }
}

impl Key {
    fn of(token: Option<Token>, stand_in: &Cvv) -> Option<Self> {
        let text = std::str::from_utf8(stand_in.expose()).ok()?;
        Some(Self { token, digits: text.parse().ok()?, length: u8::try_from(text.len()).ok()? })
    }
}

fn keys_of(bound_to: &[Token], digits: u16, length: u8) -> impl Iterator<Item = Key> {
    let unbound = bound_to.is_empty().then_some(None);
    let tokens = bound_to.iter().copied().map(Some).chain(unbound);
    tokens.map(move |token| Key { token, digits, length })
}

#[cfg(test)]
mod tests;
