//! What is measured of an entrant, and which lines of the table it fills.

use std::time::Duration;

use crate::account::Reading;
use crate::case::{CARD, CASES, Case, Protocol};
use crate::entrant::{Entrant, Kind, Setup};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::load::Load;
use crate::origin::Origin;
use crate::table::{Figure, Line, Section};
use crate::{handshakes, idle, rate};

/// Connections that are open at once and idle.
const IDLE: [(u32, &str); 2] =
    [(1_000, "1,000 idle connections"), (5_000, "5,000 idle connections")];
/// What is asked for at a fixed rate.
const PAGE: &str = "/1k.html";

/// One measurement; most fill more lines than one.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    Answers(&'static Case),
    Handshakes { resuming: bool },
    Idle,
    Rate(Protocol),
}

/// What measuring takes.
pub(crate) struct Means<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) origin: &'a Origin,
    pub(crate) load: &'a Load<'a>,
    pub(crate) duration: Duration,
}

impl Measure {
    /// What is measured with one worker and an ECDSA key, which is everything but variants.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<_> = CASES.iter().map(Self::Answers).collect();
        all.extend([Self::Rate(Protocol::Http1), Self::Rate(Protocol::Http2)]);
        all.extend(Self::handshakes());
        all
    }

    pub(crate) fn handshakes() -> [Self; 2] {
        [Self::Handshakes { resuming: false }, Self::Handshakes { resuming: true }]
    }

    /// Enough to see what a second worker changes.
    pub(crate) fn of_two_workers() -> Vec<Self> {
        CASES.iter().filter(|case| case.twice).map(Self::Answers).collect()
    }

    /// What passes answers on shakes hands, waits and remembers as what masks them does.
    pub(crate) fn is_for(self, kind: Kind) -> bool {
        match self {
            Self::Answers(case) => case.is_for(kind),
            Self::Handshakes { .. } | Self::Idle => !matches!(kind, Kind::Lua | Kind::Passing),
            Self::Rate(_) => kind != Kind::Lua,
        }
    }

    /// In the order of the figures that [`Self::take`] returns.
    pub(crate) fn lines(self, setup: Setup) -> Vec<Line> {
        match self {
            Self::Answers(case) => {
                let name = match setup.workers {
                    1 => case.name.to_owned(),
                    workers => format!("{}, {workers} workers", case.name),
                };
                vec![
                    Line { section: Section::CpuPerRequest, name: name.clone() },
                    Line { section: Section::Throughput, name },
                ]
            }
            Self::Handshakes { resuming } => {
                let how = if resuming { "resumed" } else { "full" };
                let name = format!("{how} handshake, {}", setup.key.name());
                vec![
                    Line { section: Section::CpuPerHandshake, name: name.clone() },
                    Line { section: Section::HandshakesPerCpu, name },
                ]
            }
            Self::Idle => IDLE
                .map(|(_, name)| Line { section: Section::Memory, name: name.to_owned() })
                .into(),
            Self::Rate(protocol) => {
                let spoken = if protocol == Protocol::Http2 { "h2" } else { "h1" };
                ["median", "99th percentile"]
                    .map(|which| format!("{spoken} 1 KiB, {which}"))
                    .map(|name| Line { section: Section::Wait, name })
                    .into()
            }
        }
    }

    pub(crate) fn take(self, entrant: &Entrant, means: &Means<'_>) -> Result<Vec<Figure>, Failure> {
        match self {
            Self::Answers(case) => answers(entrant, case, means),
            Self::Handshakes { resuming } => {
                // Half as long is as many as settle.
                let duration = means.duration / 2;
                let (calls, spent) =
                    handshakes::measure(entrant, means.folder, resuming, duration)?;
                let micros = spent.micros(calls);
                let (micros, per_second) = (Figure::of(micros), Figure::of(1e6 / micros));
                Ok(vec![micros.with(spent.busy), per_second])
            }
            Self::Idle => {
                let counts = IDLE.map(|(count, _)| count);
                let figures = idle::measure(entrant, means.folder, &counts)?;
                Ok(figures.into_iter().map(Figure::of).collect())
            }
            Self::Rate(protocol) => {
                let page = (PAGE, means.origin.answer(PAGE)?.len());
                let waits = rate::measure(entrant, means.folder, protocol, page, means.duration)?;
                let at = |part: usize| waits.get(waits.len() * part / 100).copied().map(Figure::of);
                at(50).zip(at(99)).map(|(p50, p99)| vec![p50, p99]).ok_or(Failure::Answer)
            }
        }
    }
}

/// Looks at an answer, at what many cost, and at an answer again.
fn answers(entrant: &Entrant, case: &Case, means: &Means<'_>) -> Result<Vec<Figure>, Failure> {
    let expected = means.origin.answer(case.path)?;
    check(entrant, case, expected, means)?;
    let before = Reading::of(entrant.process())?;
    let answered = means.load.run(&entrant.url(case.path), case)?;
    let spent = Reading::of(entrant.process())?.since(&before);
    check(entrant, case, expected, means)?;
    let (requests, bytes, size) = (answered.requests, answered.bytes, expected.len());
    if bytes < u64::from(requests) * u64::try_from(size).unwrap_or(u64::MAX) {
        return Err(Failure::Short { requests, size, bytes });
    }
    let per_second = f64::from(requests) / answered.seconds;
    Ok(vec![
        Figure::of(spent.micros(requests)).with(spent.busy),
        Figure::of(per_second).with(spent.busy),
    ])
}

/// The answer is the origin's; who masks, masks; who tokenizes, does.
fn check(
    entrant: &Entrant,
    case: &Case,
    expected: &[u8],
    means: &Means<'_>,
) -> Result<(), Failure> {
    let answer = |path: &str| {
        let what = (case.protocol, case.post.as_ref());
        means.load.answer(&entrant.url(path), what, entrant.key)
    };
    if answer(case.path)? != expected {
        return Err(Failure::Answer);
    }
    if case.post.as_ref().is_some_and(|post| post.card.is_some()) {
        return hides_card(&answer("/echo")?);
    }
    if entrant.kind.masks() && case.post.is_none() {
        let page = if case.path.ends_with(".json") { "/card.json" } else { "/card.html" };
        return hides_card(&answer(page)?);
    }
    Ok(())
}

/// The digits of the card are gone, but for those that may be shown.
fn hides_card(answer: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(answer);
    let last_four = &CARD[CARD.len() - 4..];
    if text.contains(CARD) || !text.contains(last_four) { Err(Failure::Leak) } else { Ok(()) }
}
