//! The operator's own pages: a folder of templates.

use std::fs;
use std::path::{Path, PathBuf};

use super::compile::Compiler;
use super::problem::Problem;
use super::schema::PagesSchema;
use super::source::At;
use super::{FILE_BYTES_MAX, read};
use crate::policy::{PageError, Pages};

const KEY: &str = "pages.folder";

/// The page for every status that has none of its own: always looked for, so that the first page of an
/// empty folder is noticed.
const ANY: &str = "error.html";

/// More files than there are statuses, and parts of pages.
const FILES_MAX: usize = 256;

impl Compiler<'_> {
    pub(super) fn pages(&mut self, written: &PagesSchema) -> Option<Pages> {
        let at = written.folder.as_ref()?;
        let folder = self.path(at);
        self.follow(folder.clone());
        self.follow(folder.join(ANY));
        let names = self.page_names(at, &folder)?;
        let mut pages = Vec::new();
        for name in names {
            let path = folder.join(&name);
            self.follow(path.clone());
            pages.push((name.clone(), self.page(&path, &self.path_as_named(at).join(&name))?));
        }
        let folder = self.path_as_named(at);
        Pages::new(pages).map_err(|error| self.complain_of_page(&folder, &error)).ok()
    }

    /// The pages of a folder, in the order of their names.
    fn page_names(&mut self, at: &At<String>, folder: &Path) -> Option<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let quoted = self.source.quote(&at.span());
                let message = format!("{quoted} cannot be read ({})", error.kind());
                let remedy = "check the path and who may read it";
                self.refuse(&at.span(), KEY, message, remedy);
                return None;
            }
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".html")).collect();
        names.sort();
        if names.len() > FILES_MAX {
            let message = format!("holds more than {FILES_MAX} pages");
            self.refuse(&at.span(), KEY, message, "check the path");
            return None;
        }
        if let Some(stray) = names.iter().find(|name| !is_page(name)) {
            let message = format!("holds {stray:?}, which no refusal shows");
            let remedy = "name it error.html, or after a status as in 429.html, or with a `_` before \
                          it where other pages include it";
            self.refuse(&at.span(), KEY, message, remedy);
            return None;
        }
        Some(names)
    }

    fn page(&mut self, path: &Path, named: &Path) -> Option<String> {
        let bytes = read(path).map_err(|error| format!("cannot be read ({})", error.kind()));
        let text = bytes.and_then(|bytes| {
            let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
            let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
            if small { Ok(text) } else { Err(format!("is larger than {FILE_BYTES_MAX} bytes")) }
        });
        text.map_err(|message| self.complain_of((named.to_owned(), 0), message)).ok()
    }

    fn complain_of_page(&mut self, folder: &Path, error: &PageError) {
        self.complain_of((folder.join(&error.name), error.line), error.what());
    }

    fn complain_of(&mut self, (file, line): (PathBuf, usize), message: String) {
        let remedy = "mend the page; its language is that of docs.rs/minijinja".to_owned();
        self.problems.push(Problem { file, line, key: KEY.to_owned(), message, remedy });
    }
}

/// Whether a page is shown, or part of one that is.
fn is_page(name: &str) -> bool {
    let status = |stem: &str| stem.parse::<u16>().is_ok_and(|code| (400..600).contains(&code));
    name == ANY || name.starts_with('_') || name.strip_suffix(".html").is_some_and(status)
}
