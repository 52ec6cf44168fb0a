//! Which files are examined, and what their copies are called.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ignore::{DirEntry, WalkBuilder};

use super::copy::{Copies, FileId};
use super::examine::{Origin, Source};
use super::{InspectError, InspectOptions};

/// What is piped in, as an argument.
const STDIN_ARGUMENT: &str = "-";
/// What is piped in, in findings and among the copies.
pub(super) const STDIN_NAME: &str = "stdin";

/// The paths that were named.
pub(super) struct Walk {
    /// Each with its place among the copies.
    roots: HashMap<PathBuf, PathBuf>,
    stdin: bool,
}

impl Walk {
    pub(super) fn new(
        options: &InspectOptions,
        copies: Option<&Copies>,
    ) -> Result<Self, InspectError> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == STDIN_ARGUMENT;
        let stdin = options.paths.iter().any(|path| is_stdin(&path));
        let named: HashSet<_> = options.paths.iter().filter(|path| !is_stdin(path)).collect();
        let alone = named.len() == 1 && !stdin;
        let place = |path: &&PathBuf| {
            ((*path).clone(), if alone && path.is_dir() { PathBuf::new() } else { name_of(path) })
        };
        let walk = Self { roots: named.iter().map(place).collect(), stdin };
        if let Some(copies) = copies {
            walk.ensure_apart(copies)?;
        }
        Ok(walk)
    }

    /// Refuses what could only fail file by file.
    fn ensure_apart(&self, copies: &Copies) -> Result<(), InspectError> {
        let mut names = HashSet::new();
        if self.stdin {
            names.insert(Path::new(STDIN_NAME));
        }
        for (root, name) in &self.roots {
            let same = fs::metadata(root).is_ok_and(|it| FileId::of(&it) == copies.id());
            if same {
                return Err(InspectError::CopiesOverSource { path: root.clone() });
            }
            if !names.insert(name) {
                return Err(InspectError::CopiesCollide { name: name.clone() });
            }
        }
        Ok(())
    }

    pub(super) fn reads_stdin(&self) -> bool {
        self.stdin
    }

    /// The walk through what was named, without the folder of the copies; `None` where there is
    /// nothing to walk through.
    pub(super) fn builder(
        &self,
        options: &InspectOptions,
        copies: Option<&Copies>,
    ) -> Option<WalkBuilder> {
        let mut roots = self.roots.keys();
        let mut builder = WalkBuilder::new(roots.next()?);
        roots.for_each(|root| {
            builder.add(root);
        });
        let heeded = !options.no_ignore;
        builder.standard_filters(heeded).require_git(false).hidden(!options.hidden);
        builder.follow_links(false);
        builder.threads(thread::available_parallelism().map_or(1, usize::from));
        if let Some(own) = copies.map(Copies::id) {
            builder.filter_entry(move |entry| !is_folder(entry, own));
        }
        Some(builder)
    }

    /// How many bytes there are to read.
    pub(super) fn measure(&self, options: &InspectOptions, copies: Option<&Copies>) -> u64 {
        let Some(builder) = self.builder(options, copies) else { return 0 };
        let files = builder.build().filter_map(Result::ok).filter(is_file);
        files.filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).sum()
    }

    /// The file that an entry is, if it is one to examine.
    pub(super) fn source(&self, entry: &DirEntry) -> Option<Source> {
        let named = entry.depth() == 0;
        // A pipe or a device is read when it is named, never when it is met.
        let wanted = if named { !entry.path().is_dir() } else { is_file(entry) };
        if !wanted {
            return None;
        }
        let root = entry.path().ancestors().nth(entry.depth())?;
        let inside = entry.path().strip_prefix(root).ok()?;
        let place = self.roots.get(root)?;
        let below = if named { place.clone() } else { place.join(inside) };
        let origin = if named { Origin::Named } else { Origin::Found };
        let path = entry.path();
        let path = path.strip_prefix(".").unwrap_or(path).to_owned();
        Some(Source { path, below, origin })
    }
}

/// The last name of a path, also of `..`.
fn name_of(path: &Path) -> PathBuf {
    let real = || fs::canonicalize(path).ok()?.file_name().map(PathBuf::from);
    path.file_name().map(PathBuf::from).or_else(real).unwrap_or_default()
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
}

fn is_folder(entry: &DirEntry, id: FileId) -> bool {
    let folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    folder && entry.metadata().is_ok_and(|it| FileId::of(&it) == id)
}
