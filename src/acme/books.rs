//! What is known while we are the ones who ask.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::failure::AcmeError;
use super::memory::Memory;
use super::schedule::{Chance, Issued};
use super::store::{Opened, Store};
use crate::policy::{AcmeAuthority, AcmeCertificate, AcmePolicy};

/// The files, what we remember, and what is there.
pub(super) struct Books {
    pub(super) store: Store,
    pub(super) memory: Memory,
    /// Certificates whose file is there and carries every name.
    pub(super) there: HashSet<String>,
}

impl Books {
    /// `None` while another process has them.
    pub(super) fn open(data_dir: &Path) -> Result<Option<Self>, AcmeError> {
        match Store::open(data_dir)? {
            Opened::Elsewhere => Ok(None),
            Opened::Here(store) => {
                let memory = store.memory()?;
                Ok(Some(Self { store, memory, there: HashSet::new() }))
            }
        }
    }

    /// Looks at what is there for what is wanted now.
    pub(super) fn take_stock(
        &mut self,
        policy: &AcmePolicy,
        now_s: u64,
        chance: impl Fn() -> Chance,
    ) {
        let Self { store, memory, there } = self;
        there.clear();
        for certificate in &policy.certificates {
            if store.certificate(certificate).is_none() {
                continue;
            }
            there.insert(certificate.label().to_owned());
            let (names, first) = (certificate.names.clone(), certificate.authorities.first());
            let directory = first.map(|authority| authority.directory.clone());
            let leaf = store.leaf(certificate);
            memory.adopt(certificate.label(), || {
                let (directory, leaf) = (directory?, leaf?);
                let at_s = now_s.min(leaf.not_before_s);
                Some(Issued::new((directory, names), &leaf, at_s, chance()))
            });
        }
        memory.forget(&policy.certificates, now_s);
    }

    /// When it is to be asked for.
    pub(super) fn due_s(&self, wanted: &AcmeCertificate) -> u64 {
        self.memory.due_s(wanted, self.there.contains(wanted.label()))
    }

    /// When it is due and somebody may be asked.
    pub(super) fn next_s(&self, wanted: &AcmeCertificate, now_s: u64) -> u64 {
        let held_s =
            |one: &Arc<AcmeAuthority>| self.memory.held_s(wanted.label(), &one.directory, now_s);
        let free_s = wanted.authorities.iter().map(held_s).min().unwrap_or(u64::MAX);
        self.due_s(wanted).max(free_s)
    }
}
