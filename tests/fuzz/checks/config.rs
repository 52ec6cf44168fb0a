//! A configuration file of any bytes is loaded, or every problem has its place.

use std::fs;

use tempfile::TempDir;
use tillgate::config::{self, Loaded, Problems};
use tillgate::policy::{HostPattern, PathPattern};

thread_local! {
    static FOLDER: TempDir = TempDir::new().expect("a temporary folder can be made");
}

/// Reads the bytes as a file.
pub fn check(data: &[u8]) {
    patterns(&String::from_utf8_lossy(data));
    FOLDER.with(|folder| {
        let path = folder.path().join("tillgate.toml");
        fs::write(&path, data).expect("a temporary file can be written");
        match config::load(&path) {
            Ok(loaded) => sound(&loaded),
            Err(problems) => placed(&problems, data),
        }
    });
}

/// What was loaded can be described and serves something.
fn sound(loaded: &Loaded) {
    assert!(!config::summary(loaded).is_empty(), "nothing can be said about it");
    assert!(!loaded.digest.is_empty(), "it has no digest");
    assert!(!loaded.files.is_empty(), "it came from no file");
    for site in &loaded.snapshot.sites {
        assert!(!site.upstreams.is_empty(), "a site has no upstream");
        for path in ["/", "/a", "*", "", "/login/"] {
            assert!(site.route(path).is_some() || !path.starts_with('/'), "{path} has no route");
        }
    }
}

/// Each problem has a line of the file and says something, in the order of the file.
fn placed(problems: &Problems, text: &[u8]) {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(problems.iter().count() > 0, "refused without a problem");
    assert!(problems.iter().is_sorted_by_key(|problem| problem.line), "out of order");
    for problem in problems.iter() {
        assert!(problem.line <= lines, "{problem}: the file has {lines} lines");
        assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{problem}");
        assert!(!problem.message.contains('\n'), "{problem}: more than a line");
    }
}

/// Patterns are total, and a loose match is never narrower than a strict one.
fn patterns(text: &str) {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, text));
    if let Some(pattern) = PathPattern::parse(pattern) {
        let (strict, loose) = (pattern.matches(path), pattern.matches_loosely(path));
        assert!(loose || !strict, "{pattern} matches {path} strictly alone");
    }
    if let Some(host) = HostPattern::parse(pattern) {
        let _ = host.matches(path);
    }
}
