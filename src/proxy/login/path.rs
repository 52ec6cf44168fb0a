//! One view of a path, whatever its spelling: a limit must not be passed by `//login`, `/%6cogin`,
//! `/x/../login`, `/login;a=b` or `/login.php/x`, which shops understand as well.

use std::borrow::Cow;

/// The path decoded once, without empty and dot segments and without path parameters (RFC 3986
/// §6.2.2, RFC 3986 §3.3). Borrowed where there is nothing to do.
pub(in crate::proxy) fn normalise(path: &str) -> Cow<'_, str> {
    if is_plain(path) { Cow::Borrowed(path) } else { Cow::Owned(rewrite(path)) }
}

/// The most paths that an attempt may be for.
pub(super) const VIEWS_MAX: usize = 5;

/// The views of a path, and the path without the extension by which frameworks let a client choose the
/// form of the answer (`/login.json`).
pub(in crate::proxy) fn guarded_views(path: &str) -> impl Iterator<Item = &str> {
    let stem = path.rsplit_once('.').filter(|(stem, extension)| {
        is_extension(extension) && !stem.ends_with('/') && !stem.is_empty()
    });
    views(path).chain(stem.map(|(stem, _)| stem))
}

/// The paths a shop may act on: the whole, the script without its path info (RFC 3875 §4.1.5), the path
/// info without its front controller, and the folder that an index stands for.
pub(in crate::proxy) fn views(path: &str) -> impl Iterator<Item = &str> {
    let split = script_end(path).and_then(|end| path.split_at_checked(end));
    let folder = path.rsplit_once('/').filter(|(folder, file)| {
        !folder.is_empty() && file.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("index."))
    });
    let views = [split.map(|(script, _)| script), split.map(|(_, info)| info)];
    [Some(path), folder.map(|(folder, _)| folder)].into_iter().chain(views).flatten()
}

/// Where a script's name ends that stands before other segments; `v1.0` is none.
fn script_end(path: &str) -> Option<usize> {
    let (folders, _) = path.rsplit_once('/')?;
    let mut end = 0_usize;
    for segment in folders.split('/').take_while(|_| folders.contains('.')) {
        end = end.saturating_add(segment.len());
        if segment.rsplit_once('.').is_some_and(|(_, extension)| is_extension(extension)) {
            return Some(end);
        }
        end = end.saturating_add(1);
    }
    None
}

/// `php`, `PHP5`, `aspx`, `jsp`, `do`, `json`.
fn is_extension(text: &str) -> bool {
    (2..=6).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_plain(path: &str) -> bool {
    let odd = |byte: u8| matches!(byte, b'%' | b';' | b'\\');
    !path.bytes().any(odd)
        && !path.contains("//")
        && !path.contains("/.")
        && !path.contains("./")
        && !path.ends_with('.')
}

fn rewrite(path: &str) -> String {
    let decoded = decode(path.as_bytes(), Plus::Literal).replace('\\', "/");
    let mut kept: Vec<&str> = Vec::new();
    let mut trailing_slash = false;
    for segment in decoded.split('/') {
        let segment = segment.split([';', '\0']).next().unwrap_or_default();
        // File systems and routers ignore dots and blanks at a name's end.
        let idle = |c: char| c == '.' || c.is_whitespace() || c.is_control();
        let blank = |c: char| c.is_whitespace() || c.is_control();
        let bare = segment.trim_end_matches(blank);
        let segment = if bare == ".." { bare } else { segment.trim_end_matches(idle) };
        trailing_slash = matches!(segment, "" | "..");
        match segment {
            "" => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut path = String::from("/");
    path.push_str(&kept.join("/"));
    if trailing_slash && !kept.is_empty() {
        path.push('/');
    }
    path
}

/// What a plus stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::proxy) enum Plus {
    /// Itself.
    Literal,
    /// A space, as in forms.
    Space,
}

/// Percent-decodes; what is no UTF-8 becomes U+FFFD.
pub(in crate::proxy) fn decode(text: &[u8], plus: Plus) -> String {
    String::from_utf8_lossy(&decode_bytes(text, plus)).into_owned()
}

/// Percent-decodes; a broken escape stays as it is.
pub(in crate::proxy) fn decode_bytes(text: &[u8], plus: Plus) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        match (byte, escape(rest)) {
            (b'%', Some(value)) => {
                decoded.push(value);
                left = rest.get(2..).unwrap_or_default();
            }
            (b'+', _) if plus == Plus::Space => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

fn escape(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_path() {
        let same = [
            "//login",
            "/./login",
            "/x/../login",
            "/%6cogin",
            "/%6Cogin",
            "/login;x",
            "/;a/login",
            "\\login",
            "/%2flogin",
            "/%2e/login",
            "/../login",
            "/login%00.css",
            "/login.",
            "/login%20",
            "/login%0a",
            "/login.%20.",
            "/x/..%20/login",
            "/x/..%00/login",
        ];
        for path in same {
            assert_eq!(normalise(path), "/login", "{path}");
        }
        assert_eq!(normalise("//login//"), "/login/");
        assert_eq!(normalise("/%zz"), "/%zz");
        assert_eq!(normalise("/.."), "/");
    }

    #[test]
    fn an_ordinary_path_is_not_copied() {
        assert!(matches!(normalise("/products/42"), Cow::Borrowed(_)));
    }

    #[test]
    fn path_info_hides_neither_the_script_nor_the_route() {
        let whole: Vec<_> = views("/index.php/account/login").collect();
        assert_eq!(whole, ["/index.php/account/login", "/index.php", "/account/login"]);
        let views = |path| views(path).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(views("/login/Index.php"), ["/login/Index.php", "/login"]);
        assert_eq!(views("/index.php"), ["/index.php"]);
        assert_eq!(views("/Login.ASPX/x"), ["/Login.ASPX/x", "/Login.ASPX", "/x"]);
        assert_eq!(views("/login.jsp/x.css"), ["/login.jsp/x.css", "/login.jsp", "/x.css"]);
        assert_eq!(views("/v1.0/login"), ["/v1.0/login"]);
        let guarded: Vec<_> = guarded_views("/a/login.json").collect();
        assert_eq!(guarded, ["/a/login.json", "/a/login"]);
        assert!(guarded_views("/a.php/index.php").count() <= VIEWS_MAX);
    }
}
