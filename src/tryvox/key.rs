//! The API key of an account: where it comes from, and how it stays secret.
//!
//! A key is read from a file or given as a value, and leaves this module only as a header value that is marked as
//! sensitive. No `Debug` output, error or log message contains it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// An API key that is valid in an `Authorization` header. Its memory is zeroed on drop, and `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Why a text is not a valid API key. The text is never quoted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidApiKey {
    /// The text is empty or contains only white space.
    #[error("the key is empty")]
    Empty,
    /// The text contains more than visible ASCII characters. RFC 6750 allows fewer in a bearer token.
    #[error("the key contains white space, a control character or a non-ASCII character")]
    NotVisibleAscii,
}

impl ApiKey {
    /// Parses the content of a key file or an environment variable, ignoring white space around the key.
    ///
    /// # Errors
    /// If the rest is empty or contains anything but visible ASCII characters.
    pub fn new(text: &SecretString) -> Result<Self, InvalidApiKey> {
        let key = text.expose_secret().trim();
        if key.is_empty() {
            Err(InvalidApiKey::Empty)
        } else if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.into()))
        } else {
            Err(InvalidApiKey::NotVisibleAscii)
        }
    }

    /// Returns the key. Only what replaces it in a text may use this.
    pub(super) fn secret(&self) -> &SecretString {
        &self.0
    }

    /// Returns the value of the `Authorization` header, marked as sensitive so that HTTP libraries do not log it.
    ///
    /// # Errors
    /// Never for a key that [`ApiKey::new`] accepted.
    pub fn bearer(&self) -> Result<HeaderValue, InvalidApiKey> {
        let text = SecretString::from(format!("Bearer {}", self.0.expose_secret()));
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| InvalidApiKey::NotVisibleAscii)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Where an account's API key comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiKeySource {
    /// A key that stays the same until restart.
    Value(ApiKey),
    /// A file that is read again at each poll, so that the key can be rotated.
    File(KeyFile),
    /// There is no key until the configuration is changed; the text says why, and what to do.
    Missing(String),
}

/// A file with an API key.
///
/// Its path may be a key that was given in place of a path by mistake, so it is shown only if it is a path.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    /// The path as its author wrote it, which may be relative to another folder.
    written: String,
}

impl KeyFile {
    /// Creates the file at a path that its author wrote like this.
    pub fn new(path: impl Into<PathBuf>, written: &str) -> Self {
        Self { path: path.into(), written: written.to_owned() }
    }

    /// Returns the path as errors show it. If there is no such file, all but the beginning of a text that may be a key is
    /// left out.
    fn shown(&self) -> String {
        if self.may_be_key() {
            let start: String = self.written.chars().take(SHOWN_CHARACTERS).collect();
            format!("{start}…")
        } else {
            self.path.display().to_string()
        }
    }

    /// Returns whether the path may be a key: there is no such file, and it does not look like a path.
    fn may_be_key(&self) -> bool {
        let Self { path, written } = self;
        let has_extension = written.rsplit_once('.').is_some_and(|(_, extension)| {
            (1..=MAX_EXTENSION).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_lowercase())
        });
        let is_in_folder = written.contains('/') && path.parent().is_some_and(Path::is_dir);
        let is_path = written.starts_with(['/', '.']) || has_extension || is_in_folder || written.len() < MIN_KEY;
        let error = std::fs::symlink_metadata(path).err().map(|error| error.kind());
        !is_path && matches!(error, Some(io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename))
    }
}

/// Characters that are shown of a path that may be a key.
const SHOWN_CHARACTERS: usize = 4;

/// Minimum length of a key. Shorter texts are shown.
const MIN_KEY: usize = 8;

/// Maximum length of the extension of a file name. The parts of a JSON Web Token are longer.
const MAX_EXTENSION: usize = 8;

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFile").field(&self.shown()).finish()
    }
}

impl From<PathBuf> for KeyFile {
    fn from(path: PathBuf) -> Self {
        Self { written: path.display().to_string(), path }
    }
}

/// Why there is no key. The message includes the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The file cannot be read.
    #[error("cannot read API key file {}: {error}; {}", file.shown(), read_remedy(file, error))]
    File {
        /// The file.
        file: KeyFile,
        /// The cause.
        error: io::Error,
    },
    /// The configuration gives no key.
    #[error("{0}")]
    Missing(String),
    /// The file does not contain a valid key.
    #[error("invalid API key file {}: {error}; {}", file.shown(), content_remedy(&file.path))]
    Invalid {
        /// The file.
        file: KeyFile,
        /// What is wrong with the content.
        error: InvalidApiKey,
    },
}

/// The directory of the credentials that systemd passes to services. It copies them when a service starts.
const SYSTEMD_CREDENTIALS: &str = "/run/credentials";

/// Returns whether systemd copies the file from elsewhere when the service starts.
fn is_credential(path: &Path) -> bool {
    path.starts_with(SYSTEMD_CREDENTIALS)
}

/// Returns what to do about a key file that cannot be read.
fn read_remedy(file: &KeyFile, error: &io::Error) -> &'static str {
    let path = &file.path;
    match error.kind() {
        _ if file.may_be_key() => {
            "set the path of a file that contains the key; the value is not shown in full because it may be a key"
        }
        io::ErrorKind::NotFound if is_credential(path) => {
            "correct the path, or create the file that LoadCredential= copies there, and restart the service: systemd \
             reads it only at the start"
        }
        io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => content_remedy(path),
        io::ErrorKind::NotFound => "create it or correct the path",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => "correct the path",
        io::ErrorKind::PermissionDenied => "check its owner and mode",
        _ => "check its path and file system",
    }
}

/// Returns what to do about a key file with invalid content.
fn content_remedy(path: &Path) -> &'static str {
    if is_credential(path) {
        "write only the key to the file that LoadCredential= copies there, and restart the service: systemd reads it \
         only at the start"
    } else {
        "write only the key to it"
    }
}

/// Maximum size of a key file, in bytes.
const MAX_KEY_FILE: u64 = 64 << 10;

impl ApiKeySource {
    /// Returns the current key. It blocks while the file is read.
    ///
    /// # Errors
    /// If the file cannot be read or does not contain a valid key, or the key is missing.
    pub fn read(&self) -> Result<ApiKey, ApiKeyError> {
        match self {
            Self::Value(key) => Ok(key.clone()),
            Self::Missing(problem) => Err(ApiKeyError::Missing(problem.clone())),
            Self::File(file) => {
                let text = read_secret(&file.path).map_err(|error| ApiKeyError::File { file: file.clone(), error })?;
                ApiKey::new(&text).map_err(|error| ApiKeyError::Invalid { file: file.clone(), error })
            }
        }
    }

    /// Returns a warning if all users of this machine can read the key file.
    #[must_use]
    pub fn permission_warning(&self) -> Option<String> {
        let Self::File(KeyFile { path, .. }) = self else { return None };
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        let path = path.display();
        (mode & 0o004 != 0).then(|| format!("API key file {path} is readable by all users; run `chmod o= {path}`"))
    }
}

/// Reads a file into memory that is zeroed on drop.
fn read_secret(path: &Path) -> io::Result<SecretString> {
    // The buffer has its full size from the start: one that grows leaves copies behind that are not zeroed.
    let mut text = String::with_capacity(usize::try_from(MAX_KEY_FILE + 1).unwrap_or(usize::MAX));
    let length = File::open(path)?.take(MAX_KEY_FILE + 1).read_to_string(&mut text)?;
    let text = SecretString::from(text);
    if length as u64 > MAX_KEY_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_consists_of_visible_ascii_characters() {
        for valid in ["k", " key\n", "\tkey\r\n", "a-b._~+/=0"] {
            assert!(ApiKey::new(&valid.into()).is_ok(), "{valid:?}");
        }
        for empty in ["", " \n"] {
            assert_eq!(ApiKey::new(&empty.into()).unwrap_err(), InvalidApiKey::Empty);
        }
        for invalid in ["two words", "two\nlines", "a\u{0}b", "clé"] {
            assert_eq!(ApiKey::new(&invalid.into()).unwrap_err(), InvalidApiKey::NotVisibleAscii, "{invalid:?}");
        }
    }

    #[test]
    fn remedy_for_a_key_file_depends_on_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("empty"), "\n").unwrap();
        std::fs::write(path("binary"), [0xff]).unwrap();
        std::fs::write(path("large"), "k".repeat(70_000)).unwrap();
        for (name, remedy) in [
            ("missing", "create it or correct the path"),
            ("", "correct the path"),
            ("empty", "the key is empty; write only the key to it"),
            ("binary", "write only the key to it"),
            ("large", "write only the key to it"),
        ] {
            let error = ApiKeySource::File(path(name).into()).read().unwrap_err().to_string();
            assert!(error.ends_with(&format!("; {remedy}")) || error.ends_with(&format!(": {remedy}")), "{error}");
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = ApiKeyError::File { file: KeyFile::new("key", "key"), error: denied }.to_string();
        assert_eq!(error, "cannot read API key file key: permission denied; check its owner and mode");
    }

    #[test]
    fn remedy_for_a_systemd_credential_is_a_restart() {
        let path = PathBuf::from("/run/credentials/tryvox-exporter.service/keys_production");
        let missing = ApiKeySource::File(path.clone().into()).read().unwrap_err();
        let invalid = ApiKeyError::Invalid { file: path.into(), error: InvalidApiKey::Empty };
        for error in [missing.to_string(), invalid.to_string()] {
            assert!(error.ends_with("and restart the service: systemd reads it only at the start"), "{error}");
        }
    }

    #[test]
    fn path_that_may_be_a_key_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("sk_live_of_production"), "a b").unwrap();
        for (written, is_shown) in [
            ("sk_live_4f9d0c1b2a", false),
            // Base64 and a JSON Web Token.
            ("Zm9v/YmFyYmF6cXV4+Cg==", false),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlc2lnbmF0dXJl", false),
            (&"k".repeat(300), false),
            ("keys/production", true),
            ("./production", true),
            ("../keys/production", true),
            ("/run/secrets/production", true),
            ("production.key", true),
            ("api-key", true),
            // It exists.
            ("sk_live_of_production", true),
        ] {
            let source = ApiKeySource::File(KeyFile::new(folder.path().join(written), written));
            let error = source.read().unwrap_err();
            assert_eq!(error.to_string().contains(written), is_shown, "{error}");
            assert_eq!(format!("{source:?} {error:?}").contains(written), is_shown, "{error:?}");
            assert!(is_shown || error.to_string().contains(&format!(" {}…: ", &written[..4])), "{error}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        let key = ApiKey::new(&"sesame".into()).unwrap();
        assert!(!format!("{key:?} {:?}", key.bearer()).contains("sesame"));
    }
}
