//! Which tokens of a request become card numbers, by the policy of its gateway.

use std::collections::HashSet;
use std::sync::Arc;

use http::{Method, request};
use parking_lot::Mutex;

use crate::policy::{Gateway, enclosing, join_names, name_parts, own_name};
use crate::proxy::headers::METHOD_OVERRIDES;
use crate::proxy::login;
use crate::scan::{Decided, Find, FindKind, Outline};

/// The policy for one text of one request: its body, or its query.
pub(in crate::proxy) struct Reveal {
    pub(in crate::proxy) gateway: Arc<Gateway>,
    reach: Mutex<Reach>,
}

/// Where in the text tokens become card numbers.
enum Reach {
    Everywhere,
    Fields(Fields),
    Nowhere,
}

/// In some fields; a verification code goes with the card it stands beside, in a field of its own.
struct Fields {
    /// Moves along with the text.
    outline: Outline,
    /// What encloses the cards that were revealed.
    around_cards: HashSet<String>,
}

impl Reveal {
    /// For a text with this outline of a request with this head.
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        head: &request::Parts,
        outline: Outline,
    ) -> Arc<Self> {
        let policy = &gateway.reveal;
        let path = head.uri.path();
        let read = login::normalise(path);
        // Some servers decode twice.
        let again = login::normalise(&read);
        let admitted =
            methods(head).is_some_and(|methods| policy.admits(&methods, &[path, &read, &again]));
        let reach = if !admitted || read.contains(char::REPLACEMENT_CHARACTER) {
            Reach::Nowhere
        } else if policy.fields.is_some() {
            Reach::Fields(Fields { outline, around_cards: HashSet::new() })
        } else {
            Reach::Everywhere
        };
        Arc::new(Self { gateway: Arc::clone(gateway), reach: Mutex::new(reach) })
    }

    /// For each find, in order, whether it is to be revealed.
    pub(in crate::proxy) fn judge(&self, runs: &[Decided]) -> Vec<bool> {
        let finds = runs.iter().flat_map(|run| &run.finds);
        match &mut *self.reach.lock() {
            Reach::Everywhere => finds.map(|_| true).collect(),
            Reach::Fields(fields) => fields.judge(runs, &self.gateway),
            Reach::Nowhere => finds.map(|_| false).collect(),
        }
    }

    /// Moves past what holds nothing.
    pub(in crate::proxy) fn pass(&self, runs: &[Decided]) {
        if let Reach::Fields(fields) = &mut *self.reach.lock() {
            runs.iter().for_each(|run| fields.outline.pass(&run.bytes));
        }
    }
}

impl Fields {
    fn judge(&mut self, runs: &[Decided], gateway: &Gateway) -> Vec<bool> {
        let patterns = gateway.reveal.fields.as_deref().unwrap_or_default();
        let names: Vec<_> = runs.iter().flat_map(|run| self.names(run)).collect();
        let finds = || runs.iter().flat_map(|run| &run.finds).zip(&names);
        let meant = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        let cards = finds().filter(|(find, _)| !matches!(find.kind, FindKind::Cvv(_)));
        let cards = cards.filter_map(|(_, name)| name.as_deref());
        let around = cards.filter(|name| meant(name)).map(|name| enclosing(name).to_owned());
        self.around_cards.extend(around);
        let verdict = |(find, name): (&Find, &Option<String>)| {
            let Some(name) = name else { return false };
            // Not what a text beside a card says of itself: `"note":"cvc: 123"`.
            let beside = matches!(find.kind, FindKind::Cvv(_))
                && self.around_cards.contains(enclosing(name))
                && gateway.request_rules.names_code(own_name(name));
            beside || meant(name)
        };
        finds().map(verdict).collect()
    }

    /// The whole name of the field of each find.
    fn names(&mut self, run: &Decided) -> Vec<Option<String>> {
        let mut order: Vec<(usize, &Find)> = run.finds.iter().enumerate().collect();
        order.sort_by_key(|(_, find)| find.span.start);
        let mut names = vec![None; run.finds.len()];
        let mut passed = 0;
        for (place, find) in order {
            self.outline.pass(run.bytes.get(passed..find.span.start).unwrap_or_default());
            passed = passed.max(find.span.start);
            if let Some(name) = names.get_mut(place) {
                *name = self.outline.names().map(|names| whole_name(&names));
            }
        }
        self.outline.pass(run.bytes.get(passed..).unwrap_or_default());
        names
    }
}

/// Every method that the provider may take the request's to be; nothing where one of them is none.
fn methods(head: &request::Parts) -> Option<Vec<Method>> {
    let others = METHOD_OVERRIDES.iter().flat_map(|name| head.headers.get_all(*name));
    let others =
        others.map(|value| Method::from_bytes(&value.as_bytes().to_ascii_uppercase()).ok());
    others.chain([Some(head.method.clone())]).collect()
}

fn whole_name(names: &[String]) -> String {
    let parts: Vec<String> = names.iter().flat_map(|name| name_parts(name)).collect();
    join_names(&parts)
}
