//! Small disks that a test can fill and break.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::program;

/// A file system of a test's own; gone when dropped.
pub(crate) struct Disk {
    folder: TempDir,
    /// The block device, where there is one, and the file that it is made of.
    device: Option<(String, TempDir)>,
}

impl Disk {
    /// In memory, of so many megabytes. `None`, said loudly, where we may not mount one.
    pub(crate) fn of(megabytes: u32) -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap(), device: None };
        let size = format!("size={megabytes}m,mode=755");
        let mount = ["-t", "tmpfs", "-o", &size, "tillgate-test"];
        disk.mounted(Command::new("mount").args(mount))
    }

    /// One of ext4, which turns itself read-only after an error, as Debian sets it up.
    pub(crate) fn ext4(megabytes: u32) -> Option<Self> {
        let (mkfs, losetup) = (program("mkfs.ext4")?, program("losetup")?);
        let image = tempfile::tempdir().unwrap();
        let file = image.path().join("image");
        fs::File::create(&file).unwrap().set_len(u64::from(megabytes) << 20).unwrap();
        assert!(said(Command::new(mkfs).arg("-q").arg(&file)).is_some());
        let device = said(Command::new(losetup).args(["--find", "--show"]).arg(&file));
        let Some(device) = device else {
            eprintln!("SKIPPED: there are no loop devices here");
            return None;
        };
        let device = Some((device.trim().to_owned(), image));
        Self { folder: tempfile::tempdir().unwrap(), device }.mount()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![b'x'; size];
            let full = loop {
                if let Err(full) = file.write_all(&block) {
                    break full;
                }
            };
            assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Has ext4 find an error in itself.
    pub(crate) fn corrupt(&self) {
        let name = self.device().strip_prefix("/dev/").unwrap();
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").unwrap();
    }

    /// What an operator does then. Nobody may have files open.
    pub(crate) fn repair(self) -> Self {
        assert!(said(Command::new("umount").arg(self.path())).is_some());
        // Its exit code says that there was something to repair.
        let fsck = program("e2fsck").unwrap();
        let _ = Command::new(fsck).args(["-fy", self.device()]).output().unwrap();
        self.mount().expect("it could be mounted before")
    }

    fn mount(self) -> Option<Self> {
        let device = self.device().to_owned();
        self.mounted(Command::new("mount").args(["-o", "errors=remount-ro", &device]))
    }

    fn mounted(self, mount: &mut Command) -> Option<Self> {
        if said(mount.arg(self.path())).is_none() {
            eprintln!("SKIPPED: no file system may be mounted here");
            return None;
        }
        Some(self)
    }

    fn device(&self) -> &str {
        &self.device.as_ref().expect("a disk with a device").0
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = said(Command::new("umount").arg("--lazy").arg(self.path()));
        if let Some((device, _)) = &self.device {
            let _ = said(Command::new("losetup").args(["--detach", device]));
        }
    }
}

/// What a command says, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
