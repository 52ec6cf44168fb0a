//! Where a path leads at this moment: every symlink on the way, and the file at its end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::tls::FileStamp;

/// As many as Linux follows before it says `ELOOP`.
const SYMLINKS_MAX: usize = 40;

/// What a path was when it was last looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trail {
    /// The names that decide what is read: each symlink passed, and the file at the end. Their
    /// folders are free of symlinks, as a watch reports them.
    pub(super) names: BTreeSet<PathBuf>,
    /// `None` where nothing can be reached.
    stamp: Option<FileStamp>,
}

impl Trail {
    /// Follows `path` (absolute).
    pub(super) fn follow(path: &Path) -> Self {
        let mut names = BTreeSet::new();
        let mut here = PathBuf::from("/");
        let mut ahead = steps(path);
        let mut passed = 0;
        while let Some(step) = ahead.pop() {
            if step == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&step);
            let Ok(target) = fs::read_link(&next) else {
                here = next;
                continue;
            };
            names.insert(next);
            passed += 1;
            if passed > SYMLINKS_MAX {
                return Self { names, stamp: None };
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            ahead.extend(steps(&target));
        }
        let stamp = fs::metadata(&here).ok().map(|found| FileStamp::of(&found));
        names.insert(here);
        Self { names, stamp }
    }
}

/// The steps of a path, the first one last, so that `pop` takes them in order.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::Prefix(_) | Component::RootDir => None,
    });
    let mut steps: Vec<_> = steps.collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_symlink_on_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir(root.join("v1")).unwrap();
        fs::write(root.join("v1/key"), "1").unwrap();
        symlink("v1", root.join("now")).unwrap();
        symlink("now/../now/key", root.join("key")).unwrap();
        let trail = Trail::follow(&root.join("key"));
        let names = ["key", "now", "v1/key"].map(|name| root.join(name));
        assert_eq!(trail.names, BTreeSet::from(names));
        assert!(trail.stamp.is_some());
    }

    #[test]
    fn a_circle_of_symlinks_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(Trail::follow(&root.path().join("a")).stamp.is_none());
    }
}
