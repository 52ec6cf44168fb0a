//! How long somebody must wait, for machines and in words.

use std::time::Duration;

/// Rounded up, and never "at once": a client that comes back exactly then must not be too early.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Roughly, and never too early: who is told five minutes and comes after five is let in.
pub(super) fn in_words(seconds: u64) -> String {
    match seconds {
        0..=10 => "in a few seconds".to_owned(),
        11..=60 => "in about a minute".to_owned(),
        61..=5400 => format!("in about {} minutes", seconds.div_ceil(60)),
        5401..=129_600 => format!("in about {} hours", seconds.div_ceil(3600)),
        _ => format!("in about {} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_never_too_short() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([seconds(0), seconds(1000), seconds(1001)], [1, 1, 2]);
    }

    #[test]
    fn a_wait_is_told_in_words_that_are_not_too_early() {
        let cases = [
            (1, "in a few seconds"),
            (12, "in about a minute"),
            (61, "in about 2 minutes"),
            (1_800, "in about 30 minutes"),
            (5_401, "in about 2 hours"),
            (86_400, "in about 24 hours"),
            (129_601, "in about 2 days"),
        ];
        for (seconds, words) in cases {
            assert_eq!(in_words(seconds), words);
        }
    }
}
