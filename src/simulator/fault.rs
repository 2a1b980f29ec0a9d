//! Faults of the simulated API: what they are, how users write them, and which requests they apply to.
//!
//! A fault is written as its name, its parameters and the requests that it applies to, separated by spaces:
//! `429 retry-after=2 times=3`, `cut-body page=2`, `hang probability=0.1`. What a fault does to a response is in
//! [`apply`](super::apply).

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A kind of fault and the requests that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    /// The id of the only account that it applies to; `None` for all accounts.
    account: Option<String>,
    /// The first page that it applies to; it applies to all later pages, too.
    page: usize,
    /// How many more requests it applies to; `None` for no limit.
    times: Option<u64>,
    /// The probability that it applies to a request that meets the other conditions, from 0 to 1.
    probability: f64,
}

/// What a fault does, named as users write it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FaultKind {
    /// An error with this status code and perhaps a `Retry-After` header.
    Status(u16, Option<RetryAfter>),
    /// No response, ever, on a connection that stays open.
    Hang,
    /// The page, sent slowly over this time.
    SlowBody(Duration),
    /// The connection is closed before a response.
    CutConnection,
    /// The connection is closed in the middle of the body.
    CutBody,
    /// Status 200 with an HTML page.
    Html,
    /// Status 200 with a body that is not valid JSON.
    BadJson,
    /// Valid JSON with values of the wrong types.
    WrongTypes,
    /// Valid JSON with `null` for all values.
    Nulls,
    /// Status 200 with an empty body.
    EmptyBody,
    /// A small compressed body that decompresses to a huge one.
    GzipBomb,
    /// A body that never ends.
    EndlessBody,
    /// A redirect to this URL.
    Redirect(String),
    /// A total that is wrong by this many numbers.
    Total(i64),
    /// Pages without records.
    EmptyPages,
    /// A listing of one billion pages.
    EndlessPages,
    /// A few numbers are purchased or released after the page was read, which shifts the pages that follow.
    Shift,
    /// Every tenth record is invalid.
    BadRecords,
    /// The last page instead of the first, and so on.
    ReorderedPages,
    /// Half as many records per page as requested.
    ShortPages,
}

/// The format of a `Retry-After` header; both values are seconds from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    Seconds(u64),
    Date(u64),
}

/// The faults in effect, which may be replaced at any time.
#[derive(Debug)]
pub struct Faults(Mutex<FaultsState>);

#[derive(Debug)]
struct FaultsState {
    faults: Vec<Fault>,
    /// Decides for the faults that apply with a probability.
    rng: Rng,
}

/// The names of the kinds that have no parameters.
const WITHOUT_PARAMETERS: [(&str, FaultKind); 16] = [
    ("hang", FaultKind::Hang),
    ("cut-connection", FaultKind::CutConnection),
    ("cut-body", FaultKind::CutBody),
    ("html", FaultKind::Html),
    ("bad-json", FaultKind::BadJson),
    ("wrong-types", FaultKind::WrongTypes),
    ("nulls", FaultKind::Nulls),
    ("empty-body", FaultKind::EmptyBody),
    ("gzip-bomb", FaultKind::GzipBomb),
    ("endless-body", FaultKind::EndlessBody),
    ("empty-pages", FaultKind::EmptyPages),
    ("endless-pages", FaultKind::EndlessPages),
    ("shift", FaultKind::Shift),
    ("bad-records", FaultKind::BadRecords),
    ("reordered-pages", FaultKind::ReorderedPages),
    ("short-pages", FaultKind::ShortPages),
];

impl FaultKind {
    /// Returns the kind of this name, with default parameters.
    fn from_name(name: &str) -> Result<Self, String> {
        if let Some((_, kind)) = WITHOUT_PARAMETERS.iter().find(|(other, _)| *other == name) {
            return Ok(kind.clone());
        }
        Ok(match (name, name.parse::<u16>()) {
            (_, Ok(status @ 201..=599)) => Self::Status(status, None),
            ("slow-body", _) => Self::SlowBody(Duration::from_mins(1)),
            // A host name that is guaranteed not to exist (RFC 2606).
            ("redirect", _) => Self::Redirect("https://elsewhere.invalid/".to_owned()),
            ("total", _) => Self::Total(1000),
            _ => {
                let names: Vec<_> = WITHOUT_PARAMETERS.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "unknown fault {name:?}; use a status code from 201 to 599, slow-body, redirect, total, {}",
                    names.join(", ")
                ));
            }
        })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, None) => write!(f, "{status}"),
            Self::Status(status, Some(RetryAfter::Seconds(seconds))) => write!(f, "{status} retry-after={seconds}"),
            Self::Status(status, Some(RetryAfter::Date(seconds))) => write!(f, "{status} retry-after-date={seconds}"),
            // Not with humantime, which separates units by spaces: a parameter is one word.
            Self::SlowBody(over) => write!(f, "slow-body over={}ms", over.as_millis()),
            Self::Redirect(to) => write!(f, "redirect to={to}"),
            Self::Total(by) => write!(f, "total by={by}"),
            _ => f.write_str(WITHOUT_PARAMETERS.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name)),
        }
    }
}

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
        if is_other_account || page < self.page || self.times == Some(0) || rng.f64() >= self.probability {
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let kind = FaultKind::from_name(name)?;
        let mut fault = Self { kind, account: None, page: 1, times: None, probability: 1.0 };
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("invalid parameter {word:?} of fault {name}; write it like page=2"))?;
            let must_be =
                |expected: &str| format!("invalid parameter {key}={value} of fault {name}; it must be {expected}");
            let parse_u64 = || value.parse::<u64>().map_err(|_| must_be("a whole number"));
            match (key, &mut fault.kind) {
                ("account", _) => fault.account = Some(value.to_owned()),
                ("page", _) => fault.page = value.parse().map_err(|_| must_be("a whole number"))?,
                ("times", _) => fault.times = Some(parse_u64()?),
                ("probability", _) => {
                    let probability = value.parse().ok().filter(|value| (0.0..=1.0).contains(value));
                    fault.probability = probability.ok_or_else(|| must_be("a number from 0 to 1"))?;
                }
                ("retry-after", FaultKind::Status(_, retry)) => *retry = Some(RetryAfter::Seconds(parse_u64()?)),
                ("retry-after-date", FaultKind::Status(_, retry)) => *retry = Some(RetryAfter::Date(parse_u64()?)),
                ("over", FaultKind::SlowBody(over)) => {
                    *over = humantime::parse_duration(value).map_err(|_| must_be("a duration like 30s"))?;
                }
                ("to", FaultKind::Redirect(to)) => value.clone_into(to),
                ("by", FaultKind::Total(by)) => *by = value.parse().map_err(|_| must_be("a whole number"))?,
                _ => {
                    return Err(format!(
                        "fault {name} has no parameter {key}; every fault has account, page, times and probability"
                    ));
                }
            }
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(account) = &self.account {
            write!(f, " account={account}")?;
        }
        if self.page > 1 {
            write!(f, " page={}", self.page)?;
        }
        if let Some(times) = self.times {
            write!(f, " times={times}")?;
        }
        if self.probability < 1.0 {
            write!(f, " probability={}", self.probability)?;
        }
        Ok(())
    }
}

impl Faults {
    /// Starts with the given faults. The same seed and requests make the same random decisions.
    #[must_use]
    pub fn new(faults: Vec<Fault>, seed: u64) -> Self {
        Self(Mutex::new(FaultsState { faults, rng: Rng::with_seed(seed) }))
    }

    /// Replaces all faults.
    pub fn set(&self, faults: Vec<Fault>) {
        self.lock().faults = faults;
    }

    /// Returns the faults that can still apply to a request.
    #[must_use]
    pub fn remaining(&self) -> Vec<Fault> {
        self.lock().faults.iter().filter(|fault| fault.times != Some(0)).cloned().collect()
    }

    /// Returns the first fault that applies to a request for this page of an account. The request counts towards the
    /// `times` of that fault only.
    pub(super) fn trigger(&self, account: &str, page: usize) -> Option<FaultKind> {
        let FaultsState { faults, rng } = &mut *self.lock();
        faults.iter_mut().find_map(|fault| fault.trigger(account, page, rng).then(|| fault.kind.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, FaultsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_faults_display_as_they_were_written() {
        let without_parameters = WITHOUT_PARAMETERS.iter().map(|(name, _)| (*name).to_owned());
        let others = [
            "503",
            "429 retry-after=2 times=3",
            "503 retry-after-date=60 page=2",
            "slow-body over=1500ms probability=0.25",
            "redirect to=http://127.0.0.1:1/x",
            "total by=-5 page=3 times=1",
            "hang account=acc_7 page=2",
        ];
        for text in without_parameters.chain(others.map(str::to_owned)) {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        let faults = Fault::parse_list("503 times=1, hang\ncut-body page=2,").unwrap();
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
}
