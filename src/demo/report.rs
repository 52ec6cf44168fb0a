//! What the demo prints: aligned, at most 100 columns, coloured only where asked.

use std::io::{self, Write};

use super::evidence::{Promise, Row};
use super::walk::Guess;

const LABEL_COLUMNS: usize = 14;
const CELL_COLUMNS: usize = 19;
const HEADINGS: [&str; 4] = ["customer sent", "shop stored", "gateway received", "customer saw"];

const INTRODUCTION: &str = "\
A careless little shop and a stand-in payment gateway now run on this machine, with tillgate between
them and everybody else. A customer buys a mug with a test card and a stranger guesses passwords;
then you see what each side recorded of it, and whether tillgate kept its promises.";

/// A writer and whether it takes colours.
pub(super) struct Report<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) colour: bool,
}

#[derive(Clone, Copy)]
enum Paint {
    Bad,
    Good,
    Title,
}

impl Report<'_> {
    /// What is going to happen.
    pub(super) fn introduction(&mut self) -> io::Result<()> {
        writeln!(self.out, "{INTRODUCTION}")?;
        self.out.flush()
    }

    /// A title with an empty line before it.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Paint::Title, text);
        writeln!(self.out, "\n{text}")
    }

    /// The four sides, side by side.
    pub(super) fn table(&mut self, rows: &[Row]) -> io::Result<()> {
        let headings = line("", HEADINGS);
        writeln!(self.out, "{}", self.paint(Paint::Title, &headings))?;
        for row in rows {
            let cells = row.cells.each_ref().map(|cell| if cell.is_empty() { "-" } else { cell });
            writeln!(self.out, "{}", line(row.label, cells))?;
        }
        Ok(())
    }

    /// One line per wrong password.
    pub(super) fn guesses(&mut self, guesses: &[Guess]) -> io::Result<()> {
        for (place, guess) in guesses.iter().enumerate() {
            let told = match guess.retry_after.as_str() {
                "" => "the shop's login page again".to_owned(),
                seconds => format!("try again in {seconds} s"),
            };
            writeln!(self.out, "attempt {:>2}   {}   {told}", place + 1, guess.status.as_u16())?;
        }
        Ok(())
    }

    /// One line per promise.
    pub(super) fn promises(&mut self, promises: &[Promise]) -> io::Result<()> {
        for promise in promises {
            let (paint, word) =
                if promise.kept { (Paint::Good, "kept  ") } else { (Paint::Bad, "BROKEN") };
            writeln!(self.out, "{}   {}", self.paint(paint, word), promise.claim)?;
        }
        Ok(())
    }

    /// Where a person goes on.
    pub(super) fn addresses(&mut self, addresses: &[(&str, String)]) -> io::Result<()> {
        for (label, address) in addresses {
            writeln!(self.out, "{label:<LABEL_COLUMNS$} {address}")?;
        }
        self.out.flush()
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bad => "31;1",
            Paint::Good => "32",
            Paint::Title => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn line(label: &str, [sent, stored, received, saw]: [&str; 4]) -> String {
    let line = format!(
        "{label:<LABEL_COLUMNS$}  {sent:<CELL_COLUMNS$}  {stored:<CELL_COLUMNS$}  \
         {received:<CELL_COLUMNS$}  {saw}"
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn printed(colour: bool, print: impl FnOnce(&mut Report<'_>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut Report { out: &mut out, colour }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_is_aligned_and_fits_a_hundred_columns() {
        let number = "4111 1111 1111 1111".to_owned();
        let token = "4539 8271 0031 1111".to_owned();
        let rows = [
            Row { label: "card number", cells: [number.clone(), token.clone(), number, token] },
            Row {
                label: "security code",
                cells: ["123".to_owned(), "847".to_owned(), "123".to_owned(), String::new()],
            },
        ];
        let table = printed(false, |report| report.table(&rows));
        let expected = "
                customer sent        shop stored          gateway received     customer saw
card number     4111 1111 1111 1111  4539 8271 0031 1111  4111 1111 1111 1111  4539 8271 0031 1111
security code   123                  847                  123                  -
";
        assert_eq!(table, expected.trim_start_matches('\n'));
        assert!(table.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn guesses_and_promises_are_one_line_each() {
        let guesses = [
            Guess { status: StatusCode::OK, retry_after: String::new(), request_id: String::new() },
            Guess {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: "12".to_owned(),
                request_id: String::new(),
            },
        ];
        assert_eq!(
            printed(false, |report| report.guesses(&guesses)),
            "attempt  1   200   the shop's login page again\nattempt  2   429   try again in 12 s\n"
        );
        let promises =
            [Promise { claim: "one", kept: true }, Promise { claim: "two", kept: false }];
        assert_eq!(
            printed(false, |report| report.promises(&promises)),
            "kept     one\nBROKEN   two\n"
        );
    }

    #[test]
    fn the_first_lines_are_two_sentences_that_fit_a_hundred_columns() {
        let said = printed(false, |report| report.introduction());
        assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
        assert_eq!(said.matches('.').count(), 2);
    }

    #[test]
    fn colour_is_only_there_where_asked() {
        assert_eq!(printed(false, |report| report.title("x")), "\nx\n");
        assert_eq!(printed(true, |report| report.title("x")), "\n\x1b[1mx\x1b[0m\n");
    }
}
