//! What is done with card numbers, from `[cards]` and what a route says otherwise.

use std::sync::Arc;

use super::compile::Compiler;
use super::schema::{CardsSchema, FormatSchema, InvalidSchema, RequestsSchema, ResponsesSchema};
use super::source::At;
use crate::card::TokenFormat;
use crate::policy::{CardPolicy, InvalidCard, RequestAction, ResponseAction};
use crate::scan::{FieldRules, Rules};

/// Longer field names are not told apart by the scanner.
const FIELD_BYTES_MAX: usize = 64;

/// The choices of a table of cards, with what it inherits.
#[derive(Clone)]
pub(super) struct Choices {
    requests: RequestAction,
    responses: ResponseAction,
    format: TokenFormat,
    invalid_card: InvalidCard,
    strict: bool,
    fields: FieldRules,
}

impl Choices {
    /// What is done when nothing is said.
    pub(super) fn new() -> Self {
        Self {
            requests: RequestAction::Tokenize,
            responses: ResponseAction::Mask,
            format: TokenFormat::default(),
            invalid_card: InvalidCard::default(),
            strict: false,
            fields: FieldRules::default(),
        }
    }

    /// The shape of tokens.
    pub(super) fn format(&self) -> TokenFormat {
        self.format
    }

    /// What to look for on the way to a gateway, and in its answers.
    pub(super) fn gateway_rules(&self) -> (Arc<Rules>, Arc<Rules>) {
        let gateway = Rules::gateway(self.fields.clone());
        // What the provider tells again may hold a verification code, which the shop must not see.
        let answers = Rules::requests(self.fields.clone());
        if self.strict {
            return (Arc::new(gateway.strict()), Arc::new(answers.strict()));
        }
        (Arc::new(gateway), Arc::new(answers))
    }

    /// What to look for in requests, and in answers.
    pub(super) fn rules(&self) -> (Arc<Rules>, Arc<Rules>) {
        let requests = Rules::requests(self.fields.clone());
        let responses = Rules::responses(self.fields.clone());
        if self.strict {
            return (Arc::new(requests.strict()), Arc::new(responses.strict()));
        }
        (Arc::new(requests), Arc::new(responses))
    }

    pub(super) fn policy(&self) -> CardPolicy {
        let (request_rules, response_rules) = self.rules();
        CardPolicy {
            requests: self.requests,
            responses: self.responses,
            format: self.format,
            invalid_card: self.invalid_card,
            request_rules,
            response_rules,
        }
    }
}

impl Compiler<'_> {
    /// The choices of `table`, over those it inherits.
    pub(super) fn cards(&mut self, table: &str, written: &CardsSchema, base: &Choices) -> Choices {
        self.warn_of_clear_cards(table, written);
        let fields = FieldRules {
            card: self.fields(table, "card_fields", &written.card_fields, &base.fields.card),
            cvv: self.fields(table, "cvv_fields", &written.cvv_fields, &base.fields.cvv),
            ignored: self.fields(
                table,
                "ignored_fields",
                &written.ignored_fields,
                &base.fields.ignored,
            ),
        };
        self.demand_one_meaning(table, written, &fields);
        Choices {
            requests: written.requests.as_ref().map_or(base.requests, |at| request(*at.get())),
            responses: written.responses.as_ref().map_or(base.responses, |at| response(*at.get())),
            format: written.token_format.as_ref().map_or(base.format, |at| format_of(*at.get())),
            invalid_card: written.invalid_card.as_ref().map_or(base.invalid_card, |at| {
                match at.get() {
                    InvalidSchema::Pass => InvalidCard::Pass,
                    InvalidSchema::Reject => InvalidCard::Reject,
                }
            }),
            strict: written.strict.as_ref().map_or(base.strict, |at| *at.get()),
            fields,
        }
    }

    fn fields(
        &mut self,
        table: &str,
        name: &str,
        written: &Option<At<Vec<At<String>>>>,
        base: &[String],
    ) -> Vec<String> {
        let Some(list) = written else { return base.to_vec() };
        let key = format!("{table}.{name}");
        let mut fields = Vec::new();
        for at in list.get() {
            let field = at.get().trim();
            if field.is_empty() || field.len() > FIELD_BYTES_MAX {
                let remedy = format!("write a name of 1 to {FIELD_BYTES_MAX} bytes");
                self.refuse(&at.span(), &key, "is not the name of a field", remedy);
            }
            fields.push(field.to_owned());
        }
        fields
    }

    /// A field is a card, a code or neither.
    fn demand_one_meaning(&mut self, table: &str, written: &CardsSchema, fields: &FieldRules) {
        let within =
            |list: &[String], name: &str| list.iter().any(|other| other.eq_ignore_ascii_case(name));
        let clashes = [
            ("cvv_fields", &fields.cvv, &written.cvv_fields, [&fields.card, &fields.ignored]),
            (
                "ignored_fields",
                &fields.ignored,
                &written.ignored_fields,
                [&fields.card, &fields.cvv],
            ),
            ("card_fields", &fields.card, &written.card_fields, [&fields.cvv, &fields.ignored]),
        ];
        for (name, own, list, others) in clashes {
            let own = own.iter().zip(list.iter().flat_map(|list| list.get()));
            let twice = |(name, _): &(&String, _)| others.iter().any(|list| within(list, name));
            if let Some((_, at)) = own.into_iter().find(twice) {
                let quoted = self.source.quote(&at.span());
                let message = format!("{quoted} is in another list of fields too");
                let key = format!("{table}.{name}");
                self.refuse(&at.span(), &key, message, "leave it in one of them");
                return;
            }
        }
    }

    fn warn_of_clear_cards(&mut self, table: &str, written: &CardsSchema) {
        if let Some(at) = &written.requests {
            let action = request(*at.get());
            if matches!(action, RequestAction::Observe | RequestAction::Off) {
                let message = format!("\"{}\" lets card numbers reach the shop", action.as_str());
                let remedy = "write \"tokenize\", \"mask\" or \"reject\" once you have seen enough";
                self.warn(&at.span(), &format!("{table}.requests"), message, remedy);
            }
        }
        if let Some(at) = &written.responses {
            let action = response(*at.get());
            if matches!(action, ResponseAction::Observe | ResponseAction::Off) {
                let message = format!("\"{}\" lets card numbers leave the shop", action.as_str());
                let remedy = "write \"mask\" once you have seen enough";
                self.warn(&at.span(), &format!("{table}.responses"), message, remedy);
            }
        }
        self.warn_of_guesses(&format!("{table}.token_format"), written.token_format.as_ref());
    }

    /// Says what a format leaves to a guesser.
    pub(super) fn warn_of_guesses(&mut self, key: &str, format: Option<&At<FormatSchema>>) {
        if let Some(at) = format
            && matches!(at.get(), FormatSchema::SixFour | FormatSchema::SixFourInvalid)
        {
            let message = "whoever knows the first six and last four guesses the rest once in \
                           100,000 tries, where PCI asks for one in a million";
            let remedy = "write \"brand-four\" unless the shop looks up the issuer";
            self.warn(&at.span(), key, message, remedy);
        }
    }
}

fn request(written: RequestsSchema) -> RequestAction {
    match written {
        RequestsSchema::Mask => RequestAction::Mask,
        RequestsSchema::Observe => RequestAction::Observe,
        RequestsSchema::Off => RequestAction::Off,
        RequestsSchema::Reject => RequestAction::Reject,
        RequestsSchema::Tokenize => RequestAction::Tokenize,
    }
}

fn response(written: ResponsesSchema) -> ResponseAction {
    match written {
        ResponsesSchema::Mask => ResponseAction::Mask,
        ResponsesSchema::Observe => ResponseAction::Observe,
        ResponsesSchema::Off => ResponseAction::Off,
    }
}

pub(super) fn format_of(written: FormatSchema) -> TokenFormat {
    match written {
        FormatSchema::BrandFour => TokenFormat::BrandFour,
        FormatSchema::Opaque => TokenFormat::Opaque,
        FormatSchema::SixFour => TokenFormat::SixFour,
        FormatSchema::SixFourInvalid => TokenFormat::SixFourInvalid,
    }
}
