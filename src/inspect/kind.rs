//! What kind of text a file holds, by its name and its first bytes.

use std::path::Path;

use crate::scan::Carrier;

/// How many bytes are looked at for a zero byte: what git does.
const HEAD_BYTES: usize = 8 << 10;
/// Where a tar archive says so (POSIX.1-2017, pax, "ustar Interchange Format").
const TAR_MAGIC_AT: usize = 257;

/// Whether the beginning of a file is not that of a text. A tar archive counts as one: it is the
/// texts in it, one after the other, and masks, which keep the length, leave it whole.
pub(super) fn is_binary(first: &[u8]) -> bool {
    let head = first.get(..HEAD_BYTES).unwrap_or(first);
    let tar = head.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"));
    !tar && utf16(head).is_none() && memchr::memchr(0, head).is_some()
}

/// The order of bytes in UTF-16.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ByteOrder {
    Big,
    Little,
}

/// Whether a text says that it is UTF-16.
pub(super) fn utf16(first: &[u8]) -> Option<ByteOrder> {
    match first {
        [0xFE, 0xFF, ..] => Some(ByteOrder::Big),
        [0xFF, 0xFE, ..] => Some(ByteOrder::Little),
        _ => None,
    }
}

/// The carrier a file's name tells; the engine itself looks at the content of what is `Text`.
pub(super) fn carrier(path: &Path) -> Carrier {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let told = name.split('.').skip(1).collect::<Vec<_>>();
    // `shop.json.1.gz` is JSON: what rotation and compression append says nothing.
    let kept = told.iter().rev().find(|part| !is_appended(part));
    match kept.copied().unwrap_or_default() {
        "csv" | "tab" | "tsv" => Carrier::Csv,
        "htm" | "html" | "vue" | "xhtml" => Carrier::Html,
        "cjs" | "js" | "jsx" | "mjs" | "ts" | "tsx" => Carrier::JavaScript,
        "geojson" | "gql" | "graphql" | "har" | "json" | "jsonl" | "map" | "ndjson" => {
            Carrier::Json
        }
        "atom" | "plist" | "rss" | "svg" | "wsdl" | "xml" | "xsd" | "xsl" => Carrier::Xml,
        _ => Carrier::Text,
    }
}

fn is_appended(part: &str) -> bool {
    matches!(part, "bak" | "gz" | "old" | "zst") || part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_carrier_whatever_was_appended_to_it() {
        let cases = [
            ("orders.CSV", Carrier::Csv),
            ("a/shop.json.1.gz", Carrier::Json),
            ("events.ndjson.zst", Carrier::Json),
            ("page.html", Carrier::Html),
            ("app.min.js", Carrier::JavaScript),
            ("feed.xml.bak", Carrier::Xml),
            ("dump.sql.gz", Carrier::Text),
            ("access.log.2", Carrier::Text),
            ("json", Carrier::Text),
            ("..", Carrier::Text),
        ];
        for (name, expected) in cases {
            assert_eq!(carrier(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_zero_byte_makes_a_file_binary_unless_it_is_utf16_or_tar() {
        assert!(is_binary(b"PK\x03\x04\0\0"));
        assert!(!is_binary(b"plain text"));
        assert!(!is_binary(b"\xFF\xFE4\x001\0"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(!is_binary(&tar));
        let late = [vec![b'a'; HEAD_BYTES], vec![0]].concat();
        assert!(!is_binary(&late));
    }
}
