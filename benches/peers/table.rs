//! Medians, and ratios to the better of the peers.

use std::fmt::{self, Write as _};
use std::rc::Rc;

use crate::entrant::Kind;
use crate::failure::Failure;

/// Rows in sections, one column per entrant.
pub(crate) struct Table {
    columns: Vec<Kind>,
    rows: Vec<Row>,
}

/// One measured value.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    value: f64,
    busy: Option<f64>,
}

/// Where a figure stands.
#[derive(PartialEq)]
pub(crate) struct Line {
    pub(crate) section: Section,
    pub(crate) name: String,
}

/// What a figure is of; in the order of the table.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Section {
    CpuPerRequest,
    Throughput,
    Wait,
    CpuPerHandshake,
    HandshakesPerCpu,
    Memory,
}

/// One line of the table, in the order of its columns.
pub(crate) struct Row {
    pub(crate) line: Line,
    cells: Vec<Cell>,
}

/// What the rounds gave; one refusal refuses all of them.
#[derive(Default)]
pub(crate) struct Cell {
    figures: Vec<Figure>,
    refused: Option<Rc<Failure>>,
}

impl Figure {
    pub(crate) fn of(value: f64) -> Self {
        Self { value, busy: None }
    }

    /// How busy the server was: CPU seconds per second.
    pub(crate) fn with(self, busy: f64) -> Self {
        Self { busy: Some(busy), ..self }
    }
}

impl Table {
    pub(crate) fn new(columns: Vec<Kind>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// What one measurement of an entrant gave, line by line, or why it gave nothing.
    pub(crate) fn enter(
        &mut self,
        lines: Vec<Line>,
        kind: Kind,
        result: Result<Vec<Figure>, Failure>,
    ) {
        let result = result.map_err(Rc::new);
        for (nth, line) in lines.into_iter().enumerate() {
            let Some(column) = self.columns.iter().position(|column| *column == kind) else {
                return;
            };
            let Some(cell) = self.row(line).cells.get_mut(column) else { return };
            match &result {
                Ok(figures) => cell.figures.extend(figures.get(nth)),
                Err(failure) => cell.refused = Some(Rc::clone(failure)),
            }
        }
    }

    pub(crate) fn columns(&self) -> &[Kind] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// In the order in which lines came, section by section.
    fn row(&mut self, line: Line) -> &mut Row {
        let at = self.rows.iter().position(|row| row.line == line).unwrap_or_else(|| {
            let after = self.rows.partition_point(|row| row.line.section <= line.section);
            let cells = self.columns.iter().map(|_| Cell::default()).collect();
            self.rows.insert(after, Row { line, cells });
            after
        });
        &mut self.rows[at]
    }

    /// As README shows it: without what is there to judge a run by.
    pub(crate) fn markdown(&self) -> String {
        self.show((0, 0), Cell::show)
    }

    /// Cells are padded to these widths, the first of a line to the first.
    fn show(
        &self,
        widths: (usize, usize),
        show: impl Fn(&Cell, Section, Option<f64>) -> String,
    ) -> String {
        let mut text = String::new();
        let mut line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
            let _ = write!(text, "| {first:<0$} |", widths.0);
            for cell in cells {
                let _ = write!(text, " {cell:>0$} |", widths.1);
            }
            text.push('\n');
        };
        line("", &mut self.columns.iter().map(|kind| kind.name().to_owned()));
        line("---", &mut self.columns.iter().map(|_| "---:".to_owned()));
        let mut section = None;
        for row in &self.rows {
            if section != Some(row.line.section) {
                let title = format!("**{}**", row.line.section.title());
                line(&title, &mut self.columns.iter().map(|_| String::new()));
            }
            section = Some(row.line.section);
            let cells = row.cells.iter().enumerate();
            let show = |(at, cell)| show(cell, row.line.section, row.ratio(&self.columns, at));
            line(&row.line.name, &mut cells.map(show));
        }
        text
    }
}

impl Section {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU µs per request",
            Self::Throughput => "Requests per second at full speed",
            Self::Wait => "Milliseconds waited at 2,000 requests per second",
            Self::CpuPerHandshake => "CPU µs per TLS 1.3 handshake",
            Self::HandshakesPerCpu => "Handshakes per CPU second",
            Self::Memory => "KiB per idle TLS connection",
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::HandshakesPerCpu)
    }

    fn decimals(self) -> usize {
        match self {
            Self::Throughput | Self::HandshakesPerCpu => 0,
            Self::CpuPerRequest | Self::CpuPerHandshake | Self::Memory => 1,
            Self::Wait => 2,
        }
    }
}

impl Row {
    pub(crate) fn value(&self, column: usize) -> Option<f64> {
        self.cells.get(column)?.median(|figure| Some(figure.value))
    }

    /// To the better peer; for peers nothing.
    fn ratio(&self, columns: &[Kind], column: usize) -> Option<f64> {
        let better = self.better_peer(columns).filter(|_| !columns[column].is_peer());
        self.value(column).zip(better).map(|(value, peer)| value / peer)
    }

    pub(crate) fn better_peer(&self, columns: &[Kind]) -> Option<f64> {
        let peers = columns.iter().enumerate().filter(|(_, kind)| kind.is_peer());
        let values = peers.filter_map(|(at, _)| self.value(at));
        if self.line.section.more_is_better() {
            values.max_by(f64::total_cmp)
        } else {
            values.min_by(f64::total_cmp)
        }
    }
}

impl Cell {
    fn median(&self, of: impl Fn(&Figure) -> Option<f64>) -> Option<f64> {
        if self.refused.is_some() {
            return None;
        }
        let mut figures: Vec<_> = self.figures.iter().filter_map(of).collect();
        figures.sort_by(f64::total_cmp);
        let low = figures.get(figures.len().checked_sub(1)? / 2)?;
        Some(f64::midpoint(*low, *figures.get(figures.len() / 2)?))
    }

    /// `12.9 ×0.93`.
    fn show(&self, section: Section, ratio: Option<f64>) -> String {
        let ratio = ratio.map_or_else(String::new, |ratio| format!(" ×{ratio:.2}"));
        match self.median(|figure| Some(figure.value)) {
            Some(value) => format!("{value:.*}{ratio}", section.decimals()),
            None if self.refused.is_some() => "refused".to_owned(),
            None => "–".to_owned(),
        }
    }

    /// `12.9 ×0.93 (87 %)`.
    fn show_busy(&self, section: Section, ratio: Option<f64>) -> String {
        let busy = self.median(|figure| figure.busy);
        let busy = busy.map_or_else(String::new, |busy| format!(" ({:.0} %)", busy * 100.0));
        self.show(section, ratio) + &busy
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Medians; × beside the better of nginx and HAProxy; in brackets how busy the"
        )?;
        writeln!(out, "server was, in CPU seconds per second.\n")?;
        out.write_str(&self.show((34, 23), Cell::show_busy))?;
        for row in &self.rows {
            for (cell, kind) in row.cells.iter().zip(&self.columns) {
                if let Some(failure) = &cell.refused {
                    writeln!(out, "\n{}, {}: {failure}", row.line.name, kind.name())?;
                }
            }
        }
        Ok(())
    }
}
