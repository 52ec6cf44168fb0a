//! Cookies as shops read them, so that ours are known among them however they are spelt.

/// Name and value of a pair, without the blanks around them that servers forgive (RFC 6265 §5.2).
pub(super) fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    let (name, value) = pair.split_at_checked(at).unwrap_or_default();
    (name.trim_ascii(), value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_no_part_of_a_name_or_a_value() {
        assert_eq!(halves(b" a = b=c "), (&b"a"[..], &b"b=c"[..]));
        assert_eq!(halves(b"a"), (&b"a"[..], &b""[..]));
        assert_eq!(halves(b""), (&b""[..], &b""[..]));
    }
}
