//! The error of everything that reads a web configuration file.

/// Everything that is wrong with a web configuration file, or with a file that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.join("; "))]
pub struct WebFileError {
    /// Not empty; one line each.
    pub(super) problems: Vec<String>,
}

impl WebFileError {
    /// Returns an error with one problem.
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    /// Returns the problems, one line each.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}
