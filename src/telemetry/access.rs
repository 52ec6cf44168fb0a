//! One line per request.
//!
//! Text from the wire is masked, cut to a length and escaped, in this order, before anything is
//! formatted; a line is one line whatever a client sends. Logging never makes a request wait.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use serde::Serialize;

use super::combined;
use super::lines::{DroppedLines, Lines};
use super::mask::{mask_name, mask_text, mask_url};
use super::timestamp::Rfc3339;

/// The most a line keeps of one text from the wire.
const TEXT_BYTES_MAX: usize = 4096;
/// How long lines gather before they are written.
const LINGER: Duration = Duration::from_millis(20);

/// Where access lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessTarget {
    /// To a file, appended.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
}

/// How an access line is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessFormat {
    /// As Apache's `combined`.
    Combined,
    /// As one JSON object.
    #[default]
    Json,
}

/// What a request has become, once its body has ended. Byte strings are as they came.
pub struct AccessRecord<'a> {
    /// When it began.
    pub time: SystemTime,
    /// Its id.
    pub request_id: &'a str,
    /// The client, as believed.
    pub client: IpAddr,
    /// Its method.
    pub method: &'a Method,
    /// The host asked for.
    pub host: Option<&'a [u8]>,
    /// Path and query.
    pub target: &'a [u8],
    /// The version of HTTP.
    pub protocol: Version,
    /// What was answered.
    pub status: StatusCode,
    /// Body bytes received.
    pub request_bytes: u64,
    /// Body bytes sent.
    pub response_bytes: u64,
    /// From the head to the end of the answer.
    pub duration: Duration,
    /// The part of it spent on the upstream.
    pub upstream_duration: Option<Duration>,
    /// The site, where one was found.
    pub site: Option<&'a str>,
    /// The route, where one was found.
    pub route: Option<&'a str>,
    /// The `Referer` field.
    pub referrer: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// Card numbers found in the request.
    pub request_cards: u64,
    /// Card numbers found in the answer.
    pub response_cards: u64,
    /// How a login went.
    pub login: Option<&'static str>,
    /// Why we refused it.
    pub rejection: Option<&'static str>,
    /// The version of TLS.
    pub tls: Option<&'static str>,
}

/// The access log.
pub struct AccessLog {
    format: AccessFormat,
    target: AccessTarget,
    lines: Option<Lines>,
}

/// A record whose every text may be shown.
#[derive(Serialize)]
pub(super) struct Cleaned<'a> {
    time: String,
    request_id: Cow<'a, str>,
    pub(super) client: IpAddr,
    pub(super) method: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    pub(super) target: Cow<'a, str>,
    pub(super) protocol: &'static str,
    pub(super) status: u16,
    request_bytes: u64,
    pub(super) response_bytes: u64,
    duration_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_duration_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) referrer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<Cow<'a, str>>,
    request_cards: u64,
    response_cards: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    #[serde(skip)]
    pub(super) at: SystemTime,
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn start(
        target: AccessTarget,
        format: AccessFormat,
        dropped: DroppedLines,
    ) -> io::Result<Self> {
        let sink: Box<dyn io::Write + Send> = match &target {
            AccessTarget::Off => return Ok(Self { format, target, lines: None }),
            AccessTarget::Stdout => Box::new(io::stdout()),
            AccessTarget::File(path) => Box::new(open(path)?),
        };
        let lines = Lines::start("access-log", sink, LINGER, dropped)?;
        Ok(Self { format, target, lines: Some(lines) })
    }

    /// Writes one line, soon.
    pub fn record(&self, record: &AccessRecord<'_>) {
        if let Some(lines) = &self.lines {
            let mut line = line(record, self.format);
            line.push('\n');
            lines.push(line.as_bytes());
        }
    }

    /// Opens the file anew, after it was moved away; any other target stays.
    ///
    /// # Errors
    /// When the file cannot be opened; the old one is then kept.
    pub fn reopen(&self) -> io::Result<()> {
        if let (AccessTarget::File(path), Some(lines)) = (&self.target, &self.lines) {
            lines.replace(open(path)?);
        }
        Ok(())
    }

    /// Writes what waits; later lines are dropped. Dropping the log does the same.
    pub fn close(&self) {
        if let Some(lines) = &self.lines {
            lines.close();
        }
    }
}

impl<'a> Cleaned<'a> {
    fn of(record: &AccessRecord<'a>) -> Self {
        Self {
            time: Rfc3339(record.time).to_string(),
            request_id: short(mask_text(record.request_id)),
            client: record.client,
            method: short(mask_name(record.method.as_str())),
            host: record.host.map(|host| clean(host, mask_name)),
            target: clean(record.target, mask_url),
            protocol: protocol(record.protocol),
            status: record.status.as_u16(),
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            duration_s: seconds(record.duration),
            upstream_duration_s: record.upstream_duration.map(seconds),
            site: record.site,
            route: record.route,
            referrer: record.referrer.map(|referrer| clean(referrer, mask_url)),
            user_agent: record.user_agent.map(|agent| clean(agent, mask_text)),
            request_cards: record.request_cards,
            response_cards: record.response_cards,
            login: record.login,
            rejection: record.rejection,
            tls: record.tls,
            at: record.time,
        }
    }
}

fn line(record: &AccessRecord<'_>, format: AccessFormat) -> String {
    let cleaned = Cleaned::of(record);
    match format {
        AccessFormat::Combined => combined::line(&cleaned),
        AccessFormat::Json => ascii_controls(serde_json::to_string(&cleaned).unwrap_or_default()),
    }
}

fn clean<'a>(bytes: &'a [u8], mask: fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => short(mask(text)),
        Cow::Owned(text) => Cow::Owned(short(mask(&text)).into_owned()),
    }
}

/// Cuts after masking: half a card number would not be found.
fn short(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let end = (0..=TEXT_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push('…');
    Cow::Owned(cut)
}

/// JSON escapes only what is below the space. Terminals also obey DEL and the C1 controls, and
/// viewers the line separators and the marks that turn the direction of text: all become `\uXXXX`.
pub(super) fn ascii_controls(json: String) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // Nearly every line, and asked in a tenth of the instructions.
    let odd = |byte: u8| !matches!(byte, b' '..=b'~');
    if !json.bytes().fold(false, |any, byte| any | odd(byte)) || !json.contains(acts) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP",
    }
}

/// To the microsecond.
fn seconds(duration: Duration) -> f64 {
    Duration::new(duration.as_secs(), duration.subsec_micros().saturating_mul(1000)).as_secs_f64()
}

fn open(path: &Path) -> io::Result<File> {
    // Client addresses are personal data: not for everyone on the machine.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::telemetry::Metrics;

    fn record<'a>(target: &'a [u8], agent: &'a [u8]) -> AccessRecord<'a> {
        AccessRecord {
            time: UNIX_EPOCH + Duration::from_millis(971_186_136_007),
            request_id: "r-1",
            client: Ipv4Addr::LOCALHOST.into(),
            method: &Method::GET,
            host: Some(b"shop.example"),
            target,
            protocol: Version::HTTP_11,
            status: StatusCode::OK,
            request_bytes: 0,
            response_bytes: 42,
            duration: Duration::from_nanos(1_234_567),
            upstream_duration: Some(Duration::from_millis(1)),
            site: Some("shop.example"),
            route: Some("default"),
            referrer: Some(agent),
            user_agent: Some(agent),
            request_cards: 1,
            response_cards: 0,
            login: None,
            rejection: None,
            tls: Some("TLSv1.3"),
        }
    }

    #[test]
    fn a_json_line_says_all_with_units() {
        let text = line(&record(b"/cart?page=2", b"curl/8"), AccessFormat::Json);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2000-10-10T13:55:36.007Z");
        assert_eq!(value["target"], "/cart?page=2");
        assert_eq!(value["duration_s"], 0.001_234);
        assert_eq!(value["request_cards"], 1);
        assert!(value.get("login").is_none());
    }

    #[test]
    fn a_combined_line_is_apaches() {
        let text = line(&record(b"/a\"b", b"x\x1b[31m\\"), AccessFormat::Combined);
        let expected = "127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a\\\"b HTTP/1.1\" 200 42 \
                        \"x\\x1b[31m\\\\\" \"x\\x1b[31m\\\\\"";
        assert_eq!(text, expected);
    }

    #[test]
    fn passwords_in_target_and_referrer_are_hidden() {
        let text = line(&record(b"/l?password=hunter2", b"/?pwd=hunter2"), AccessFormat::Combined);
        assert!(!text.lines().next().unwrap().contains("password=hunter2"));
        assert!(text.contains("\"/?pwd=***\""));
    }

    #[test]
    fn closing_writes_every_line_and_reopening_follows_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let target = AccessTarget::File(path.clone());
        let dropped = Metrics::new().lines_dropped("access");
        let log = AccessLog::start(target, AccessFormat::Json, dropped.clone()).unwrap();
        std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        log.reopen().unwrap();
        for _ in 0..1000 {
            log.record(&record(b"/", b"-"));
        }
        log.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1000);
        assert_eq!(dropped.count(), 0);
        log.record(&record(b"/", b"-"));
        assert_eq!(dropped.count(), 1);
    }

    #[test]
    fn a_full_disk_is_counted_and_stops_nothing() {
        let dropped = Metrics::new().lines_dropped("access");
        let target = AccessTarget::File("/dev/full".into());
        let log = AccessLog::start(target, AccessFormat::Json, dropped.clone()).unwrap();
        log.record(&record(b"/", b"-"));
        log.close();
        assert_eq!(dropped.count(), 1);
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_valid_json_for_any_bytes(
            target in proptest::collection::vec(any::<u8>(), 0..200),
            agent in "\\PC{0,20}[\u{0}-\u{ff}\u{2028}\u{202e}]{0,20}",
        ) {
            let record = record(&target, agent.as_bytes());
            let text = line(&record, AccessFormat::Json);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(value["target"].is_string());
            prop_assert!(!text.chars().any(char::is_control));
            let text = line(&record, AccessFormat::Combined);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
