//! The API key, kept out of sight.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// What a log line shows of a text from elsewhere, in characters.
const MAX_SHOWN: usize = 300;

/// A key that can stand in an `Authorization` header. It is zeroed when dropped, and no
/// formatting shows it.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Why a text cannot be a key; it never quotes the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidKey {
    /// Nothing but blanks.
    #[error("the key is empty")]
    Empty,
    /// A key is one word of visible ASCII: what RFC 9110 lets a bearer token be, and more.
    #[error("the key holds a blank, a control character or a character that is not ASCII")]
    NotOneWord,
}

impl ApiKey {
    /// Takes a key as a file or a variable holds it; blanks and line ends around it do not count.
    ///
    /// # Errors
    /// When what is left is not one word of visible ASCII.
    pub fn new(text: &SecretString) -> Result<Self, InvalidKey> {
        let key = text.expose_secret().trim();
        if key.is_empty() {
            Err(InvalidKey::Empty)
        } else if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.into()))
        } else {
            Err(InvalidKey::NotOneWord)
        }
    }

    /// A text that came from elsewhere, fit to be shown: without the key, should the other side have
    /// sent it back, and no longer than a line may be.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(self.0.expose_secret(), "<key>");
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// The value of the `Authorization` header, marked so that no log of a request shows it.
    ///
    /// # Errors
    /// Never for a key that [`ApiKey::new`] took.
    pub fn bearer(&self) -> Result<HeaderValue, InvalidKey> {
        let text = SecretString::from(format!("Bearer {}", self.0.expose_secret()));
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| InvalidKey::NotOneWord)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Where an account's key comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    /// Given at the start.
    Given(ApiKey),
    /// A file that is read anew at each poll, so that a key can be rotated.
    File(PathBuf),
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file was read, but holds no key.
    #[error("the key file {} is of no use: {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        error: InvalidKey,
    },
}

/// A longer file is no key file.
const MAX_KEY_FILE: u64 = 64 << 10;

impl KeySource {
    /// The key as of now. It may block while the file is read.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn read(&self) -> Result<ApiKey, KeyError> {
        match self {
            Self::Given(key) => Ok(key.clone()),
            Self::File(path) => {
                let text = read_secret(path).map_err(|error| KeyError::File { path: path.clone(), error })?;
                ApiKey::new(&text).map_err(|error| KeyError::Invalid { path: path.clone(), error })
            }
        }
    }

    /// What should be known of a key that can be read: that everybody on this machine can.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Self::File(path) = self else { return None };
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        (mode & 0o004 != 0).then(|| format!("the key file {} can be read by everybody; chmod o= it", path.display()))
    }
}

fn read_secret(path: &Path) -> io::Result<SecretString> {
    // All of the room at once: a buffer that grows leaves copies behind that nobody zeroes.
    let mut text = String::with_capacity(usize::try_from(MAX_KEY_FILE + 1).unwrap_or(usize::MAX));
    let length = File::open(path)?.take(MAX_KEY_FILE + 1).read_to_string(&mut text)?;
    let text = SecretString::from(text);
    if length as u64 > MAX_KEY_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a key"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_visible_word() {
        for good in ["k", " key\n", "\tkey\r\n", "a-b._~+/=0"] {
            assert!(ApiKey::new(&good.into()).is_ok(), "{good:?}");
        }
        for empty in ["", " \n"] {
            assert_eq!(ApiKey::new(&empty.into()).unwrap_err(), InvalidKey::Empty);
        }
        for bad in ["two words", "two\nlines", "a\u{0}b", "clé"] {
            assert_eq!(ApiKey::new(&bad.into()).unwrap_err(), InvalidKey::NotOneWord, "{bad:?}");
        }
    }

    #[test]
    fn what_the_other_side_says_is_shown_without_it_and_in_short() {
        let key = ApiKey::new(&"sesame".into()).unwrap();
        assert_eq!(key.redact("open sesame, sesame!"), "open <key>, <key>!");
        assert_eq!(key.redact(&"é".repeat(400)).chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn no_formatting_shows_it() {
        let key = ApiKey::new(&"sesame".into()).unwrap();
        assert!(!format!("{key:?} {:?}", key.bearer()).contains("sesame"));
    }
}
