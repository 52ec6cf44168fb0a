//! Where the heads of HTTP/1.1 requests begin and end among the bytes of a connection.
//!
//! hyper takes a bare LF for the end of a line, as RFC 9112 §2.2 allows. A proxy before us that takes it
//! for a part of a value has seen another request than we would, which is how requests are smuggled: a
//! head with one is refused. Only the ends of lines are looked at; all else about a head is hyper's.

/// Follows the requests of one connection.
#[derive(Default)]
pub struct Heads {
    at: At,
    /// The last byte, and how many the line has so far.
    last: u8,
    line_bytes: usize,
}

/// What comes after a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follows {
    /// What is no HTTP.
    Anything,
    /// So many bytes, then the next head.
    Bytes(u64),
    /// Chunks, then the next head.
    Chunks,
}

/// A line that ends without CR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BareLineFeed;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    /// Before the first byte of a head; empty lines mean nothing here (RFC 9112 §2.2).
    #[default]
    Start,
    /// Within a head.
    Head,
    /// Behind a head whose request nobody has seen yet.
    Unasked,
    Body(u64),
    Chunk(Chunk),
    /// Where HTTP is over.
    Beyond,
}

/// RFC 9112 §7.1. Whether chunks are sound is for hyper to say: it ends the connection if not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chunk {
    Size(u64),
    Extension(u64),
    Data(u64),
    DataEnd,
    Trailer,
}

impl Heads {
    /// Takes the next bytes; says how many of them may be passed on before it is told what follows a
    /// head that ends there.
    ///
    /// # Errors
    /// When a line of a head or of a trailer ends in LF alone.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, BareLineFeed> {
        let mut left = bytes;
        while let Some(&first) = left.first() {
            let taken = match self.at {
                At::Unasked | At::Beyond => return Ok(bytes.len()),
                At::Start | At::Head | At::Chunk(Chunk::Trailer) => self.lines(left)?,
                At::Body(length) => self.skip(left, length, At::Body, At::Start),
                At::Chunk(Chunk::Data(length)) => {
                    let within = |rest| At::Chunk(Chunk::Data(rest));
                    self.skip(left, length, within, At::Chunk(Chunk::DataEnd))
                }
                At::Chunk(chunk) => {
                    self.at = chunk.after(first);
                    1
                }
            };
            left = left.get(taken..).unwrap_or_default();
            if self.at == At::Unasked {
                break;
            }
        }
        Ok(bytes.len() - left.len())
    }

    /// Is told what follows the head that has been passed on.
    pub fn told(&mut self, follows: Follows) {
        self.at = match follows {
            Follows::Anything => At::Beyond,
            Follows::Bytes(0) => At::Start,
            Follows::Bytes(length) => At::Body(length),
            Follows::Chunks => At::Chunk(Chunk::Size(0)),
        };
    }

    /// Whether a head has begun whose request nobody has seen yet.
    pub fn is_open(&self) -> bool {
        matches!(self.at, At::Head | At::Unasked)
    }

    /// Whether a head has come whose request nobody has seen yet.
    pub fn is_whole(&self) -> bool {
        self.at == At::Unasked
    }

    /// Whether a body is under way that has chunks.
    pub fn is_in_chunks(&self) -> bool {
        matches!(self.at, At::Chunk(_))
    }

    /// Takes lines up to the empty one.
    fn lines(&mut self, bytes: &[u8]) -> Result<usize, BareLineFeed> {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let line = bytes.get(begin..end).unwrap_or_default();
            let before = line.last().copied().unwrap_or(self.last);
            // An LF that stands first in its line follows another, or nothing.
            if before != b'\r' {
                return Err(BareLineFeed);
            }
            let length = self.line_bytes.saturating_add(line.len());
            (begin, self.line_bytes, self.last) = (end + 1, 0, b'\n');
            match (length, self.at) {
                (1, At::Start) => {}
                (1, At::Head) => {
                    self.at = At::Unasked;
                    return Ok(begin);
                }
                (1, _) => {
                    self.at = At::Start;
                    return Ok(begin);
                }
                (_, At::Start) => self.at = At::Head,
                _ => {}
            }
        }
        let rest = bytes.get(begin..).unwrap_or_default();
        if let Some(&last) = rest.last() {
            self.last = last;
            self.line_bytes = self.line_bytes.saturating_add(rest.len());
            if self.at == At::Start && rest != b"\r" {
                self.at = At::Head;
            }
        }
        Ok(bytes.len())
    }

    fn skip(&mut self, bytes: &[u8], length: u64, within: fn(u64) -> At, then: At) -> usize {
        let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let taken = available.min(length);
        self.at = if taken == length { then } else { within(length - taken) };
        usize::try_from(taken).unwrap_or(bytes.len())
    }
}

impl Chunk {
    fn after(self, byte: u8) -> At {
        At::Chunk(match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer,
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Size(size), b'\r') => Self::Size(size),
            (Self::Size(size), digit) => match char::from(digit).to_digit(16) {
                Some(value) => Self::Size(size.saturating_mul(16).saturating_add(value.into())),
                None => Self::Extension(size),
            },
            (Self::DataEnd, b'\n') => Self::Size(0),
            (other, _) => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// Follows these bytes in pieces of a size; says what follows each head in turn.
    fn heads(bytes: &[u8], piece: usize, follows: &[Follows]) -> Result<usize, BareLineFeed> {
        let (mut heads, mut follows, mut count) = (Heads::default(), follows.iter(), 0);
        for piece in bytes.chunks(piece) {
            let mut left = piece;
            while !left.is_empty() {
                left = &left[heads.follow(left)?..];
                if heads.is_whole() {
                    count += 1;
                    heads.told(*follows.next().unwrap());
                }
            }
        }
        assert_eq!(heads.at, At::Start, "{}", String::from_utf8_lossy(bytes));
        Ok(count)
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_is_cut() {
        use Follows::{Bytes, Chunks};
        let body = b"\n\r\nab\n";
        let chunks = b"3;x=\"y\"\r\n\n\n\n\r\nA\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n";
        let all = [b"\r\n\r\n", GET, GET, body, GET, chunks, GET, b"0\r\n\r\n", GET].concat();
        let follows = [Bytes(0), Bytes(6), Chunks, Chunks, Bytes(0)];
        for piece in 1..all.len() {
            assert_eq!(heads(&all, piece, &follows), Ok(5), "pieces of {piece}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_noticed_in_heads_and_trailers_alone() {
        let refused: [&[u8]; 7] = [
            b"\n",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
            b"GET / HTTP/1.1\r\n\n",
            b"GET / HTTP/1.1\r\na: b\r\n\n",
            b"GET / HTTP/1.1\r\r\n\n",
            b"\r\n\nGET",
        ];
        for head in refused {
            for piece in 1..=head.len() {
                assert_eq!(heads(head, piece, &[]), Err(BareLineFeed), "{head:?}");
            }
        }
        let trailer = [GET, b"0\r\nx: y\nz: 1\r\n\r\n"].concat();
        assert_eq!(heads(&trailer, trailer.len(), &[Follows::Chunks]), Err(BareLineFeed));
    }

    #[test]
    fn nothing_is_looked_at_beyond_http() {
        let mut heads = Heads::default();
        assert_eq!(heads.follow(GET), Ok(GET.len()));
        assert!(heads.is_open());
        heads.told(Follows::Anything);
        assert_eq!(heads.follow(b"\n\n\n"), Ok(3));
        assert!(!heads.is_open());
    }
}
