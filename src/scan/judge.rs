//! Decides about one place: is a card number, a track or a verification code there?

use std::borrow::Cow;
use std::cell::Cell;

use crate::card::iin::Strength;
use crate::card::{Cvv, Pan};

use super::cluster::{self, Cluster};
use super::field::{self, Field};
use super::find;
use super::names::{self, Sense};
use super::shape::{self, Luhn, Window};
use super::table::Table;
use super::view::View;
use super::{Carrier, Find, FindKind, Rules, base64, boundary, literal, tlv, track};

/// How far before a weak number a word about cards counts.
const CONTEXT_MAX: usize = 256;

/// What the places of one body have in common.
pub(super) struct Setting<'a> {
    pub(super) rules: &'a Rules,
    pub(super) carrier: Carrier,
    pub(super) table: &'a Table,
    /// Where the view's text begins in the body.
    pub(super) offset: usize,
    /// How many numbers the decision at hand left alone for their field's name.
    pub(super) vetoed: Cell<u64>,
}

/// What was decided at a place.
pub(super) struct Step {
    /// Where to go on; past the place.
    pub(super) next: usize,
    pub(super) finds: Vec<Find>,
}

/// Decides about the character at `at`.
pub(super) fn step(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Step {
    let skip = |next| Step { next, finds: Vec::new() };
    if let Some(encoded) = base64::begins(view, at) {
        let find = base64::find(view, encoded, at, setting);
        let next = find.as_ref().map_or(base64::end(view, encoded), |find| find.span.end);
        return Step { next, finds: find.into_iter().collect() };
    }
    if cluster::read_digit(view, at).is_none() {
        let length = super::glyph::read(view, at).map_or(1, |glyph| glyph.length);
        return skip(at + length);
    }
    let cluster = Cluster::read(view, at);
    if let Some(find) = tlv::find(view, &cluster) {
        return Step { next: find.span.end, finds: vec![find] };
    }
    if boundary::continues(view, at) {
        return skip(cluster.groups().first().map_or(cluster.resume, |group| group.end));
    }
    let finds = judge(view, &cluster, setting);
    let found = finds.last().map_or(0, |find| find.span.end);
    Step { next: cluster.resume.max(found), finds }
}

/// The verification code at a place that begins no number.
pub(super) fn short(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Option<Find> {
    cluster::read_digit(view, at)?;
    let field = code_field(view, at, setting)?;
    let cluster = Cluster::read(view, at);
    (cluster.digits().len() < crate::card::PAN_DIGITS_MIN)
        .then(|| code(view, &cluster, &field, setting))
        .flatten()
}

/// The numbers in a cluster.
pub(super) fn judge(view: &View<'_>, cluster: &Cluster, setting: &Setting<'_>) -> Vec<Find> {
    let (Some(first), Some(last)) = (cluster.groups().first(), cluster.groups().last()) else {
        return Vec::new();
    };
    if cluster.digits().len() < crate::card::PAN_DIGITS_MIN {
        let codes = setting.rules.finds_codes();
        let field = codes.then(|| code_field(view, first.start, setting)).flatten();
        return field.and_then(|field| code(view, cluster, &field, setting)).into_iter().collect();
    }
    if boundary::is_iban(view, cluster) {
        return Vec::new();
    }
    let windows = shape::windows(cluster, Luhn::Holds);
    let mut finds: Vec<Find> =
        windows.iter().filter_map(|window| card(view, cluster, window, setting)).collect();
    if finds.is_empty() && setting.rules.finds_failing() {
        let windows = shape::windows(cluster, Luhn::Fails);
        finds.extend(windows.iter().filter_map(|window| failing(view, cluster, window, setting)));
    }
    if !finds.is_empty() || !setting.rules.names_cards() {
        return finds;
    }
    let field = field_of(view, first.start, setting);
    let invalid = field.filter(|field| field.direct && setting.rules.is_card_field(&field.name));
    let fits = cluster.digits().len() <= crate::card::PAN_DIGITS_MAX && !cluster.torn;
    let pan = Pan::from_digits(cluster.digits());
    let find = invalid.filter(|_| fits).zip(pan).map(|(field, pan)| Find {
        span: first.start..last.end,
        kind: FindKind::InvalidCard { pan },
        field: find::label(&field.name),
        medium: literal::medium(view, first.start, last.end, setting.carrier),
    });
    find.into_iter().collect()
}

/// The number in a window that fails Luhn: whether it is a token, the vault knows for certain, so that
/// no name or word near it counts.
fn failing(
    view: &View<'_>,
    cluster: &Cluster,
    window: &Window,
    setting: &Setting<'_>,
) -> Option<Find> {
    let (head, tail) = (cluster.groups().get(window.first)?, cluster.groups().get(window.last)?);
    let field = field_of(view, head.start, setting);
    let name = field.as_ref().map_or("", |field| &*field.name);
    if !stands_apart(view, cluster, window) || setting.rules.is_ignored_field(name) {
        return None;
    }
    Some(Find {
        span: head.start..tail.end,
        kind: FindKind::InvalidCard {
            pan: Pan::from_digits(cluster.digits_of(window.first, window.last))?,
        },
        field: find::label(name),
        medium: literal::medium(view, head.start, tail.end, setting.carrier),
    })
}

/// Whether nothing joins the number to what stands before and after it.
fn stands_apart(view: &View<'_>, cluster: &Cluster, window: &Window) -> bool {
    let groups = cluster.groups();
    let digits = cluster.digits_of(window.first, window.last).len();
    let opens = |group| boundary::opens(view, group, digits);
    let closes = |group| boundary::closes(view, group);
    (window.first > 0 || groups.first().is_some_and(opens))
        && (window.last + 1 < groups.len() || groups.last().is_some_and(closes))
}

/// The card in a window, unless its surroundings say otherwise.
fn card(
    view: &View<'_>,
    cluster: &Cluster,
    window: &Window,
    setting: &Setting<'_>,
) -> Option<Find> {
    let (head, tail) = (cluster.groups().get(window.first)?, cluster.groups().get(window.last)?);
    if !stands_apart(view, cluster, window) {
        return None;
    }
    let pan = Pan::from_digits(cluster.digits_of(window.first, window.last))?;
    let field = field_of(view, head.start, setting);
    let name = field.as_ref().map_or("", |field| &field.name);
    let find = |kind| Find {
        span: head.start..tail.end,
        kind,
        field: find::label(name),
        medium: literal::medium(view, head.start, tail.end, setting.carrier),
    };
    if setting.rules.is_ignored_field(name) {
        return None;
    }
    if track::surrounds(view, head.start, tail.end) {
        return Some(find(FindKind::Track { pan }));
    }
    let known = setting.rules.is_card_field(name)
        || allowed(view, head.start, field.as_ref(), window, setting);
    known.then(|| find(FindKind::Card { pan, brand: window.issuer.brand }))
}

/// Whether names and words near the number let it be a card.
fn allowed(
    view: &View<'_>,
    start: usize,
    field: Option<&Field<'_>>,
    window: &Window,
    setting: &Setting<'_>,
) -> bool {
    let before = view.before(start);
    let near = before.get(before.len().saturating_sub(CONTEXT_MAX)..).unwrap_or_default();
    let sense = field.map_or(Sense::Unknown, |field| names::sense(&field.name));
    let direct = field.is_some_and(|field| field.direct);
    let vetoed = match sense {
        Sense::Other => direct,
        Sense::Card => false,
        Sense::Code | Sense::Unknown => names::prose_says_other(near),
    };
    let vetoed = vetoed && !setting.rules.is_strict();
    let proven = match window.issuer.strength {
        Strength::Strong => true,
        Strength::Weak => sense == Sense::Card || !vetoed && names::speaks_of_cards(near),
    };
    setting.vetoed.set(setting.vetoed.get() + u64::from(vetoed && proven));
    proven && !vetoed
}

/// The field that begins at a place and is named for a verification code.
fn code_field<'a>(view: &View<'a>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    let field = match column_of(view, at, setting) {
        Some(column) => column,
        None => field::begun(view, at)?,
    };
    (setting.rules.names_code(&field.name) && !setting.rules.is_ignored_field(&field.name))
        .then_some(field)
}

/// The verification code a cluster is, if its field holds nothing else.
fn code(
    view: &View<'_>,
    cluster: &Cluster,
    field: &Field<'_>,
    setting: &Setting<'_>,
) -> Option<Find> {
    let [group] = cluster.groups() else { return None };
    if !matches!(group.count, 3 | 4) || !literal::ends_value(view, group.end) {
        return None;
    }
    Some(Find {
        span: group.start..group.end,
        kind: FindKind::Cvv(Cvv::from_digits(cluster.digits())?),
        field: find::label(&field.name),
        medium: literal::medium(view, group.start, group.end, setting.carrier),
    })
}

fn field_of<'a>(view: &View<'a>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    column_of(view, at, setting).or_else(|| field::of(view, at))
}

fn column_of<'a>(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    if setting.carrier != Carrier::Csv {
        return None;
    }
    let name = setting.table.column(view, at, setting.offset)?;
    Some(Field { name: Cow::Owned(name), direct: true })
}
