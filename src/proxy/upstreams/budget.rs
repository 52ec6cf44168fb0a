//! How many requests may be sent again.
//!
//! Servers that fail because there is too much to do must not get more to do: what is sent again is a
//! part of what comes, over some ten seconds. Only what may have reached a server counts; to look for
//! a server that accepts the connection costs none of them anything.

use parking_lot::Mutex;

use crate::policy::RetryBudget;

/// What is remembered, and may be spent at once.
const WINDOW_MS: u64 = 10_000;
/// Budgets are counted in hundredths of a request, for percentages.
const ONE: u64 = 100;

/// What is left. The lock is taken when something has failed, and only then.
pub(super) struct Budget(Mutex<State>);

struct State {
    left: u64,
    /// Nothing where none was ever taken: as if nothing had come for a while.
    at: Option<u64>,
    requests: u64,
}

impl Budget {
    pub(super) fn new(requests: u64) -> Self {
        Self(Mutex::new(State { left: 0, at: None, requests }))
    }

    /// Takes one, if there is one; `requests` is how many have come in all.
    pub(super) fn take(&self, now: u64, requests: u64, limits: RetryBudget) -> bool {
        let mut state = self.0.lock();
        let passed = state.at.map_or(WINDOW_MS, |at| now.saturating_sub(at));
        let within = passed.min(WINDOW_MS);
        // Of a longer time, the part that lies in the window.
        let came = requests.saturating_sub(state.requests).saturating_mul(within) / passed.max(1);
        let kept = state.left * (WINDOW_MS - within) / WINDOW_MS;
        let earned = came.saturating_mul(u64::from(limits.percent));
        let granted = u64::from(limits.per_second_min) * ONE * within / 1_000;
        let most = u64::from(limits.per_second_min) * ONE * (WINDOW_MS / 1_000);
        *state = State { left: kept + earned + granted, at: Some(now), requests };
        state.left = state.left.min(most.max(kept + earned));
        let enough = state.left >= ONE;
        if enough {
            state.left -= ONE;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RetryBudget =
        RetryBudget { attempts: std::num::NonZeroU32::MIN, percent: 20, per_second_min: 10 };

    fn spend(budget: &Budget, now: u64, requests: u64) -> usize {
        (0..10_000).take_while(|_| budget.take(now, requests, LIMITS)).count()
    }

    #[test]
    fn a_quiet_site_may_send_ten_a_second_again() {
        let budget = Budget::new(0);
        assert_eq!(spend(&budget, 50_000, 0), 100, "of ten seconds in which nothing failed");
        assert_eq!(spend(&budget, 50_000, 0), 0);
        assert_eq!(spend(&budget, 51_000, 0), 10);
        assert_eq!(spend(&budget, 99_000, 0), 100, "no more is kept than of ten seconds");
    }

    #[test]
    fn a_site_that_has_just_begun_may_send_again_too() {
        assert_eq!(spend(&Budget::new(0), 3, 1), 100);
    }

    #[test]
    fn a_busy_site_may_send_a_fifth_again() {
        let budget = Budget::new(0);
        let _ = spend(&budget, 50_000, 0);
        assert_eq!(spend(&budget, 55_000, 10_000), 2_000);
        let found = spend(&budget, 115_000, 70_000);
        assert_eq!(found, 2_000, "a thousand a second, and ten seconds of them");
    }
}
