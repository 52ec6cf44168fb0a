//! What suspicion adds up to, and for which reasons.

/// Something that speaks against a visitor.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Signal {
    /// Many accounts have failed from the network.
    ManyAccounts,
    /// Many different cards were brought.
    ManyCards,
    /// Many cards were declined.
    ManyDeclines,
    /// The account has failed from many networks.
    ManyNetworks,
    /// More of the site's logins fail than usual.
    SiteFailures,
}

/// Points, and what they were given for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Score {
    points: u32,
    reasons: Vec<Signal>,
}

/// From so many on, a signal is worth so many points. 30 is a reason to look, 50 to slow down, 80 to
/// doubt that there is a person at all.
struct Weight {
    signal: Signal,
    from: usize,
    points: u32,
}

/// The dearest of a signal first.
///
/// - Accounts of a network: a family has four, and the lockout of a network asks for five. Of an
///   office's customers few fail and never get in within the hour; twenty are a list being tried.
/// - Networks of an account: a customer comes from home, work and a telephone. Twenty are not his.
/// - A site's failures say that there is an attack and not by whom: alone they change nothing, but
///   with any other reason they come one step earlier.
/// - Declines of a network: a person tries two or three cards; who tests them also tries accounts.
const WEIGHTS: [Weight; 8] = [
    Weight { signal: Signal::ManyAccounts, from: 20, points: 80 },
    Weight { signal: Signal::ManyAccounts, from: 10, points: 50 },
    Weight { signal: Signal::ManyAccounts, from: 5, points: 30 },
    Weight { signal: Signal::ManyNetworks, from: 20, points: 80 },
    Weight { signal: Signal::ManyNetworks, from: 10, points: 50 },
    Weight { signal: Signal::ManyNetworks, from: 5, points: 30 },
    Weight { signal: Signal::SiteFailures, from: 1, points: 20 },
    Weight { signal: Signal::ManyDeclines, from: 3, points: 30 },
];

impl Signal {
    /// The name used in metrics, logs and the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManyAccounts => "many_accounts",
            Self::ManyCards => "many_cards",
            Self::ManyDeclines => "many_declines",
            Self::ManyNetworks => "many_networks",
            Self::SiteFailures => "site_failures",
        }
    }
}

impl Score {
    /// The sum.
    #[must_use]
    pub fn points(&self) -> u32 {
        self.points
    }

    /// What it was given for.
    #[must_use]
    pub fn reasons(&self) -> &[Signal] {
        &self.reasons
    }

    /// Adds what so many of a signal are worth.
    pub(super) fn add(&mut self, signal: Signal, count: usize) {
        let fits = |weight: &&Weight| weight.signal == signal && count >= weight.from;
        if let Some(weight) = WEIGHTS.iter().find(fits) {
            self.points = self.points.saturating_add(weight.points);
            self.reasons.push(signal);
        }
    }

    /// The reasons in words that are separated by commas.
    #[must_use]
    pub fn names(&self) -> String {
        self.reasons.iter().map(|signal| signal.as_str()).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_once_with_its_highest_step() {
        let points = |signal, count| {
            let mut score = Score::default();
            score.add(signal, count);
            score.points()
        };
        let accounts = [4, 5, 9, 10, 19, 20, 32].map(|count| points(Signal::ManyAccounts, count));
        assert_eq!(accounts, [0, 30, 30, 50, 50, 80, 80]);
        assert_eq!([0, 1].map(|count| points(Signal::SiteFailures, count)), [0, 20]);
        assert_eq!([2, 3].map(|count| points(Signal::ManyDeclines, count)), [0, 30]);
    }

    #[test]
    fn reasons_are_named_and_their_points_add_up() {
        let mut score = Score::default();
        score.add(Signal::ManyAccounts, 5);
        score.add(Signal::ManyNetworks, 1);
        score.add(Signal::SiteFailures, 1);
        assert_eq!((score.points(), score.names().as_str()), (50, "many_accounts,site_failures"));
    }
}
