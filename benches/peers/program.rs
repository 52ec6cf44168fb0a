//! The programs we need: found, or installed from Debian's packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Program, package.
const NEEDED: [(&str, &str); 5] = [
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
];

/// Where each lies.
pub(crate) struct Programs {
    pub(crate) curl: PathBuf,
    pub(crate) h2load: PathBuf,
    /// A peer more; nginx alone will do.
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) nginx: PathBuf,
    pub(crate) wrk: PathBuf,
}

impl Programs {
    pub(crate) fn find_or_install() -> Result<Self, Failure> {
        let missing: Vec<_> =
            NEEDED.iter().filter(|(program, _)| find(program).is_none()).collect();
        if !missing.is_empty() {
            install(missing.iter().map(|(_, package)| *package));
        }
        Ok(Self {
            curl: need("curl")?,
            h2load: need("h2load")?,
            haproxy: find("haproxy"),
            nginx: need("nginx")?,
            wrk: need("wrk")?,
        })
    }
}

/// Servers lie where a user's search path does not lead.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn need(program: &'static str) -> Result<PathBuf, Failure> {
    let package = NEEDED.iter().find(|(name, _)| *name == program).map_or(program, |it| it.1);
    find(program).ok_or(Failure::Missing { program, package })
}

/// What fails here is found missing afterwards, and said then with its package.
fn install<'a>(packages: impl Iterator<Item = &'a str>) {
    let script = include_str!("install.sh");
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "install"]).args(packages).stdin(Stdio::null());
    let _ = shell.status();
}
