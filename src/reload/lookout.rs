//! Compares files with what they were, and keeps the kernel watching where they lead.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebouncedEvent, Debouncer, NoCache};
use tracing::warn;

use super::trail::Trail;

/// How often watches are adapted in one go; whatever still moves then is found by the next event.
const ROUNDS_MAX: usize = 8;

/// Folders with their device and inode: a folder made again under its name is another.
type Folders = BTreeMap<PathBuf, (u64, u64)>;

/// The followed files as last seen, and the watches that lead to them.
pub(super) struct Lookout {
    trails: BTreeMap<PathBuf, Trail>,
    watched: Folders,
    debouncer: Option<Debouncer<RecommendedWatcher, NoCache>>,
}

impl Lookout {
    pub(super) fn new(debouncer: Option<Debouncer<RecommendedWatcher, NoCache>>) -> Self {
        Self { trails: BTreeMap::new(), watched: BTreeMap::new(), debouncer }
    }

    /// Replaces the set; a file followed before keeps what was known of it.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        let mut known = std::mem::take(&mut self.trails);
        let kept = |path: PathBuf| {
            let trail = known.remove(&path).unwrap_or_else(|| Trail::follow(&path));
            (path, trail)
        };
        self.trails = files.into_iter().map(kept).collect();
    }

    /// Whether anything followed is different, or was touched: two writes within one tick of the
    /// file system's clock can leave the same stamp.
    pub(super) fn look(&mut self, events: &[DebouncedEvent]) -> bool {
        let written = events.iter().filter(|event| tells_change(event));
        let written: HashSet<&PathBuf> = written.flat_map(|event| &event.paths).collect();
        let mut names = self.trails.values().flat_map(|trail| &trail.names);
        let touched = !written.is_empty() && names.any(|name| written.contains(name));
        let current = self.watch();
        let differs = current != self.trails;
        self.trails = current;
        touched || differs
    }

    /// Walks every path, brings the watches in line with where it leads, and says what was found. Watch
    /// first, compare second: what happens before the last walk is seen in it, and later is told. Where
    /// watches had to change the walk is taken again, for a folder may have come to be before its watch.
    fn watch(&mut self) -> BTreeMap<PathBuf, Trail> {
        let mut current = self.walk();
        for _ in 0..ROUNDS_MAX {
            if !self.watch_folders(&wanted(&current)) {
                break;
            }
            current = self.walk();
        }
        current
    }

    fn walk(&self) -> BTreeMap<PathBuf, Trail> {
        self.trails.keys().map(|path| (path.clone(), Trail::follow(path))).collect()
    }

    /// Whether anything had to change.
    fn watch_folders(&mut self, wanted: &Folders) -> bool {
        let Some(debouncer) = &mut self.debouncer else { return false };
        if self.watched == *wanted {
            return false;
        }
        self.watched.retain(|folder, id| {
            let stays = wanted.get(folder) == Some(id);
            if !stays {
                // The kernel may have dropped the watch together with the folder.
                let _ = debouncer.unwatch(folder);
            }
            stays
        });
        for (folder, id) in wanted {
            // Noted even if it fails, so that the warning comes once.
            if self.watched.insert(folder.clone(), *id).is_some() {
                continue;
            }
            if let Err(error) = debouncer.watch(folder, RecursiveMode::NonRecursive) {
                warn!(folder = %folder.display(), %error, "folder is polled, not watched");
            }
        }
        true
    }
}

/// Asks for each folder once: thousands of certificates lie in a few.
fn wanted(trails: &BTreeMap<PathBuf, Trail>) -> Folders {
    let above = trails.values().flat_map(|trail| &trail.names).filter_map(|name| name.parent());
    let mut wanted = Folders::new();
    for folder in above.collect::<HashSet<_>>() {
        if let Some((folder, found)) = nearest(folder) {
            wanted.insert(folder.to_owned(), (found.dev(), found.ino()));
        }
    }
    wanted
}

/// A folder, or, where it is gone, the nearest above it, in which it would come back.
fn nearest(folder: &Path) -> Option<(&Path, Metadata)> {
    folder.ancestors().find_map(|folder| {
        fs::metadata(folder).ok().filter(Metadata::is_dir).map(|found| (folder, found))
    })
}

/// Reading is an event too, and no change. Nor is a write before its file is closed: what can be read
/// until then may be empty, or a part that looks whole and lacks the rules at its end.
pub(super) fn tells_change(event: &DebouncedEvent) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{CreateKind, DataChange};

    use super::*;

    #[test]
    fn neighbours_reads_and_unfinished_writes_are_no_change_but_any_finished_one_is() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("chain"), "one").unwrap();
        let mut lookout = Lookout::new(None);
        lookout.follow(vec![root.path().join("chain")]);
        let event = |kind, name: &str| {
            let event = Event::new(kind).add_path(root.path().canonicalize().unwrap().join(name));
            DebouncedEvent { event, time: std::time::Instant::now() }
        };
        fs::write(root.path().join("neighbour"), "1").unwrap();
        let neighbour = event(EventKind::Create(CreateKind::File), "neighbour");
        let read = event(EventKind::Access(AccessKind::Any), "chain");
        let write = event(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "chain");
        let end = event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "chain");
        assert!(!lookout.look(&[neighbour, read, write]));
        assert!(lookout.look(&[end]), "even where the stamp stayed the same");
        fs::write(root.path().join("chain"), "longer").unwrap();
        assert!(lookout.look(&[]));
        assert!(!lookout.look(&[]), "told once");
    }

    #[test]
    fn a_missing_folder_is_awaited_in_the_nearest_one_above() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let mut lookout = Lookout::new(None);
        lookout.follow(vec![root.join("gone/deep/file"), root.join("gone/other")]);
        assert_eq!(wanted(&lookout.walk()).into_keys().collect::<Vec<_>>(), [root]);
    }

    #[test]
    fn a_file_kept_in_the_set_loses_no_change_and_one_left_out_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let (kept, dropped) = (root.path().join("kept"), root.path().join("dropped"));
        let mut lookout = Lookout::new(None);
        lookout.follow(vec![kept.clone(), dropped.clone()]);
        fs::write(&kept, "1").unwrap();
        lookout.follow(vec![kept]);
        assert!(lookout.look(&[]));
        fs::write(&dropped, "1").unwrap();
        assert!(!lookout.look(&[]));
    }
}
