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

/// Until when a certificate holds.
#[derive(Clone, Debug)]
pub struct CertificateExpiry {
    /// Its first name, or its file where it has none.
    pub name: String,
    /// The end of its validity.
    pub not_after: SystemTime,
}

pub(super) struct ReloadFamilies {
    configs: IntCounterVec,
    config_last_success: IntGauge,
    config_generation: IntGauge,
    certificates: IntCounterVec,
    certificates_last_success: IntGauge,
    expiry: SwappedGauges,
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

    /// Tells the end of validity of every certificate in force; those that are gone are no longer
    /// told.
    pub fn certificate_expiry(&self, certificates: &[CertificateExpiry]) {
        let series = certificates.iter().map(|each| ([&*each.name], seconds(each.not_after)));
        self.reloads.expiry.replace(series);
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
        let expiry = |name: &str| CertificateExpiry {
            name: name.to_owned(),
            not_after: UNIX_EPOCH + Duration::from_secs(5),
        };
        metrics.certificate_expiry(&[expiry("old.example")]);
        metrics.certificate_expiry(&[expiry("new.example")]);
        let page = String::from_utf8(metrics.render()).unwrap();
        assert!(
            page.contains(
                "tillgate_certificate_expiry_timestamp_seconds{name=\"new.example\"} 5\n"
            )
        );
        assert!(!page.contains("old.example"));
    }
}
