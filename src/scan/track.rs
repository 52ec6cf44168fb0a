//! Magnetic-stripe data (ISO/IEC 7813): track 1 `%B<number>^NAME^…`, track 2 `;<number>=YYMM…`.

use super::view::View;

/// Expiry and service code, the least that follows the number of a track.
const TAIL_DIGITS_MIN: usize = 7;
/// The longest name of track 1, with its separators.
const NAME_MAX: usize = 28;

/// Whether the number from `start` to `end` stands within a track.
pub(super) fn surrounds(view: &View<'_>, start: usize, end: usize) -> bool {
    let before = view.before(start);
    match view.byte(end) {
        Some(b'^') => {
            let name = (1..=NAME_MAX).find(|&place| view.byte(end + place) == Some(b'^'));
            matches!(before.last(), Some(b'B' | b'b'))
                && name.is_some_and(|place| tail(view, end + place + 1))
        }
        Some(b'=' | b'D' | b'd') => tail(view, end + 1),
        _ => false,
    }
}

fn tail(view: &View<'_>, at: usize) -> bool {
    (at..at + TAIL_DIGITS_MIN).all(|place| view.byte(place).is_some_and(|b| b.is_ascii_digit()))
}
