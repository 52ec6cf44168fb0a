//! Which tokens of a request become card numbers, by the policy of its gateway.

use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;

use crate::policy::{FieldPattern, Gateway, join_names, name_parts};
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
    /// In some fields; the outline moves along.
    Fields(Outline),
    Nowhere,
}

impl Reveal {
    /// For a text with this outline of a request with this method and path.
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        (method, path): (&Method, &str),
        outline: Outline,
    ) -> Arc<Self> {
        let policy = &gateway.reveal;
        let reach = if !policy.admits(method, path, &login::normalise(path)) {
            Reach::Nowhere
        } else if policy.fields.is_some() {
            Reach::Fields(outline)
        } else {
            Reach::Everywhere
        };
        Arc::new(Self { gateway: Arc::clone(gateway), reach: Mutex::new(reach) })
    }

    /// For each find, in order, whether it is to be revealed.
    pub(in crate::proxy) fn judge(&self, runs: &[Decided]) -> Vec<bool> {
        let finds = runs.iter().map(|run| run.finds.len()).sum();
        match &mut *self.reach.lock() {
            Reach::Everywhere => vec![true; finds],
            Reach::Fields(outline) => {
                let patterns = self.gateway.reveal.fields.as_deref().unwrap_or_default();
                runs.iter().flat_map(|run| judge_run(run, outline, patterns)).collect()
            }
            Reach::Nowhere => vec![false; finds],
        }
    }

    /// Moves past what holds nothing.
    pub(in crate::proxy) fn pass(&self, runs: &[Decided]) {
        if let Reach::Fields(outline) = &mut *self.reach.lock() {
            runs.iter().for_each(|run| outline.pass(&run.bytes));
        }
    }
}

fn judge_run(run: &Decided, outline: &mut Outline, patterns: &[FieldPattern]) -> Vec<bool> {
    let mut order: Vec<(usize, &Find)> = run.finds.iter().enumerate().collect();
    order.sort_by_key(|(_, find)| find.span.start);
    let mut judged = vec![false; run.finds.len()];
    let mut passed = 0;
    for (place, find) in order {
        outline.pass(run.bytes.get(passed..find.span.start).unwrap_or_default());
        passed = passed.max(find.span.start);
        if let Some(verdict) = judged.get_mut(place) {
            *verdict = is_meant(find, outline, patterns);
        }
    }
    outline.pass(run.bytes.get(passed..).unwrap_or_default());
    judged
}

fn is_meant(find: &Find, outline: &Outline, patterns: &[FieldPattern]) -> bool {
    let Some(names) = outline.names() else { return false };
    let parts: Vec<String> = names.iter().flat_map(|name| name_parts(name)).collect();
    let name = join_names(&parts);
    patterns.iter().any(|pattern| match find.kind {
        FindKind::Cvv(_) => pattern.matches_beside(&name),
        FindKind::Card { .. } | FindKind::InvalidCard | FindKind::Track { .. } => {
            pattern.matches(&name)
        }
    })
}
