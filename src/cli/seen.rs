//! `tillgate cards seen`: where card numbers and verification codes were found, as a table for people.

use std::fmt::Write as _;

use crate::telemetry::{SeenCount, SeenKey, SeenReport};

const COLUMNS: usize = 11;
const HEADINGS: [&str; COLUMNS] = [
    "SITE",
    "ROUTE",
    "DIRECTION",
    "WHERE",
    "WHAT",
    "FIELD",
    "CARRIER",
    "ACTION",
    "COUNT",
    "FIRST",
    "LAST",
];
/// The column of numbers, which end below each other.
const COUNT: usize = 8;

/// The whole answer.
pub(super) fn table(report: &SeenReport) -> String {
    if report.rows.is_empty() {
        return "no card number has been seen\n".to_owned();
    }
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(report.rows.iter().map(|(key, count)| cells(key, count)));
    let mut widths = [0; COLUMNS];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        text.push_str(row(line, &widths).trim_end());
        text.push('\n');
    }
    if report.beyond > 0 {
        let _infallible =
            writeln!(text, "and {} more in fields that the list had no row for", report.beyond);
    }
    text
}

fn cells(key: &SeenKey, count: &SeenCount) -> [String; COLUMNS] {
    let named = |name: &str| if name.is_empty() { "-".to_owned() } else { name.to_owned() };
    [
        named(&key.site),
        named(&key.route),
        named(&key.direction),
        named(&key.place),
        named(&key.datum),
        named(&key.field),
        named(&key.carrier),
        named(&key.action),
        count.count.to_string(),
        count.first_time(),
        count.last_time(),
    ]
}

fn row(cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if place == 0 { "" } else { "  " };
        let _infallible = match place {
            COUNT => write!(line, "{gap}{cell:>width$}"),
            _ => write!(line, "{gap}{cell:<width$}"),
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |field: &str, count| {
            let key = SeenKey {
                site: "shop.example".to_owned(),
                route: "/pay".to_owned(),
                direction: "request".into(),
                place: "body".into(),
                datum: "card".into(),
                field: field.to_owned(),
                carrier: "json".into(),
                action: "observed".into(),
            };
            (key, SeenCount { count, first: 0, last: 60 })
        };
        let rows = [row("", 3), row("card[number]", 1_200)].into_iter().collect();
        let text = table(&SeenReport { rows, beyond: 2 });
        let expected = "\
SITE          ROUTE  DIRECTION  WHERE  WHAT  FIELD         CARRIER  ACTION    COUNT  FIRST                 LAST
shop.example  /pay   request    body   card  -             json     observed      3  1970-01-01T00:00:00Z  1970-01-01T00:01:00Z
shop.example  /pay   request    body   card  card[number]  json     observed   1200  1970-01-01T00:00:00Z  1970-01-01T00:01:00Z
and 2 more in fields that the list had no row for
";
        assert_eq!(text, expected);
        assert_eq!(table(&SeenReport::default()), "no card number has been seen\n");
    }
}
