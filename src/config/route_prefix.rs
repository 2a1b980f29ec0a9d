//! The prefix of the paths that are served.

use std::fmt;
use std::str::FromStr;

/// The prefix of every path that is served. `tryvox`, `/tryvox` and `/tryvox/` are the same prefix; the default is `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutePrefix(
    /// With a slash at the start and none at the end; empty for `/`.
    String,
);

impl RoutePrefix {
    /// Returns whether paths have no prefix.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a path, which starts with a slash, with the prefix.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Returns a path without the prefix; `None` if the path is not below the prefix. The prefix itself, without a slash
    /// at its end, leaves an empty path.
    #[must_use]
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RoutePrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_matches('/');
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        let prefix = format!("/{trimmed}");
        if is_plain_path(&prefix) {
            Ok(Self(prefix))
        } else {
            Err("must be a path of letters, digits and -._~ like /tryvox".to_owned())
        }
    }
}

impl fmt::Display for RoutePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

/// Returns whether a text is an absolute path that every client requests as it is written: without characters that have
/// to be encoded, empty segments, and segments that clients resolve.
pub(super) fn is_plain_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let is_resolved = |segment: &str| matches!(segment, "." | "..");
    text.starts_with('/')
        && text.len() <= 256
        && text.chars().all(is_plain)
        && !text.contains("//")
        && !text.split('/').any(is_resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_ends_of_a_prefix_do_not_matter() {
        for (texts, normalized) in [
            (&["", "/", "//"][..], "/"),
            (&["tryvox", "/tryvox", "/tryvox/", "tryvox/", "//tryvox//"], "/tryvox"),
            (&["a/b.c", "/a/b.c/"], "/a/b.c"),
        ] {
            for text in texts {
                assert_eq!(text.parse::<RoutePrefix>().unwrap().to_string(), normalized, "{text}");
            }
        }
        let long = "x".repeat(300);
        for invalid in
            ["a b", "/a//b", "/a/../b", ".", "/{x}", "/*", "/a?b", "/a#b", "http://a/b", "/ä", "/a%20b", &*long]
        {
            assert!(invalid.parse::<RoutePrefix>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn only_paths_below_the_prefix_can_be_stripped_of_it() {
        let prefix: RoutePrefix = "/a/b".parse().unwrap();
        assert_eq!(prefix.join("/metrics"), "/a/b/metrics");
        for (path, rest) in [
            ("/a/b/metrics", Some("/metrics")),
            ("/a/b/", Some("/")),
            ("/a/b", Some("")),
            ("/a/bc", None),
            ("/a", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(prefix.strip(path), rest, "{path}");
        }
        let root = RoutePrefix::default();
        assert_eq!(
            (root.join("/metrics").as_str(), root.strip("/metrics"), root.strip("/")),
            ("/metrics", Some("/metrics"), Some("/"))
        );
    }
}
