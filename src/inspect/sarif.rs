//! The Static Analysis Results Interchange Format, version 2.1.0 (OASIS), piece by piece: the log is
//! as long as there are findings, and is never held as a whole.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::report::Finding;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
const CARD_RULE: &str = "card-number";
const TRACK_RULE: &str = "track-data";

/// Everything before the first result.
pub(super) fn header() -> String {
    let rule = |id: &str, short: &str, full: &str| {
        json!({
            "id": id,
            "shortDescription": { "text": short },
            "fullDescription": { "text": full },
            "defaultConfiguration": { "level": "error" },
        })
    };
    let tool = json!({ "driver": {
        "name": env!("CARGO_PKG_NAME"),
        "semanticVersion": env!("CARGO_PKG_VERSION"),
        "rules": [
            rule(
                CARD_RULE,
                "A card number in the clear",
                "A primary account number is readable where it is stored (PCI DSS 3.5.1).",
            ),
            rule(
                TRACK_RULE,
                "Magnetic-stripe or chip data",
                "Sensitive authentication data is kept after authorization (PCI DSS 3.3.1).",
            ),
        ],
    }});
    format!(
        "{{\"$schema\":\"{SCHEMA}\",\"version\":\"2.1.0\",\"runs\":[{{\"tool\":{tool},\
         \"columnKind\":\"unicodeCodePoints\",\"results\":["
    )
}

/// Everything behind the last result.
pub(super) fn footer(complete: bool) -> String {
    format!("\n],\"invocations\":[{{\"executionSuccessful\":{complete}}}]}}]}}\n")
}

/// One result.
pub(super) fn result(uri: &str, Finding { start, end, number }: &Finding) -> Value {
    let (rule, index, what) = match number.track {
        true => (TRACK_RULE, 1, "Track data"),
        false => (CARD_RULE, 0, "Card number"),
    };
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": "error",
        "message": { "text": format!("{what} {} ({})", number.masked, number.brand) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri },
            "region": {
                "startLine": start.line,
                "startColumn": start.column,
                "endLine": end.line,
                "endColumn": end.column,
            },
        }}],
    })
}

/// A path as a URI reference (RFC 3986 §2.3, §4.1; RFC 8089 for absolute ones).
pub(super) fn uri(path: &Path) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri_reference() {
        assert_eq!(uri(Path::new("a b/c:d.log")), "a%20b/c%3Ad.log");
        assert_eq!(uri(Path::new("/var/log/ä")), "file:///var/log/%C3%A4");
    }

    #[test]
    fn a_log_without_results_is_one_too() {
        let log: Value = serde_json::from_str(&format!("{}{}", header(), footer(true))).unwrap();
        assert_eq!(log["version"], "2.1.0");
        assert_eq!(log["runs"][0]["results"], json!([]));
        assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][1]["id"], TRACK_RULE);
    }
}
