//! Host and path patterns.

use std::fmt;

/// `shop.example` or `*.shop.example` (one label).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// Any one label before this suffix, which begins with a dot.
    Wildcard(String),
}

/// A path with `*` for any run of characters: `/api/*`, `/*/login`, `/checkout`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    pieces: Vec<String>,
}

impl HostPattern {
    /// Reads a pattern; `None` where it is neither a name nor `*.` and a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (name, wildcard) = match lower.strip_prefix('*') {
            Some(suffix) => (suffix.strip_prefix('.')?, true),
            None => (lower.as_str(), false),
        };
        let sound =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        if name.is_empty() || !name.chars().all(sound) {
            return None;
        }
        Some(if wildcard {
            Self::Wildcard(format!(".{name}"))
        } else {
            Self::Exact(name.to_owned())
        })
    }

    /// Whether a lower-case host without port matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(suffix) => host
                .strip_suffix(suffix.as_str())
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        }
    }
}

impl PathPattern {
    /// Reads a pattern; `None` where it does not begin with `/` or `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with(['/', '*'])
            .then(|| Self { pieces: text.split('*').map(str::to_owned).collect() })
    }

    /// Whether a path (without query) matches as a whole.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        glob(&self.pieces, path)
    }

    /// The same without regard to ASCII case and to a slash at the end: what a limit asks, which must
    /// not be passed by another spelling that the shop understands too.
    #[must_use]
    pub fn matches_loosely(&self, path: &str) -> bool {
        self.fits_at_its_ends(path.as_bytes())
            && (self.matches_caseless(path) || self.matches_caseless(path.trim_end_matches('/')))
    }

    /// Most paths fail here, before anything is searched.
    fn fits_at_its_ends(&self, path: &[u8]) -> bool {
        let end = |text: &[u8]| text.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        let [first, .., last] = &self.pieces[..] else { return true };
        let (last, left) = (last.as_bytes(), path.get(..end(path)).unwrap_or_default());
        let last = last.get(..end(last)).unwrap_or_default();
        let tail = left.len().checked_sub(last.len()).and_then(|at| left.get(at..));
        starts_caseless(Some(path), first.as_bytes()) && starts_caseless(tail, last)
    }

    fn matches_caseless(&self, path: &str) -> bool {
        let Some((last, before)) = self.pieces.split_last() else { return false };
        let last = last.trim_end_matches('/').as_bytes();
        let mut left = path.as_bytes();
        for (place, piece) in before.iter().enumerate() {
            let places = if place == 0 { 1 } else { left.len().saturating_add(1) };
            let starts = |at: &usize| starts_caseless(left.get(*at..), piece.as_bytes());
            let Some(at) = (0..places).find(starts) else { return false };
            left = left.get(at.saturating_add(piece.len())..).unwrap_or_default();
        }
        let Some(head) = left.len().checked_sub(last.len()) else { return false };
        (!before.is_empty() || head == 0) && starts_caseless(left.get(head..), last)
    }
}

/// Whether the pieces between stars make up the whole text.
pub(super) fn glob(pieces: &[String], text: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for piece in middle {
        let Some((_, after)) = left.split_once(piece.as_str()) else { return false };
        left = after;
    }
    left.ends_with(last.as_str())
}

fn starts_caseless(text: Option<&[u8]>, piece: &[u8]) -> bool {
    text.and_then(|text| text.get(..piece.len()))
        .is_some_and(|head| head.eq_ignore_ascii_case(piece))
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_path_is_any_run() {
        let matches = |pattern: &str, path| PathPattern::parse(pattern).unwrap().matches(path);
        assert!(matches("/api/*", "/api/v1/pay"));
        assert!(matches("/api/*", "/api/"));
        assert!(!matches("/api/*", "/api"));
        assert!(matches("/*/login", "/de/login"));
        assert!(!matches("/*/login", "/de/login/x"));
        assert!(matches("/login", "/login"));
        assert!(!matches("/login", "/login2"));
        assert!(matches("*", "/anything"));
        assert!(!matches("/a*a", "/a"));
    }

    #[test]
    fn a_loose_match_ignores_case_and_a_last_slash() {
        let matches =
            |pattern: &str, path| PathPattern::parse(pattern).unwrap().matches_loosely(path);
        assert!(matches("/Account/Login", "/account/LOGIN/"));
        assert!(matches("/login/", "/login"));
        assert!(matches("/*/login", "/de/Login/"));
        assert!(matches("/api/*", "/API/"));
        assert!(!matches("/login", "/login2"));
        assert!(!matches("/login", "/x/login"));
        assert!(!matches("/a*a", "/a"));
    }

    #[test]
    fn a_wildcard_host_covers_one_label() {
        let wildcard = HostPattern::parse("*.shop.example").unwrap();
        assert!(wildcard.matches("www.shop.example"));
        assert!(!wildcard.matches("a.b.shop.example"));
        assert!(!wildcard.matches("shop.example"));
        assert!(HostPattern::parse("a*b").is_none());
    }
}
