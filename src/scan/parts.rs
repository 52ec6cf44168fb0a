//! The tables in a multipart body (RFC 7578): uploads of delimited text, each with its first line.

use std::collections::VecDeque;

use memchr::{memchr, memmem};

/// The longest line that is looked at; of longer ones the beginning is.
const LINE_MAX: usize = 1024;

/// Reads a multipart body line by line.
#[derive(Default)]
pub(super) struct Parts {
    /// What each part begins with.
    delimiter: Vec<u8>,
    /// The beginning of the line that is arriving.
    line: Vec<u8>,
    /// Where it ends so far, in the body.
    offset: usize,
    place: Place,
    /// First lines of tables and where each begins to name columns; empty where a table has ended.
    heads: VecDeque<(usize, Vec<u8>)>,
}

/// Which line of a part comes next.
#[derive(Clone, Copy, Default)]
enum Place {
    /// None: the body begins.
    #[default]
    Before,
    /// A field of the part's head; whether those so far say that it is a table.
    Field { table: bool },
    /// The names of columns.
    Names,
    /// Anything else.
    Content,
}

impl Parts {
    /// Takes the bytes of the body as they arrive; what was before `passed` is not asked for again.
    pub(super) fn learn(&mut self, chunk: &[u8], passed: usize) {
        let mut rest = chunk;
        while let Some((line, after)) =
            memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end + 1))
        {
            self.take(line);
            self.end_line();
            rest = after;
        }
        self.take(rest);
        while self.heads.get(1).is_some_and(|(from, _)| *from <= passed) {
            self.heads.pop_front();
        }
    }

    /// Whether any line names columns.
    pub(super) fn any(&self) -> bool {
        self.heads.iter().any(|(_, head)| !head.is_empty())
    }

    /// The line that names the columns at a place of the body.
    pub(super) fn head(&self, at: usize) -> Option<&[u8]> {
        let (_, head) = self.heads.iter().rev().find(|(from, _)| *from <= at)?;
        Some(head.as_slice()).filter(|head| !head.is_empty())
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.line.len();
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.offset += bytes.len();
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        self.place = match self.place {
            Place::Before if text.starts_with(b"--") => {
                self.delimiter = text.to_vec();
                Place::Field { table: false }
            }
            Place::Before => Place::Before,
            _ if text.starts_with(&self.delimiter) => {
                self.heads.push_back((self.offset, Vec::new()));
                Place::Field { table: false }
            }
            Place::Field { table: true } if text.is_empty() => Place::Names,
            Place::Field { table: false } if text.is_empty() => Place::Content,
            Place::Field { table } => Place::Field { table: table || says_table(text) },
            Place::Names => {
                self.heads.push_back((self.offset, text.to_vec()));
                Place::Content
            }
            Place::Content => Place::Content,
        };
        line.clear();
        self.line = line;
    }
}

/// Whether a field of a part's head names delimited text, by its type or the name of the file.
fn says_table(field: &[u8]) -> bool {
    let field = field.to_ascii_lowercase();
    [&b"text/csv"[..], b"text/tab-separated-values", b".csv\"", b".tsv\""]
        .iter()
        .any(|mark| memmem::find(&field, mark).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::Carrier;
    use super::super::tests::{masked, response};

    #[test]
    fn each_table_of_a_multipart_body_names_its_own_columns() {
        // Weak numbers: only the name of the column makes them cards, however far above it stands.
        let filler = "1,note\r\n".repeat(300);
        let file = |name: &str, head: &str, row: &str| {
            format!(
                "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n\
                 {head}\r\n{filler}{row}\r\n"
            )
        };
        let body = [
            file("a.csv", "id,karta", "1,4222222222222"),
            file("b.csv", "id,stock", "1,4222222222222"),
            file("c.txt", "id,karta", "1,4222222222222"),
            file("d.tsv", "note\t\"karta\"", "4222222222222\t4222222222222"),
        ]
        .concat();
        let expected = [
            file("a.csv", "id,karta", "1,42222****2222"),
            file("b.csv", "id,stock", "1,4222222222222"),
            file("c.txt", "id,karta", "1,4222222222222"),
            file("d.tsv", "note\t\"karta\"", "4222222222222\t42222****2222"),
        ]
        .concat();
        assert_eq!(
            masked(response, Carrier::Multipart, &(body + "--b--\r\n")),
            expected + "--b--\r\n"
        );
    }
}
