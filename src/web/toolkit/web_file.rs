//! A web configuration file in use: connections and requests are checked by its current content.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, StatusCode};
use secrecy::{ExposeSecret, SecretSlice};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::disk::read_file;
use super::error::WebFileError;
use super::file::{self, Settings};
use super::lock;
use super::rate::TokenBucket;
use super::tls::LoadedTls;
use super::tls_warning::TlsWarning;
use super::users::{PasswordVerifier, Verdict};
use crate::web::throttled_log::ThrottledErrorLog;

/// The value of `WWW-Authenticate` (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"exporter\", charset=\"UTF-8\"";

/// The UTF-8 byte order mark, which may begin a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A request that must not be served, and the response to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRejection {
    /// The status of the response.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: HeaderMap,
}

/// A web configuration file in use.
pub struct WebFile {
    path: PathBuf,
    is_encrypted: bool,
    http2: bool,
    rate_limiter: Option<Mutex<TokenBucket>>,
    passwords: PasswordVerifier,
    latest: Mutex<Arc<ParsedFile>>,
    tls: Mutex<TlsState>,
    /// Whether the file is empty, and the content before it is in force.
    is_emptied: AtomicBool,
    error_log: ThrottledErrorLog,
}

/// The content of the file as of one read.
struct ParsedFile {
    bytes: SecretSlice<u8>,
    settings: Settings,
}

impl ParsedFile {
    fn read(path: &Path) -> Result<Self, WebFileError> {
        let bytes = read_file(path).map_err(WebFileError::new)?;
        let settings = file::parse(path, &bytes)?;
        Ok(Self { bytes: bytes.into(), settings })
    }

    fn load_tls(&self) -> Result<Option<LoadedTls>, WebFileError> {
        self.settings.tls.as_ref().map(|tls| LoadedTls::load(tls, self.settings.http2)).transpose()
    }
}

#[derive(Default)]
struct TlsState {
    /// The TLS configuration, and the file that it was loaded for; `None` without TLS, and after an error.
    loaded: Option<(Arc<ParsedFile>, LoadedTls)>,
    /// The warnings about the last TLS configuration, which have been logged.
    logged: Vec<TlsWarning>,
}

impl TlsState {
    /// Sets the TLS configuration, and logs those warnings that the one before did not have.
    fn set(&mut self, parsed: Arc<ParsedFile>, tls: LoadedTls) {
        tls.warnings().iter().filter(|warning| !self.logged.contains(warning)).for_each(TlsWarning::log);
        self.logged = tls.warnings().to_vec();
        self.loaded = Some((parsed, tls));
    }
}

impl fmt::Debug for WebFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl WebFile {
    /// Reads a file and the files that it names. Whether connections are encrypted, whether HTTP/2 is supported and
    /// the rate limit stay as they are now, as in the toolkit.
    ///
    /// # Errors
    /// With everything that is wrong with the file, with line and column, or else with the first certificate or key
    /// that cannot be loaded.
    pub fn open(path: &Path) -> Result<Self, WebFileError> {
        let parsed = Arc::new(ParsedFile::read(path)?);
        let tls = parsed.load_tls()?;
        let Settings { http2, rate_limit, .. } = parsed.settings;
        if rate_limit.is_some_and(|limit| limit.burst == 0) {
            warn!("rate_limit.burst is 0, so every request is rejected with status 429; set it to at least 1");
        }
        let is_encrypted = tls.is_some();
        let mut state = TlsState::default();
        if let Some(tls) = tls {
            state.set(parsed.clone(), tls);
        }
        Ok(Self {
            path: path.to_owned(),
            is_encrypted,
            http2,
            rate_limiter: rate_limit.map(|limit| Mutex::new(TokenBucket::new(limit, Instant::now()))),
            passwords: PasswordVerifier::default(),
            latest: Mutex::new(parsed),
            tls: Mutex::new(state),
            is_emptied: AtomicBool::new(false),
            error_log: ThrottledErrorLog::default(),
        })
    }

    /// Checks a file and the files that it names like [`WebFile::open`], without logging warnings.
    ///
    /// # Errors
    /// With the same problems.
    pub fn check(path: &Path) -> Result<(), WebFileError> {
        ParsedFile::read(path)?.load_tls().map(|_| ())
    }

    /// Returns whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Returns the acceptor for a connection, by the current file, certificates and key; `None` if connections are
    /// not encrypted.
    ///
    /// # Errors
    /// If the file, a certificate or the key is missing or invalid, which is logged. The connection must not be served.
    pub async fn acceptor(self: &Arc<Self>) -> Result<Option<TlsAcceptor>, WebFileError> {
        if !self.is_encrypted {
            return Ok(None);
        }
        let this = self.clone();
        let acceptor = run_blocking(move || {
            let parsed = this.reread()?;
            let Some(settings) = &parsed.settings.tls else {
                let path = this.path.display();
                let error = format!("{path}: tls_server_config was removed; restart to serve without TLS");
                return Err(WebFileError::new(error));
            };
            let mut state = lock(&this.tls);
            let current = match state.loaded.take() {
                Some((loaded_for, loaded)) if Arc::ptr_eq(&loaded_for, &parsed) => {
                    loaded.reload_if_changed(settings, this.http2)
                }
                _ => LoadedTls::load(settings, this.http2),
            }?;
            let config = current.config();
            state.set(parsed.clone(), current);
            Ok(Some(TlsAcceptor::from(config)))
        });
        acceptor.await.inspect_err(|error| {
            let log = |refused| warn!(%error, refused, "connection refused, web configuration is invalid");
            self.error_log.record(&error.to_string(), log);
        })
    }

    /// Checks a request with these headers against the current file. Returns the headers that the response must
    /// have.
    ///
    /// # Errors
    /// If the request must not be served: status 429 above the rate limit, 401 without a valid password, 429 with a new
    /// one while too many are being verified. If the file is missing or invalid, which is logged, every request is
    /// rejected with 500.
    pub async fn check_request(
        self: &Arc<Self>,
        headers: &HeaderMap,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, RequestRejection> {
        let this = self.clone();
        let reject = |status| Err(RequestRejection { status, headers: HeaderMap::new() });
        let parsed = match run_blocking(move || this.reread()).await {
            Ok(parsed) => parsed,
            Err(error) => {
                let log = |refused| warn!(%error, refused, "request refused, web configuration is invalid");
                self.error_log.record(&error.to_string(), log);
                return reject(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        if self.rate_limiter.as_ref().is_some_and(|limiter| !lock(limiter).take(Instant::now())) {
            return reject(StatusCode::TOO_MANY_REQUESTS);
        }
        let Settings { users, headers: response_headers, .. } = &parsed.settings;
        if users.is_empty() {
            return Ok(response_headers.clone());
        }
        let (status, name, value) = match self.passwords.verify(users, headers.get(AUTHORIZATION)).await {
            Verdict::Accepted => return Ok(response_headers.clone()),
            Verdict::Rejected => (StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, CHALLENGE),
            Verdict::Busy => (StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER, "1"),
        };
        let mut headers: HeaderMap = response_headers.iter().cloned().collect();
        headers.insert(name, HeaderValue::from_static(value));
        Err(RequestRejection { status, headers })
    }

    /// Returns the current content of the file, which is parsed only if it has changed.
    ///
    /// An empty file after one with TLS or users is caught while it is rewritten in place, and protection must not
    /// depend on that moment: the content before it stays in force.
    fn reread(&self) -> Result<Arc<ParsedFile>, WebFileError> {
        let latest = lock(&self.latest).clone();
        let bytes = read_file(&self.path).map_err(WebFileError::new)?;
        if is_blank(&bytes) && latest.settings.protects() {
            if !self.is_emptied.swap(true, Ordering::Relaxed) {
                warn!(
                    file = %self.path.display(),
                    "web configuration file is empty, keeping its previous content; write {{}} to remove TLS and users"
                );
            }
            return Ok(latest);
        }
        self.is_emptied.store(false, Ordering::Relaxed);
        if bytes == latest.bytes.expose_secret() {
            return Ok(latest);
        }
        let settings = file::parse(&self.path, &bytes)?;
        let parsed = Arc::new(ParsedFile { bytes: bytes.into(), settings });
        *lock(&self.latest) = parsed.clone();
        Ok(parsed)
    }
}

/// Returns whether a file contains nothing but white space and comments.
fn is_blank(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.map(<[u8]>::trim_ascii_start).all(|line| line.is_empty() || line.starts_with(b"#"))
}

/// Runs work that may wait for a disk on a thread where that delays no other task.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WebFileError> + Send + 'static,
) -> Result<T, WebFileError> {
    let not_run = |error: tokio::task::JoinError| WebFileError::new(io::Error::other(error).to_string());
    tokio::task::spawn_blocking(work).await.map_err(not_run)?
}
