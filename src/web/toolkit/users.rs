//! `basic_auth_users`: verifies the passwords of requests (RFC 7617) against bcrypt hashes.
//!
//! Results are cached, because bcrypt is slow by design. No password is kept, and an unknown user takes as long to
//! reject as a wrong password.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Semaphore;

/// The bcrypt hashes of the users' passwords, by name.
pub(super) type Hashes = BTreeMap<String, SecretString>;

/// Maximum number of cached results of each kind.
const MAX_CACHED_RESULTS: usize = 100;

/// Salt and checksum of a bcrypt hash that stands in for the hash of an unknown user, so that response times do not
/// reveal whether a user exists.
const PLACEHOLDER_SALT_AND_CHECKSUM: &str = "Byj7vnVYjtt3r0HZ9P5uDe8aHkYTa7pHR/LAju6g48WJVlHCjPKGC";

/// Verifies passwords. Each bcrypt hash is computed once, one at a time, on a thread that serves no requests.
#[derive(Debug)]
pub(super) struct PasswordVerifier {
    cache: Mutex<VerificationCache>,
    /// Allows one computation at a time.
    bcrypt_permit: Semaphore,
}

/// Cached results, by a keyed hash of the credentials and the user's bcrypt hash.
#[derive(Debug, Default)]
struct VerificationCache {
    /// Made on first use; `None` if the system has no random numbers.
    key: Option<hmac::Key>,
    accepted: HashSet<CacheKey>,
    /// Kept separately, so that guesses do not displace accepted passwords.
    rejected: HashSet<CacheKey>,
}

type CacheKey = [u8; 32];

impl VerificationCache {
    /// Returns the key of `parts`; `None` if the system has no random numbers, in which case nothing is cached.
    fn digest(&mut self, parts: &[&[u8]]) -> Option<CacheKey> {
        if self.key.is_none() {
            self.key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        }
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn get(&self, key: &CacheKey) -> Option<bool> {
        if self.accepted.contains(key) { Some(true) } else { self.rejected.contains(key).then_some(false) }
    }

    fn insert(&mut self, key: CacheKey, is_accepted: bool) {
        let keys = if is_accepted { &mut self.accepted } else { &mut self.rejected };
        if keys.len() >= MAX_CACHED_RESULTS {
            // The order of a set is random, so this drops a random tenth.
            let mut retained = 0;
            keys.retain(|_| {
                retained += 1;
                retained <= MAX_CACHED_RESULTS - MAX_CACHED_RESULTS / 10
            });
        }
        keys.insert(key);
    }
}

impl Default for PasswordVerifier {
    fn default() -> Self {
        Self { cache: Mutex::default(), bcrypt_permit: Semaphore::new(1) }
    }
}

impl PasswordVerifier {
    /// Returns whether an `Authorization` header has the name and password of one of `users`.
    pub(super) async fn verify(&self, users: &Hashes, authorization: Option<&HeaderValue>) -> bool {
        let Some((name, password)) = authorization.and_then(parse_basic_credentials) else { return false };
        let user = std::str::from_utf8(name.expose_secret()).ok().and_then(|name| users.get(name));
        let hash = user.cloned().unwrap_or_else(|| placeholder_hash(users));
        let key_parts = [name.expose_secret(), hash.expose_secret().as_bytes(), password.expose_secret()];
        let key = self.cache().digest(&key_parts);
        // The name is part of the key, but a user may since have been removed.
        let cached = || Some(key.and_then(|key| self.cache().get(&key))? && user.is_some());
        if let Some(is_accepted) = cached() {
            return is_accepted;
        }
        // The semaphore is never closed.
        let Ok(_permit) = self.bcrypt_permit.acquire().await else { return false };
        // A request that waited before this one may have had the same credentials.
        if let Some(is_accepted) = cached() {
            return is_accepted;
        }
        let verify =
            move || bcrypt::verify(password.expose_secret(), hash.expose_secret()).is_ok_and(|verified| verified);
        let is_accepted = tokio::task::spawn_blocking(verify).await.unwrap_or(false) && user.is_some();
        if let Some(key) = key {
            self.cache().insert(key, is_accepted);
        }
        is_accepted
    }

    fn cache(&self) -> MutexGuard<'_, VerificationCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the name and the password of a `Basic` header.
fn parse_basic_credentials(header: &HeaderValue) -> Option<(SecretSlice<u8>, SecretSlice<u8>)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = SecretSlice::from(STANDARD.decode(encoded.trim()).ok()?);
    let bytes = decoded.expose_secret();
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    Some((bytes[..colon].to_vec().into(), bytes[colon + 1..].to_vec().into()))
}

/// Returns a hash that takes as long to verify as the slowest of the users' hashes.
fn placeholder_hash(users: &Hashes) -> SecretString {
    let cost = users.values().filter_map(|hash| cost(hash.expose_secret()).ok()).max().unwrap_or(10);
    format!("$2b${cost:02}${PLACEHOLDER_SALT_AND_CHECKSUM}").into()
}

/// Returns the cost of a bcrypt hash.
///
/// # Errors
/// If the text is not a bcrypt hash.
pub(super) fn cost(hash: &str) -> Result<u32, String> {
    let invalid = || "is not a bcrypt hash; create one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`".to_owned();
    let mut parts = hash.split('$');
    let (before, version, cost, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let is_encoded = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    let is_hash = before == Some("")
        && matches!(version, Some("2" | "2a" | "2b" | "2x" | "2y"))
        && rest.is_some_and(|rest| rest.len() == 53 && is_encoded(rest))
        && parts.next().is_none();
    let cost = cost.filter(|cost| is_hash && cost.len() == 2).and_then(|cost| cost.parse().ok()).ok_or_else(invalid)?;
    if (4..=31).contains(&cost) { Ok(cost) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, password: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).parse().unwrap()
    }

    fn hashes(users: &[(&str, &str)]) -> Hashes {
        users.iter().map(|(name, password)| ((*name).to_owned(), bcrypt::hash(password, 4).unwrap().into())).collect()
    }

    #[tokio::test]
    async fn only_the_password_of_the_named_user_is_accepted() {
        let verifier = PasswordVerifier::default();
        let hashes = hashes(&[("ann", "a:b"), ("bob", "")]);
        for round in 0..2 {
            for (name, password, expected) in
                [("ann", "a:b", true), ("bob", "", true), ("ann", "", false), ("bob", "a:b", false), ("eve", "", false)]
            {
                assert_eq!(
                    verifier.verify(&hashes, Some(&header(name, password))).await,
                    expected,
                    "{name}, round {round}"
                );
            }
        }
        for invalid in ["", "Basic", "Basic !", "Basic YWJj", "Bearer YTpiCg==", "Basic  "] {
            assert!(!verifier.verify(&hashes, Some(&invalid.parse().unwrap())).await, "{invalid}");
        }
        assert!(!verifier.verify(&hashes, None).await);
    }

    #[tokio::test]
    async fn old_password_is_rejected_after_a_change() {
        let verifier = PasswordVerifier::default();
        let (before, after) = (hashes(&[("ann", "old")]), hashes(&[("ann", "new")]));
        assert!(verifier.verify(&before, Some(&header("ann", "old"))).await);
        assert!(!verifier.verify(&after, Some(&header("ann", "old"))).await);
        assert!(verifier.verify(&after, Some(&header("ann", "new"))).await);
        assert!(!verifier.verify(&Hashes::new(), Some(&header("ann", "new"))).await);
    }

    #[test]
    fn unknown_user_takes_as_long_to_reject_as_a_wrong_password() {
        let users = hashes(&[("ann", "x")]);
        let placeholder = placeholder_hash(&users);
        assert_eq!(cost(placeholder.expose_secret()), Ok(4));
        // An error would mean that bcrypt stopped early.
        assert!(!bcrypt::verify("x", placeholder.expose_secret()).unwrap());
    }

    #[tokio::test]
    async fn wrong_guesses_do_not_displace_accepted_passwords() {
        let verifier = PasswordVerifier::default();
        let hashes = hashes(&[("ann", "x")]);
        assert!(verifier.verify(&hashes, Some(&header("ann", "x"))).await);
        for guess in 0..3 * MAX_CACHED_RESULTS {
            verifier.cache().insert([u8::try_from(guess % 251).unwrap(); 32], false);
            verifier.cache().insert(std::array::from_fn(|at| u8::try_from((guess + at) & 0xff).unwrap()), false);
        }
        let cache = verifier.cache();
        assert_eq!(cache.accepted.len(), 1);
        assert!(cache.rejected.len() <= MAX_CACHED_RESULTS);
    }

    #[test]
    fn text_that_is_not_a_bcrypt_hash_is_rejected() {
        for valid in [&*bcrypt::hash("x", 4).unwrap(), "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"] {
            assert!(cost(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "secret", "$2y$10$short", "$1$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"] {
            assert!(cost(invalid).is_err(), "{invalid}");
        }
    }
}
