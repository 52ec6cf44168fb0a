//! Landlock: nothing is written but below our own folders. Reading and starting programs stay free: a
//! reload may name other files, an upgrade starts a program, and neither must fail for a rule of ours.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, Errno, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use super::Standing;
use crate::config::{AccessLog, MasterKeySource, Startup};

/// Where every program may write: temporary files, and what is no file.
const COMMON: [&str; 7] =
    ["/tmp", "/var/tmp", "/run/tillgate", "/dev/null", "/dev/zero", "/dev/stdout", "/dev/stderr"];

/// Takes the right to write anywhere else away.
pub(super) fn restrict(startup: &Startup) -> Standing {
    if !startup.sandbox.enabled {
        return Standing::Waived("set `sandbox.enabled = true`");
    }
    let device = matches!(startup.vault.master_key, MasterKeySource::Pkcs11(_));
    if device && startup.sandbox.write.is_empty() {
        return Standing::Waived(
            "name the folders that the PKCS#11 module writes to in `sandbox.write`",
        );
    }
    layer(&writable(startup))
}

fn layer(folders: &[PathBuf]) -> Standing {
    match enforce(folders) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Standing::Stands,
        Ok(RulesetStatus::NotEnforced) => {
            Standing::Unavailable("the kernel has no Landlock".into())
        }
        Err(error) => {
            let said = error.to_string();
            // The kernel stacks sixteen layers, one of each program that took another's place; what
            // the earlier ones deny stays denied.
            match *Errno::from(error) == libc::E2BIG {
                true => Standing::Inherited,
                false => Standing::Unavailable(said),
            }
        }
    }
}

fn enforce(folders: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // Creating, writing, renaming, truncating and removing; not the network.
    let write = AccessFs::from_write(ABI::V3);
    let ruleset = Ruleset::default().handle_access(write)?.create()?;
    // A pipe or a socket behind /dev/stdout has no path, and needs no rule; the kernel takes none.
    let there = folders.iter().filter_map(|folder| folder.canonicalize().ok());
    let ruleset = ruleset.add_rules(path_beneath_rules(there, write))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

/// The folders of what is configured; those that are not there are left out.
fn writable(startup: &Startup) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = COMMON.iter().map(PathBuf::from).collect();
    folders.push(std::env::temp_dir());
    folders.push(startup.data_dir.clone());
    folders.extend(startup.sandbox.write.iter().cloned());
    if let AccessLog::File(path) = &startup.log.access {
        // The folder too, where a rotated log is made anew; but not all of /dev.
        folders.extend(folder_of(path).filter(|folder| folder != Path::new("/dev")));
        folders.push(path.clone());
    }
    if let MasterKeySource::File(path) = &startup.vault.master_key {
        folders.extend(folder_of(path));
    }
    folders.extend(startup.pid_file.as_deref().and_then(folder_of));
    folders
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    let here = parent == Path::new("");
    Some(if here { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nothing_is_written_but_below_the_folders_that_are_named() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = other.path().join("kept");
        std::fs::write(&kept, b"kept").unwrap();
        let named = [ours.path().to_owned(), PathBuf::from("/nowhere/at/all")];
        // The rules hold for the thread that asks for them.
        let seen = std::thread::spawn(move || {
            if enforce(&named).unwrap() == RulesetStatus::NotEnforced {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            assert!(File::create(ours.path().join("new")).is_ok());
            let denied = |outcome: std::io::Result<()>| {
                assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied));
            };
            denied(File::create(other.path().join("new")).map(drop));
            denied(File::options().append(true).open(&kept).map(drop));
            denied(std::fs::remove_file(&kept));
            assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
        });
        seen.join().unwrap();
    }

    #[test]
    fn a_layer_for_which_there_is_no_room_is_inherited() {
        let last = std::thread::spawn(|| {
            for _ in 0..16 {
                layer(&[std::env::temp_dir()]);
            }
            layer(&[std::env::temp_dir()])
        });
        assert!(matches!(last.join().unwrap(), Standing::Inherited | Standing::Unavailable(_)));
    }

    #[test]
    fn a_file_in_the_current_folder_has_that_folder() {
        assert_eq!(folder_of(Path::new("access.log")), Some(PathBuf::from(".")));
        assert_eq!(folder_of(Path::new("/var/log/a")), Some(PathBuf::from("/var/log")));
        assert_eq!(folder_of(Path::new("/")), None);
    }
}
