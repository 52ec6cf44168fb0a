//! When a certificate is asked for: pure arithmetic on seconds since 1970.

use serde::{Deserialize, Serialize};

use super::leaf::Leaf;

pub(super) const MINUTE_S: u64 = 60;
pub(super) const HOUR_S: u64 = 60 * MINUTE_S;

/// The longest wait of ours after failures.
const BACKOFF_MAX_S: u64 = 6 * HOUR_S;
/// The longest wait that an authority is believed.
const HOLD_MAX_S: u64 = 7 * 24 * HOUR_S;
/// How often an authority is asked when a certificate should be renewed (RFC 9773 §4.3.3).
const ASK_MAX_S: u64 = 6 * HOUR_S;

/// Between nothing and one, exclusive; passed in, so that tests know it.
pub(super) type Chance = f64;

/// What is known of a certificate that was issued.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Issued {
    /// By the authority with this directory.
    pub(super) directory: String,
    pub(super) names: Vec<String>,
    pub(super) at_s: u64,
    pub(super) not_before_s: u64,
    pub(super) not_after_s: u64,
    /// When it is to be renewed.
    pub(super) renew_s: u64,
    /// When the authority is asked for a better time.
    pub(super) ask_s: u64,
    /// What it said last: within these.
    #[serde(default)]
    pub(super) window: Option<(u64, u64)>,
    /// How many times in a row it was renewed before two thirds of its life.
    #[serde(default)]
    pub(super) early: u32,
}

impl Issued {
    /// A certificate of this directory for these names, as of `at_s`.
    pub(super) fn new(
        (directory, names): (String, Vec<String>),
        leaf: &Leaf,
        at_s: u64,
        chance: Chance,
    ) -> Self {
        let Leaf { not_before_s, not_after_s, .. } = *leaf;
        let mut issued =
            Self { directory, names, at_s, not_before_s, not_after_s, ..Self::default() };
        issued.renew_s = issued.usual_renewal_s(chance).max(issued.earliest_s());
        issued.ask_s = at_s + issued.ask_wait_s();
        issued
    }

    pub(super) fn lifetime_s(&self) -> u64 {
        self.not_after_s.saturating_sub(self.not_before_s)
    }

    /// Two thirds of its life, and a thirtieth by chance: many instances do not ask at once.
    pub(super) fn usual_renewal_s(&self, chance: Chance) -> u64 {
        let lifetime_s = self.lifetime_s();
        self.not_before_s + lifetime_s / 3 * 2 + part(lifetime_s / 30, chance)
    }

    /// Not before this: an authority that always says "now", or a clock that jumped, makes no loop.
    pub(super) fn earliest_s(&self) -> u64 {
        let lifetime_s = self.lifetime_s();
        let spacing_s = HOUR_S.min(lifetime_s / 3) << self.early.min(16);
        self.at_s + spacing_s.min(lifetime_s / 3 * 2)
    }

    /// Takes in the authority's window (RFC 9773 §4.2): a time within it by chance, and the same one
    /// for as long as the window stays.
    pub(super) fn suggest(&mut self, window: (u64, u64), chance: Chance) {
        if self.window == Some(window) {
            return;
        }
        let (start_s, end_s) = window;
        let chosen_s = start_s + part(end_s.saturating_sub(start_s), chance);
        // Whatever it says, not in the last tenth.
        let latest_s = self.not_after_s.saturating_sub(self.lifetime_s() / 10);
        self.renew_s = chosen_s.min(latest_s).max(self.earliest_s());
        self.window = Some(window);
    }

    /// How long until the authority is asked for a better time again.
    pub(super) fn ask_wait_s(&self) -> u64 {
        ASK_MAX_S.min(self.lifetime_s() / 20).max(1)
    }
}

/// How long to wait after so many failures in a row: never less than the first wait says.
pub(super) fn backoff_s(first_s: u64, failures: u32, chance: Chance) -> u64 {
    let doubled = first_s.saturating_mul(1 << failures.saturating_sub(1).min(30));
    let wait_s = doubled.min(BACKOFF_MAX_S.max(first_s));
    wait_s + part(wait_s / 4, chance)
}

/// A hold that no clock or authority can make endless.
pub(super) fn held_until_s(now_s: u64, until_s: u64) -> u64 {
    until_s.min(now_s + HOLD_MAX_S)
}

fn part(whole_s: u64, chance: Chance) -> u64 {
    // Through milliseconds: no conversion from a float is exact, and none is needed.
    let thousandths = (0..1000u32).filter(|step| f64::from(*step) < chance * 1000.0).count();
    whole_s.saturating_mul(u64::try_from(thousandths).unwrap_or_default()) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 24 * HOUR_S;

    fn issued(lifetime_s: u64) -> Issued {
        let at_s = 1_000_000;
        Issued { at_s, not_before_s: at_s, not_after_s: at_s + lifetime_s, ..Issued::default() }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_a_little_by_chance() {
        let quarter = issued(90 * DAY_S);
        assert_eq!(quarter.usual_renewal_s(0.0), quarter.at_s + 60 * DAY_S);
        assert_eq!(quarter.usual_renewal_s(0.5), quarter.at_s + 60 * DAY_S + 36 * HOUR_S);
        assert_eq!(issued(120).usual_renewal_s(0.0), 1_000_080);
    }

    #[test]
    fn an_authority_that_always_says_now_is_asked_ever_more_seldom() {
        let mut one = issued(90 * DAY_S);
        let mut waits = Vec::new();
        for early in 0..12 {
            one.early = early;
            one.window = None;
            one.suggest((5, 9), 0.3);
            waits.push((one.renew_s - one.at_s) / HOUR_S);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]);
    }

    #[test]
    fn a_window_gives_one_time_and_keeps_it() {
        let mut one = issued(90 * DAY_S);
        let window = (one.at_s + 10 * DAY_S, one.at_s + 20 * DAY_S);
        one.suggest(window, 0.5);
        assert_eq!(one.renew_s, one.at_s + 15 * DAY_S);
        one.suggest(window, 0.9);
        assert_eq!(one.renew_s, one.at_s + 15 * DAY_S);
        one.suggest((one.not_after_s, one.not_after_s + DAY_S), 0.5);
        assert_eq!(one.renew_s, one.at_s + 81 * DAY_S, "never in its last tenth");
    }

    #[test]
    fn the_wait_doubles_up_to_six_hours_and_is_never_less() {
        let waits = [1, 2, 3, 4, 7, 8, 40].map(|failures| backoff_s(300, failures, 0.0) / 60);
        assert_eq!(waits, [5, 10, 20, 40, 320, 360, 360]);
        assert_eq!(backoff_s(300, 1, 0.999), 300 + 74);
        assert_eq!(backoff_s(10 * HOUR_S, 3, 0.0), 10 * HOUR_S);
    }

    #[test]
    fn no_hold_is_endless() {
        assert_eq!(held_until_s(100, 200), 200);
        assert_eq!(held_until_s(100, u64::MAX), 100 + HOLD_MAX_S);
    }
}
