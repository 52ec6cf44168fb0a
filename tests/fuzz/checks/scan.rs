//! The scanner: any bytes, every carrier, the rules of both directions.

use std::sync::Arc;

use bytes::Bytes;
use tillgate::card::iin::{self, Strength};
use tillgate::scan::{Carrier, Decided, FieldRules, Find, FindKind, Rules, Stream};

/// Bytes that hold a body together; an edit must neither make nor break one.
const STRUCTURE: &[u8] = b"<>&;\"'=,{}[]:\\%\r\n";

/// How a body is scanned.
pub struct Setting {
    /// What it is declared to be.
    pub carrier: Carrier,
    rules: Arc<Rules>,
}

/// Where something is found and what, counted from the beginning of the body.
#[derive(Debug, Eq, PartialEq)]
pub struct Place {
    start: usize,
    end: usize,
    kind: String,
    field: String,
    is_strong: bool,
}

/// Reads the first byte as the setting and the others as the body.
pub fn check(data: &[u8]) {
    if let Some((&selector, body)) = data.split_first() {
        owed(&Setting::of(selector), body);
    }
}

impl Setting {
    /// The setting a byte stands for: the carrier, then whose rules.
    pub fn of(selector: u8) -> Self {
        let choice = usize::from(selector);
        let carrier = Carrier::ALL[choice % Carrier::ALL.len()];
        Self { carrier, rules: Arc::new(rules(choice / Carrier::ALL.len())) }
    }

    /// What is looked for.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// The same rules for another carrier.
    pub fn with_carrier(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    /// The body, decided, having arrived in these pieces.
    pub fn scan<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Decided> {
        let mut stream = Stream::new(Arc::clone(&self.rules), self.carrier);
        let mut decided = Vec::new();
        pieces.for_each(|piece| stream.push(Bytes::copy_from_slice(piece), &mut decided));
        stream.finish(&mut decided);
        decided
    }
}

fn rules(kind: usize) -> Rules {
    let list = |name: &str| vec![name.to_owned()];
    let named =
        FieldRules { card: list("payment_no"), cvv: list("pruefziffer"), ignored: list("skip") };
    match kind % 4 {
        0 => Rules::responses(FieldRules::default()),
        1 => Rules::requests(FieldRules::default()),
        2 => Rules::responses(FieldRules::default()).strict(),
        _ => Rules::requests(named),
    }
}

/// What the scanner owes for a body that arrives whole; gives the body with every find masked.
pub fn owed(setting: &Setting, body: &[u8]) -> Vec<u8> {
    let decided = setting.scan(std::iter::once(body));
    assert!(edited(&decided, |_, _| ()) == body, "the runs are not the body");
    decided.iter().for_each(in_order);
    decided.iter().for_each(digits_go_back);
    let masked = masked(&decided);
    only_digits_change(&places(&decided), body, &masked);
    if std::str::from_utf8(body).is_ok() {
        assert!(std::str::from_utf8(&masked).is_ok(), "a mask breaks the UTF-8 of the body");
    }
    nothing_is_left(setting, &masked);
    masked
}

/// A second pass finds no card of a strong range.
fn nothing_is_left(setting: &Setting, masked: &[u8]) {
    let again = setting.scan(std::iter::once(masked));
    let left = places(&again).iter().filter(|place| place.is_strong).count();
    assert_eq!(left, 0, "a card survives masking: {}", masked.escape_ascii());
}

/// The body with every find masked.
pub fn masked(decided: &[Decided]) -> Vec<u8> {
    edited(decided, |find, run| find.mask(run))
}

/// Every find of a body.
pub fn places(decided: &[Decided]) -> Vec<Place> {
    let mut offset = 0;
    let mut places = Vec::new();
    for run in decided {
        places.extend(run.finds.iter().map(|find| place(find, offset)));
        offset += run.bytes.len();
    }
    places
}

fn place(find: &Find, offset: usize) -> Place {
    let kind = match &find.kind {
        FindKind::Card { pan, brand } => format!("{brand} {}", pan.masked()),
        FindKind::Cvv(_) => "code".to_owned(),
        FindKind::InvalidCard { .. } => "invalid".to_owned(),
        FindKind::Token(token) => token.to_string(),
        FindKind::Track { pan, brand } => format!("track {brand} {}", pan.masked()),
        FindKind::TrackTail => "track tail".to_owned(),
    };
    let (start, end) = (offset + find.span.start, offset + find.span.end);
    Place { start, end, kind, field: find.field.clone(), is_strong: is_strong(find) }
}

fn edited(decided: &[Decided], edit: impl Fn(&Find, &mut [u8])) -> Vec<u8> {
    let mut body = Vec::new();
    for run in decided {
        let mut bytes = run.bytes.to_vec();
        run.finds.iter().for_each(|find| edit(find, &mut bytes));
        body.extend_from_slice(&bytes);
    }
    body
}

fn in_order(run: &Decided) {
    let mut end = 0;
    for find in &run.finds {
        assert!(find.span.start >= end, "finds overlap or are out of order");
        assert!(find.span.end > find.span.start, "a find is empty");
        assert!(find.field.len() <= 64, "a field name is longer than is told");
        end = find.span.end;
    }
    assert!(end <= run.bytes.len(), "a find lies outside its run");
}

/// Other digits can be written over a find, and its own written back.
fn digits_go_back(run: &Decided) {
    for find in &run.finds {
        let digits = match &find.kind {
            FindKind::Card { pan, .. } | FindKind::Track { pan, .. } => pan.expose(),
            FindKind::Cvv(code) => code.expose(),
            FindKind::InvalidCard { .. } | FindKind::Token(_) | FindKind::TrackTail => continue,
        };
        let mut bytes = run.bytes.to_vec();
        find.write_digits(&mut bytes, digits);
        assert!(bytes == run.bytes, "a number's own digits change it");
        let others: Vec<u8> = digits.iter().map(|digit| b'0' + (b'9' - digit)).collect();
        find.write_digits(&mut bytes, &others);
        assert!(bytes != run.bytes, "digits are not written");
        find.write_digits(&mut bytes, digits);
        assert!(bytes == run.bytes, "digits cannot be written back");
    }
}

/// An edit keeps the length, whatever lies outside the finds, and the structure within them.
fn only_digits_change(places: &[Place], body: &[u8], masked: &[u8]) {
    assert_eq!(masked.len(), body.len(), "a mask changes the length");
    let mut places = places.iter().peekable();
    for (at, (before, after)) in body.iter().zip(masked).enumerate() {
        while places.next_if(|place| place.end <= at).is_some() {}
        let inside = places.peek().is_some_and(|place| place.start <= at);
        if before == after {
            continue;
        }
        assert!(inside, "a byte outside every find changes");
        let structure = STRUCTURE.contains(before) || STRUCTURE.contains(after);
        assert!(!structure, "a mask changes the structure: {}", masked.escape_ascii());
    }
}

/// Whether the find needs no words near it, nor has others that make it part of a list: those are
/// masked too, and say something else then.
fn is_strong(find: &Find) -> bool {
    let digits = match &find.kind {
        FindKind::Card { pan, .. } | FindKind::Track { pan, .. } => pan.expose(),
        _ => return false,
    };
    iin::issuer(digits).is_some_and(|issuer| issuer.strength == Strength::Strong)
}

/// Whether a mask must leave nothing of the find.
pub fn is_card(find: &Find) -> bool {
    matches!(find.kind, FindKind::Card { .. } | FindKind::Track { .. })
}
