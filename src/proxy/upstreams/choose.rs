//! Which server a request goes to: of two taken at random the one with less to do.
//!
//! That is nearly as even as asking all of them (Mitzenmacher, "The Power of Two Choices"), and no
//! two threads agree on one server as they would on the least loaded of all.

use super::health::{Reason, Standing};

/// Load of a server that is only taken where there is no other.
const RELUCTANT: usize = usize::MAX / 2;

/// What is known of a site's servers.
pub(super) trait Servers {
    fn count(&self) -> usize;
    fn standing(&self, index: usize) -> Standing;
    /// The requests it works on, of which there may be a limit.
    fn in_flight(&self, index: usize) -> usize;
    /// Those, and what else it has to do.
    fn load(&self, index: usize) -> usize;
    /// Whether this request has failed there already.
    fn was_tried(&self, index: usize) -> bool;
}

/// How to choose.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) in_flight_max: usize,
    pub(super) panic_percent: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Choice {
    /// Every server has as much to do as it may.
    Full,
    None,
    One(usize),
}

/// Chooses by a random number.
pub(super) fn choose(servers: &impl Servers, rules: Rules, dice: u64) -> Choice {
    let count = servers.count();
    if count == 0 {
        return Choice::None;
    }
    if count == 1 {
        return match (servers.was_tried(0), servers.in_flight(0) < rules.in_flight_max) {
            (true, _) => Choice::None,
            (false, true) => Choice::One(0),
            (false, false) => Choice::Full,
        };
    }
    let out = |index| matches!(servers.standing(index), Standing::Out(_));
    let left = |index: &usize| !out(*index) && !servers.was_tried(*index);
    let full = |index| servers.in_flight(index) >= rules.in_flight_max;
    let (first, second) = places(dice, count);
    let quick = [first, second].iter().all(|index| left(index) && !full(*index));
    if quick {
        return Choice::One(lighter(servers, (first, second), dice));
    }
    // Some are out: with too few left, the word of nobody counts.
    let healthy = (0..count).filter(|index| !out(*index)).count();
    let panic = healthy == 0 || percent(healthy, count) < rules.panic_percent;
    let usable = |index: &usize| if panic { !servers.was_tried(*index) } else { left(index) };
    if !(0..count).any(|index| usable(&index)) {
        return Choice::None;
    }
    let from = |start: usize| (start..count).chain(0..start);
    let free = |index: &usize| usable(index) && !full(*index);
    let Some(one) = from(first).find(free) else { return Choice::Full };
    let other = from(second).find(|index| free(index) && *index != one).unwrap_or(one);
    Choice::One(lighter(servers, (one, other), dice))
}

/// The one of two with less to do.
fn lighter(servers: &impl Servers, (one, other): (usize, usize), dice: u64) -> usize {
    let load = |index, dice: u64| match servers.standing(index) {
        // One that comes back stands aside for most of the requests that would be its share.
        Standing::Warming(permille) if dice % 1_000 >= permille => RELUCTANT,
        // Asked only in a panic, where one that customers failed on is the better guess.
        Standing::Out(Reason::Checks) => RELUCTANT,
        Standing::Full | Standing::Out(Reason::Ejected) | Standing::Warming(_) => {
            servers.load(index)
        }
    };
    if load(other, dice >> 20) < load(one, dice >> 10) { other } else { one }
}

/// Two different places below `count`.
fn places(dice: u64, count: usize) -> (usize, usize) {
    let wide = u64::try_from(count).unwrap_or(u64::MAX).max(2);
    let first = (dice >> 32) % wide;
    let second = (first + 1 + (dice >> 8) % (wide - 1)) % wide;
    let place = |number: u64| usize::try_from(number).unwrap_or_default();
    (place(first), place(second))
}

fn percent(part: usize, whole: usize) -> u32 {
    u32::try_from(part.saturating_mul(100) / whole.max(1)).unwrap_or(100)
}

/// The next random number (SplitMix64, Steele et al. 2014).
pub(in crate::proxy) fn mix(counter: u64) -> u64 {
    let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { in_flight_max: usize::MAX, panic_percent: 20 };

    struct Fleet(Vec<(Standing, usize, bool)>);

    impl Servers for Fleet {
        fn count(&self) -> usize {
            self.0.len()
        }
        fn standing(&self, index: usize) -> Standing {
            self.0[index].0
        }
        fn in_flight(&self, index: usize) -> usize {
            self.0[index].1
        }
        fn load(&self, index: usize) -> usize {
            self.0[index].1
        }
        fn was_tried(&self, index: usize) -> bool {
            self.0[index].2
        }
    }

    fn fleet(loads: &[usize]) -> Fleet {
        Fleet(loads.iter().map(|load| (Standing::Full, *load, false)).collect())
    }

    /// How often each is chosen, in ten thousand.
    fn shares(fleet: &Fleet, rules: Rules) -> Vec<usize> {
        let mut shares = vec![0; fleet.count()];
        for turn in 0..10_000_u64 {
            let dice = mix(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            if let Choice::One(index) = choose(fleet, rules, dice) {
                shares[index] += 1;
            }
        }
        shares
    }

    #[test]
    fn equal_servers_get_equal_shares_and_the_busiest_none() {
        for share in shares(&fleet(&[3, 3, 3, 3]), RULES) {
            assert!((2_250..2_750).contains(&share), "{share}");
        }
        let shares = shares(&fleet(&[1, 9, 1]), RULES);
        assert_eq!(shares[1], 0, "there is always another one beside it");
    }

    #[test]
    fn one_that_is_out_or_was_tried_gets_nothing_while_others_are_left() {
        let mut servers = fleet(&[5, 5, 5]);
        servers.0[0].0 = Standing::Out(Reason::Ejected);
        servers.0[1].2 = true;
        assert_eq!(shares(&servers, RULES), [0, 0, 10_000]);
        servers.0[2].2 = true;
        assert_eq!(choose(&servers, RULES, 7), Choice::None, "where is nothing left to try");
    }

    #[test]
    fn with_too_few_left_all_are_used() {
        let mut servers = fleet(&[5; 6]);
        for place in 1..6 {
            servers.0[place].0 = Standing::Out(Reason::Ejected);
        }
        let used = shares(&servers, RULES);
        assert!(used.iter().all(|share| *share > 1_000), "one of six: {used:?}");
        let calm = Rules { panic_percent: 10, ..RULES };
        assert_eq!(shares(&servers, calm)[0], 10_000);
        servers.0[0].0 = Standing::Out(Reason::Ejected);
        let used = shares(&servers, Rules { panic_percent: 0, ..RULES });
        assert!(used.iter().all(|share| *share > 1_000), "none left: {used:?}");
    }

    #[test]
    fn one_that_comes_back_gets_less_than_its_share() {
        let mut servers = fleet(&[0, 0]);
        servers.0[0].0 = Standing::Warming(100);
        let share = shares(&servers, RULES)[0];
        assert!((300..800).contains(&share), "{share} of 10,000");
    }

    #[test]
    fn a_server_that_is_full_is_passed_over_and_all_of_them_are_said_to_be() {
        let rules = Rules { in_flight_max: 4, ..RULES };
        assert_eq!(shares(&fleet(&[4, 3, 4]), rules), [0, 10_000, 0]);
        assert_eq!(choose(&fleet(&[4, 4, 4]), rules, 1), Choice::Full);
        assert_eq!(choose(&fleet(&[4]), rules, 1), Choice::Full);
        assert_eq!(choose(&fleet(&[3]), rules, 1), Choice::One(0));
        assert_eq!(choose(&fleet(&[]), rules, 1), Choice::None);
    }
}
