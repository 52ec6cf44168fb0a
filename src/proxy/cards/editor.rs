//! What becomes of the numbers that were found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::page::{Page, datum};
use crate::card::{Token, TokenFormat};
use crate::coding::DecodeError;
use crate::policy::{Gateway, InvalidCard, Otherwise};
use crate::proxy::Services;
use crate::proxy::body::Editing;
use crate::proxy::exchange::Exchange;
use crate::proxy::gateway::Reveal;
use crate::proxy::reject::Rejection;
use crate::scan::{Carrier, Decided, Find, FindKind};
use crate::telemetry::{CardAction, CardDatum, CardPlace, Direction, RouteMetrics, Sighting};
use crate::vault::{Presented, Standing, Tokenized};

/// The most verification codes that one request may leave to be kept: nobody pays with more, and
/// each takes a place from those of others.
const CODES_PER_MESSAGE_MAX: usize = 8;

/// What is done with each find of one body.
#[derive(Clone)]
pub(in crate::proxy) enum Action {
    /// Masked, unless it is an issued token.
    Mask,
    /// Only counted.
    Observe,
    /// The request is refused.
    Reject,
    /// Tokens become card numbers, stand-ins become verification codes: for a gateway, where its
    /// policy says so.
    Reveal(Arc<Reveal>),
    /// Card numbers become tokens, verification codes become stand-ins.
    Tokenize { format: TokenFormat, invalid: InvalidCard },
}

/// Edits the finds of one message.
pub(in crate::proxy) struct Editor {
    pub(in crate::proxy) services: Arc<Services>,
    pub(in crate::proxy) exchange: Arc<Exchange>,
    pub(in crate::proxy) action: Action,
    pub(in crate::proxy) metrics: Arc<RouteMetrics>,
    pub(in crate::proxy) direction: Direction,
    pub(in crate::proxy) cards_max: usize,
}

impl Editor {
    /// Whether what is written over a find may be of another length.
    pub(in crate::proxy) fn resizes(&self) -> bool {
        match self.action {
            Action::Mask | Action::Observe | Action::Reject => false,
            Action::Reveal { .. } => true,
            Action::Tokenize { format, .. } => format == TokenFormat::Opaque,
        }
    }

    /// Edits a group of runs of a body; they come back in order.
    pub(in crate::proxy) fn edit(
        self: &Arc<Self>,
        runs: Vec<Decided>,
        carrier: Carrier,
    ) -> Editing {
        self.edit_in(CardPlace::Body, runs, carrier)
    }

    /// The same for another part of a message.
    pub(in crate::proxy) fn edit_in(
        self: &Arc<Self>,
        place: CardPlace,
        runs: Vec<Decided>,
        carrier: Carrier,
    ) -> Editing {
        let editor = Arc::clone(self);
        let revealed = match &self.action {
            Action::Reveal(reveal) => reveal.judge(&runs),
            Action::Mask | Action::Observe | Action::Reject | Action::Tokenize { .. } => Vec::new(),
        };
        Box::pin(async move { editor.apply(Page::of(place, runs, carrier), &revealed).await })
    }

    /// Tells of the finds of a body that stays as it is.
    pub(in crate::proxy) fn observe(&self, runs: Vec<Decided>, carrier: Carrier) {
        let page = Page::of(CardPlace::Body, runs, carrier);
        let _never_refused = self.count(&page);
        self.say_all(&page, CardAction::Observed);
    }

    /// Tells of a body that passes without having been read.
    pub(in crate::proxy) fn cannot_read(&self, error: &DecodeError) {
        self.metrics.body_unread(self.direction, error);
    }

    /// Tells of runs that hold nothing to edit and are not put here.
    pub(in crate::proxy) fn pass_by(&self, runs: &[Decided]) {
        if let Action::Reveal(reveal) = &self.action {
            reveal.pass(runs);
        }
    }

    /// The limit of card numbers is for each message anew.
    pub(in crate::proxy) fn begin_message(&self) {
        self.tally().store(0, Ordering::Relaxed);
        self.exchange.tally.codes_in.store(0, Ordering::Relaxed);
    }

    /// Keeps a refusal for whoever answers the client.
    pub(in crate::proxy) fn refuse(&self, rejection: Rejection) {
        self.exchange.refuse(match self.edits_a_providers_answer() {
            true => rejection.holding_an_answer(),
            false => rejection,
        });
    }

    /// Only what a provider answers is tokenized on its way back.
    pub(in crate::proxy) fn edits_a_providers_answer(&self) -> bool {
        matches!(self.action, Action::Tokenize { .. }) && self.direction == Direction::Response
    }

    /// Whose fault a body is that cannot be decoded.
    pub(in crate::proxy) fn undecodable(&self, error: DecodeError) -> Rejection {
        match self.direction {
            Direction::Request => Rejection::Coding(error),
            Direction::Response => Rejection::UpstreamCoding(error),
        }
    }

    async fn apply(&self, mut page: Page, revealed: &[bool]) -> Result<Vec<Bytes>, Rejection> {
        self.count(&page)?;
        match &self.action {
            Action::Mask => self.mask(&mut page).await?,
            Action::Observe => self.say_all(&page, CardAction::Observed),
            Action::Reject => self.refuse_all(&page)?,
            Action::Reveal(reveal) => self.reveal(&mut page, &reveal.gateway, revealed).await?,
            Action::Tokenize { format, invalid } => {
                self.tokenize(&mut page, *format, *invalid).await?;
            }
        }
        Ok(page.into_pieces())
    }

    fn count(&self, page: &Page) -> Result<(), Rejection> {
        let cards =
            page.finds.iter().filter(|(_, find)| datum(find) == Some(CardDatum::Card)).count();
        let added = u32::try_from(cards).unwrap_or(u32::MAX);
        let total = self.tally().fetch_add(added, Ordering::Relaxed).saturating_add(added);
        let limited =
            !matches!(self.action, Action::Observe) && matches!(self.direction, Direction::Request);
        if limited && usize::try_from(total).unwrap_or(usize::MAX) > self.cards_max {
            return Err(Rejection::TooManyCards { limit: self.cards_max });
        }
        self.count_codes(page)
    }

    /// Only codes that would be kept take a place.
    fn count_codes(&self, page: &Page) -> Result<(), Rejection> {
        if !self.keeps_codes() {
            return Ok(());
        }
        let codes = page.finds.iter().filter(|(_, find)| matches!(find.kind, FindKind::Cvv(_)));
        let added = u32::try_from(codes.count()).unwrap_or(u32::MAX);
        let total = self.exchange.tally.codes_in.fetch_add(added, Ordering::Relaxed);
        let total = usize::try_from(total.saturating_add(added)).unwrap_or(usize::MAX);
        if total > CODES_PER_MESSAGE_MAX {
            return Err(Rejection::TooManyCards { limit: CODES_PER_MESSAGE_MAX });
        }
        Ok(())
    }

    fn keeps_codes(&self) -> bool {
        matches!(self.action, Action::Tokenize { .. }) && self.direction == Direction::Request
    }

    fn tally(&self) -> &AtomicU32 {
        match self.direction {
            Direction::Request => &self.exchange.tally.cards_in,
            Direction::Response => &self.exchange.tally.cards_out,
        }
    }

    async fn tokenize(
        &self,
        page: &mut Page,
        format: TokenFormat,
        invalid: InvalidCard,
    ) -> Result<(), Rejection> {
        refuse_track(page).inspect_err(|_| self.say_all(page, CardAction::Rejected))?;
        if invalid == InvalidCard::Reject {
            self.refuse_invalid(page).await?;
        }
        let mut tokens = page.opaque_tokens();
        let (texts, digits): (Vec<usize>, Vec<usize>) =
            page.cards().into_iter().partition(|&place| page.holds_text(place));
        tokens.extend(self.tokenize_at(page, &texts, format).await?);
        // Where no text may stand, the token is of digits: what is no string does not become one.
        tokens.extend(self.tokenize_at(page, &digits, format.of_digits()).await?);
        match self.direction {
            Direction::Request => self.keep_codes(page, &tokens).await,
            // Nobody needs the code that a gateway tells again.
            Direction::Response => {
                page.mask_never_kept();
                Ok(())
            }
        }
    }

    /// Writes tokens over the cards at these places; gives those that now stand there.
    async fn tokenize_at(
        &self,
        page: &mut Page,
        places: &[usize],
        format: TokenFormat,
    ) -> Result<Vec<Token>, Rejection> {
        let pans = page.pans(places);
        if pans.is_empty() {
            return Ok(Vec::new());
        }
        let written: Vec<Option<Token>> =
            pans.iter().map(|pan| Token::parse(pan.expose()).ok()).collect();
        let bringer = self.services.bring_cards(self.metrics.names().0, &self.exchange, &pans)?;
        let tokenized = self.services.tokenize(pans, format).await?;
        let mut tokens = Vec::with_capacity(places.len());
        for ((place, made), written) in places.iter().zip(tokenized).zip(written) {
            match made {
                Tokenized::Created(token) | Tokenized::Known(token) => {
                    page.write(*place, token.as_bytes());
                    tokens.push(token);
                    self.say(page, *place, CardAction::Tokenized);
                }
                Tokenized::AlreadyToken | Tokenized::Collided => {
                    tokens.extend(written);
                    self.say(page, *place, CardAction::Kept);
                }
            }
        }
        self.services.remember_bringer(&self.exchange, bringer, &tokens);
        Ok(tokens)
    }

    /// A number that fails Luhn is refused, unless it is a token made so.
    async fn refuse_invalid(&self, page: &Page) -> Result<(), Rejection> {
        let places = page.invalid();
        let standings = self.services.issued(page.presented(&places)).await?;
        for (place, standing) in places.into_iter().zip(standings) {
            if standing == Standing::Unknown {
                self.say_all(page, CardAction::Rejected);
                return Err(Rejection::InvalidCard { field: page.field(place).to_owned() });
            }
        }
        Ok(())
    }

    /// Verification codes become one-use stand-ins, tied to the tokens of the same message.
    async fn keep_codes(&self, page: &mut Page, tokens: &[Token]) -> Result<(), Rejection> {
        for place in 0..page.finds.len() {
            if let Some(cvv) = page.cvv(place) {
                let stand_in = self.services.keep_cvv(cvv, tokens).await?;
                page.write(place, stand_in.expose());
                self.say_of(page, place, CardDatum::Code, CardAction::Tokenized);
            }
        }
        Ok(())
    }

    /// Where the vault cannot say what is a token, everything is masked: an order page without its
    /// last tokens is better than one with a card number.
    async fn mask(&self, page: &mut Page) -> Result<(), Rejection> {
        let places = page.cards();
        let standings = match places.is_empty() {
            true => Vec::new(),
            false => self.services.standing(page.presented(&places)).await,
        };
        for (place, standing) in places.into_iter().zip(standings) {
            match standing {
                Standing::IssuedToken => self.say(page, place, CardAction::Kept),
                Standing::Unknown => {
                    page.mask(place);
                    self.say(page, place, CardAction::Masked);
                }
            }
        }
        for place in 0..page.finds.len() {
            if page.is_never_kept(place) {
                page.mask(place);
                if let Some(datum) = page.finds.get(place).and_then(|(_, find)| datum(find)) {
                    self.say_of(page, place, datum, CardAction::Masked);
                }
            }
        }
        Ok(())
    }

    async fn reveal(
        &self,
        page: &mut Page,
        gateway: &Gateway,
        revealed: &[bool],
    ) -> Result<(), Rejection> {
        refuse_track(page)?;
        let meant = |place: &usize| revealed.get(*place) == Some(&true);
        let mut found = page.tokens_and_cards();
        found.extend(self.issued_among_invalid(page).await?);
        let (places, left): (Vec<usize>, Vec<usize>) = found.into_iter().partition(meant);
        self.leave(page, gateway, &left).await?;
        let presented = page.presented(&places);
        let tokens: Vec<Token> = presented.iter().filter_map(Presented::token).collect();
        if !presented.is_empty() {
            let revealed = self.services.reveal(presented, gateway, &self.exchange).await?;
            for (place, pan) in places.iter().zip(revealed) {
                page.write(*place, pan.expose());
            }
        }
        // A stand-in that goes no further still waits for its one use.
        for place in (0..page.finds.len()).filter(meant) {
            if let Some(stand_in) = page.cvv(place) {
                let taken = self.services.take_cvv(&stand_in, &tokens).await;
                let name = &gateway.name;
                let refused = |why| self.services.reveal_refused(name, &self.exchange, why);
                page.write(place, taken.map_err(refused)?.expose());
            }
        }
        Ok(())
    }

    /// Most numbers that fail Luhn are nobody's card and nobody's token: those go on as they are.
    async fn issued_among_invalid(&self, page: &Page) -> Result<Vec<usize>, Rejection> {
        let places = page.invalid();
        let standings = self.services.issued(page.presented(&places)).await?;
        let issued = places.into_iter().zip(standings);
        let issued = issued.filter(|(_, standing)| *standing == Standing::IssuedToken);
        Ok(issued.map(|(place, _)| place).collect())
    }

    /// What is not to be revealed stays as it is; a token among it is told of, or refuses the request.
    async fn leave(&self, page: &Page, gateway: &Gateway, left: &[usize]) -> Result<(), Rejection> {
        if left.is_empty() {
            return Ok(());
        }
        let asked = self.services.issued(page.presented(left)).await;
        let standings = match gateway.reveal.otherwise {
            // Left as it is, a token harms nobody, so that a vault that is away refuses nothing.
            Otherwise::Keep => asked.unwrap_or_default(),
            Otherwise::Reject => asked?,
        };
        let tokens = standings.iter().filter(|standing| matches!(standing, Standing::IssuedToken));
        match tokens.count() {
            0 => Ok(()),
            count => self.services.tokens_left(gateway, &self.exchange, count),
        }
    }

    fn refuse_all(&self, page: &Page) -> Result<(), Rejection> {
        let sensitive = |find: &&(usize, Find)| match find.1.kind {
            FindKind::Card { .. }
            | FindKind::Cvv(_)
            | FindKind::Track { .. }
            | FindKind::TrackTail => true,
            FindKind::InvalidCard { .. } | FindKind::Token(_) => false,
        };
        let Some((_, find)) = page.finds.iter().find(sensitive) else { return Ok(()) };
        self.say_all(page, CardAction::Rejected);
        Err(Rejection::CardRefused { field: find.field.clone() })
    }

    fn say_all(&self, page: &Page, action: CardAction) {
        for (place, (_, find)) in page.finds.iter().enumerate() {
            if let Some(datum) = datum(find) {
                self.say_of(page, place, datum, action);
            }
        }
    }

    fn say(&self, page: &Page, place: usize, action: CardAction) {
        self.say_of(page, place, CardDatum::Card, action);
    }

    fn say_of(&self, page: &Page, place: usize, datum: CardDatum, action: CardAction) {
        let (site, route) = self.metrics.names();
        let sighting = Sighting {
            site,
            route,
            direction: self.direction,
            place: page.place,
            datum,
            carrier: page.carrier,
            field: page.field(place),
            action,
        };
        self.services.card_seen(&sighting, &self.metrics, &self.exchange);
    }
}

/// Track data may not even be held for a moment longer (PCI DSS 3.3.1.1).
fn refuse_track(page: &Page) -> Result<(), Rejection> {
    let is_track =
        |find: &(usize, Find)| matches!(find.1.kind, FindKind::Track { .. } | FindKind::TrackTail);
    if page.finds.iter().any(is_track) { Err(Rejection::TrackData) } else { Ok(()) }
}
