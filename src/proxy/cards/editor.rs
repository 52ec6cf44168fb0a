//! What becomes of the numbers that were found.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Bytes, BytesMut};

use crate::card::{Pan, Token, TokenFormat};
use crate::coding::DecodeError;
use crate::policy::InvalidCard;
use crate::proxy::Services;
use crate::proxy::body::Editing;
use crate::proxy::exchange::Exchange;
use crate::proxy::reject::Rejection;
use crate::scan::Carrier;
use crate::scan::{Decided, Find, FindKind};
use crate::telemetry::{CardAction, CardPlace, Direction, RouteMetrics, Sighting};
use crate::vault::{Standing, Tokenized};

/// The most verification codes that one request may leave to be kept: nobody pays with more, and
/// each takes a place from those of others.
const CODES_PER_MESSAGE_MAX: usize = 8;

/// What is done with each find of one body.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Action {
    /// Masked, unless it is an issued token.
    Mask,
    /// Only counted.
    Observe,
    /// The request is refused.
    Reject,
    /// Tokens become card numbers, stand-ins become verification codes: for the named gateway.
    Reveal { gateway: Arc<str> },
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
    /// Edits a group of runs of a body; they come back in order, each as long as before.
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
        Box::pin(async move { editor.apply(Page::of(place, runs, carrier)).await })
    }

    /// The limit of card numbers is for each message anew.
    pub(in crate::proxy) fn begin_message(&self) {
        self.tally().store(0, Ordering::Relaxed);
        self.exchange.tally.codes_in.store(0, Ordering::Relaxed);
    }

    /// Keeps a refusal for whoever answers the client.
    pub(in crate::proxy) fn refuse(&self, rejection: Rejection) {
        self.exchange.refuse(rejection);
    }

    /// Whose fault a body is that cannot be decoded.
    pub(in crate::proxy) fn undecodable(&self, error: DecodeError) -> Rejection {
        match self.direction {
            Direction::Request => Rejection::Coding(error),
            Direction::Response => Rejection::UpstreamCoding(error),
        }
    }

    async fn apply(&self, mut page: Page) -> Result<Vec<Bytes>, Rejection> {
        self.count(&page)?;
        match &self.action {
            Action::Mask => self.mask(&mut page).await?,
            Action::Observe => self.say_all(&page, CardAction::Observed),
            Action::Reject => self.refuse_all(&page)?,
            Action::Reveal { gateway } => self.reveal(&mut page, gateway).await?,
            Action::Tokenize { format, invalid } => {
                self.tokenize(&mut page, *format, *invalid).await?;
            }
        }
        Ok(page.runs.into_iter().map(BytesMut::freeze).collect())
    }

    fn count(&self, page: &Page) -> Result<(), Rejection> {
        let cards = page.finds.iter().filter(|(_, find)| is_card(find)).count();
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
        refuse_never_kept(page, invalid)
            .inspect_err(|_| self.say_all(page, CardAction::Rejected))?;
        let (places, pans) = page.take_pans();
        let written: Vec<Option<Token>> =
            pans.iter().map(|pan| Token::parse(pan.expose()).ok()).collect();
        let mut tokens = Vec::with_capacity(places.len());
        if !pans.is_empty() {
            let tokenized = self.services.tokenize(pans, format).await?;
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
        }
        match self.direction {
            Direction::Request => self.keep_codes(page, &tokens).await,
            // Nobody needs the code that a gateway tells again.
            Direction::Response => {
                page.mask_never_kept();
                Ok(())
            }
        }
    }

    /// Verification codes become one-use stand-ins, tied to the tokens of the same message.
    async fn keep_codes(&self, page: &mut Page, tokens: &[Token]) -> Result<(), Rejection> {
        for place in 0..page.finds.len() {
            if let Some(cvv) = page.take_cvv(place) {
                let stand_in = self.services.keep_cvv(cvv, tokens).await?;
                page.write(place, stand_in.expose());
            }
        }
        Ok(())
    }

    /// Where the vault cannot say what is a token, everything is masked: an order page without its
    /// last tokens is better than one with a card number.
    async fn mask(&self, page: &mut Page) -> Result<(), Rejection> {
        let (places, pans) = page.take_pans();
        let standings = match pans.is_empty() {
            true => Vec::new(),
            false => self.services.standing(pans).await,
        };
        for (place, standing) in places.iter().zip(standings) {
            match standing {
                Standing::IssuedToken => self.say(page, *place, CardAction::Kept),
                Standing::Unknown => {
                    page.mask(*place);
                    self.say(page, *place, CardAction::Masked);
                }
            }
        }
        for place in 0..page.finds.len() {
            if page.is_never_kept(place) {
                page.mask(place);
                self.say(page, place, CardAction::Masked);
            }
        }
        Ok(())
    }

    async fn reveal(&self, page: &mut Page, gateway: &Arc<str>) -> Result<(), Rejection> {
        refuse_never_kept(page, InvalidCard::Pass)?;
        let (places, pans) = page.take_pans();
        let tokens: Vec<Token> =
            pans.iter().filter_map(|pan| Token::parse(pan.expose()).ok()).collect();
        if !pans.is_empty() {
            let revealed = self.services.reveal(pans, gateway, &self.exchange).await?;
            for (place, pan) in places.iter().zip(revealed) {
                page.write(*place, pan.expose());
            }
        }
        for place in 0..page.finds.len() {
            if let Some(stand_in) = page.take_cvv(place) {
                let taken = self.services.take_cvv(&stand_in, &tokens).await;
                let refused = |why| self.services.reveal_refused(gateway, &self.exchange, why);
                page.write(place, taken.map_err(refused)?.expose());
            }
        }
        Ok(())
    }

    fn refuse_all(&self, page: &Page) -> Result<(), Rejection> {
        let sensitive = |find: &&(usize, Find)| !matches!(find.1.kind, FindKind::InvalidCard);
        let Some((_, find)) = page.finds.iter().find(sensitive) else { return Ok(()) };
        self.say_all(page, CardAction::Rejected);
        Err(Rejection::CardRefused { field: find.field.clone() })
    }

    fn say_all(&self, page: &Page, action: CardAction) {
        let cards = page.finds.iter().enumerate().filter(|(_, (_, find))| is_card(find));
        cards.for_each(|(place, _)| self.say(page, place, action));
    }

    fn say(&self, page: &Page, place: usize, action: CardAction) {
        let (site, route) = self.metrics.names();
        let sighting = Sighting {
            site,
            route,
            direction: self.direction,
            place: page.place,
            carrier: page.carrier,
            field: page.finds.get(place).map_or("", |(_, find)| &find.field),
            action,
        };
        self.services.card_seen(&sighting, &self.metrics, &self.exchange);
    }
}

fn is_card(find: &Find) -> bool {
    matches!(find.kind, FindKind::Card { .. } | FindKind::Track { .. })
}

/// Track data may not even be held for a moment longer (PCI DSS 3.3.1.1).
fn refuse_never_kept(page: &Page, invalid: InvalidCard) -> Result<(), Rejection> {
    for (_, find) in &page.finds {
        match &find.kind {
            FindKind::Track { .. } => return Err(Rejection::TrackData),
            FindKind::InvalidCard if invalid == InvalidCard::Reject => {
                return Err(Rejection::InvalidCard { field: find.field.clone() });
            }
            FindKind::Card { .. } | FindKind::Cvv(_) | FindKind::InvalidCard => {}
        }
    }
    Ok(())
}

/// Runs laid open for editing, with every find and the run it lies in.
struct Page {
    runs: Vec<BytesMut>,
    finds: Vec<(usize, Find)>,
    carrier: Carrier,
    place: CardPlace,
}

impl Page {
    fn of(place: CardPlace, decided: Vec<Decided>, carrier: Carrier) -> Self {
        let runs = Vec::with_capacity(decided.len());
        let mut page = Self { runs, finds: Vec::new(), carrier, place };
        for (index, run) in decided.into_iter().enumerate() {
            page.finds.extend(run.finds.into_iter().map(|find| (index, find)));
            // Usually ours alone, and then edited where it lies.
            let bytes = run.bytes.try_into_mut();
            page.runs.push(bytes.unwrap_or_else(|shared| BytesMut::from(shared.as_ref())));
        }
        page
    }

    /// Moves the card numbers out; their places stay.
    fn take_pans(&mut self) -> (Vec<usize>, Vec<Pan>) {
        let taken = self.finds.iter_mut().enumerate().filter_map(|(place, (_, find))| {
            let FindKind::Card { .. } = find.kind else { return None };
            match std::mem::replace(&mut find.kind, FindKind::InvalidCard) {
                FindKind::Card { pan, .. } => Some((place, pan)),
                FindKind::Cvv(_) | FindKind::InvalidCard | FindKind::Track { .. } => None,
            }
        });
        taken.unzip()
    }

    fn take_cvv(&mut self, place: usize) -> Option<crate::card::Cvv> {
        let (_, find) = self.finds.get_mut(place)?;
        let FindKind::Cvv(_) = find.kind else { return None };
        match std::mem::replace(&mut find.kind, FindKind::InvalidCard) {
            FindKind::Cvv(cvv) => Some(cvv),
            FindKind::Card { .. } | FindKind::InvalidCard | FindKind::Track { .. } => None,
        }
    }

    /// Sensitive authentication data: a mask leaves no digit of it that matters.
    fn is_never_kept(&self, place: usize) -> bool {
        let never_kept =
            |kind: &FindKind| matches!(kind, FindKind::Cvv(_) | FindKind::Track { .. });
        self.finds.get(place).is_some_and(|(_, find)| never_kept(&find.kind))
    }

    fn mask_never_kept(&mut self) {
        for place in 0..self.finds.len() {
            if self.is_never_kept(place) {
                self.mask(place);
            }
        }
    }

    fn write(&mut self, place: usize, digits: &[u8]) {
        if let Some((run, find)) = self.finds.get(place)
            && let Some(bytes) = self.runs.get_mut(*run)
        {
            find.write_digits(bytes, digits);
        }
    }

    fn mask(&mut self, place: usize) {
        if let Some((run, find)) = self.finds.get(place)
            && let Some(bytes) = self.runs.get_mut(*run)
        {
            find.mask(bytes);
        }
    }
}
