//! Gauges that are replaced as a whole, so that what is gone from the configuration is gone from
//! the page, and no scrape sees half of a change.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};

use super::metrics::register;

#[derive(Clone)]
pub(super) struct SwappedGauges {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    described: IntGaugeVec,
    current: Arc<ArcSwap<IntGaugeVec>>,
}

impl SwappedGauges {
    pub(super) fn register(
        registry: &Registry,
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        let described = fresh(name, help, labels);
        let current = Arc::new(ArcSwap::from_pointee(fresh(name, help, labels)));
        let gauges = Self { name, help, labels, described, current };
        register(registry, gauges.clone());
        gauges
    }

    /// Publishes these series and no others.
    pub(super) fn replace<'a, const N: usize>(
        &self,
        series: impl IntoIterator<Item = ([&'a str; N], i64)>,
    ) {
        let next = fresh(self.name, self.help, self.labels);
        for (labels, value) in series {
            next.with_label_values(&labels).set(value);
        }
        self.current.store(Arc::new(next));
    }
}

impl Collector for SwappedGauges {
    fn desc(&self) -> Vec<&Desc> {
        self.described.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.current.load().collect()
    }
}

fn fresh(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("names are valid literals of this crate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_that_are_not_in_the_new_set_are_gone() {
        let registry = Registry::new();
        let gauges = SwappedGauges::register(&registry, "tillgate_x", "X.", &["name"]);
        gauges.replace([(["one"], 1), (["two"], 2)]);
        gauges.replace([(["two"], 3)]);
        let families = registry.gather();
        let [family] = families.as_slice() else { panic!("one family") };
        let [series] = family.get_metric() else { panic!("one series") };
        assert!((series.get_gauge().get_value() - 3.0).abs() < f64::EPSILON);
    }
}
