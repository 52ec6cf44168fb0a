//! How the next attempt of somebody would fare, and why: the limits that hold for it, what speaks
//! against it, and the operator's lists. Nothing is counted.

use std::sync::Arc;

use super::message::{Explained, RefusalRow, StandingRow, Suspicion, Whom};
use super::subject::{Subjects, WhomError};
use crate::counters::{Refusal, Score, Standing, Tried, Trust};
use crate::policy::{GuardRule, LimitMode, Listed, LoginLimits, RiskStep, Snapshot, tightened};
use crate::proxy::Services;

/// An attempt under one set of limits.
struct Prospect {
    mode: LimitMode,
    standings: Vec<Standing>,
    known: bool,
    next: Option<Refusal>,
}

/// Says how the next attempt of somebody would fare.
pub(super) async fn explain(
    services: &Services,
    snapshot: &Snapshot,
    (whom, subjects): (&Whom, &Subjects),
) -> Result<Explained, WhomError> {
    let tried = subjects.tried()?;
    let listed = subjects.address().and_then(|address| snapshot.networks.find(address));
    let is_login = whom.guard.is_none();
    let score = if is_login { services.logins.signals().score(tried) } else { Score::default() };
    let step = snapshot.signals.risk.step(score.points());
    let suspected = step != RiskStep::None && listed != Some(Listed::Allowed);
    let mut worst: Option<Prospect> = None;
    for limits in limits_of(snapshot, subjects) {
        let mut prospect = look(services, (tried, subjects), limits).await;
        if suspected && !prospect.known && limits.mode == LimitMode::Enforce {
            prospect = look(services, (tried, subjects), &tightened(limits)).await;
        }
        let wait = |prospect: &Prospect| prospect.next.map(|refusal| refusal.retry_after);
        if worst.as_ref().is_none_or(|worst| wait(&prospect) > wait(worst)) {
            worst = Some(prospect);
        }
    }
    // There is always one: the file's own limits hold where a rule has none.
    let prospect = match worst {
        Some(prospect) => prospect,
        None => look(services, (tried, subjects), &snapshot.login).await,
    };
    // A network is denied in the mode of the file, whatever limits a rule has of its own.
    let denied = listed == Some(Listed::Denied);
    let mode = if denied { snapshot.login.mode } else { prospect.mode };
    Ok(Explained {
        mode: match mode {
            LimitMode::Enforce => "enforce".to_owned(),
            LimitMode::Observe => "observe".to_owned(),
        },
        subjects: prospect.standings.iter().map(standing_row).collect(),
        known: prospect.known,
        allowed: services.logins.desk().allows(tried),
        listed: listed.map(|listed| listed.as_str().to_owned()),
        suspicion: (score.points() > 0).then(|| suspicion(&score, step)),
        next: prospect.next.map(refusal_row),
    })
}

/// The limits that the next attempt may fall under: those of a guard, or of each login of the site.
fn limits_of<'s>(snapshot: &'s Snapshot, subjects: &'s Subjects) -> Vec<&'s Arc<LoginLimits>> {
    let own = |rule: &'s Arc<GuardRule>| rule.limits.as_ref().unwrap_or(&snapshot.login);
    if let Some(guard) = subjects.guard() {
        return vec![own(guard)];
    }
    let mut all: Vec<_> = subjects.logins().iter().map(own).collect();
    all.dedup();
    if all.is_empty() { vec![&snapshot.login] } else { all }
}

async fn look(
    services: &Services,
    (tried, subjects): (&Tried, &Subjects),
    limits: &LoginLimits,
) -> Prospect {
    let mut standings = services.logins.explain(tried, limits).await;
    standings.retain(|standing| subjects.asks_about(standing.dimension));
    let known = standings.iter().any(|standing| standing.known);
    let trust = if known { Trust::KnownNetwork } else { Trust::Stranger };
    let binding = standings.iter().filter(|standing| trust.binds(standing.dimension));
    let next = binding.filter_map(|standing| standing.refusal);
    let next = next.max_by_key(|refusal| refusal.retry_after);
    Prospect { mode: limits.mode, standings, known, next }
}

fn suspicion(score: &Score, step: RiskStep) -> Suspicion {
    Suspicion {
        points: score.points(),
        signals: score.reasons().iter().map(|signal| signal.as_str().to_owned()).collect(),
        step: step.as_str().to_owned(),
    }
}

fn standing_row(standing: &Standing) -> StandingRow {
    StandingRow {
        dimension: standing.dimension.as_str().to_owned(),
        key: standing.key.to_string(),
        failures: standing.failures,
        spread: standing.spread,
        consecutive: standing.consecutive,
        held: standing.held,
        level: standing.level,
        refusal: standing.refusal.map(refusal_row),
    }
}

fn refusal_row(refusal: Refusal) -> RefusalRow {
    let retry_after_s = refusal.retry_after.as_secs();
    RefusalRow { reason: refusal.reason.as_str().to_owned(), retry_after_s }
}
