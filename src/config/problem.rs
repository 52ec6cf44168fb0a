//! What is wrong with a configuration, where, and what to do about it.
//!
//! A text here never holds a value that may be secret: values are quoted as they stand in the file
//! (see `source`), so a `${VARIABLE}` is shown by its name, and addresses
//! that may hold a password are not shown at all.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// One thing to mend, or to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// The line, from 1; 0 where it concerns the file as a whole.
    pub line: usize,
    /// The key and the tables it lies in: `site.route.path`; empty where it concerns the file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Puts them in the order of the file, and of the files that it names.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
        Self(problems)
    }

    /// Names the options of the command line in place of the keys they stand for.
    pub(super) fn of_options(mut self) -> Self {
        for problem in &mut self.0 {
            let option = if problem.key == "site.upstreams" { "--upstream" } else { "--listen" };
            option.clone_into(&mut problem.key);
        }
        self
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}; {}", self.message, self.remedy)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}
