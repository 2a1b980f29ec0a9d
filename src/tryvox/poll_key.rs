//! The API key of one poll, which is read again if the API rejects it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::failure::{Failure, FailureReason};
use super::key::{ApiKey, ApiKeyError, ApiKeySource};
use super::redaction::Redactor;
use crate::blocking::run_blocking;

/// The current API key of an account during a poll.
#[derive(Debug)]
pub struct PollKey {
    source: ApiKeySource,
    keys: Mutex<Keys>,
    /// Held while the source is read, so that requests that are rejected at the same time read it once.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Keys {
    current: ApiKey,
    /// The keys before, which the API may still quote.
    replaced: Vec<ApiKey>,
}

impl PollKey {
    /// Reads the key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn read(source: &ApiKeySource) -> Result<Self, Failure> {
        let keys = Mutex::new(Keys { current: read(source).await?, replaced: Vec::new() });
        Ok(Self { source: source.clone(), keys, reading: tokio::sync::Mutex::default() })
    }

    /// Returns the current key.
    pub(super) fn current(&self) -> ApiKey {
        self.keys().current.clone()
    }

    /// Reads the key again, after the API has rejected `rejected`. Returns whether the current key is another one.
    pub(super) async fn replace(&self, rejected: &ApiKey) -> bool {
        let _reading = self.reading.lock().await;
        if self.current() != *rejected {
            return true;
        }
        match read(&self.source).await {
            Ok(key) if key != *rejected => {
                let mut keys = self.keys();
                let replaced = std::mem::replace(&mut keys.current, key);
                keys.replaced.push(replaced);
                true
            }
            // A file that cannot be read now fails the next poll; this one fails because the key was rejected.
            _ => false,
        }
    }

    /// Returns what removes the keys of this poll from texts.
    pub(super) fn redactor(&self) -> Redactor {
        let keys = self.keys();
        Redactor::new(keys.replaced.iter().chain([&keys.current]).cloned().collect())
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(source: &ApiKeySource) -> Result<ApiKey, Failure> {
    let source = source.clone();
    let failure = |error: ApiKeyError| Failure::new(FailureReason::ApiKey, error.to_string());
    run_blocking(move || source.read().map_err(failure)).await
}
