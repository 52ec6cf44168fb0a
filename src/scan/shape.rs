//! Which stretches of a cluster can be card numbers, by their digits and grouping alone.

use crate::card::iin::{self, Issuer, Strength};
use crate::card::{MaskedPan, PAN_DIGITS_MAX, PAN_DIGITS_MIN, luhn};

use super::boundary;
use super::cluster::{Cluster, Gap, Group};
use super::glyph::hex;
use super::hexed;
use super::view::{View, leading_digits};

/// How card numbers are grouped when people write them.
const GROUPINGS: [&[usize]; 16] = [
    &[4, 4, 4, 4],
    &[4, 4, 4, 4, 1],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 3],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 3],
    &[4, 4, 4, 5],
    &[8, 8],
    &[6, 13],
    &[4, 4, 5],
    &[4, 3, 3, 3],
    &[4, 4, 4],
    &[4, 4, 4, 1],
    &[4, 4, 4, 2],
    &[8, 8, 3],
];

/// The sizes of up to [`SIZES_MAX`] groups, a nibble each, so that groupings are compared at once: to
/// compare them group by group was half of what a number in four groups took.
#[derive(Clone, Copy)]
struct Sizes {
    nibbles: usize,
    count: usize,
}

/// The most groups of a grouping.
const SIZES_MAX: usize = 5;
/// A group so large is like none of a grouping.
const SIZE_MAX: usize = 15;

impl Sizes {
    const NONE: Self = Self { nibbles: 0, count: 0 };

    const fn and(self, size: usize) -> Self {
        let size = if size < SIZE_MAX { size } else { SIZE_MAX };
        Self { nibbles: self.nibbles | size << (self.count * 4), count: self.count + 1 }
    }

    /// Whether these begin with the sizes of a grouping.
    fn begin_with(self, grouping: Self) -> bool {
        let asked = (1 << (grouping.count * 4)) - 1;
        grouping.count <= self.count && self.nibbles & asked == grouping.nibbles
    }
}

static SIZES: [Sizes; GROUPINGS.len()] = {
    let mut all = [Sizes::NONE; GROUPINGS.len()];
    let mut place = 0;
    while place < all.len() {
        let mut group = 0;
        while group < GROUPINGS[place].len() {
            all[place] = all[place].and(GROUPINGS[place][group]);
            group += 1;
        }
        place += 1;
    }
    all
};

/// Neighbours of a window's own length before and after it that make it part of a list.
const LIKE_BEFORE_MAX: usize = 1;
const LIKE_AFTER_MAX: usize = 2;

/// Groups `first..=last` of a cluster whose digits make a card number.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) first: usize,
    pub(super) last: usize,
    /// The first and the last group of these and of numbers that were not chosen but could be read from
    /// what a mask of these leaves.
    pub(super) reach: (usize, usize),
    pub(super) issuer: &'static Issuer,
    /// How much it takes to believe it.
    pub(super) strength: Strength,
}

/// What the check digit of a window must say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Luhn {
    /// It fails, and all else is a card's.
    Fails,
    /// It holds, or the range has none.
    Holds,
}

impl Luhn {
    fn accepts(self, digits: &[u8], issuer: &Issuer) -> bool {
        match self {
            Self::Fails => issuer.luhn && !luhn::holds(digits),
            Self::Holds => !issuer.luhn || luhn::holds(digits),
        }
    }
}

/// Whose card these digits can be.
#[inline(never)]
pub(super) fn issuer_of(digits: &[u8], luhn: Luhn) -> Option<&'static Issuer> {
    if !(PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&digits.len()) {
        return None;
    }
    let issuer = iin::issuer(digits)?;
    luhn.accepts(digits, issuer).then_some(issuer)
}

/// Where the run of digits at `place` ends, if it is a number by itself and certainly no card's: the
/// quick answer for most long numbers there are.
pub(super) fn ruled_out(view: &View<'_>, place: usize) -> Option<usize> {
    let length = leading_digits(view.ahead(place)).len();
    let end = place + length;
    let next = view.byte(end);
    // What may continue the number, or make it part of a data object in hexadecimal.
    let open =
        |byte: u8| matches!(byte, 0 | b'%' | b'&' | b'=' | b'\\' | 0x80..) || hex(byte).is_some();
    if length < PAN_DIGITS_MIN || next.is_some_and(open) {
        return None;
    }
    if view.before(place).last().is_some_and(|&byte| hex(byte).is_some())
        && !boundary::continues(view, place)
    {
        return None;
    }
    let digits = view.seen(place, end);
    (!may_be_card(digits)).then_some(end)
}

/// Whether these ASCII digits may be a card number by themselves; the cheap questions first.
pub(super) fn may_be_card(digits: &[u8]) -> bool {
    let [tens, ones, ..] = digits else { return false };
    if digits.len() > PAN_DIGITS_MAX {
        return hexed::may_write_card(digits);
    }
    iin::lengths().of([*tens, *ones]).fit(digits.len(), luhn::holds(digits))
        && issuer_of(digits, Luhn::Holds).is_some()
}

/// The windows of a cluster that may be cards, in order and apart from each other. Where two
/// overlap, the stronger range wins, then the one that leaves the more likely neighbours, then the
/// longer number, then the earlier. What does not stand apart from the text beside the cluster is none:
/// it would hide its neighbours, and once these are masked no longer do so.
pub(super) fn windows(
    cluster: &Cluster,
    luhn: Luhn,
    apart: impl Fn(&Window) -> bool,
) -> impl Iterator<Item = Window> {
    let alone = stands_alone(cluster);
    let only = alone.then(|| only(cluster, luhn).filter(&apart)).flatten();
    let several = if alone { Vec::new() } else { several(cluster, luhn, apart) };
    only.into_iter().chain(several)
}

/// The first group, if it may be a card by itself.
fn only(cluster: &Cluster, luhn: Luhn) -> Option<Window> {
    let issuer = issuer_of(cluster.digits_of(0, 0), luhn)?;
    let window = Window { first: 0, last: 0, reach: (0, 0), issuer, strength: issuer.strength };
    (!joined(cluster, 0, 0)).then_some(window)
}

fn several(cluster: &Cluster, luhn: Luhn, apart: impl Fn(&Window) -> bool) -> Vec<Window> {
    let long = |first: &usize| {
        let begin = cluster.groups().get(*first).map_or(0, |group| group.first);
        cluster.digits().len() - begin >= PAN_DIGITS_MIN
    };
    // Those that a later look decides on are weighed too: what stands beside a number says what it is.
    let firsts = (0..cluster.groups().len()).take_while(long);
    let every = firsts.flat_map(|first| from(cluster, first, luhn));
    let mut every: Vec<Window> = every.filter(apart).collect();
    if every.is_empty() {
        return every;
    }
    let mut all = every.clone();
    if all.len() > 1 {
        drop_listed(cluster, &mut all);
        all.sort_by_key(|window| {
            let digits = cluster.digits_of(window.first, window.last).len();
            let weak = window.strength == Strength::Weak;
            (weak, oddness(cluster, window), PAN_DIGITS_MAX - digits, window.first)
        });
    }
    let mut chosen: Vec<Window> = Vec::new();
    for &window in &all {
        if chosen.iter().all(|other| other.last < window.first || window.last < other.first) {
            chosen.push(window);
        }
    }
    chosen.sort_by_key(|window| window.first);
    let apart = chosen.iter().filter(|window| !listed(cluster, window, &chosen)).copied();
    let mut apart: Vec<Window> = apart.collect();
    if every.len() > chosen.len() {
        every
            .retain(|other| other.strength == Strength::Strong && !listed(cluster, other, &chosen));
        reach_out(cluster, &mut apart, &every);
    }
    apart.retain(|window| window.first < cluster.heads);
    apart
}

/// Drops what is a stretch of a list whatever else is chosen: it would keep true numbers out, as
/// `4444 4111 1111 1111` does between two cards.
fn drop_listed(cluster: &Cluster, all: &mut Vec<Window>) {
    let every = all.clone();
    all.retain(|window| {
        let apart = |other: &&Window| other.last < window.first || window.last < other.first;
        let apart: Vec<Window> = every.iter().filter(apart).copied().collect();
        !listed(cluster, window, &apart)
    });
}

/// Widens each window to the numbers that a mask of it would leave, as far as the next window.
fn reach_out(cluster: &Cluster, windows: &mut [Window], others: &[Window]) {
    let mut free = 0;
    let mut rest = windows;
    while let [window, behind @ ..] = rest {
        let last = behind.first().map_or(cluster.groups().len(), |next| next.first) - 1;
        let (mut from, mut to) = window.reach;
        for other in others.iter().filter(|other| outlives(cluster, window, other)) {
            from = from.min(other.first.max(free));
            to = to.max(other.last.min(last));
        }
        window.reach = (from, to);
        free = to + 1;
        rest = behind;
    }
}

/// Whether another number shares digits with a window, and only such as a mask leaves.
fn outlives(cluster: &Cluster, window: &Window, other: &Window) -> bool {
    let (first, last) = (window.first.max(other.first), window.last.min(other.last));
    let count = |first, last| cluster.digits_of(first, last).len();
    let hidden = MaskedPan::hidden(count(window.first, window.last));
    let shared = count(first, last);
    first <= last
        && (first == window.first && shared <= hidden.start
            || last == window.last && count(window.first, last) - shared >= hidden.end)
}

/// Whether the first group alone can be a number: no grouping begins with so many digits. It takes a
/// third of what it takes to try them all, and most long numbers among others are such.
fn stands_alone(cluster: &Cluster) -> bool {
    /// The longest group that a grouping begins with.
    const GROUP_MAX: usize = 8;
    match cluster.groups() {
        [_] => true,
        [head, next, ..] => {
            cluster.heads == 1 && head.count > GROUP_MAX && next.gap != Some(Gap::Tags)
        }
        [] => false,
    }
}

/// The windows that begin with one group.
fn from(cluster: &Cluster, first: usize, luhn: Luhn) -> impl Iterator<Item = Window> {
    let groups = cluster.groups().get(first..).unwrap_or_default();
    let gap = groups.get(1).and_then(|group| group.gap);
    let sizes = alike(groups, gap);
    let grouped = SIZES.iter().filter(move |grouping| sizes.begin_with(**grouping));
    // Markup may split a number anywhere, as long as all of it belongs to the number.
    let tagged = (gap == Some(Gap::Tags)).then_some(groups.len());
    let tagged = tagged.filter(|_| tagged_alone(cluster, first));
    let lengths = std::iter::once(1).chain(grouped.map(|grouping| grouping.count)).chain(tagged);
    lengths.filter_map(move |length| {
        let last = first + length - 1;
        let issuer = issuer_of(cluster.digits_of(first, last), luhn)?;
        // Two groups that a dot separates are a decimal fraction as a rule.
        let strength = match gap {
            Some(Gap::Dot) if length == 2 => Strength::Weak,
            _ => issuer.strength,
        };
        let window = Window { first, last, reach: (first, last), issuer, strength };
        (!joined(cluster, first, last)).then_some(window)
    })
}

/// The sizes of the first groups, as far as the same separator is between them.
fn alike(groups: &[Group], gap: Option<Gap>) -> Sizes {
    let near = groups.iter().take(SIZES_MAX).enumerate();
    let same = near.take_while(|(place, group)| *place == 0 || group.gap == gap);
    same.fold(Sizes::NONE, |sizes, (_, group)| sizes.and(group.count))
}

/// Whether markup joins this group to those after it, and to none before.
fn tagged_alone(cluster: &Cluster, first: usize) -> bool {
    let before = cluster.groups().get(first).and_then(|group| group.gap);
    let rest = cluster.groups().get(first + 1..).unwrap_or_default();
    let all = rest.iter().all(|group| group.gap == Some(Gap::Tags));
    before != Some(Gap::Tags) && all && !cluster.torn
}

/// How unlikely the groups beside a window are: after a card comes its expiry, before it anything.
fn oddness(cluster: &Cluster, window: &Window) -> u8 {
    let four = |index: Option<usize>| {
        let digits = index.map_or(&[][..], |index| cluster.digits_of(index, index));
        (digits.len() == 4).then(|| digits.to_vec())
    };
    let before = four(window.first.checked_sub(1)).is_some();
    let after = four(Some(window.last + 1)).is_some_and(|digits| !is_expiry(&digits));
    u8::from(before) + u8::from(after) * 2
}

/// `MMYY`
fn is_expiry(digits: &[u8]) -> bool {
    matches!(digits, [b'0', b'1'..=b'9', ..] | [b'1', b'0'..=b'2', ..])
}

/// Whether dashes or dots join the window to something longer.
fn joined(cluster: &Cluster, first: usize, last: usize) -> bool {
    let edge = |index: usize| cluster.groups().get(index).and_then(|group| group.gap);
    !edge_allows(edge(first))
        || !edge_allows(edge(last + 1)) && !zero_fraction(cluster, first, last)
}

/// Whether the window is a stretch of a longer list of numbers.
fn listed(cluster: &Cluster, window: &Window, chosen: &[Window]) -> bool {
    if window.first == window.last {
        return false;
    }
    let length = cluster.groups().get(window.first).map_or(0, |group| group.count);
    let free = |index: usize| chosen.iter().all(|other| index < other.first || other.last < index);
    let like = |index: &usize| {
        free(*index) && cluster.groups().get(*index).is_some_and(|group| group.count == length)
    };
    let before = (0..window.first).rev().take_while(like).count();
    let after = (window.last + 1..cluster.groups().len()).take_while(like).count();
    before > LIKE_BEFORE_MAX || after > LIKE_AFTER_MAX
}

/// A dash or dot beside a number makes it part of something longer: a UUID, an OID, a fraction.
fn edge_allows(edge: Option<Gap>) -> bool {
    match edge {
        None | Some(Gap::Plus | Gap::Space | Gap::Tags) => true,
        Some(Gap::Dash | Gap::Dot | Gap::Wide) => false,
    }
}

/// `4111111111111111.0`: a number that some language turned into a float.
fn zero_fraction(cluster: &Cluster, first: usize, last: usize) -> bool {
    let Some(fraction) = cluster.groups().get(last + 1) else { return false };
    let zeros = cluster.digits_of(last + 1, last + 1).iter().all(|&digit| digit == b'0');
    let ends = last + 2 == cluster.groups().len() && first == last;
    ends && zeros && fraction.gap == Some(Gap::Dot) && fraction.count <= 2
}
