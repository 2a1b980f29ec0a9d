//! Decides when a configuration file that is checked regularly is reloaded.
//!
//! The content at each check goes in, whether to reload comes out. Nothing here reads a file or waits.

use std::time::Duration;

use crate::config::ContentHash;

/// Time between the check that finds new content and the next one. If that finds the same content, the file is no longer
/// being written.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// What is known of the content of the configuration file.
///
/// A missing file, whose content is `None`, changes nothing.
#[derive(Debug)]
pub(super) struct ContentWatch {
    /// The content of the last reload, whether it was valid or not.
    reloaded: Option<ContentHash>,
    /// The new content that the last check found, which a second check has to confirm.
    candidate: Option<ContentHash>,
}

impl ContentWatch {
    /// Creates a watch of a file with this content, which applies.
    pub(super) fn new(in_force: Option<ContentHash>) -> Self {
        Self { reloaded: in_force, candidate: None }
    }

    /// Checks the content of the file. Returns it if the file has to be reloaded: if it differs from that of the last
    /// reload, and two checks in a row have found it.
    pub(super) fn check(&mut self, content: Option<ContentHash>) -> Option<ContentHash> {
        let candidate = content.filter(|_| content != self.reloaded);
        let previous = std::mem::replace(&mut self.candidate, candidate);
        candidate.filter(|_| candidate == previous)
    }

    /// Returns the time until the next check.
    pub(super) fn next_check_in(&self, interval: Duration) -> Duration {
        if self.candidate.is_some() { SETTLE_TIME } else { interval }
    }

    /// Notes that a reload has read this content, and reported whether it is valid.
    pub(super) fn reloaded(&mut self, content: Option<ContentHash>) {
        *self = Self::new(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the hashes of different contents.
    fn contents<const N: usize>() -> [Option<ContentHash>; N] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yml");
        std::array::from_fn(|content| {
            std::fs::write(&path, content.to_string()).unwrap();
            ContentHash::of_file(&path)
        })
    }

    #[test]
    fn content_is_reloaded_once_it_has_settled() {
        let [first, half, second] = contents();
        let mut watch = ContentWatch::new(first);
        let interval = Duration::from_secs(30);
        assert_eq!((watch.check(first), watch.next_check_in(interval)), (None, interval));
        // The file is caught half-written, then the rest arrives.
        assert_eq!((watch.check(half), watch.next_check_in(interval)), (None, SETTLE_TIME));
        assert_eq!((watch.check(second), watch.check(second)), (None, second));
        watch.reloaded(second);
        assert_eq!((watch.check(second), watch.check(second), watch.next_check_in(interval)), (None, None, interval));
        // A change that is undone between two checks is none.
        assert_eq!((watch.check(half), watch.check(second), watch.check(half)), (None, None, None));
    }

    #[test]
    fn invalid_content_is_reloaded_only_once_and_the_content_in_force_again_after_it() {
        let [first, invalid] = contents();
        let mut watch = ContentWatch::new(first);
        assert_eq!((watch.check(invalid), watch.check(invalid)), (None, invalid));
        watch.reloaded(invalid);
        assert_eq!((watch.check(invalid), watch.check(invalid)), (None, None));
        // The metric that shows the failure has to be set back.
        assert_eq!((watch.check(first), watch.check(first)), (None, first));
    }

    #[test]
    fn missing_file_changes_nothing() {
        let [first, second] = contents();
        let mut watch = ContentWatch::new(first);
        assert_eq!([None, None, first, second, None, second].map(|content| watch.check(content)), [None; 6]);
        assert_eq!(watch.check(second), second);
        // A request has reported that the file is missing.
        watch.reloaded(None);
        assert_eq!((watch.check(None), watch.check(first), watch.check(first)), (None, None, first));
    }
}
