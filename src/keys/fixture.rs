//! A SoftHSM of the test's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::Pkcs11;
use tempfile::TempDir;

use super::{PinSource, Pkcs11Key};

const PIN: &str = "26354819";

const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];

/// A token in a folder. Its library reads its configuration from a variable that only the start of
/// a process can set, so a test that uses it runs itself again as a child with the variable set.
pub(super) struct SoftHsm {
    folder: PathBuf,
    module: PathBuf,
}

impl SoftHsm {
    pub(super) const WRONG_PIN: &str = "99887766";

    /// `None` where there is no SoftHSM, and in the process that has run the test in a child.
    pub(super) fn start() -> Option<Self> {
        let module = MODULES.into_iter().map(PathBuf::from).find(|path| path.is_file());
        assert!(
            module.is_some() || std::env::var_os("TILLGATE_NO_SKIP").is_none(),
            "softhsm2 is not installed"
        );
        let Some(module) = module else {
            eprintln!("SKIPPED: softhsm2 is not installed");
            return None;
        };
        if let Some(config) = std::env::var_os("SOFTHSM2_CONF") {
            let folder = Path::new(&config).parent().unwrap().to_owned();
            return Some(Self { folder, module });
        }
        run_in_child(&TempDir::new().unwrap());
        None
    }

    pub(super) fn key(&self, label: &str) -> Pkcs11Key {
        Pkcs11Key {
            module: self.module.clone(),
            token_label: "tillgate".to_owned(),
            key_label: label.to_owned(),
            pin: PinSource::File(self.folder.join("pin")),
        }
    }

    pub(super) fn end_sessions(&self) {
        // What the process has initialised is one for all contexts.
        Pkcs11::new(&self.module).unwrap().finalize().unwrap();
    }

    pub(super) fn spoil_pin(&self) {
        fs::write(self.folder.join("pin"), Self::WRONG_PIN).unwrap();
    }
}

fn run_in_child(folder: &TempDir) {
    let path = folder.path();
    fs::create_dir(path.join("tokens")).unwrap();
    let config = path.join("softhsm2.conf");
    let tokens = path.join("tokens");
    fs::write(&config, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    fs::write(path.join("pin"), format!("{PIN}\n")).unwrap();
    fs::set_permissions(path.join("pin"), Permissions::from_mode(0o600)).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "tillgate", "--so-pin", "71625348"])
        .args(["--pin", PIN])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let test = std::thread::current().name().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child ran nothing");
}
