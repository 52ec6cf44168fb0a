//! Where lists of columns may stand in a text. Each byte is read once, however many numbers ask for
//! the name of their column: a body full of short rows costs no more than any other.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use memchr::{memchr_iter, memmem};

use super::view::LOOK_BACK;

/// Keys of JSON whose arrays name columns.
const KEYS: [&[u8]; 9] = [
    b"\"columns\"",
    b"\"cols\"",
    b"\"fields\"",
    b"\"headers\"",
    b"\"header\"",
    b"\"names\"",
    b"\"columnNames\"",
    b"\"column_names\"",
    b"\"colnames\"",
];

/// The longest mark.
const MARK_MAX: usize = 14;
/// How much of a text is read at once.
const STEP: usize = 4096;

/// What stands near a list of columns.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// The end of PostgreSQL's `COPY t (id, card) FROM stdin`.
    Copy,
    /// `VALUES` of an `INSERT`.
    Values,
    /// The same in small letters.
    SmallValues,
    /// A key whose array names columns.
    Key,
}

/// The marks of one text, as far as they were asked for.
#[derive(Default)]
pub(super) struct Lists {
    known: RefCell<Known>,
    /// The element of a row that was asked for last.
    element: Cell<Option<Element>>,
}

/// An element of a row.
#[derive(Clone, Copy)]
pub(super) struct Element {
    /// Where what stands before it ends.
    pub(super) end: usize,
    /// Where the row opens, and how many elements stand before this one.
    pub(super) row: Option<(usize, usize)>,
}

#[derive(Default)]
struct Known {
    /// Marks that begin in this range are known.
    read: Range<usize>,
    copies: Vec<Range<usize>>,
    values: Vec<Range<usize>>,
    small_values: Vec<Range<usize>>,
    keys: Vec<Range<usize>>,
}

impl Lists {
    /// The element that was asked for last.
    pub(super) fn element(&self) -> Option<Element> {
        self.element.get()
    }

    pub(super) fn keep_element(&self, element: Element) {
        self.element.set(Some(element));
    }

    /// The last mark within a range of the text.
    pub(super) fn last(
        &self,
        text: &[u8],
        mark: Mark,
        within: &Range<usize>,
    ) -> Option<Range<usize>> {
        let mut known = self.known.borrow_mut();
        known.read(text, within);
        let marks = known.of(mark);
        let count = marks.partition_point(|found| found.end <= within.end);
        let last = marks.get(count.checked_sub(1)?)?;
        (last.start >= within.start).then(|| last.clone())
    }

    /// The first one.
    pub(super) fn first(
        &self,
        text: &[u8],
        mark: Mark,
        within: &Range<usize>,
    ) -> Option<Range<usize>> {
        let mut known = self.known.borrow_mut();
        known.read(text, within);
        let marks = known.of(mark);
        let first = marks.get(marks.partition_point(|found| found.start < within.start))?;
        (first.end <= within.end).then(|| first.clone())
    }
}

impl Known {
    fn of(&self, mark: Mark) -> &[Range<usize>] {
        match mark {
            Mark::Copy => &self.copies,
            Mark::Values => &self.values,
            Mark::SmallValues => &self.small_values,
            Mark::Key => &self.keys,
        }
    }

    /// Reads on until the marks that begin within a range are known.
    fn read(&mut self, text: &[u8], within: &Range<usize>) {
        if self.read.is_empty() || within.start < self.read.start {
            let start = within.start.saturating_sub(LOOK_BACK);
            *self = Self { read: start..start, ..Self::default() };
        }
        while self.read.end < within.end.min(text.len()) {
            let start = self.read.end;
            let end = text.len().min(start + STEP);
            let piece = text.get(start..text.len().min(end + MARK_MAX - 1)).unwrap_or_default();
            let needles = [
                (&b" FROM stdin;\n"[..], &mut self.copies),
                (b"VALUES", &mut self.values),
                (b"values", &mut self.small_values),
            ];
            for (needle, marks) in needles {
                let places = memmem::find_iter(piece, needle).map(|place| start + place);
                let places = places.take_while(|place| *place < end);
                marks.extend(places.map(|place| place..place + needle.len()));
            }
            let quotes = memchr_iter(b'"', piece).filter(|place| start + place < end);
            self.keys.extend(quotes.filter_map(|place| {
                let length = key_length(piece.get(place..)?)?;
                Some(start + place..start + place + length)
            }));
            self.read.end = end;
        }
    }
}

/// The length of the key that begins a text.
fn key_length(text: &[u8]) -> Option<usize> {
    if !matches!(text.get(1)?, b'c' | b'f' | b'h' | b'n') {
        return None;
    }
    KEYS.iter().find(|key| text.starts_with(key)).map(|key| key.len())
}
