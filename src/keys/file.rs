//! The master key as a file of 32 raw bytes that only its owner may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::replace::{self, Replacement};
use super::{IfMissing, KEY_BYTES, KeyError, KeySource, MemoryKey, Obtained, SecretKey};
use crate::disk::{self, Existing, PRIVATE};

/// A key file. Links are followed, as secrets mounted by an orchestrator are links.
#[derive(Clone, Debug)]
pub struct FileKey {
    /// Where the file lies, or will lie after the first start.
    pub path: PathBuf,
}

impl KeySource for FileKey {
    fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }

    fn obtain(&self, missing: IfMissing) -> Result<Obtained, KeyError> {
        replace::discard_drafts(&self.path);
        self.read_or_make(missing)
    }

    fn replacement(&self) -> Result<Option<Replacement>, KeyError> {
        Replacement::of(&self.path).map(Some)
    }
}

impl FileKey {
    pub(super) fn read_or_make(&self, missing: IfMissing) -> Result<Obtained, KeyError> {
        match (File::open(&self.path), missing) {
            (Ok(file), _) => Ok(Obtained::Read(Arc::new(self.read(file)?))),
            (Err(error), IfMissing::Create) if error.kind() == io::ErrorKind::NotFound => {
                self.create()
            }
            (Err(error), IfMissing::Refuse) if error.kind() == io::ErrorKind::NotFound => {
                Err(KeyError::FileMissing { path: self.path.clone() })
            }
            (Err(source), _) => Err(self.unreadable(source)),
        }
    }

    fn read(&self, mut file: File) -> Result<MemoryKey, KeyError> {
        let path = || self.path.clone();
        let facts = file.metadata().map_err(|source| self.unreadable(source))?;
        let mode = facts.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::FileMode { path: path(), mode });
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let wrong_size = || KeyError::FileSize { path: path(), bytes: facts.len() };
        if u64::try_from(KEY_BYTES) != Ok(facts.len()) {
            return Err(wrong_size());
        }
        file.read_exact(bytes.as_mut_slice()).map_err(|source| self.unreadable(source))?;
        SecretKey::from_bytes(bytes.as_slice()).map(MemoryKey::new).ok_or_else(wrong_size)
    }

    /// No crash leaves half a key under the name, and who was faster is not written over.
    fn create(&self) -> Result<Obtained, KeyError> {
        let key = SecretKey::random().map(MemoryKey::new).map_err(|_| KeyError::Random)?;
        match self.publish(&key, Existing::Keep) {
            Ok(()) => Ok(Obtained::Made(Arc::new(key))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = File::open(&self.path).map_err(|source| self.unreadable(source))?;
                Ok(Obtained::Read(Arc::new(self.read(file)?)))
            }
            Err(source) => Err(KeyError::Create { path: self.path.clone(), source }),
        }
    }

    /// Writes the same key under another name, in place of what stands there.
    pub(super) fn copy_to(&self, other: &Self) -> Result<(), KeyError> {
        let file = File::open(&self.path).map_err(|source| self.unreadable(source))?;
        let written = other.publish(&self.read(file)?, Existing::Replace);
        written.map_err(|source| KeyError::Create { path: other.path.clone(), source })
    }

    fn publish(&self, key: &MemoryKey, existing: Existing) -> io::Result<()> {
        disk::write(&self.path, key.bytes().expose(), PRIVATE, existing)
    }

    fn unreadable(&self, source: io::Error) -> KeyError {
        KeyError::Read { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn in_new_folder() -> (tempfile::TempDir, FileKey) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        (folder, FileKey { path })
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_the_second_reads_it() {
        let (_folder, source) = in_new_folder();
        let Ok(Obtained::Made(made)) = source.obtain(IfMissing::Create) else { panic!("not made") };
        let Ok(Obtained::Read(read)) = source.obtain(IfMissing::Refuse) else { panic!("not read") };
        assert_eq!(made.id(), read.id());
        let mode = fs::metadata(&source.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = fs::read_dir(source.path.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "no draft is left behind");
    }

    #[test]
    fn what_a_killed_command_left_of_a_key_is_removed_when_it_is_next_read() {
        let (folder, source) = in_new_folder();
        source.obtain(IfMissing::Create).map(drop).unwrap();
        let link = FileKey { path: folder.path().join("link.key") };
        std::os::unix::fs::symlink(&source.path, &link.path).unwrap();
        for file in [&source, &link] {
            for draft in ["master.key", "master.key.next", "master.key.previous"] {
                let draft = folder.path().join(format!("{draft}.draft"));
                fs::copy(&source.path, draft).unwrap();
            }
            file.obtain(IfMissing::Refuse).map(drop).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_lost_key_is_not_replaced_while_a_vault_exists() {
        let (folder, source) = in_new_folder();
        let vault = folder.path().join("vault.db");
        assert_eq!(IfMissing::for_vault(&vault), IfMissing::Create);
        fs::write(&vault, b"rows").unwrap();
        let refused = source.obtain(IfMissing::for_vault(&vault)).err().unwrap();
        assert!(matches!(refused, KeyError::FileMissing { .. }), "{refused}");
        assert!(!source.path.exists());
    }

    #[test]
    fn a_key_others_may_read_is_refused_with_the_remedy() {
        let (_folder, source) = in_new_folder();
        fs::write(&source.path, [7; KEY_BYTES]).unwrap();
        fs::set_permissions(&source.path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = source.obtain(IfMissing::Refuse).err().unwrap().to_string();
        assert!(refused.contains("0640"), "{refused}");
        assert!(refused.contains(&format!("chmod 600 {}", source.path.display())), "{refused}");
    }

    #[test]
    fn a_key_of_the_wrong_size_is_refused_and_left_alone() {
        let (_folder, source) = in_new_folder();
        for size in [0, 31, 33] {
            fs::write(&source.path, vec![7; size]).unwrap();
            fs::set_permissions(&source.path, fs::Permissions::from_mode(0o600)).unwrap();
            let refused = source.obtain(IfMissing::Create).err().unwrap();
            assert!(matches!(refused, KeyError::FileSize { .. }), "{refused}");
            assert_eq!(fs::read(&source.path).unwrap().len(), size);
        }
    }

    #[test]
    fn two_first_starts_at_once_agree_on_one_key() {
        let (_folder, source) = in_new_folder();
        let keys = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| source.obtain(IfMissing::Create).ok())).collect();
            starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect::<Vec<_>>()
        });
        let made = keys.iter().filter(|key| matches!(key, Obtained::Made(_))).count();
        assert_eq!(made, 1);
        let keys: Vec<_> = keys.into_iter().map(Obtained::into_key).collect();
        assert!(keys.iter().all(|key| key.id() == keys[0].id()));
    }
}
