//! Series looked up once.

use std::sync::OnceLock;

use prometheus::IntCounter;

/// The series of one metric for every combination of closed labels; each is looked up when it is
/// first counted, so that a combination that never happens is no line on the metrics page.
pub(super) struct Cells<const N: usize>([OnceLock<IntCounter>; N]);

impl<const N: usize> Cells<N> {
    pub(super) fn new() -> Self {
        Self([const { OnceLock::new() }; N])
    }

    /// Adds to the series at `place`, which `look_up` finds the first time.
    pub(super) fn add(&self, place: usize, count: u64, look_up: impl FnOnce() -> IntCounter) {
        debug_assert!(place < N, "a closed set has a cell for each of its values");
        if let Some(cell) = self.0.get(place) {
            cell.get_or_init(look_up).inc_by(count);
        }
    }
}

/// A closed set of label values.
pub(super) trait Label: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    /// The place of a value in its set.
    fn place(self) -> usize {
        Self::ALL.iter().position(|&each| each == self).unwrap_or_default()
    }
}

/// An enum whose variants are label values.
macro_rules! label_values {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The name used in metrics and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }

        impl crate::telemetry::cells::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

pub(super) use label_values;
