//! Faults of the simulated API: how users write them, and which requests they apply to.
//!
//! A fault is written as its name, its parameters and the requests that it applies to, separated by spaces:
//! `429 retry-after=2 times=3`, `cut-body page=2`, `hang probability=0.1`. What a fault does to a response is in
//! [`apply`](super::apply).

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::fault_kind::{FaultKind, ParameterError, parse_duration};

/// A kind of fault and the requests that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The name and the parameters as written; `times` is displayed with its present value instead.
    words: Vec<String>,
    kind: FaultKind,
    /// The id of the only account that it applies to; `None` for all accounts.
    account: Option<String>,
    /// The first page that it applies to; it applies to all later pages, too.
    page: usize,
    /// How many more requests it applies to; `None` for no limit.
    times: Option<u64>,
    /// The probability that it applies to a request that meets the other conditions, from 0 to 1.
    probability: f64,
    /// How long it applies to requests, from when it takes effect; `None` for no limit.
    duration: Option<Duration>,
}

/// The faults in effect, which may be replaced at any time.
#[derive(Debug)]
pub struct Faults(Mutex<FaultsState>);

#[derive(Debug)]
struct FaultsState {
    faults: Vec<ActiveFault>,
    /// Decides for the faults that apply with a probability.
    rng: Rng,
}

#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    ends_at: Option<Instant>,
}

/// The parameters that every fault has.
const COMMON_PARAMETERS: [&str; 5] = ["account", "page", "times", "probability", "for"];

impl Fault {
    /// Parses a list of faults, separated by commas or newlines.
    ///
    /// # Errors
    /// If a fault is invalid, the message about the first one that is.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split([',', '\n']).map(str::trim).filter(|fault| !fault.is_empty()).map(str::parse).collect()
    }

    /// Returns whether the fault applies to a request. If so, the request counts towards its `times`.
    fn trigger(&mut self, account: &str, page: usize, rng: &mut Rng) -> bool {
        let is_other_account = self.account.as_ref().is_some_and(|own| own != account);
        if is_other_account || page < self.page || rng.f64() >= self.probability {
            return false;
        }
        self.times = self.times.map(|times| times.saturating_sub(1));
        true
    }

    fn set_parameter(&mut self, key: &str, value: &str) -> Result<(), ParameterError> {
        let whole_number = |_| ParameterError::Invalid("a whole number");
        match key {
            "account" => self.account = Some(value.to_owned()),
            "page" => self.page = value.parse().map_err(whole_number)?,
            "times" => self.times = Some(value.parse().map_err(whole_number)?),
            "probability" => {
                let probability = value.parse().ok().filter(|value| (0.0..=1.0).contains(value));
                self.probability = probability.ok_or(ParameterError::Invalid("a number from 0 to 1"))?;
            }
            "for" => self.duration = Some(parse_duration(value)?),
            _ => self.kind.set_parameter(key, value)?,
        }
        Ok(())
    }
}

impl ActiveFault {
    /// Puts a fault into effect now.
    fn new(fault: Fault) -> Self {
        let ends_at = fault.duration.and_then(|duration| Instant::now().checked_add(duration));
        Self { fault, ends_at }
    }

    /// Returns whether the fault can still apply to a request.
    fn is_remaining(&self) -> bool {
        self.fault.times != Some(0) && self.ends_at.is_none_or(|ends_at| Instant::now() < ends_at)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        let name = words.first().map_or("", String::as_str);
        let (kind, parameters) = FaultKind::from_name(name)?;
        let mut fault =
            Self { words: words.clone(), kind, account: None, page: 1, times: None, probability: 1.0, duration: None };
        let mut keys = HashSet::new();
        for word in words.iter().skip(1) {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("invalid parameter {word:?} of fault {name}; write it like page=2"))?;
            if !keys.insert(key) {
                return Err(format!("fault {name} has the parameter {key} twice; remove one of them"));
            }
            fault.set_parameter(key, value).map_err(|error| match error {
                ParameterError::Invalid(expected) => {
                    format!("invalid parameter {key}={value} of fault {name}; it must be {expected}")
                }
                ParameterError::Unknown => {
                    let allowed = [parameters, &COMMON_PARAMETERS].concat().join(", ");
                    format!("fault {name} has no parameter {key}; use {allowed}")
                }
            })?;
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            match self.times {
                Some(times) if word.starts_with("times=") => write!(f, "{separator}times={times}")?,
                _ => write!(f, "{separator}{word}")?,
            }
        }
        Ok(())
    }
}

impl Faults {
    /// Starts with the given faults. The same seed and requests make the same random decisions.
    #[must_use]
    pub fn new(faults: Vec<Fault>, seed: u64) -> Self {
        let faults = faults.into_iter().map(ActiveFault::new).collect();
        Self(Mutex::new(FaultsState { faults, rng: Rng::with_seed(seed) }))
    }

    /// Replaces all faults.
    pub fn set(&self, faults: Vec<Fault>) {
        self.lock().faults = faults.into_iter().map(ActiveFault::new).collect();
    }

    /// Returns the faults that can still apply to a request.
    #[must_use]
    pub fn remaining(&self) -> Vec<Fault> {
        let remaining = |active: &ActiveFault| active.is_remaining().then(|| active.fault.clone());
        self.lock().faults.iter().filter_map(remaining).collect()
    }

    /// Returns the first fault that applies to a request for this page of an account. The request counts towards the
    /// `times` of that fault only.
    pub(super) fn trigger(&self, account: &str, page: usize) -> Option<FaultKind> {
        let FaultsState { faults, rng } = &mut *self.lock();
        faults.iter_mut().filter(|active| active.is_remaining()).find_map(|active| {
            let fault = &mut active.fault;
            fault.trigger(account, page, rng).then(|| fault.kind.clone())
        })
    }

    fn lock(&self) -> MutexGuard<'_, FaultsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::fault_kind::KINDS;

    #[test]
    fn parsed_faults_display_as_they_were_written() {
        let names = KINDS.map(|(name, ..)| name.to_owned());
        let others = [
            "503",
            "429 retry-after=2 times=3",
            "429 times=3 retry-after=2.50",
            "503 retry-after-date=60 page=2",
            "503 for=1m30s page=2",
            "slow-body over=1500ms probability=0.25",
            "redirect to=http://127.0.0.1:1/x",
            "total by=-5 page=3 times=1",
            "hang account=acc_7 page=2",
            "message status=403 text=account+closed%2C%20{authorization} repeat=2 field=detail",
            "reset-header header=RateLimit-Reset after=2.5 format=epoch status=503",
            "string-numbers style=float times=1 account=acc_7",
        ];
        for text in names.into_iter().chain(others.map(str::to_owned)) {
            let fault = text.parse::<Fault>().unwrap();
            assert_eq!(fault.to_string(), text);
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let faults = Fault::parse_list("503 times=1, hang\ncut-body  page=2,").unwrap();
        assert_eq!(
            faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["503 times=1", "hang", "cut-body page=2"]
        );
    }

    #[test]
    fn errors_name_what_is_invalid() {
        for (text, expected) in [
            ("bogus", "cut-body"),
            ("200", "a status code from 201"),
            ("hang page", "page=2"),
            ("hang page=x", "whole number"),
            ("hang retry-after=1", "no parameter retry-after"),
            ("hang probability=2", "from 0 to 1"),
            ("slow-body over=soon", "duration"),
            ("slow-body over=2y", "at most a year"),
            ("503 for=ever", "duration"),
            ("hang page=1 page=2", "twice"),
            ("", "unknown fault"),
            ("429 retry-after=-1", "2.5"),
            ("429 retry-after=inf", "2.5"),
            ("429 over=1s", "use retry-after, retry-after-date, account, page, times, probability, for"),
            ("string-numbers style=roman", "string or float"),
            ("message text=%", "%XX"),
            ("message status=200", "400 to 599"),
            ("message repeat=0", "from 1 to 1000"),
            ("message field=x", "error.message, message, error, detail, title or none"),
            ("reset-header header=Date", "X-RateLimit-Reset or RateLimit-Reset"),
            ("reset-header format=x", "seconds or epoch"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn faults_apply_from_their_page_on_until_their_times_are_used_up() {
        let faults = Faults::new(Fault::parse_list("503 page=2 times=2, 404 account=b, hang page=3").unwrap(), 1);
        let triggered = [1, 2, 1, 5, 2, 3].map(|page| faults.trigger("a", page));
        let status = Some(FaultKind::Status(503, None));
        assert_eq!(triggered, [None, status.clone(), None, status, None, Some(FaultKind::Hang)]);
        assert_eq!(faults.trigger("b", 1), Some(FaultKind::Status(404, None)));
        assert_eq!(faults.remaining().len(), 2);
    }
    #[tokio::test(start_paused = true)]
    async fn fault_ends_after_its_duration() {
        let faults = Faults::new(Fault::parse_list("503 for=3s, 404 for=0s").unwrap(), 1);
        let status = Some(FaultKind::Status(503, None));
        tokio::time::advance(Duration::from_millis(2_999)).await;
        assert_eq!(faults.trigger("a", 1), status);
        assert_eq!(faults.remaining().iter().map(ToString::to_string).collect::<Vec<_>>(), ["503 for=3s"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((faults.trigger("a", 1), faults.remaining()), (None, vec![]));
        // Faults that replace others have a duration of their own.
        faults.set(Fault::parse_list("503 for=3s").unwrap());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(faults.trigger("a", 1), status);
    }
}
