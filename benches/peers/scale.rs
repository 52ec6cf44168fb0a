//! How what a request costs grows with what there is: certificates, routes, locked accounts,
//! connections and bodies. tillgate alone, one worker, everything on.

mod growth;
mod repeat;

use std::fmt;

use crate::bar;
use crate::entrant::{Entrant, Scene};
use crate::failure::Failure;

/// One measured step.
pub(crate) struct Step {
    /// Of what there is so much.
    grows: &'static str,
    to: String,
    /// What is measured.
    of: &'static str,
    micros: f64,
}

/// All steps, in order.
#[derive(Default)]
pub(crate) struct Growth {
    steps: Vec<Step>,
}

/// Everything, or what the name contains; `quick` takes the first steps only.
pub(crate) fn measure(
    scene: &Scene<'_>,
    only: Option<&str>,
    quick: bool,
) -> Result<Growth, Failure> {
    let progress = bar(0, "{spinner} {elapsed} {msg}");
    let mut growth = Growth::default();
    for (name, measure) in growth::ALL {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        progress.set_message(name);
        let mut enter = |to: String, of: &'static str, micros: f64| {
            progress.set_message(format!("{name}: {to} done"));
            growth.steps.push(Step { grows: name, to, of, micros });
        };
        measure(scene, quick, &mut enter)?;
    }
    progress.finish_and_clear();
    Ok(growth)
}

/// A tillgate with everything on, and more in its config.
fn start(scene: &Scene<'_>, name: &str, more: &str) -> Result<Entrant, Failure> {
    Entrant::tillgate(scene, &format!("scale-{name}"), more)
}

impl Growth {
    /// The same thing measured where there was least of it.
    fn first(&self, step: &Step) -> Option<&Step> {
        self.steps.iter().find(|it| it.grows == step.grows && it.of == step.of)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| what grows      | to        | what is measured           | CPU µs    | × the first |"
        )?;
        writeln!(
            out,
            "| --------------- | --------: | -------------------------- | --------: | ----------: |"
        )?;
        for step in &self.steps {
            let Step { grows, to, of, micros } = step;
            let ratio = self.first(step).map_or(1.0, |first| micros / first.micros);
            writeln!(out, "| {grows:<15} | {to:>9} | {of:<26} | {micros:>9.1} | {ratio:>11.2} |")?;
        }
        Ok(())
    }
}
