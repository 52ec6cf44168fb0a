//! Changes of the configuration and of the certificates.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, IntGauge, Registry};
use tracing::{error, info};

use super::Metrics;
use super::metrics::{counters, gauge};
use super::swapped::SwappedGauges;

/// What is wrong with a file, and what to do.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// File, line, key and what is wrong there.
    pub problem: &'a str,
    /// What to do about it.
    pub remedy: Option<&'a str>,
}

/// How a certificate stands.
#[derive(Clone, Debug)]
pub struct CertificateStanding {
    /// Its first name, or its file where it has none.
    pub name: String,
    /// The end of its validity.
    pub not_after: SystemTime,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// Whether its files hold something else by now, which was refused.
    pub differs: bool,
    /// Until when its authority's word is stapled; long ago where there must be one and is none.
    pub staple_until: Option<SystemTime>,
}

pub(super) struct ReloadFamilies {
    configs: IntCounterVec,
    config_last_success: IntGauge,
    config_generation: IntGauge,
    certificates: IntCounterVec,
    certificates_last_success: IntGauge,
    expiry: SwappedGauges,
    loaded: SwappedGauges,
    differs: SwappedGauges,
    staples: SwappedGauges,
    revocations: SwappedGauges,
}

impl Metrics {
    /// The first generation was loaded, at `at`.
    pub fn config_loaded(&self, generation: u64, at: SystemTime) {
        self.reloads.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.reloads.config_last_success.set(seconds(at));
    }

    /// A new generation is in force, since `at`.
    pub fn config_reloaded(&self, generation: u64, at: SystemTime) {
        self.reloads.configs.with_label_values(&["accepted"]).inc();
        self.config_loaded(generation, at);
        info!(generation, "reloaded");
    }

    /// A changed configuration is wrong; the old generation stays in force. One reload, however
    /// many complaints.
    pub fn reload_refused(&self, complaints: &[Complaint<'_>]) {
        self.reloads.configs.with_label_values(&["refused"]).inc();
        for Complaint { problem, remedy } in complaints {
            error!(problem, remedy, "reload refused");
        }
    }

    /// The first certificates were loaded, at `at`.
    pub fn certificates_loaded(&self, at: SystemTime) {
        self.reloads.certificates_last_success.set(seconds(at));
    }

    /// New certificates are in force, since `at`.
    pub fn certificates_reloaded(&self, certificates: usize, at: SystemTime) {
        self.reloads.certificates.with_label_values(&["accepted"]).inc();
        self.certificates_loaded(at);
        info!(certificates, "certificates reloaded");
    }

    /// A changed certificate or key is wrong; the old pair stays in force.
    pub fn certificates_refused(&self, complaint: Complaint<'_>) {
        self.reloads.certificates.with_label_values(&["refused"]).inc();
        error!(problem = complaint.problem, remedy = complaint.remedy, "certificates refused");
    }

    /// Tells how every certificate in force stands; those that are gone are no longer told.
    pub fn certificate_standings(&self, certificates: &[CertificateStanding]) {
        let families = &self.reloads;
        let all = || certificates.iter();
        families.expiry.replace(all().map(|each| ([&*each.name], seconds(each.not_after))));
        families.loaded.replace(all().map(|each| ([&*each.name], seconds(each.loaded))));
        families.differs.replace(all().map(|each| ([&*each.name], i64::from(each.differs))));
        let staples = all().filter_map(|each| Some(([&*each.name], seconds(each.staple_until?))));
        families.staples.replace(staples);
    }

    /// Tells until when each listener's list of revoked certificates is good.
    pub fn revocation_ends(&self, listeners: &[(String, SystemTime)]) {
        let ends = listeners.iter().map(|(listener, end)| ([&**listener], seconds(*end)));
        self.reloads.revocations.replace(ends);
    }
}

impl ReloadFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let families = Self {
            configs: counters(
                registry,
                "tillgate_config_reloads_total",
                "Reloads of the configuration, by result.",
                &["result"],
            ),
            config_last_success: gauge(
                registry,
                "tillgate_config_last_success_timestamp_seconds",
                "When the configuration in force was loaded.",
            ),
            config_generation: gauge(
                registry,
                "tillgate_config_generation",
                "The generation of the configuration in force.",
            ),
            certificates: counters(
                registry,
                "tillgate_certificate_reloads_total",
                "Reloads of the certificates, by result.",
                &["result"],
            ),
            certificates_last_success: gauge(
                registry,
                "tillgate_certificates_last_success_timestamp_seconds",
                "When the certificates in force were loaded.",
            ),
            expiry: SwappedGauges::register(
                registry,
                "tillgate_certificate_expiry_timestamp_seconds",
                "When a certificate in force expires.",
                &["name"],
            ),
            loaded: SwappedGauges::register(
                registry,
                "tillgate_certificate_loaded_timestamp_seconds",
                "When a certificate in force was loaded.",
                &["name"],
            ),
            differs: SwappedGauges::register(
                registry,
                "tillgate_certificate_file_differs",
                "Whether the files of a certificate hold another one, which was refused.",
                &["name"],
            ),
            staples: SwappedGauges::register(
                registry,
                "tillgate_certificate_staple_expiry_timestamp_seconds",
                "When the staple of a certificate expires; 0 where it must have one and has none.",
                &["name"],
            ),
            revocations: SwappedGauges::register(
                registry,
                "tillgate_client_revocations_expiry_timestamp_seconds",
                "When a listener's list of revoked client certificates is out of date.",
                &["listener"],
            ),
        };
        // An alarm on a rise needs the zero before the first one.
        for result in ["accepted", "refused"] {
            families.configs.with_label_values(&[result]).inc_by(0);
            families.certificates.with_label_values(&[result]).inc_by(0);
        }
        families
    }
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refused_reload_counts_once_and_leaves_generation_and_time() {
        let metrics = Metrics::new();
        metrics.config_reloaded(7, UNIX_EPOCH + Duration::from_secs(1000));
        let complaint =
            Complaint { problem: "tillgate.toml:3: listen: not an address", remedy: None };
        metrics.reload_refused(&[complaint, complaint]);
        let page = String::from_utf8(metrics.render()).unwrap();
        assert!(page.contains("tillgate_config_reloads_total{result=\"refused\"} 1\n"));
        assert!(page.contains("tillgate_config_generation 7\n"));
        assert!(page.contains("tillgate_config_last_success_timestamp_seconds 1000\n"));
    }

    #[test]
    fn a_certificate_that_is_gone_is_no_longer_told() {
        let metrics = Metrics::new();
        let standing = |name: &str| CertificateStanding {
            name: name.to_owned(),
            not_after: UNIX_EPOCH + Duration::from_secs(5),
            loaded: UNIX_EPOCH,
            differs: false,
            staple_until: None,
        };
        metrics.certificate_standings(&[standing("old.example")]);
        metrics.certificate_standings(&[standing("new.example")]);
        let page = String::from_utf8(metrics.render()).unwrap();
        assert!(
            page.contains(
                "tillgate_certificate_expiry_timestamp_seconds{name=\"new.example\"} 5\n"
            )
        );
        assert!(!page.contains("old.example"));
    }
}
