//! The programs we need: found, installed from Debian's packages, or built.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Program or module, package. CMake is for zlib-ng, which Pingora compiles.
const NEEDED: [(&str, &str); 7] = [
    ("cmake", "cmake"),
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("ngx_http_lua_module.so", "libnginx-mod-http-lua"),
    ("wrk", "wrk"),
];

/// Where each lies.
pub(crate) struct Programs {
    pub(crate) curl: PathBuf,
    pub(crate) h2load: PathBuf,
    /// A peer more; nginx alone will do.
    pub(crate) haproxy: Option<PathBuf>,
    /// nginx's modules for Lua, in the order they are loaded.
    pub(crate) lua: Option<[PathBuf; 2]>,
    pub(crate) nginx: PathBuf,
    pub(crate) pingora: Option<PathBuf>,
    pub(crate) tillgate: PathBuf,
    pub(crate) wrk: PathBuf,
}

impl Programs {
    /// Whatever can be left out is, and it is said what.
    pub(crate) fn find_or_install(tillgate: PathBuf, pingora: bool) -> Result<Self, Failure> {
        let wanted = NEEDED.iter().filter(|(program, _)| pingora || *program != "cmake");
        let missing: Vec<_> = wanted.filter(|(program, _)| find(program).is_none()).collect();
        if !missing.is_empty() {
            install(missing.iter().map(|(_, package)| *package));
        }
        let lua = find("ndk_http_module.so").zip(find("ngx_http_lua_module.so"));
        Ok(Self {
            curl: need("curl")?,
            h2load: need("h2load")?,
            haproxy: find("haproxy"),
            lua: lua.map(|(kit, lua)| [kit, lua]),
            nginx: need("nginx")?,
            pingora: pingora.then(build_pingora).flatten(),
            tillgate,
            wrk: need("wrk")?,
        })
    }

    /// Who takes part, and who is missing.
    pub(crate) fn say(&self) -> String {
        let of = |program: &Path, flag| version(program, flag).unwrap_or_default();
        let mut said = format!("nginx {}", of(&self.nginx, "-v"));
        match &self.haproxy {
            Some(haproxy) => said += &format!(", HAProxy {}", of(haproxy, "-v")),
            None => said += ", no HAProxy (apt-get install haproxy)",
        }
        if self.lua.is_none() {
            said += ", no Lua (apt-get install libnginx-mod-http-lua)";
        }
        match self.pingora {
            Some(_) => said += ", Pingora",
            None => said += ", no Pingora",
        }
        said + ", tillgate " + &of(&self.tillgate, "--version")
    }
}

/// The first word that looks like a version in what a program says of itself.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let number =
        |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
    said.split([' ', '/', '\n', '-', '+']).find(number).map(str::to_owned)
}

/// Servers and their modules lie where a user's search path does not lead.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/lib/nginx/modules"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(more);
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

/// Minutes the first time, nothing afterwards.
fn build_pingora() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pingora");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/pingora/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(&target).stdin(Stdio::null());
    let built = command.status().is_ok_and(|status| status.success());
    built.then(|| target.join("release/peers-pingora"))
}
