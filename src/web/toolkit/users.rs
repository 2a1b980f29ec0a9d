//! `basic_auth_users`: passwords against their bcrypt hashes (RFC 7617).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Semaphore;

/// The hashes of the users' passwords, by name.
pub(super) type Hashes = BTreeMap<String, SecretString>;

/// So many answers are remembered, of each kind.
const REMEMBERED: usize = 100;

/// A hash of nobody's, for names that nobody has: that they are unknown must not show in how long it
/// takes to say so.
const NOBODY: &str = "Byj7vnVYjtt3r0HZ9P5uDe8aHkYTa7pHR/LAju6g48WJVlHCjPKGC";

/// Who was let in and who was not. A bcrypt hash is slow on purpose: each is computed once, one at a
/// time, away from the threads that answer.
#[derive(Debug)]
pub(super) struct Users {
    known: Mutex<Known>,
    slot: Semaphore,
}

/// Answers by a keyed hash of what was asked, so that no password is kept.
#[derive(Debug, Default)]
struct Known {
    key: Option<hmac::Key>,
    good: HashSet<[u8; 32]>,
    bad: HashSet<[u8; 32]>,
}

impl Default for Users {
    fn default() -> Self {
        Self { known: Mutex::default(), slot: Semaphore::new(1) }
    }
}

impl Users {
    /// Whether an `Authorization` header is of one of these users.
    pub(super) async fn know(&self, users: &Hashes, authorization: Option<&HeaderValue>) -> bool {
        let Some((name, password)) = authorization.and_then(credentials) else { return false };
        let user = std::str::from_utf8(name.expose_secret()).ok().and_then(|name| users.get(name));
        let hash = user.cloned().unwrap_or_else(|| nobody(users));
        let asked = self.digest(&[name.expose_secret(), hash.expose_secret().as_bytes(), password.expose_secret()]);
        if let Some(known) = asked.and_then(|asked| self.recall(&asked)) {
            return known && user.is_some();
        }
        // Closed by nobody.
        let Ok(_slot) = self.slot.acquire().await else { return false };
        // Whoever was before in the queue may have asked the same.
        if let Some(known) = asked.and_then(|asked| self.recall(&asked)) {
            return known && user.is_some();
        }
        let verify =
            move || bcrypt::verify(password.expose_secret(), hash.expose_secret()).is_ok_and(|verified| verified);
        let right = tokio::task::spawn_blocking(verify).await.unwrap_or(false) && user.is_some();
        if let Some(asked) = asked {
            self.remember(asked, right);
        }
        right
    }

    /// None where the system has no random numbers: then nothing is remembered.
    fn digest(&self, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.key.is_none() {
            known.key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        }
        let mut context = hmac::Context::with_key(known.key.as_ref()?);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn recall(&self, asked: &[u8; 32]) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.good.contains(asked) { Some(true) } else { known.bad.contains(asked).then_some(false) }
    }

    fn remember(&self, asked: [u8; 32], right: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Apart, so that guesses push out nobody who is right.
        let answers = if right { &mut known.good } else { &mut known.bad };
        if answers.len() >= REMEMBERED {
            // The order of a set is random, so this forgets some tenth of them.
            let mut kept = 0;
            answers.retain(|_| {
                kept += 1;
                kept <= REMEMBERED - REMEMBERED / 10
            });
        }
        answers.insert(asked);
    }
}

type Credentials = (Arc<SecretSlice<u8>>, SecretSlice<u8>);

/// The name and the password of a `Basic` header.
fn credentials(header: &HeaderValue) -> Option<Credentials> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = SecretSlice::from(STANDARD.decode(encoded.trim()).ok()?);
    let bytes = decoded.expose_secret();
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    Some((Arc::new(bytes[..colon].to_vec().into()), bytes[colon + 1..].to_vec().into()))
}

/// A hash that takes as long as the slowest of the users'.
fn nobody(users: &Hashes) -> SecretString {
    let cost = users.values().filter_map(|hash| cost(hash.expose_secret()).ok()).max().unwrap_or(10);
    format!("$2b${cost:02}${NOBODY}").into()
}

/// The cost of a bcrypt hash.
pub(super) fn cost(hash: &str) -> Result<u32, String> {
    let wrong = || "is not a bcrypt hash; make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`".to_owned();
    let mut parts = hash.split('$');
    let (before, version, cost, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let plain = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    let right = before == Some("")
        && matches!(version, Some("2" | "2a" | "2b" | "2x" | "2y"))
        && rest.is_some_and(|rest| rest.len() == 53 && plain(rest))
        && parts.next().is_none();
    let cost = cost.filter(|cost| right && cost.len() == 2).and_then(|cost| cost.parse().ok()).ok_or_else(wrong)?;
    if (4..=31).contains(&cost) { Ok(cost) } else { Err(wrong()) }
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
    async fn the_right_password_of_the_right_user_alone() {
        let users = Users::default();
        let hashes = hashes(&[("ann", "a:b"), ("bob", "")]);
        for round in 0..2 {
            for (name, password, right) in
                [("ann", "a:b", true), ("bob", "", true), ("ann", "", false), ("bob", "a:b", false), ("eve", "", false)]
            {
                assert_eq!(users.know(&hashes, Some(&header(name, password))).await, right, "{name}, round {round}");
            }
        }
        for bad in ["", "Basic", "Basic !", "Basic YWJj", "Bearer YTpiCg==", "Basic  "] {
            assert!(!users.know(&hashes, Some(&bad.parse().unwrap())).await, "{bad}");
        }
        assert!(!users.know(&hashes, None).await);
    }

    #[tokio::test]
    async fn a_password_that_was_changed_is_known_no_more() {
        let users = Users::default();
        let (before, after) = (hashes(&[("ann", "old")]), hashes(&[("ann", "new")]));
        assert!(users.know(&before, Some(&header("ann", "old"))).await);
        assert!(!users.know(&after, Some(&header("ann", "old"))).await);
        assert!(users.know(&after, Some(&header("ann", "new"))).await);
        assert!(!users.know(&Hashes::new(), Some(&header("ann", "new"))).await);
    }

    /// The hash that stands in for nobody's is one that bcrypt computes to the end, at the same cost.
    #[tokio::test]
    async fn nobody_costs_as_much_as_somebody() {
        let users = hashes(&[("ann", "x")]);
        let nobody = nobody(&users);
        assert_eq!(cost(nobody.expose_secret()), Ok(4));
        assert!(!bcrypt::verify("x", nobody.expose_secret()).unwrap());
    }

    #[tokio::test]
    async fn guesses_push_out_nobody_who_is_right() {
        let users = Users::default();
        let hashes = hashes(&[("ann", "x")]);
        assert!(users.know(&hashes, Some(&header("ann", "x"))).await);
        for guess in 0..3 * REMEMBERED {
            users.remember([u8::try_from(guess % 251).unwrap(); 32], false);
            users.remember(std::array::from_fn(|at| u8::try_from((guess + at) & 0xff).unwrap()), false);
        }
        let known = users.known.lock().unwrap();
        assert_eq!(known.good.len(), 1);
        assert!(known.bad.len() <= REMEMBERED);
    }

    #[test]
    fn what_is_no_hash_is_told() {
        for good in [&*bcrypt::hash("x", 4).unwrap(), "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"] {
            assert!(cost(good).is_ok(), "{good}");
        }
        for bad in ["", "secret", "$2y$10$short", "$1$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"] {
            assert!(cost(bad).is_err(), "{bad}");
        }
    }
}
