//! The web configuration file of Prometheus's exporter-toolkit: TLS, users, headers and a rate limit,
//! by the schema of
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>.
//!
//! A file goes in with [`WebFile::open`]; connections pass [`WebFile::acceptor`] and requests
//! [`WebFile::admit`], both of which read the file, the certificates and the users anew. Every key of
//! the schema is honoured or refused by name. Nothing here knows of anything else in this program but the YAML reader.

mod client;
mod file;
mod rate;
mod tls;
mod users;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode};
use secrecy::{ExposeSecret, SecretSlice};
use tokio_rustls::TlsAcceptor;

use file::{Settings, TlsSettings};
use rate::Bucket;
use tls::Material;
use users::Users;

/// Longer files are none that anybody wrote.
const MAX_FILE: u64 = 4 << 20;

/// What is wrong with a web configuration file, or with one that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.problems.join("; "))]
pub struct WebFileError {
    problems: Vec<String>,
}

impl WebFileError {
    fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    /// Each of what is wrong, in one line.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

/// A request that goes no further: what to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// A web configuration file in use.
pub struct WebFile {
    path: PathBuf,
    encrypted: bool,
    http2: bool,
    bucket: Option<Mutex<Bucket>>,
    users: Users,
    read: Mutex<Arc<ReadFile>>,
    /// What TLS is made of, and the settings that it was made by.
    material: Mutex<Option<(Arc<ReadFile>, Material)>>,
}

/// The file as it was when it was last read.
struct ReadFile {
    bytes: SecretSlice<u8>,
    settings: Settings,
}

impl fmt::Debug for WebFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl WebFile {
    /// Reads a file and all that it names. Whether there is TLS, whether there is HTTP/2 and the rate
    /// limit stay as they are now, as the toolkit has it.
    ///
    /// # Errors
    /// Everything that is wrong with the file, with line and column, or with the first certificate or
    /// key that is.
    pub fn open(path: &Path) -> Result<Self, WebFileError> {
        let bytes = read(path).map_err(WebFileError::new)?;
        let settings = file::parse(path, &bytes)?;
        let material = settings.tls.as_ref().map(|tls| Material::load(tls, settings.http2)).transpose()?;
        let Settings { http2, rate_limit, .. } = settings;
        let read = Arc::new(ReadFile { bytes: bytes.into(), settings });
        Ok(Self {
            path: path.to_owned(),
            encrypted: material.is_some(),
            http2,
            bucket: rate_limit.map(|limit| Mutex::new(Bucket::new(limit, Instant::now()))),
            users: Users::default(),
            material: Mutex::new(material.map(|material| (read.clone(), material))),
            read: Mutex::new(read),
        })
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether a client has to show a certificate before it is answered.
    #[must_use]
    pub fn asks_for_a_certificate(&self) -> bool {
        self.last().settings.tls.as_ref().is_some_and(TlsSettings::asks_for_a_certificate)
    }

    /// Whether a request has to have a password before it is answered.
    #[must_use]
    pub fn asks_for_a_password(&self) -> bool {
        !self.last().settings.users.is_empty()
    }

    /// What to accept a connection with, by the file and the certificates as they are now; none where
    /// connections are not encrypted.
    ///
    /// # Errors
    /// When the file, a certificate or a key cannot be read, or is wrong: no connection is to be
    /// accepted.
    pub async fn acceptor(self: &Arc<Self>) -> Result<Option<TlsAcceptor>, WebFileError> {
        if !self.encrypted {
            return Ok(None);
        }
        let this = self.clone();
        in_background(move || {
            let read = this.reread()?;
            let Some(tls) = &read.settings.tls else {
                let path = this.path.display();
                let error = format!("{path}: tls_server_config is gone; start anew to serve without TLS");
                return Err(WebFileError::new(error));
            };
            let mut material = this.material.lock().unwrap_or_else(PoisonError::into_inner);
            let current = match material.take() {
                Some((by, current)) if Arc::ptr_eq(&by, &read) => current.refreshed(tls, this.http2),
                _ => Material::load(tls, this.http2),
            }?;
            let config = current.config();
            *material = Some((read.clone(), current));
            Ok(Some(TlsAcceptor::from(config)))
        })
        .await
    }

    /// Whether a request may go on, by the file as it is now: the headers that its answer has to carry,
    /// or the answer that it gets instead.
    ///
    /// # Errors
    /// Also where the file cannot be read any more, or is wrong: then it is 500 for everybody, and the
    /// [`WebFileError`] is given to `log`.
    pub async fn admit(
        self: &Arc<Self>,
        headers: &HeaderMap,
        log: impl FnOnce(WebFileError),
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let this = self.clone();
        let refuse = |status| Err(Refusal { status, headers: HeaderMap::new() });
        let read = match in_background(move || this.reread()).await {
            Ok(read) => read,
            Err(error) => {
                log(error);
                return refuse(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        if let Some(bucket) = &self.bucket {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            if !bucket.take(Instant::now()) {
                return refuse(StatusCode::TOO_MANY_REQUESTS);
            }
        }
        let Settings { users, headers: own, .. } = &read.settings;
        if users.is_empty() || self.users.know(users, headers.get(AUTHORIZATION)).await {
            return Ok(own.clone());
        }
        let mut headers: HeaderMap = own.iter().cloned().collect();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"exporter\", charset=\"UTF-8\""));
        Err(Refusal { status: StatusCode::UNAUTHORIZED, headers })
    }

    fn last(&self) -> Arc<ReadFile> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file as it is now; what has not changed is not parsed again.
    fn reread(&self) -> Result<Arc<ReadFile>, WebFileError> {
        let last = self.last();
        let bytes = read(&self.path).map_err(WebFileError::new)?;
        if bytes == last.bytes.expose_secret() {
            return Ok(last);
        }
        let settings = file::parse(&self.path, &bytes)?;
        let read = Arc::new(ReadFile { bytes: bytes.into(), settings });
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = read.clone();
        Ok(read)
    }
}

/// The bytes of a file; the error names it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > MAX_FILE => Err(format!("{}: is too large to be meant", path.display())),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: cannot be read: {error}; check its path and its owner", path.display())),
    }
}

/// Runs what may wait for a disk where it keeps nobody else waiting.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WebFileError> + Send + 'static,
) -> Result<T, WebFileError> {
    let gone = |error: tokio::task::JoinError| WebFileError::new(io::Error::other(error).to_string());
    tokio::task::spawn_blocking(work).await.map_err(gone)?
}
