//! The picture: what a request costs, in multiples of what the cheaper peer takes for it.

use std::fmt::Write as _;

use crate::entrant::Kind;
use crate::table::{Row, Section, Table};

const LABELS: u32 = 210;
const BARS: u32 = 560;
const BAR: u32 = 13;
const GAP: u32 = 14;
const HEAD: u32 = 74;
/// What is wider is cut, and its figure says how wide it is.
const WIDEST: f64 = 3.0;

/// An SVG of its own, readable on light and dark pages.
pub(crate) fn of(table: &Table) -> String {
    let rows: Vec<_> =
        table.rows().iter().filter(|row| row.line.section == Section::CpuPerRequest).collect();
    let mut bars = String::new();
    let mut y = HEAD;
    for row in &rows {
        y = group(&mut bars, row, table.columns(), y);
    }
    let (width, height) = (LABELS + BARS + 70, y + 10);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"14\" y=\"24\" font-size=\"15\">{}, beside the cheaper of nginx and HAProxy (1.00)</text>\n",
        Section::CpuPerRequest.title()
    );
    legend(&mut svg, table.columns());
    svg.push_str(&bars);
    let one = LABELS + width_of(1.0);
    let _ = writeln!(
        svg,
        "<path d=\"M{one} {}V{}\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>\n</svg>",
        HEAD - 6,
        y
    );
    svg
}

fn legend(svg: &mut String, columns: &[Kind]) {
    let mut x = 14;
    for kind in columns {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"38\" width=\"11\" height=\"11\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"48\">{}</text>",
            colour(*kind),
            x + 16,
            kind.name()
        );
        x += 36 + 7 * u32::try_from(kind.name().len()).unwrap_or(0);
    }
}

/// A row's bars from `y` on; where the next begin.
fn group(svg: &mut String, row: &Row, columns: &[Kind], y: u32) -> u32 {
    let Some(peer) = row.better_peer(columns) else { return y };
    let start = y;
    let mut y = y;
    for (at, kind) in columns.iter().enumerate() {
        let Some(value) = row.value(at) else { continue };
        let width = width_of(value / peer);
        let _ = writeln!(
            svg,
            "<rect x=\"{LABELS}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#333\">{:.2} ({value:.1} µs)</text>",
            BAR - 2,
            colour(*kind),
            // Clear of the line at 1.
            LABELS + width.max(width_of(1.0)) + 5,
            y + BAR - 4,
            value / peer
        );
        y += BAR;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LABELS - 10,
        (start + y) / 2 + 3,
        row.line.name
    );
    y + GAP
}

/// Of a bar of so many times the cheaper peer.
#[expect(clippy::as_conversions, reason = "a bar's width is a small positive number")]
fn width_of(ratio: f64) -> u32 {
    (ratio.clamp(0.0, WIDEST) / WIDEST * f64::from(BARS - 60)) as u32
}

/// Distinct in shade as well as in hue.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Nginx => "#9aa5b1",
        Kind::HaProxy => "#c3cbd3",
        Kind::Pingora => "#e0b26a",
        Kind::Lua => "#c8553d",
        Kind::Passing => "#7fb7a3",
        Kind::Guarding => "#1f7a5c",
    }
}
