//! One line of a list.

use std::fmt;
use std::io::{self, BufRead, Read};

use csv::{ByteRecord, ReaderBuilder};
use zeroize::{Zeroize, Zeroizing};

use crate::card::{PAN_DIGITS_MAX, Pan, iin, luhn};
use crate::vault::intake::Refusal;

/// How many bytes a line has at most.
pub const LINE_MAX: usize = 4096;

/// How long another provider's token is at most.
const OLD_MAX: usize = 255;

/// What spreadsheets put before the first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What is wrong with a line; never what it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadLine {
    /// The check digit of the card's number.
    CheckDigit,
    /// No 12 to 19 digits where the card should be.
    NoCard,
    /// Nothing where the token should be.
    NoToken,
    /// The vault does not take the card.
    Refused(Refusal),
    /// The card's number is where the token should be.
    TokenIsCard,
    /// A line or its token is too long.
    TooLong,
    /// Quotes or columns that are no CSV.
    Unreadable,
}

/// The lines of a list, one at a time in the same place, which is wiped.
pub(super) struct Lines<R> {
    reader: R,
    line: u64,
    text: Zeroizing<Vec<u8>>,
}

/// One of them, without its end.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    pub(super) text: Result<&'a [u8], BadLine>,
}

/// Which columns there are.
pub(super) struct Columns {
    delimiter: u8,
    card: usize,
    token: Option<usize>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        // Room for the longest line from the start: a buffer that grows leaves cards in the old one.
        Self { reader, line: 0, text: Zeroizing::new(Vec::with_capacity(LINE_MAX + 1)) }
    }

    /// The columns that the first line names; nothing if none is for cards.
    pub(super) fn header(&mut self) -> io::Result<Option<Columns>> {
        let Some(Line { text: Ok(text), .. }) = self.next()? else { return Ok(None) };
        Ok(Columns::named(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)))
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.text.zeroize();
            let most = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
            if self.reader.by_ref().take(most).read_until(b'\n', &mut self.text)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.text.len() == LINE_MAX && !self.text.ends_with(b"\n") {
                self.reader.skip_until(b'\n')?;
                let text = Err(BadLine::TooLong);
                return Ok(Some(Line { number: self.line, text }));
            }
            if !self.text.trim_ascii().is_empty() {
                let text = Ok(self.text.trim_ascii_end());
                return Ok(Some(Line { number: self.line, text }));
            }
        }
    }
}

impl Columns {
    fn named(header: &[u8]) -> Option<Self> {
        let found = header.iter().copied().find(|byte| matches!(byte, b',' | b';' | b'\t'));
        let delimiter = found.unwrap_or(b',');
        let record = parse(header, delimiter)?;
        let column = |name: &[u8]| {
            record.iter().position(|cell| cell.trim_ascii().eq_ignore_ascii_case(name))
        };
        Some(Self { delimiter, card: column(b"card")?, token: column(b"token") })
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.token.is_some()
    }

    /// The token, if there is a column for it, and the card of a line.
    pub(super) fn read(&self, line: &[u8]) -> Result<(Option<Vec<u8>>, Pan), BadLine> {
        let record = parse(line, self.delimiter).ok_or(BadLine::Unreadable)?;
        let card = card(record.get(self.card).ok_or(BadLine::NoCard)?)?;
        let Some(column) = self.token else { return Ok((None, card)) };
        let old = record.get(column).unwrap_or_default().trim_ascii();
        if old.is_empty() {
            return Err(BadLine::NoToken);
        }
        if old.len() > OLD_MAX {
            return Err(BadLine::TooLong);
        }
        // It is written to a file: of two columns that were swapped, no number must get there.
        let digits: Zeroizing<Vec<u8>> =
            Zeroizing::new(old.iter().copied().filter(u8::is_ascii_digit).collect());
        if memchr::memmem::find(&digits, card.expose()).is_some() {
            return Err(BadLine::TokenIsCard);
        }
        Ok((Some(old.to_vec()), card))
    }
}

fn parse(line: &[u8], delimiter: u8) -> Option<ByteRecord> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).delimiter(delimiter).flexible(true).buffer_capacity(LINE_MAX);
    let (mut reader, mut record) = (builder.from_reader(line), ByteRecord::new());
    reader.read_byte_record(&mut record).ok().filter(|found| *found)?;
    Some(record)
}

/// A card's number, its groups as people write them.
fn card(cell: &[u8]) -> Result<Pan, BadLine> {
    let mut digits = Zeroizing::new([0; PAN_DIGITS_MAX]);
    let mut length = 0;
    for byte in cell.trim_ascii().iter().filter(|byte| !matches!(byte, b' ' | b'-')) {
        *digits.get_mut(length).ok_or(BadLine::NoCard)? = *byte;
        length += 1;
    }
    let card = digits.get(..length).and_then(Pan::from_digits).ok_or(BadLine::NoCard)?;
    match iin::issuer(card.expose()) {
        None => Err(BadLine::Refused(Refusal::NoIssuer)),
        Some(issuer) if issuer.luhn && !luhn::holds(card.expose()) => Err(BadLine::CheckDigit),
        Some(_) => Ok(card),
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckDigit => "the check digit of the card's number is wrong",
            Self::NoCard => "the column `card` holds no 12 to 19 digits",
            Self::NoToken => "the column `token` is empty",
            Self::Refused(why) => why.describe(),
            Self::TokenIsCard => "the column `token` holds the card's number",
            Self::TooLong => "the line or its token is too long",
            Self::Unreadable => "this is no line of CSV",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8], line: &[u8]) -> Result<(Option<Vec<u8>>, Vec<u8>), BadLine> {
        let (old, card) = Columns::named(header).unwrap().read(line)?;
        Ok((old, card.expose().to_vec()))
    }

    #[test]
    fn columns_are_found_by_their_names_whatever_stands_between_them() {
        let card = b"4111111111111111".to_vec();
        let both = Ok((Some(b"t-1".to_vec()), card.clone()));
        assert_eq!(read(b"token,card", b"t-1,4111111111111111"), both);
        assert_eq!(read(b"Card; name ;TOKEN", b"\"4111 1111-1111 1111\";x;t-1"), both);
        assert_eq!(read(b"card\ttoken", b"4111111111111111\t t-1 "), both);
        assert_eq!(read(b"card", b"4111111111111111"), Ok((None, card)));
        assert!(Columns::named(b"token,number").is_none());
    }

    #[test]
    fn a_bad_line_is_told_by_what_is_wrong_with_it() {
        let header = b"token,card";
        for (line, what) in [
            (&b"t,4111111111111112"[..], BadLine::CheckDigit),
            (b"t", BadLine::NoCard),
            (b"t,41111111111", BadLine::NoCard),
            (b"t,4111111111111111111111", BadLine::NoCard),
            (b"t,4111x11111111111", BadLine::NoCard),
            (b",4111111111111111", BadLine::NoToken),
            (b"t,0000000000000000", BadLine::Refused(Refusal::NoIssuer)),
            (b"4111-1111-1111-1111,4111111111111111", BadLine::TokenIsCard),
        ] {
            assert_eq!(read(header, line), Err(what));
        }
        let long = [vec![b't'; 256], b",4111111111111111".to_vec()].concat();
        assert_eq!(read(header, &long), Err(BadLine::TooLong));
    }

    #[test]
    fn lines_have_their_numbers_and_a_ceiling() {
        let text =
            [b"\xef\xbb\xbfcard\r\n\r\none\n".to_vec(), vec![b'9'; 9000], b"\nlast".to_vec()];
        let text = text.concat();
        let mut lines = Lines::new(text.as_slice());
        assert!(lines.header().unwrap().is_some());
        let line = |number, text| Some(Line { number, text });
        assert_eq!(lines.next().unwrap(), line(3, Ok(&b"one"[..])));
        assert_eq!(lines.next().unwrap(), line(4, Err(BadLine::TooLong)));
        assert_eq!(lines.next().unwrap(), line(5, Ok(&b"last"[..])));
        assert_eq!(lines.next().unwrap(), None);
    }
}
