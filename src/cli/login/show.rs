//! What the guard answers, for people.

use std::fmt::Write as _;

use crate::server::message::{Explained, Locked, RefusalRow, StandingRow, Suspicion};

/// What is locked and what is allowed.
pub(super) fn locked(answer: &Locked) -> String {
    let mut text = String::new();
    if answer.degraded {
        text.push_str("shared counters fail: this is what this instance has counted by itself\n");
    }
    if answer.locked.is_empty() {
        text.push_str("nothing is locked\n");
    } else {
        let heads = ["SITE", "NETWORK", "FAILURES", "LOCKS", "UNTIL", "FOR", "KEY"];
        let mut lines = vec![heads.map(str::to_owned)];
        lines.extend(answer.locked.iter().map(|row| {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let until = if row.barred { "vouched for" } else { &row.until };
            [
                known(&row.site),
                known(&row.network),
                row.failures.to_string(),
                row.level.saturating_add(1).to_string(),
                until.to_owned(),
                span(row.remaining_s),
                format!("{}:{}", row.dimension, row.key),
            ]
        }));
        text.push_str(&table(&lines));
    }
    if answer.more {
        text.push_str("and more than are listed\n");
    }
    for row in &answer.allowed {
        let (left, dimension, key) = (span(row.remaining_s), &row.dimension, &row.key);
        let _infallible = writeln!(text, "allowed for {left}: {dimension}:{key}");
    }
    text
}

/// How the next attempt would fare.
pub(super) fn explained(answer: &Explained) -> String {
    let heads = ["COUNTED UNDER", "FAILURES", "OVER", "IN A ROW", "UNDER WAY", "LOCKS", "REFUSES"];
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(answer.subjects.iter().map(|row| {
        [
            row.dimension.clone(),
            row.failures.to_string(),
            over(row),
            row.consecutive.to_string(),
            row.held.to_string(),
            row.level.to_string(),
            row.refusal.as_ref().map_or_else(|| "no".to_owned(), refusal),
        ]
    }));
    let mut text = table(&lines);
    if answer.known {
        text.push_str(
            "the network is known for the account: what others do does not keep it out\n",
        );
    }
    if let Some(Suspicion { points, signals, step }) = &answer.suspicion {
        let signals = signals.join(", ");
        let _infallible = writeln!(text, "suspicious by {points} points ({signals}): {step}");
    }
    let listed = answer.listed.as_deref();
    if let Some(listed) = listed {
        let _infallible = writeln!(text, "the network is {listed} by [networks]");
    }
    let proof = answer.suspicion.as_ref().is_some_and(|it| it.step == "proof") && !answer.known;
    let fate = match (&answer.next, answer.allowed || listed == Some("allowed"), &*answer.mode) {
        _ if listed == Some("denied") && answer.mode == "observe" => {
            "pass, because limits only observe: network_denied".to_owned()
        }
        _ if listed == Some("denied") => "be refused by network_denied".to_owned(),
        (None, false, "enforce") if proof => "be asked for a proof of work".to_owned(),
        (None, _, _) => "be admitted".to_owned(),
        (Some(next), true, _) => format!("be refused by {}, but is allowed", refusal(next)),
        (Some(next), false, "observe") => {
            format!("pass, because limits only observe: {}", refusal(next))
        }
        (Some(next), false, _) => format!("be refused by {}", refusal(next)),
    };
    let _infallible = writeln!(text, "the next attempt would {fate}");
    text
}

/// Failures are over accounts, those of an account over networks.
fn over(row: &StandingRow) -> String {
    let of_account = matches!(row.dimension.as_str(), "account" | "pair");
    let what = if of_account { "network" } else { "account" };
    let plural = if row.spread == 1 { "" } else { "s" };
    format!("{} {what}{plural}", row.spread)
}

fn refusal(row: &RefusalRow) -> String {
    format!("{} for {}", row.reason, span(row.retry_after_s))
}

/// `1h 5m`: two units are plenty.
fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units {
        if left >= length && parts.len() < 2 {
            parts.push(format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// Lines whose cells stand below each other.
fn table<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::message::{AllowedRow, LockRow};

    #[test]
    fn times_are_told_in_two_units() {
        let told = [0, 59, 61, 1_800, 3_661, 90_000].map(span);
        assert_eq!(told, ["0s", "59s", "1m 1s", "30m", "1h 1m", "1d 1h"]);
    }

    #[test]
    fn locks_stand_below_each_other_and_what_is_allowed_after_them() {
        let row = |dimension: &str, network: Option<&str>, barred| LockRow {
            dimension: dimension.to_owned(),
            key: "0a".to_owned(),
            site: Some("shop.example".to_owned()),
            network: network.map(str::to_owned),
            failures: 10,
            level: 0,
            barred,
            until: "2026-01-01T00:00:00.000Z".to_owned(),
            remaining_s: 1_800,
        };
        let allowed =
            AllowedRow { dimension: "network".to_owned(), key: "0b".to_owned(), remaining_s: 60 };
        let answer = Locked {
            locked: vec![row("account", None, true), row("network", Some("192.0.2.7"), false)],
            more: false,
            allowed: vec![allowed],
            degraded: false,
        };
        let expected = "\
SITE          NETWORK    FAILURES  LOCKS  UNTIL                     FOR  KEY
shop.example  -          10        1      vouched for               30m  account:0a
shop.example  192.0.2.7  10        1      2026-01-01T00:00:00.000Z  30m  network:0a
allowed for 1m: network:0b
";
        assert_eq!(locked(&answer), expected);
        let nothing = Locked { locked: vec![], more: false, allowed: vec![], degraded: false };
        assert_eq!(locked(&nothing), "nothing is locked\n");
    }
}
