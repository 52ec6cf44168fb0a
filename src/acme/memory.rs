//! What was asked of whom, and when it may be asked again. On the disk before it is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schedule::{Chance, Issued, MINUTE_S, backoff_s, held_until_s};
use crate::policy::{AcmeAuthority, AcmeCertificate};

/// Everything that outlasts a restart, beside accounts and certificates.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Memory {
    /// By directory.
    #[serde(default)]
    authorities: BTreeMap<String, Hold>,
    /// By first name.
    #[serde(default)]
    certificates: BTreeMap<String, Record>,
}

/// Failures in a row, and until when nothing is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Hold {
    failures: u32,
    until_s: u64,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Record {
    /// By directory.
    #[serde(default)]
    tries: BTreeMap<String, Hold>,
    #[serde(default)]
    issued: Option<Issued>,
}

/// Who is held to have failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blame {
    /// The authority, or the way to it: no certificate is asked of it for a while.
    Authority,
    /// This certificate's names, or we ourselves.
    Certificate,
    /// We asked too often. How long this certificate must wait says little about others, whose limits
    /// are their own; they wait as after any failure.
    Pace,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) blame: Blame,
    /// How long the authority wants to be left alone.
    pub(super) retry_after_s: Option<u64>,
}

impl Memory {
    /// What was issued under this name, if it is what the configuration still wants.
    pub(super) fn issued(&self, wanted: &AcmeCertificate) -> Option<&Issued> {
        let issued = self.certificates.get(wanted.label())?.issued.as_ref()?;
        let mut asked = wanted.authorities.iter().map(|authority| &authority.directory);
        let same = issued.names == wanted.names && asked.any(|one| *one == issued.directory);
        same.then_some(issued)
    }

    pub(super) fn issued_mut(&mut self, wanted: &AcmeCertificate) -> Option<&mut Issued> {
        self.issued(wanted)?;
        self.certificates.get_mut(wanted.label())?.issued.as_mut()
    }

    /// Takes over a certificate that is there and of which nothing is remembered.
    pub(super) fn adopt(&mut self, label: &str, found: impl FnOnce() -> Option<Issued>) {
        let record = self.certificates.entry(label.to_owned()).or_default();
        if record.issued.is_none() {
            record.issued = found();
        }
    }

    /// When a certificate is to be asked for, were there no holds. `there` is whether its file is.
    pub(super) fn due_s(&self, wanted: &AcmeCertificate, there: bool) -> u64 {
        match self.issued(wanted) {
            Some(issued) if there => issued.renew_s,
            // It was lost. Not at once either: whoever keeps losing it must not keep asking.
            Some(issued) => issued.at_s + MINUTE_S.min(issued.lifetime_s() / 3),
            None => 0,
        }
    }

    /// How long what was issued still holds.
    pub(super) fn left_s(&self, label: &str, now_s: u64) -> Option<u64> {
        let issued = self.certificates.get(label)?.issued.as_ref()?;
        Some(issued.not_after_s.saturating_sub(now_s))
    }

    /// Until when this authority is not asked for this certificate.
    pub(super) fn held_s(&self, label: &str, directory: &str, now_s: u64) -> u64 {
        let authority = self.authorities.get(directory).map_or(0, |hold| hold.until_s);
        let record = self.certificates.get(label);
        let tried = record.and_then(|record| record.tries.get(directory));
        held_until_s(now_s, authority.max(tried.map_or(0, |hold| hold.until_s)))
    }

    /// Before an attempt: counts it as failed, so that a crash in the middle of it is.
    pub(super) fn begin(
        &mut self,
        (label, authority): (&str, &AcmeAuthority),
        now_s: u64,
        chance: Chance,
    ) {
        let record = self.certificates.entry(label.to_owned()).or_default();
        record.tries.entry(authority.directory.clone()).or_default().fail(authority, now_s, chance);
    }

    /// After one that failed: the wait begins now. Gives when the authority may be asked again.
    pub(super) fn failed(
        &mut self,
        (label, authority): (&str, &AcmeAuthority),
        fault: Fault,
        now_s: u64,
        chance: Chance,
    ) -> u64 {
        let directory = &authority.directory;
        let told_s = fault.retry_after_s.map_or(0, |wait_s| now_s.saturating_add(wait_s));
        let record = self.certificates.entry(label.to_owned()).or_default();
        let hold = record.tries.entry(directory.clone()).or_default();
        // Counted by `begin` already.
        hold.failures = hold.failures.saturating_sub(1);
        hold.fail(authority, now_s, chance);
        hold.until_s = held_until_s(now_s, hold.until_s.max(told_s));
        let told_all_s = match fault.blame {
            Blame::Authority => told_s,
            Blame::Certificate => return self.held_s(label, directory, now_s),
            Blame::Pace => 0,
        };
        let hold = self.authorities.entry(directory.clone()).or_default();
        hold.fail(authority, now_s, chance);
        hold.until_s = held_until_s(now_s, hold.until_s.max(told_all_s));
        self.held_s(label, directory, now_s)
    }

    /// After one that succeeded.
    pub(super) fn succeeded(&mut self, label: &str, issued: Issued) {
        self.authorities.remove(&issued.directory);
        let record = self.certificates.entry(label.to_owned()).or_default();
        record.tries.clear();
        record.issued = Some(issued);
    }

    /// Forgets what the configuration no longer names, once no wait is left of it.
    pub(super) fn forget(&mut self, kept: &[AcmeCertificate], now_s: u64) {
        self.certificates.retain(|label, record| {
            kept.iter().any(|one| one.label() == label)
                || record.tries.values().any(|hold| hold.until_s > now_s)
        });
        self.authorities.retain(|_, hold| hold.until_s.saturating_add(24 * 60 * MINUTE_S) > now_s);
    }
}

impl Hold {
    fn fail(&mut self, authority: &AcmeAuthority, now_s: u64, chance: Chance) {
        self.failures = self.failures.saturating_add(1);
        self.until_s = now_s + backoff_s(authority.retry.as_secs(), self.failures, chance);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::{AcmeChallenge, Trust};

    const NOW_S: u64 = 1_000_000;

    fn authority(name: &str) -> Arc<AcmeAuthority> {
        Arc::new(AcmeAuthority {
            name: name.to_owned(),
            directory: format!("https://{name}.example/directory"),
            trust: Trust::System,
            contact: Vec::new(),
            challenge: AcmeChallenge::Http01,
            external_account: None,
            retry: Duration::from_secs(300),
        })
    }

    fn wanted(names: &[&str], authorities: &[&Arc<AcmeAuthority>]) -> AcmeCertificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let authorities = authorities.iter().map(|one| Arc::clone(one)).collect();
        AcmeCertificate { names, authorities }
    }

    fn fault(blame: Blame) -> Fault {
        Fault { blame, retry_after_s: None }
    }

    #[test]
    fn a_crash_in_the_middle_of_an_attempt_leaves_its_wait() {
        let (one, mut memory) = (authority("one"), Memory::default());
        for wait_s in [300, 600, 1200] {
            memory.begin(("a", &one), NOW_S, 0.0);
            let kept = serde_json::to_vec(&memory).unwrap();
            memory = serde_json::from_slice(&kept).unwrap();
            assert_eq!(memory.held_s("a", &one.directory, NOW_S), NOW_S + wait_s);
        }
    }

    #[test]
    fn an_attempt_that_fails_counts_once_and_its_wait_begins_at_its_end() {
        let (one, mut memory) = (authority("one"), Memory::default());
        for wait_s in [300, 600, 1200] {
            memory.begin(("a", &one), NOW_S, 0.0);
            let again = memory.failed(("a", &one), fault(Blame::Certificate), NOW_S + 50, 0.0);
            assert_eq!(again, NOW_S + 50 + wait_s);
        }
        assert_eq!(memory.held_s("b", &one.directory, NOW_S), 0, "another certificate's is free");
    }

    #[test]
    fn an_authority_in_trouble_is_left_alone_by_every_certificate_and_the_next_one_is_not() {
        let (one, two) = (authority("one"), authority("two"));
        let mut memory = Memory::default();
        memory.begin(("a", &one), NOW_S, 0.0);
        let fault = Fault { blame: Blame::Authority, retry_after_s: Some(4000) };
        assert_eq!(memory.failed(("a", &one), fault, NOW_S, 0.0), NOW_S + 4000);
        assert_eq!(memory.held_s("b", &one.directory, NOW_S), NOW_S + 4000);
        assert_eq!(memory.held_s("a", &two.directory, NOW_S), 0);
    }

    #[test]
    fn who_asked_too_often_waits_as_long_as_told_and_others_as_after_any_failure() {
        let (one, mut memory) = (authority("one"), Memory::default());
        memory.begin(("a", &one), NOW_S, 0.0);
        let fault = Fault { blame: Blame::Pace, retry_after_s: Some(86_400) };
        assert_eq!(memory.failed(("a", &one), fault, NOW_S, 0.0), NOW_S + 86_400);
        assert_eq!(memory.held_s("b", &one.directory, NOW_S), NOW_S + 300);
    }

    #[test]
    fn what_was_issued_counts_only_for_the_same_names_of_an_authority_that_is_still_asked() {
        let (one, two) = (authority("one"), authority("two"));
        let mut memory = Memory::default();
        let issued = Issued {
            directory: one.directory.clone(),
            names: vec!["a.example".to_owned()],
            renew_s: NOW_S + 50,
            at_s: NOW_S,
            not_before_s: NOW_S,
            not_after_s: NOW_S + 6000,
            ..Issued::default()
        };
        memory.succeeded("a.example", issued);
        let due = |wanted: &AcmeCertificate, there| memory.due_s(wanted, there);
        assert_eq!(due(&wanted(&["a.example"], &[&two, &one]), true), NOW_S + 50);
        assert_eq!(due(&wanted(&["a.example"], &[&one]), false), NOW_S + MINUTE_S, "it was lost");
        assert_eq!(due(&wanted(&["a.example", "b.example"], &[&one]), true), 0, "other names");
        assert_eq!(due(&wanted(&["a.example"], &[&two]), true), 0, "staging is left behind");
    }

    #[test]
    fn what_is_no_longer_asked_for_is_forgotten_when_its_waits_are_over() {
        let (one, mut memory) = (authority("one"), Memory::default());
        memory.begin(("gone", &one), NOW_S, 0.0);
        memory.begin(("kept", &one), NOW_S, 0.0);
        let kept = [wanted(&["kept"], &[&one])];
        memory.forget(&kept, NOW_S);
        assert_eq!(memory.certificates.len(), 2);
        memory.forget(&kept, NOW_S + 1000);
        assert_eq!(memory.certificates.keys().collect::<Vec<_>>(), ["kept"]);
    }
}
