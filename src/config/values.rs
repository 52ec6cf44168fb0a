//! Single values: units, addresses, patterns, files.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::compile::Compiler;
use super::source::At;
use super::units::{self, UnitError};
use crate::policy::{PathPattern, Quota};

/// The most memory that one compiled expression may take; a pattern that needs more is a slip.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Compiler<'_> {
    pub(super) fn size(&mut self, key: &str, at: Option<&At<String>>, default: u64) -> u64 {
        let example = "write a size in B, KB, KiB, MB, MiB, GB or GiB, as in \"16MiB\"";
        self.unit(key, at, units::size, example).unwrap_or(default)
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        at: Option<&At<String>>,
        default: Duration,
    ) -> Duration {
        let example = "write a time in ms, s, m, h or d, up to a year, as in \"30s\"";
        self.unit(key, at, units::duration, example).unwrap_or(default)
    }

    pub(super) fn rate(&mut self, key: &str, at: Option<&At<String>>, default: Quota) -> Quota {
        let example = "write a rate per s, min, hour or day, as in \"20/min\"";
        self.unit(key, at, units::rate, example).unwrap_or(default)
    }

    fn unit<T>(
        &mut self,
        key: &str,
        at: Option<&At<String>>,
        read: fn(&str) -> Result<T, UnitError>,
        example: &str,
    ) -> Option<T> {
        let at = at?;
        let wrong = |error| format!("{} {error}", self.source.quote(&at.span()));
        match read(at.get()).map_err(wrong) {
            Ok(value) => Some(value),
            Err(message) => {
                self.refuse(&at.span(), key, message, example);
                None
            }
        }
    }

    /// An IP address and a port; port 0 lets the system choose.
    pub(super) fn address(&mut self, key: &str, at: &At<String>) -> Option<SocketAddr> {
        let text = at.get();
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let port = text.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let quoted = self.source.quote(&at.span());
        let (message, remedy) = if digits && port.parse::<u16>().is_err() {
            (format!("{quoted} has no such port"), "write a port from 0 to 65535")
        } else {
            let remedy = "write both, as in \"127.0.0.1:8443\" or \"[::1]:8443\"";
            (format!("{quoted} is not an IP address and a port"), remedy)
        };
        self.refuse(&at.span(), key, message, remedy);
        None
    }

    /// A path, from the folder of the file.
    pub(super) fn path(&self, at: &At<String>) -> PathBuf {
        self.source.folder.join(at.get())
    }

    /// The same as people will look for it: from where they named the configuration.
    pub(super) fn path_as_named(&self, at: &At<String>) -> PathBuf {
        let folder = self.source.file.parent().unwrap_or(Path::new(""));
        folder.join(at.get())
    }

    /// A file that can be read; it is watched from now on, even where it cannot.
    pub(super) fn readable(&mut self, key: &str, at: &At<String>) -> Option<PathBuf> {
        let path = self.path(at);
        self.follow(path.clone());
        let quoted = self.source.quote(&at.span());
        let message = match File::open(&path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_file() => return Some(path),
            Ok(_) => format!("{quoted} is not a file"),
            Err(error) => format!("{quoted} cannot be read ({})", error.kind()),
        };
        self.refuse(&at.span(), key, message, "check the path and who may read it");
        None
    }

    /// A pattern for the path of a request.
    pub(super) fn path_pattern(&mut self, key: &str, at: &At<String>) -> Option<PathPattern> {
        if at.get().contains(['?', '#']) {
            let message = "has a query or a fragment, and only the path is looked at";
            self.refuse(&at.span(), key, message, "end it before the `?` or `#`");
            return None;
        }
        let pattern = PathPattern::parse(at.get());
        if pattern.is_none() {
            let message =
                format!("{} does not begin with `/` or `*`", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "write it as in \"/api/*\"");
        }
        pattern
    }

    pub(super) fn regex(&mut self, key: &str, at: &At<String>) -> Option<Regex> {
        self.built(key, at, &mut RegexBuilder::new(at.get()))
    }

    /// The same for what strangers send: a dot is any byte, or a line's end or what is no UTF-8 would
    /// lead past `union.+select`.
    pub(super) fn hostile_regex(&mut self, key: &str, at: &At<String>) -> Option<Regex> {
        let mut builder = RegexBuilder::new(at.get());
        self.built(key, at, builder.unicode(false).dot_matches_new_line(true))
    }

    fn built(&mut self, key: &str, at: &At<String>, builder: &mut RegexBuilder) -> Option<Regex> {
        let error = match builder.size_limit(REGEX_BYTES_MAX).build() {
            Ok(regex) => return Some(regex),
            Err(error) => error,
        };
        let (message, remedy) = if let regex::Error::CompiledTooBig(_) = error {
            ("is too large an expression".to_owned(), "make it shorter, or its repetitions smaller")
        } else {
            // The crate draws the pattern and points at it; its last line says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            let remedy = "mend it; the syntax is that of docs.rs/regex";
            (format!("is not a regular expression: {reason}"), remedy)
        };
        self.refuse(&at.span(), key, message, remedy);
        None
    }
}
