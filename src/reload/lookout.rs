//! Compares files with what they were, and keeps the kernel watching where they lead.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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
        let touched = written
            .flat_map(|event| &event.paths)
            .any(|path| self.trails.values().any(|trail| trail.names.contains(path)));
        // Watch first, compare second: what happens in between is then seen here or told later.
        self.watch();
        let mut differs = false;
        for (path, known) in &mut self.trails {
            let current = Trail::follow(path);
            differs |= current != *known;
            *known = current;
        }
        if differs {
            self.watch();
        }
        touched || differs
    }

    /// Brings the watches in line with where the paths lead now, in rounds: a folder may come to be
    /// while the one above it is being put under watch.
    fn watch(&mut self) {
        let mut wanted = self.wanted();
        for _ in 0..ROUNDS_MAX {
            self.watch_folders(&wanted);
            let again = self.wanted();
            if again == wanted {
                return;
            }
            wanted = again;
        }
    }

    fn wanted(&self) -> Folders {
        let mut wanted = Folders::new();
        for path in self.trails.keys() {
            for folder in Trail::follow(path).folders() {
                let found = fs::metadata(&folder).ok();
                wanted.extend(found.map(|found| (folder, (found.dev(), found.ino()))));
            }
        }
        wanted
    }

    fn watch_folders(&mut self, wanted: &Folders) {
        let Some(debouncer) = &mut self.debouncer else { return };
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
    }
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
