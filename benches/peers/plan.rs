//! What is compared with what, and in which order.

use crate::entrant::{Entrant, Kind, Scene, Setup};
use crate::failure::Failure;
use crate::folder::Key;
use crate::measure::Measure;

/// Entrants of one setup, all running at once, and what is measured of them in turns.
pub(crate) struct Stage {
    pub(crate) setup: Setup,
    pub(crate) measures: Vec<Measure>,
    /// What a second round would find changed by the first is measured once.
    pub(crate) once: bool,
}

/// Everything, but for the lines that are not asked for.
pub(crate) fn stages(only: Option<&str>) -> Vec<Stage> {
    let stage = |workers, key, measures| {
        let setup = Setup { workers, key };
        Stage { setup, measures, once: false }
    };
    let mut stages = vec![
        Stage { once: true, ..stage(1, Key::Ecdsa, vec![Measure::Idle]) },
        stage(1, Key::Ecdsa, Measure::all()),
        stage(1, Key::Rsa, Measure::handshakes().into()),
        stage(2, Key::Ecdsa, Measure::of_two_workers()),
    ];
    for stage in &mut stages {
        let asked = |name: &str| only.is_none_or(|only| name.contains(only));
        stage
            .measures
            .retain(|measure| measure.lines(stage.setup).iter().any(|line| asked(&line.name)));
    }
    stages.retain(|stage| !stage.measures.is_empty());
    stages
}

impl Stage {
    /// Those of `kinds` of whom something is measured.
    pub(crate) fn start(&self, kinds: &[Kind], scene: &Scene<'_>) -> Result<Vec<Entrant>, Failure> {
        let wanted = |kind: &&Kind| self.measures.iter().any(|measure| measure.is_for(**kind));
        kinds.iter().filter(wanted).map(|kind| Entrant::start(*kind, scene)).collect()
    }

    /// How many measurements it comes to.
    pub(crate) fn steps(&self, kinds: &[Kind], rounds: u64) -> u64 {
        let pairs = self
            .measures
            .iter()
            .flat_map(|measure| kinds.iter().filter(|kind| measure.is_for(**kind)));
        let pairs = u64::try_from(pairs.count()).unwrap_or(u64::MAX);
        pairs.saturating_mul(self.rounds(rounds))
    }

    pub(crate) fn rounds(&self, rounds: u64) -> u64 {
        if self.once { 1 } else { rounds }
    }
}
