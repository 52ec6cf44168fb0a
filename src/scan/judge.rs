//! Decides about one place: is a card number, a track or a verification code there?

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::card::iin::Strength;
use crate::card::{Cvv, PAN_DIGITS_MAX, PAN_DIGITS_MIN, Pan};

use super::cluster::{self, Cluster, Group};
use super::field::{self, Field};
use super::find::{self, Beside, Coding, Medium};
use super::lists::Lists;
use super::names::{self, Sense};
use super::shape::{self, Luhn, Window};
use super::table::Table;
use super::view::View;
use super::{Carrier, Find, FindKind, Rules};
use super::{base64, boundary, hexed, literal, scientific, tlv, track};

/// How far before a weak number a word about cards counts.
const CONTEXT_MAX: usize = 256;

/// What the places of one body have in common.
pub(super) struct Setting<'a> {
    pub(super) rules: &'a Rules,
    pub(super) carrier: Carrier,
    pub(super) table: &'a Table,
    /// The columns that lists in the text name.
    pub(super) lists: &'a Lists,
    /// The field that holds the text, where that is encoded in another.
    pub(super) holder: Option<Field<'a>>,
    /// Where the view's text begins in the body.
    pub(super) offset: usize,
    /// How many numbers the decision at hand left alone for their field's name.
    pub(super) vetoed: Cell<u64>,
    /// Where [`step`] reads what stands at a place.
    pub(super) cluster: RefCell<Cluster>,
}

/// Decides about the character at `at`, and says where to go on.
pub(super) fn step(
    view: &View<'_>,
    at: usize,
    setting: &Setting<'_>,
    finds: &mut Vec<Find>,
) -> usize {
    let known = finds.len();
    let behind = |finds: &[Find]| finds.get(known..)?.last().map(|find| find.span.end);
    if let Some(encoded) = base64::begins(view, at) {
        finds.extend(base64::find(view, encoded, at, setting));
        return behind(finds).unwrap_or_else(|| base64::end(view, encoded));
    }
    if cluster::read_digit(view, at).is_none() {
        return at + super::glyph::read(view, at).map_or(1, |glyph| glyph.length);
    }
    let mut cluster = setting.cluster.borrow_mut();
    cluster.read_anew(view, at);
    if let Some(objects) = tlv::find(view, &cluster) {
        finds.extend(objects);
        return behind(finds).unwrap_or(0);
    }
    finds.extend(hexed::find(view, at, setting));
    if let Some(end) = behind(finds) {
        return end;
    }
    if boundary::continues(view, at) {
        return cluster.groups().first().map_or(cluster.resume, |group| group.end);
    }
    judge(view, &cluster, setting, finds);
    behind(finds).unwrap_or(0).max(cluster.resume)
}

/// The verification code at a place that begins no number.
pub(super) fn short(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Option<Find> {
    cluster::read_digit(view, at)?;
    let field = code_field(view, at, setting)?;
    let cluster = Cluster::read(view, at);
    (cluster.digits().len() < PAN_DIGITS_MIN)
        .then(|| code(view, &cluster, &field, setting))
        .flatten()
}

/// Adds the numbers in a cluster.
pub(super) fn judge(
    view: &View<'_>,
    cluster: &Cluster,
    setting: &Setting<'_>,
    finds: &mut Vec<Find>,
) {
    let Some(first) = cluster.groups().first() else { return };
    if cluster.digits().len() < PAN_DIGITS_MIN {
        let codes = setting.rules.finds_codes();
        let field = codes.then(|| code_field(view, first.start, setting)).flatten();
        finds.extend(field.and_then(|field| code(view, cluster, &field, setting)));
        return;
    }
    if boundary::is_iban(view, cluster) {
        return;
    }
    let known = finds.len();
    let apart = |window: &Window| stands_apart(view, cluster, window);
    for window in shape::windows(cluster, Luhn::Holds, apart) {
        card(view, (cluster, &window), setting, finds);
    }
    if finds.len() > known {
        return;
    }
    if let Some(find) = float(view, cluster, setting) {
        return finds.push(find);
    }
    if setting.rules.finds_failing() {
        let windows = shape::windows(cluster, Luhn::Fails, apart);
        finds.extend(windows.filter_map(|window| failing(view, cluster, &window, setting)));
    }
    if finds.len() == known && setting.rules.names_cards() {
        finds.extend(invalid(view, cluster, setting));
    }
}

/// The number that a cluster is in a field which the configuration names as a card field.
fn invalid(view: &View<'_>, cluster: &Cluster, setting: &Setting<'_>) -> Option<Find> {
    let first = cluster.groups().first()?;
    let field = field_of(view, first.start, setting)?;
    // What follows a long group is read again by itself: it may begin the next number.
    let ends = cluster.groups().get(..cluster.heads).and_then(<[Group]>::last);
    let last = ends.or(cluster.groups().last())?;
    let count = last.first + last.count;
    let fits = (PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&count) && !cluster.torn;
    if !fits || !field.direct || !setting.rules.is_card_field(&field.name) {
        return None;
    }
    Some(Find {
        span: first.start..last.end,
        kind: FindKind::InvalidCard { pan: Pan::from_digits(cluster.digits().get(..count)?)? },
        field: find::label(&field.name),
        medium: literal::medium(view, first.start, last.end, setting.carrier),
        coding: Coding::Plain,
        beside: Beside::default(),
    })
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
    if setting.rules.is_ignored_field(name) {
        return None;
    }
    Some(Find {
        span: head.start..tail.end,
        kind: FindKind::InvalidCard {
            pan: Pan::from_digits(cluster.digits_of(window.first, window.last))?,
        },
        field: find::label(name),
        medium: literal::medium(view, head.start, tail.end, setting.carrier),
        coding: Coding::Plain,
        beside: Beside::default(),
    })
}

/// Whether nothing joins the number in a window to the text before and after the cluster.
fn stands_apart(view: &View<'_>, cluster: &Cluster, window: &Window) -> bool {
    let groups = cluster.groups();
    let (begins, ends) = (window.first == 0, window.last + 1 == groups.len());
    let (Some(head), Some(tail)) = (groups.get(window.first), groups.get(window.last)) else {
        return false;
    };
    let track = || track::tail(view, head.start, tail.end).is_some();
    let digits = cluster.digits_of(window.first, window.last).len();
    let opens = || {
        boundary::opens(view, head, digits) || track::in_first_track(view, head.start) && track()
    };
    (!begins || opens()) && (!ends || boundary::closes(view, tail) || track())
}

/// Adds the card in a window, unless its surroundings say otherwise, and the rest of its track.
fn card(
    view: &View<'_>,
    (cluster, window): (&Cluster, &Window),
    setting: &Setting<'_>,
    finds: &mut Vec<Find>,
) -> Option<()> {
    let (head, tail) = (cluster.groups().get(window.first)?, cluster.groups().get(window.last)?);
    let digits = cluster.digits_of(window.first, window.last);
    let track = track::tail(view, head.start, tail.end);
    let pan = Pan::from_digits(digits)?;
    let field = field_of(view, head.start, setting);
    let name = field.as_ref().map_or("", |field| &field.name);
    let find = |kind, beside, span: Range<usize>| Find {
        medium: literal::medium(view, span.start, span.end, setting.carrier),
        coding: Coding::Plain,
        beside,
        field: find::label(name),
        span,
        kind,
    };
    if setting.rules.is_ignored_field(name) {
        return None;
    }
    let (beside, number) = with_neighbours(cluster, window)?;
    let brand = window.issuer.brand;
    if let Some(rest) = track {
        finds.push(find(FindKind::Track { pan, brand }, beside, number));
        finds.push(find(FindKind::TrackTail, Beside::default(), rest));
    } else if setting.rules.is_card_field(name)
        || allowed(view, head.start, field.as_ref(), window, setting)
    {
        finds.push(find(FindKind::Card { pan, brand }, beside, number));
    }
    Some(())
}

/// Where a number stands, with what it shares digits with.
fn with_neighbours(cluster: &Cluster, window: &Window) -> Option<(Beside, Range<usize>)> {
    let group = |index: usize| cluster.groups().get(index);
    let (head, tail) = (group(window.first)?, group(window.last)?);
    let (from, to) = (group(window.reach.0)?, group(window.reach.1)?);
    let after = to.first + to.count - (tail.first + tail.count);
    Some((Beside { before: head.first - from.first, after }, from.start..to.end))
}

/// The card that a number with an exponent is. Those are measurements as a rule: only the name of
/// its field makes one a card.
fn float(view: &View<'_>, cluster: &Cluster, setting: &Setting<'_>) -> Option<Find> {
    let number = scientific::read(view, cluster)?;
    let (first, last) = (cluster.groups().first()?, cluster.groups().last()?);
    let field = field_of(view, first.start, setting).filter(|field| field.direct)?;
    let named =
        setting.rules.is_card_field(&field.name) || names::sense(&field.name) == Sense::Card;
    if !named
        || setting.rules.is_ignored_field(&field.name)
        || !boundary::opens(view, first, number.digits.len())
    {
        return None;
    }
    let pan = Pan::from_digits(&number.digits)?;
    Some(Find {
        span: first.start..last.end,
        kind: FindKind::Card { pan, brand: number.issuer.brand },
        field: find::label(&field.name),
        medium: Medium::Number,
        coding: Coding::Plain,
        beside: Beside::default(),
    })
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
    let proven = match window.strength {
        Strength::Strong => true,
        Strength::Weak => sense == Sense::Card || !vetoed && names::speaks_of_cards(near),
    };
    setting.vetoed.set(setting.vetoed.get() + u64::from(vetoed && proven));
    proven && !vetoed
}

/// The field that begins at a place and is named for a verification code.
fn code_field<'a>(view: &View<'a>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    let field = match column_of(view, at, setting) {
        Some(column) => Some(column).filter(|_| begins_cell(view, at))?,
        None => field::begun(view, at, setting.lists)?,
    };
    (setting.rules.names_code(&field.name) && !setting.rules.is_ignored_field(&field.name))
        .then_some(field)
}

/// Whether nothing but a quote stands before `at` in its cell: the last digits of a masked number are
/// no verification code.
fn begins_cell(view: &View<'_>, at: usize) -> bool {
    let mark = view.before(at).iter().rev().find(|byte| !matches!(byte, b' ' | b'"' | b'\''));
    matches!(mark, None | Some(b'\n' | b',' | b';' | b'\t' | b'|'))
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
        coding: Coding::Plain,
        beside: Beside::default(),
    })
}

/// The field that holds the byte at `at`.
pub(super) fn field_of<'a>(view: &View<'a>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    let field = column_of(view, at, setting).or_else(|| field::of(view, at, setting.lists));
    match &setting.holder {
        Some(holder) if field.as_ref().is_none_or(|field| field.name.is_empty()) => {
            let direct = holder.direct && field.is_some_and(|field| field.direct);
            Some(Field { name: Cow::Owned(holder.name.clone().into_owned()), direct })
        }
        _ => field,
    }
}

fn column_of<'a>(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Option<Field<'a>> {
    let name = setting.table.column(view, at, (setting.carrier, setting.offset))?;
    Some(Field { name: Cow::Owned(name), direct: true })
}
