//! Runs of a message laid open for editing, with every find and the run it lies in.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::card::{Cvv, Pan, Token};
use crate::scan::{Carrier, Decided, Find, FindKind};
use crate::telemetry::{CardDatum, CardPlace};
use crate::vault::Presented;

/// What is edited together.
pub(super) struct Page {
    runs: Vec<BytesMut>,
    /// In order; a place is an index here.
    pub(super) finds: Vec<(usize, Find)>,
    /// What is written at the end, because it moves what stands behind it; in order within a run.
    splices: Vec<Splice>,
    pub(super) carrier: Carrier,
    pub(super) place: CardPlace,
}

struct Splice {
    run: usize,
    span: Range<usize>,
    text: Vec<u8>,
}

impl Page {
    pub(super) fn of(place: CardPlace, decided: Vec<Decided>, carrier: Carrier) -> Self {
        let runs = Vec::with_capacity(decided.len());
        let (finds, splices) = (Vec::new(), Vec::new());
        let mut page = Self { runs, finds, splices, carrier, place };
        for (index, run) in decided.into_iter().enumerate() {
            page.finds.extend(run.finds.into_iter().map(|find| (index, find)));
            // Usually ours alone, and then edited where it lies.
            let bytes = run.bytes.try_into_mut();
            page.runs.push(bytes.unwrap_or_else(|shared| BytesMut::from(shared.as_ref())));
        }
        page
    }

    /// The places of card numbers, or of tokens that have the shape of one.
    pub(super) fn cards(&self) -> Vec<usize> {
        self.places(|kind| matches!(kind, FindKind::Card { .. }))
    }

    /// The same, and opaque tokens.
    pub(super) fn tokens_and_cards(&self) -> Vec<usize> {
        self.places(|kind| matches!(kind, FindKind::Card { .. } | FindKind::Token(_)))
    }

    /// The places of numbers that fail Luhn.
    pub(super) fn invalid(&self) -> Vec<usize> {
        self.places(|kind| matches!(kind, FindKind::InvalidCard { .. }))
    }

    fn places(&self, wanted: impl Fn(&FindKind) -> bool) -> Vec<usize> {
        let places = self.finds.iter().enumerate().filter(|(_, (_, find))| wanted(&find.kind));
        places.map(|(place, _)| place).collect()
    }

    /// Whether a text of any length may stand at a place.
    pub(super) fn holds_text(&self, place: usize) -> bool {
        self.finds.get(place).is_some_and(|(_, find)| find.holds_text())
    }

    /// The name of the field a place is in.
    pub(super) fn field(&self, place: usize) -> &str {
        self.finds.get(place).map_or("", |(_, find)| &find.field)
    }

    /// The numbers at places of numbers, in order.
    pub(super) fn pans(&self, places: &[usize]) -> Vec<Pan> {
        places.iter().filter_map(|place| self.pan(*place)).collect()
    }

    /// What is presented as a token at places of numbers and tokens, in order.
    pub(super) fn presented(&self, places: &[usize]) -> Vec<Presented> {
        let presented = |place: &usize| match self.finds.get(*place) {
            Some((_, Find { kind: FindKind::Token(token), .. })) => Some((*token).into()),
            Some(_) | None => self.pan(*place).map(Presented::from),
        };
        places.iter().filter_map(presented).collect()
    }

    /// The opaque tokens.
    pub(super) fn opaque_tokens(&self) -> Vec<Token> {
        let tokens = self.finds.iter().filter_map(|(_, find)| match find.kind {
            FindKind::Token(token) => Some(token),
            FindKind::Card { .. }
            | FindKind::Cvv(_)
            | FindKind::InvalidCard { .. }
            | FindKind::Track { .. }
            | FindKind::TrackTail => None,
        });
        tokens.collect()
    }

    /// The verification code at a place, if one is there.
    pub(super) fn cvv(&self, place: usize) -> Option<Cvv> {
        match &self.finds.get(place)?.1.kind {
            FindKind::Cvv(cvv) => Cvv::from_digits(cvv.expose()),
            FindKind::Card { .. }
            | FindKind::InvalidCard { .. }
            | FindKind::Token(_)
            | FindKind::Track { .. }
            | FindKind::TrackTail => None,
        }
    }

    fn pan(&self, place: usize) -> Option<Pan> {
        match &self.finds.get(place)?.1.kind {
            FindKind::Card { pan, .. } | FindKind::InvalidCard { pan } => {
                Pan::from_digits(pan.expose())
            }
            FindKind::Cvv(_)
            | FindKind::Token(_)
            | FindKind::Track { .. }
            | FindKind::TrackTail => None,
        }
    }

    /// Sensitive authentication data: a mask leaves no digit of it that matters.
    pub(super) fn is_never_kept(&self, place: usize) -> bool {
        let never_kept = |kind: &FindKind| {
            matches!(kind, FindKind::Cvv(_) | FindKind::Track { .. } | FindKind::TrackTail)
        };
        self.finds.get(place).is_some_and(|(_, find)| never_kept(&find.kind))
    }

    pub(super) fn mask_never_kept(&mut self) {
        for place in 0..self.finds.len() {
            if self.is_never_kept(place) {
                self.mask(place);
            }
        }
    }

    /// Writes over what was found: digits over as many digits keep the writing of each, anything else
    /// takes the place of all of it.
    pub(super) fn write(&mut self, place: usize, text: &[u8]) {
        let Some((run, find)) = self.finds.get(place) else { return };
        let Some(bytes) = self.runs.get_mut(*run) else { return };
        let is_name = matches!(find.kind, FindKind::Token(_));
        if !is_name && text.iter().all(u8::is_ascii_digit) {
            return find.write_digits(bytes, text);
        }
        let text = find.replaced(bytes, text);
        self.splices.push(Splice { run: *run, span: find.span.clone(), text });
    }

    pub(super) fn mask(&mut self, place: usize) {
        if let Some((run, find)) = self.finds.get(place)
            && let Some(bytes) = self.runs.get_mut(*run)
        {
            find.mask(bytes);
        }
    }

    /// The runs as they were edited.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.splices.sort_by_key(|splice| (splice.run, splice.span.start));
        let splices = &self.splices;
        let spliced = |(index, run): (usize, BytesMut)| {
            let mut own = splices.iter().filter(|splice| splice.run == index).peekable();
            if own.peek().is_none() { run.freeze() } else { splice(&run, own) }
        };
        self.runs.into_iter().enumerate().map(spliced).collect()
    }
}

fn splice<'a>(run: &[u8], splices: impl Iterator<Item = &'a Splice>) -> Bytes {
    let mut text = BytesMut::with_capacity(run.len() + 64);
    let mut passed = 0;
    for splice in splices {
        text.extend_from_slice(run.get(passed..splice.span.start).unwrap_or_default());
        text.extend_from_slice(&splice.text);
        passed = splice.span.end;
    }
    text.extend_from_slice(run.get(passed..).unwrap_or_default());
    text.freeze()
}

/// As what a find is counted; the rest of a track is counted with its number.
pub(super) fn datum(find: &Find) -> Option<CardDatum> {
    match find.kind {
        FindKind::Card { .. } | FindKind::Track { .. } => Some(CardDatum::Card),
        FindKind::Cvv(_) => Some(CardDatum::Code),
        FindKind::InvalidCard { .. } | FindKind::Token(_) | FindKind::TrackTail => None,
    }
}
