//! Decides when a configuration file that is looked at regularly is reloaded.
//!
//! The content at each look goes in, whether to reload comes out. Nothing here reads a file or waits.

use std::time::Duration;

use crate::config::ContentHash;

/// Time between the look that finds another content and the next one. If that finds the same, nobody is writing the file
/// any more.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// What is known of the content of the configuration file.
///
/// A missing file, whose content is `None`, changes nothing.
#[derive(Debug)]
pub(super) struct ContentWatch {
    /// The content of the last reload, whether it was valid or not.
    reloaded: Option<ContentHash>,
    /// What the last look found, unless there is nothing to do about it.
    candidate: Option<ContentHash>,
}

impl ContentWatch {
    /// Creates a watch of a file with this content, which applies.
    pub(super) fn new(in_force: Option<ContentHash>) -> Self {
        Self { reloaded: in_force, candidate: None }
    }

    /// Takes the content that a look has found. Returns it if the file has to be reloaded: if it differs from that of
    /// the last reload, and two looks in a row have found it.
    pub(super) fn look(&mut self, content: Option<ContentHash>) -> Option<ContentHash> {
        let candidate = content.filter(|_| content != self.reloaded);
        let previous = std::mem::replace(&mut self.candidate, candidate);
        candidate.filter(|_| candidate == previous)
    }

    /// Returns the time until the next look.
    pub(super) fn next_look_in(&self, interval: Duration) -> Duration {
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
        assert_eq!((watch.look(first), watch.next_look_in(interval)), (None, interval));
        // The file is caught half-written, then the rest arrives.
        assert_eq!((watch.look(half), watch.next_look_in(interval)), (None, SETTLE_TIME));
        assert_eq!((watch.look(second), watch.look(second)), (None, second));
        watch.reloaded(second);
        assert_eq!((watch.look(second), watch.look(second), watch.next_look_in(interval)), (None, None, interval));
        // A change that is undone between two looks is none.
        assert_eq!((watch.look(half), watch.look(second), watch.look(half)), (None, None, None));
    }

    #[test]
    fn invalid_content_is_reloaded_only_once_and_the_content_in_force_again_after_it() {
        let [first, invalid] = contents();
        let mut watch = ContentWatch::new(first);
        assert_eq!((watch.look(invalid), watch.look(invalid)), (None, invalid));
        watch.reloaded(invalid);
        assert_eq!((watch.look(invalid), watch.look(invalid)), (None, None));
        // The metric that shows the failure has to be set back.
        assert_eq!((watch.look(first), watch.look(first)), (None, first));
    }

    #[test]
    fn missing_file_changes_nothing() {
        let [first, second] = contents();
        let mut watch = ContentWatch::new(first);
        assert_eq!([None, None, first, second, None, second].map(|content| watch.look(content)), [None; 6]);
        assert_eq!(watch.look(second), second);
        // A request has reported that the file is missing.
        watch.reloaded(None);
        assert_eq!((watch.look(None), watch.look(first), watch.look(first)), (None, None, first));
    }
}
