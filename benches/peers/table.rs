//! Medians, and ratios to the cheaper peer.

use std::fmt;
use std::time::Duration;

use crate::account::Cost;
use crate::case::Case;
use crate::entrant::Entrant;
use crate::failure::Failure;

/// One row per case, one column per entrant.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Column {
    name: &'static str,
    peer: bool,
}

struct Row {
    name: &'static str,
    cells: Vec<Cell>,
}

/// What the rounds gave; one refusal refuses all of them.
#[derive(Default)]
struct Cell {
    costs: Vec<Cost>,
    refused: Option<Failure>,
}

impl Table {
    pub(crate) fn new(cases: &[&Case], entrants: &[Entrant]) -> Self {
        let column = |entrant: &Entrant| Column { name: entrant.name, peer: entrant.peer };
        let columns: Vec<_> = entrants.iter().map(column).collect();
        let row = |case: &&Case| Row {
            name: case.name,
            cells: columns.iter().map(|_| Cell::default()).collect(),
        };
        Self { rows: cases.iter().map(row).collect(), columns }
    }

    pub(crate) fn enter(&mut self, case: &Case, entrant: &Entrant, result: Result<Cost, Failure>) {
        let row = self.rows.iter_mut().find(|row| row.name == case.name);
        let column = self.columns.iter().position(|column| column.name == entrant.name);
        let Some(cell) = row.zip(column).and_then(|(row, at)| row.cells.get_mut(at)) else {
            return;
        };
        match result {
            Ok(cost) => cell.costs.push(cost),
            Err(failure) => cell.refused = Some(failure),
        }
    }
}

impl Row {
    fn cheaper_peer(&self, columns: &[Column]) -> Option<f64> {
        let peers = self.cells.iter().zip(columns).filter(|(_, column)| column.peer);
        peers.filter_map(|(cell, _)| cell.micros()).min_by(f64::total_cmp)
    }
}

impl Cell {
    fn micros(&self) -> Option<f64> {
        self.median(|cost| cost.per_request.div_duration_f64(Duration::from_micros(1)))
    }

    fn utilisation(&self) -> Option<f64> {
        self.median(|cost| cost.utilisation)
    }

    fn median(&self, figure: impl Fn(&Cost) -> f64) -> Option<f64> {
        if self.refused.is_some() {
            return None;
        }
        let mut figures: Vec<_> = self.costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let (low, high) =
            (figures.get(figures.len().checked_sub(1)? / 2)?, figures.get(figures.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    }

    /// `12.9 ×0.93 (87 %)`, the ratio not for peers.
    fn show(&self, cheaper: Option<f64>) -> String {
        let Some((micros, busy)) = self.micros().zip(self.utilisation()) else {
            return "refused".to_owned();
        };
        let ratio = cheaper.map_or_else(String::new, |peer| format!(" ×{:.2}", micros / peer));
        format!("{micros:.1}{ratio} ({:.0} %)", busy * 100.0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "CPU microseconds per request, medians; × beside the cheaper peer; in")?;
        writeln!(out, "brackets how busy the server was, in CPU seconds per second.\n")?;
        let names: Vec<_> = self.columns.iter().map(|column| column.name.to_owned()).collect();
        line(out, "", &names)?;
        line(out, "---", &vec!["---:".to_owned(); names.len()])?;
        for row in &self.rows {
            let cheaper = row.cheaper_peer(&self.columns);
            let show =
                |(cell, column): (&Cell, &Column)| cell.show(cheaper.filter(|_| !column.peer));
            let cells: Vec<_> = row.cells.iter().zip(&self.columns).map(show).collect();
            line(out, row.name, &cells)?;
        }
        for row in &self.rows {
            for (cell, column) in row.cells.iter().zip(&self.columns) {
                if let Some(failure) = &cell.refused {
                    writeln!(out, "\n{}, {}: {failure}", row.name, column.name)?;
                }
            }
        }
        Ok(())
    }
}

fn line(out: &mut fmt::Formatter<'_>, first: &str, cells: &[String]) -> fmt::Result {
    write!(out, "| {first:<21} |")?;
    for cell in cells {
        write!(out, " {cell:>24} |")?;
    }
    writeln!(out)
}
