//! `basic_auth_users`: verifies the passwords of requests (RFC 7617) against bcrypt hashes.
//!
//! Results are cached, because bcrypt is slow by design: credentials that were seen before never wait. No password is
//! kept longer than its verification takes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::lock;
use crate::web::throttled_log::ThrottledLog;

/// The bcrypt hashes of the users' passwords, by name.
pub(super) type Hashes = BTreeMap<String, SecretString>;

/// Maximum number of rejected credentials that are cached. Accepted ones are cached for every user.
const MAX_REJECTED: usize = 100;

/// Maximum number of bcrypt computations that run or wait.
const MAX_COMPUTATIONS: usize = 8;

/// Maximum number of bcrypt computations that run or wait for one user; all unknown users count as one.
const MAX_COMPUTATIONS_PER_USER: usize = 3;

/// A bcrypt hash that stands in for the hash of an unknown user, so that response times do not reveal whether a user
/// with the usual cost exists. Its cost is that of exporter-toolkit, whatever the costs of the users are: otherwise one
/// user with a high cost would make every unknown name expensive.
const PLACEHOLDER: &str = "$2b$10$Byj7vnVYjtt3r0HZ9P5uDe8aHkYTa7pHR/LAju6g48WJVlHCjPKGC";

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is that of the user.
    Accepted,
    /// There are no credentials, or invalid ones.
    Rejected,
    /// The credentials are new, and too many others are being verified.
    Busy,
}

/// Verifies passwords. Each bcrypt hash is computed once, on a thread that serves no requests; those of one user one
/// after the other, so that an expensive user delays only itself.
#[derive(Debug, Default)]
pub(super) struct PasswordVerifier {
    state: Arc<Mutex<State>>,
    busy_log: ThrottledLog,
}

#[derive(Debug, Default)]
struct State {
    /// The key of [`CacheKey`]s, made on first use.
    key: Option<hmac::Key>,
    cache: VerificationCache,
    /// The computations that run or wait.
    computations: HashMap<CacheKey, Computation>,
}

/// A bcrypt computation that runs or waits.
#[derive(Debug)]
struct Computation {
    /// `None` for unknown users.
    user: Option<String>,
    /// Allows one computation of the user at a time.
    turn: Arc<Semaphore>,
    result: watch::Receiver<Option<bool>>,
}

/// What is known about credentials.
enum Lookup {
    Cached(bool),
    /// They are being verified.
    Pending(watch::Receiver<Option<bool>>),
    Busy,
}

/// A keyed hash of credentials and the user's bcrypt hash.
type CacheKey = [u8; 32];

#[derive(Debug, Default)]
struct VerificationCache {
    /// The last accepted password of each user, so that no user displaces the password of another one.
    accepted: HashMap<String, CacheKey>,
    rejected: HashSet<CacheKey>,
}

impl VerificationCache {
    /// Returns whether the credentials of a user were accepted; `None` if that is not known.
    fn get(&self, user: Option<&str>, key: &CacheKey) -> Option<bool> {
        if user.is_some_and(|user| self.accepted.get(user) == Some(key)) {
            Some(true)
        } else {
            self.rejected.contains(key).then_some(false)
        }
    }

    fn insert_accepted(&mut self, user: String, key: CacheKey) {
        self.accepted.insert(user, key);
    }

    fn insert_rejected(&mut self, key: CacheKey) {
        if self.rejected.len() >= MAX_REJECTED {
            // The order of a set is random, so this drops a random tenth.
            let mut retained = 0;
            self.rejected.retain(|_| {
                retained += 1;
                retained <= MAX_REJECTED - MAX_REJECTED / 10
            });
        }
        self.rejected.insert(key);
    }

    /// Removes the passwords of users that no longer exist.
    fn retain_users(&mut self, users: &Hashes) {
        if self.accepted.len() > users.len() {
            self.accepted.retain(|user, _| users.contains_key(user));
        }
    }
}

impl State {
    /// Returns the key of `parts`; `None` if the system has no random numbers.
    fn digest(&mut self, parts: [&[u8]; 3]) -> Option<CacheKey> {
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

    /// Returns whether another computation for this user may start, and if so its turn among those of the user.
    fn admit(&self, user: Option<&str>) -> Option<Arc<Semaphore>> {
        let of_user = || self.computations.values().filter(|computation| computation.user.as_deref() == user);
        if self.computations.len() >= MAX_COMPUTATIONS || of_user().count() >= MAX_COMPUTATIONS_PER_USER {
            return None;
        }
        Some(of_user().next().map_or_else(|| Arc::new(Semaphore::new(1)), |other| other.turn.clone()))
    }
}

impl PasswordVerifier {
    /// Verifies that an `Authorization` header has the name and password of one of `users`.
    pub(super) async fn verify(&self, users: &Hashes, authorization: Option<&HeaderValue>) -> Verdict {
        let Some((name, password)) = authorization.and_then(parse_basic_credentials) else { return Verdict::Rejected };
        let is_accepted = match self.look_up_or_start(users, name.expose_secret(), password) {
            Lookup::Cached(is_accepted) => is_accepted,
            Lookup::Pending(mut result) => {
                result.wait_for(Option::is_some).await.is_ok_and(|result| *result == Some(true))
            }
            Lookup::Busy => {
                self.busy_log.record(|requests| {
                    warn!(requests, "requests refused with status 429, too many passwords are being verified");
                });
                return Verdict::Busy;
            }
        };
        if is_accepted { Verdict::Accepted } else { Verdict::Rejected }
    }

    /// Returns what is known about credentials, and starts to verify them if that is nothing.
    fn look_up_or_start(&self, users: &Hashes, name: &[u8], password: SecretSlice<u8>) -> Lookup {
        let user = std::str::from_utf8(name).ok().and_then(|name| users.get_key_value(name));
        let (user, hash) = match user {
            Some((user, hash)) => (Some(user.as_str()), hash.clone()),
            None => (None, PLACEHOLDER.into()),
        };
        let mut state = lock(&self.state);
        let Some(key) = state.digest([name, hash.expose_secret().as_bytes(), password.expose_secret()]) else {
            return Lookup::Busy;
        };
        state.cache.retain_users(users);
        if let Some(is_accepted) = state.cache.get(user, &key) {
            return Lookup::Cached(is_accepted);
        }
        if let Some(computation) = state.computations.get(&key) {
            return Lookup::Pending(computation.result.clone());
        }
        let Some(turn) = state.admit(user) else { return Lookup::Busy };
        let (sender, result) = watch::channel(None);
        let computation = Computation { user: user.map(str::to_owned), turn: turn.clone(), result: result.clone() };
        state.computations.insert(key, computation);
        drop(state);
        let user = user.map(str::to_owned);
        let shared = self.state.clone();
        // A task, so that a client that does not wait for the result neither loses it nor makes room for another guess.
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _turn = turn.acquire().await;
            let verify = move || bcrypt::verify(password.expose_secret(), hash.expose_secret());
            let verified = tokio::task::spawn_blocking(verify).await;
            let accepted_user = user.filter(|_| matches!(verified, Ok(Ok(true))));
            let is_accepted = accepted_user.is_some();
            let mut state = lock(&shared);
            state.computations.remove(&key);
            match accepted_user {
                Some(user) => state.cache.insert_accepted(user, key),
                None => state.cache.insert_rejected(key),
            }
            drop(state);
            sender.send_replace(Some(is_accepted));
        });
        Lookup::Pending(result)
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
        && matches!(version, Some("2a" | "2b" | "2x" | "2y"))
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
            for (name, password, expected) in [
                ("ann", "a:b", Verdict::Accepted),
                ("bob", "", Verdict::Accepted),
                ("ann", "", Verdict::Rejected),
                ("bob", "a:b", Verdict::Rejected),
                ("eve", "", Verdict::Rejected),
            ] {
                let verdict = verifier.verify(&hashes, Some(&header(name, password))).await;
                assert_eq!(verdict, expected, "{name}, round {round}");
            }
        }
        for invalid in ["", "Basic", "Basic !", "Basic YWJj", "Bearer YTpiCg==", "Basic  "] {
            let verdict = verifier.verify(&hashes, Some(&invalid.parse().unwrap())).await;
            assert_eq!(verdict, Verdict::Rejected, "{invalid}");
        }
        assert_eq!(verifier.verify(&hashes, None).await, Verdict::Rejected);
    }

    #[tokio::test]
    async fn old_password_is_rejected_after_a_change() {
        let verifier = PasswordVerifier::default();
        let (before, after) = (hashes(&[("ann", "old")]), hashes(&[("ann", "new")]));
        for (users, password, expected) in [
            (&before, "old", Verdict::Accepted),
            (&after, "old", Verdict::Rejected),
            (&after, "new", Verdict::Accepted),
            (&Hashes::new(), "new", Verdict::Rejected),
        ] {
            assert_eq!(verifier.verify(users, Some(&header("ann", password))).await, expected, "{password}");
        }
    }

    #[test]
    fn placeholder_is_a_hash_of_the_usual_cost() {
        assert_eq!(cost(PLACEHOLDER), Ok(10));
        // An error would mean that bcrypt stopped early.
        assert!(!bcrypt::verify("x", PLACEHOLDER).unwrap());
    }

    /// The computations start when this test yields, so the outcome does not depend on their speed.
    #[tokio::test]
    async fn new_credentials_are_refused_while_too_many_are_verified() {
        let verifier = PasswordVerifier::default();
        let names: Vec<String> = (0..MAX_COMPUTATIONS).map(|index| format!("user{index}")).collect();
        let users: Vec<_> = names.iter().map(|name| (name.as_str(), "right")).collect();
        let hashes = hashes(&users);
        let start = |name: &str, password: &str| {
            verifier.look_up_or_start(&hashes, name.as_bytes(), password.as_bytes().to_vec().into())
        };
        let mut pending = Vec::new();
        for guess in 0..3 * MAX_COMPUTATIONS_PER_USER {
            match start("user0", &guess.to_string()) {
                Lookup::Pending(result) => pending.push(result),
                lookup => assert!(matches!(lookup, Lookup::Busy) && guess >= MAX_COMPUTATIONS_PER_USER, "{guess}"),
            }
        }
        assert_eq!(pending.len(), MAX_COMPUTATIONS_PER_USER, "of one user");
        assert!(matches!(start("user0", "0"), Lookup::Pending(_)), "the same credentials join the computation");
        for name in &names[1..] {
            if let Lookup::Pending(result) = start(name, "right") {
                pending.push(result);
            }
        }
        assert_eq!(pending.len(), MAX_COMPUTATIONS, "of all users");
        assert!(matches!(start("eve", "x"), Lookup::Busy));
        for mut result in pending {
            result.wait_for(Option::is_some).await.unwrap();
        }
        for (name, password, expected) in
            [("user0", "0", Verdict::Rejected), ("user1", "right", Verdict::Accepted), ("eve", "x", Verdict::Rejected)]
        {
            assert_eq!(verifier.verify(&hashes, Some(&header(name, password))).await, expected, "{name}");
        }
    }

    #[test]
    fn wrong_guesses_do_not_displace_accepted_passwords() {
        let mut cache = VerificationCache::default();
        cache.insert_accepted("ann".to_owned(), [255; 32]);
        for guess in 0..3 * MAX_REJECTED {
            cache.insert_rejected(std::array::from_fn(|at| u8::try_from((guess >> at) & 1).unwrap()));
        }
        assert_eq!(cache.get(Some("ann"), &[255; 32]), Some(true));
        assert!((MAX_REJECTED / 2..=MAX_REJECTED).contains(&cache.rejected.len()));
    }

    #[test]
    fn one_password_of_each_user_is_cached_while_the_user_exists() {
        let mut cache = VerificationCache::default();
        for (user, key) in [("ann", 1), ("bob", 2), ("ann", 3)] {
            cache.insert_accepted(user.to_owned(), [key; 32]);
        }
        let known = |cache: &VerificationCache, user, key| cache.get(Some(user), &[key; 32]);
        assert_eq!(
            [("ann", 1), ("ann", 3), ("bob", 2)].map(|(user, key)| known(&cache, user, key)),
            [None, Some(true), Some(true)]
        );
        assert_eq!((known(&cache, "bob", 3), cache.get(None, &[3; 32])), (None, None), "of another user");
        cache.retain_users(&hashes(&[("bob", "")]));
        assert_eq!((known(&cache, "ann", 3), known(&cache, "bob", 2)), (None, Some(true)));
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
