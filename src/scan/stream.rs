//! A body as it arrives, in any pieces.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::Bytes;

use super::filter::{self, Codes, Mesh, Numbers};
use super::judge::{self, Setting};
use super::lists::Lists;
use super::search::Search;
use super::table::Table;
use super::view::{LOOK_AHEAD, LOOK_BACK, View};
use super::{Carrier, Find, Rules, token};

/// Bytes whose every card number is known. Concatenated, the runs are the body.
pub struct Decided {
    /// The bytes; the very buffer that was put in where nothing is found in it.
    pub bytes: Bytes,
    /// What was found in them, in order, never overlapping.
    pub finds: Vec<Find>,
}

/// One body being scanned.
///
/// Between two pieces it holds at most 1 KiB that is not decided, and copies of 1 KiB of what is
/// decided and of the first line of the body.
pub struct Stream {
    rules: Arc<Rules>,
    declared: Carrier,
    table: Table,
    /// Decided bytes before `held`, for looking back.
    back: Vec<u8>,
    /// Bytes that arrived and are not decided.
    held: Vec<u8>,
    /// How many bytes of the body came before `back`.
    passed: usize,
    vetoed: u64,
}

/// Bytes of a new piece that are copied behind those that came before.
const SEAM: usize = LOOK_BACK + LOOK_AHEAD;

/// The places of one text where an opaque token may begin.
struct Tokens<'a> {
    text: &'a [u8],
    next: Option<usize>,
    end: usize,
}

impl<'a> Tokens<'a> {
    fn new(rules: &Rules, text: &'a [u8], range: &std::ops::Range<usize>) -> Self {
        let wanted = rules.finds_tokens().then(|| token::next(text, range.start));
        Self { text, next: wanted.flatten(), end: range.end }
    }

    /// The next one from `at` on, if the next digits do not come before it.
    fn before(&mut self, digits: Option<usize>, at: usize) -> Option<usize> {
        if self.next.is_some_and(|next| next < at) {
            self.next = token::next(self.text, at);
        }
        self.next.filter(|&next| next < self.end && digits.is_none_or(|digits| next <= digits))
    }

    fn pass(&mut self, place: usize) {
        self.next = token::next(self.text, place + 1);
    }
}

/// Finds with spans in one text, and where its undecided rest begins.
struct Scanned {
    finds: Vec<Find>,
    decided: usize,
    vetoed: u64,
}

impl Stream {
    /// Begins a body of the declared carrier; one that turns out to be another is read as that.
    #[must_use]
    pub fn new(rules: Arc<Rules>, carrier: Carrier) -> Self {
        Self {
            rules,
            declared: carrier,
            table: Table::default(),
            back: Vec::new(),
            held: Vec::new(),
            passed: 0,
            vetoed: 0,
        }
    }

    /// Takes the next piece and appends what is now decided.
    pub fn push(&mut self, chunk: Bytes, decided: &mut Vec<Decided>) {
        if chunk.is_empty() {
            return;
        }
        self.table.learn(&chunk, self.declared, self.passed + self.back.len());
        let joint = self.back.len() + self.held.len();
        let mut scanned = self.seam(&chunk, joint);
        if joint == 0 || chunk.len() > SEAM {
            let from = scanned.decided.saturating_sub(joint);
            let far = self.scan(&chunk, from, chunk.len(), self.passed + joint);
            scanned.decided = joint + far.decided;
            scanned.vetoed += far.vetoed;
            scanned.finds.extend(shifted(far.finds, joint));
        }
        self.vetoed += scanned.vetoed;
        self.emit(&chunk, scanned.decided, scanned.finds, decided);
    }

    /// Ends the body and appends what was held back.
    pub fn finish(&mut self, decided: &mut Vec<Decided>) {
        if self.held.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut self.back);
        let start = text.len();
        if self.held.len() < self.rules.find_bytes_min() {
            let bytes = Bytes::from(std::mem::take(&mut self.held));
            decided.push(Decided { bytes, finds: Vec::new() });
            return;
        }
        text.append(&mut self.held);
        let view = View::new(&text, true);
        let scanned = self.run(&view, &text, start..text.len(), self.passed);
        self.vetoed += scanned.vetoed;
        if text.len() > start {
            let finds = moved_back(scanned.finds, start);
            decided.push(Decided { bytes: Bytes::from(text).slice(start..), finds });
        }
    }

    /// How many numbers so far would be cards but for the name of their field (`order_id`).
    #[must_use]
    pub fn vetoed(&self) -> u64 {
        self.vetoed
    }

    /// What the body is read as.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        match (self.declared, self.table.first_mark()) {
            (Carrier::Form | Carrier::Text, Some(b'{' | b'[')) => Carrier::Json,
            (Carrier::Form | Carrier::Text | Carrier::Json, Some(b'<')) => Carrier::Html,
            (declared, _) => declared,
        }
    }

    /// Decides what was held and the places of the piece that look back before it, in a copy of
    /// just those bytes and what they look ahead at.
    fn seam(&self, chunk: &[u8], joint: usize) -> Scanned {
        if joint == 0 {
            return Scanned { finds: Vec::new(), decided: 0, vetoed: 0 };
        }
        let near = chunk.get(..SEAM).unwrap_or(chunk);
        let text = [&self.back, &self.held, near].concat();
        let until = if near.len() < chunk.len() { joint + LOOK_BACK } else { text.len() };
        self.scan(&text, self.back.len(), until, self.passed)
    }

    fn scan(&self, text: &[u8], from: usize, until: usize, offset: usize) -> Scanned {
        self.run(&View::new(text, false), text, from..until, offset)
    }

    /// Decides the candidates that begin in `range`.
    fn run(
        &self,
        view: &View<'_>,
        text: &[u8],
        range: std::ops::Range<usize>,
        offset: usize,
    ) -> Scanned {
        let carrier = self.carrier();
        let (vetoed, lists) = (Cell::new(0), Lists::default());
        let setting = Setting {
            rules: &self.rules,
            carrier,
            table: &self.table,
            lists: &lists,
            holder: None,
            offset,
            vetoed,
            cluster: RefCell::default(),
        };
        let mut counted = 0;
        let any = self.rules.names_cards() || self.rules.finds_failing();
        let numbers = if any { Numbers::Any } else { Numbers::Cards };
        let columns = self.table.names_columns(carrier);
        let codes = self.rules.finds_codes().then_some(Codes {
            rules: &self.rules,
            lists: &lists,
            columns,
        });
        let mut search = Search::new(text, range.end, Mesh { numbers, codes });
        let mut tokens = Tokens::new(&self.rules, text, &range);
        let mut finds = Vec::new();
        let mut at = range.start;
        let mut near = search.next(at);
        loop {
            // Asked again only once it is passed: else each `tok_` would walk the rest of the text.
            if near.is_some_and(|near| near < at) {
                near = search.next(at);
            }
            if let Some(place) = tokens.before(near, at) {
                view.focus(place);
                let find = token::find(view, place, &lists);
                if view.starved() {
                    return Scanned { finds, decided: place, vetoed: counted };
                }
                at = find.as_ref().map_or(at, |find| find.span.end);
                tokens.pass(place);
                finds.extend(find);
                continue;
            }
            let Some(near) = near else { break };
            let sure = search.is_sure(near);
            let place = if sure { near } else { filter::settle(view, near, at) };
            view.focus(place);
            let known = finds.len();
            let next = if sure || filter::worth(view, place, numbers) {
                judge::step(view, place, &setting, &mut finds)
            } else {
                finds.extend(codes.and_then(|_| judge::short(view, place, &setting)));
                let code = finds.get(known..).and_then(<[Find]>::last);
                code.map_or_else(|| filter::behind(view, place), |code| code.span.end)
            };
            if view.starved() {
                finds.truncate(known);
                return Scanned { finds, decided: place, vetoed: counted };
            }
            counted = setting.vetoed.get();
            // Digits that base64 only seems to hold may be part of a token.
            let whole = finds.len() == known;
            at = tokens.next.filter(|&token| whole && token > near).unwrap_or(next);
            at = at.min(next);
        }
        Scanned { finds, decided: at.max(range.end), vetoed: counted }
    }

    /// Hands out everything before `upto` (counted from the beginning of `back`) and keeps the rest.
    fn emit(
        &mut self,
        chunk: &Bytes,
        upto: usize,
        mut finds: Vec<Find>,
        decided: &mut Vec<Decided>,
    ) {
        let start = self.back.len();
        let joint = start + self.held.len();
        // A find that crosses from held bytes into the piece needs them in one buffer.
        let crossing = finds.iter().find(|find| find.span.start < joint && find.span.end > joint);
        let cut = crossing.map_or(joint, |find| find.span.end).min(upto).max(joint.min(upto));
        let late = finds.split_off(finds.partition_point(|find| find.span.start < joint));
        let within = chunk.get(..cut.saturating_sub(joint)).unwrap_or_default();
        let kept = upto.saturating_sub(start).min(self.held.len());
        let mut first: Vec<u8> = self.held.get(..kept).unwrap_or_default().to_vec();
        first.extend_from_slice(within);
        if !first.is_empty() {
            decided.push(Decided { bytes: Bytes::from(first), finds: moved_back(finds, start) });
        }
        if upto > cut {
            let bytes = chunk.slice(cut - joint..upto - joint);
            decided.push(Decided { bytes, finds: moved_back(late, cut) });
        }
        self.remember(chunk, upto);
    }

    /// Keeps what later decisions look back at, and what is not decided.
    fn remember(&mut self, chunk: &Bytes, upto: usize) {
        let joint = self.back.len() + self.held.len();
        if upto >= joint + LOOK_BACK {
            self.passed += upto - LOOK_BACK;
            self.back =
                chunk.get(upto - joint - LOOK_BACK..upto - joint).unwrap_or_default().to_vec();
            self.held = chunk.get(upto - joint..).unwrap_or_default().to_vec();
            return;
        }
        let mut all = std::mem::take(&mut self.back);
        all.append(&mut self.held);
        all.extend_from_slice(chunk);
        self.held = all.split_off(upto);
        let drop = all.len().saturating_sub(LOOK_BACK);
        all.drain(..drop);
        self.passed += drop;
        self.back = all;
    }
}

/// Everything found in one text, with spans in it.
#[must_use]
pub fn find_all(rules: &Arc<Rules>, carrier: Carrier, text: &Bytes) -> Vec<Find> {
    let mut stream = Stream::new(Arc::clone(rules), carrier);
    let mut decided = Vec::new();
    stream.push(text.clone(), &mut decided);
    stream.finish(&mut decided);
    let mut offset = 0;
    let mut finds = Vec::new();
    for run in decided {
        finds.extend(shifted(run.finds, offset));
        offset += run.bytes.len();
    }
    finds
}

fn shifted(mut finds: Vec<Find>, by: usize) -> Vec<Find> {
    for find in &mut finds {
        find.span = find.span.start + by..find.span.end + by;
    }
    finds
}

fn moved_back(mut finds: Vec<Find>, by: usize) -> Vec<Find> {
    for find in &mut finds {
        find.span = find.span.start.saturating_sub(by)..find.span.end.saturating_sub(by);
    }
    finds
}
