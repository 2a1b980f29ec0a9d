//! What the simulated API does wrong, on request.
//!
//! A fault is written as its kind and, separated by blanks, what it strikes:
//! `429 retry-after=2 times=3`, `cut-body page=2`, `hang probability=0.1`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

/// A kind of fault and the requests that it strikes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub(super) kind: FaultKind,
    /// Requests for this account, or for all.
    account: Option<String>,
    /// Requests for this page and those behind it.
    page: usize,
    /// So many of them, or all.
    times: Option<u64>,
    /// And of those this share, drawn by chance.
    probability: f64,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FaultKind {
    /// An error status, perhaps with `Retry-After`.
    Status(u16, Option<RetryAfter>),
    /// No answer, ever.
    Hang,
    /// The page, over so long a time.
    SlowBody(Duration),
    /// The connection ends before an answer.
    CutConnection,
    /// The connection ends in the middle of the body.
    CutBody,
    /// 200 and a page for people.
    Html,
    /// JSON that is none.
    BadJson,
    /// JSON of another shape.
    WrongTypes,
    /// JSON with nothing in it.
    Nulls,
    /// 200 and nothing.
    EmptyBody,
    /// A small body that unpacks to a huge one.
    GzipBomb,
    /// A body without end.
    EndlessBody,
    /// A redirect to another host.
    Redirect(String),
    /// A total that is off by so many.
    Total(i64),
    /// A page without records.
    EmptyPages,
    /// A thousand million pages.
    EndlessPages,
    /// A few numbers are bought and released after the page was read.
    Shift,
    /// Every tenth record is not one.
    BadRecords,
    /// The last page for the first, and so on.
    ReorderedPages,
    /// Half as many records a page as were asked for.
    ShortPages,
}

/// How `Retry-After` is written; the seconds are from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    Seconds(u64),
    Date(u64),
}

/// The kinds that have no parameter.
const PLAIN: [(&str, FaultKind); 16] = [
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

impl Fault {
    /// Reads several, separated by commas or line ends.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        text.split([',', '\n']).map(str::trim).filter(|fault| !fault.is_empty()).map(str::parse).collect()
    }

    fn strikes(&mut self, account: &str, page: usize, rng: &mut Rng) -> bool {
        let other = self.account.as_ref().is_some_and(|own| own != account);
        if other || page < self.page || self.times == Some(0) || rng.f64() >= self.probability {
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
        let mut fault = Self { kind: kind(name)?, account: None, page: 1, times: None, probability: 1.0 };
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is not like page=2"))?;
            let wrong = |right: &str| format!("{key}={value} of the fault {name} must be {right}");
            let whole = || value.parse::<u64>().map_err(|_| wrong("a whole number"));
            match (key, &mut fault.kind) {
                ("account", _) => fault.account = Some(value.to_owned()),
                ("page", _) => fault.page = value.parse().map_err(|_| wrong("a whole number"))?,
                ("times", _) => fault.times = Some(whole()?),
                ("probability", _) => {
                    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                    fault.probability = share.ok_or_else(|| wrong("a number from 0 to 1"))?;
                }
                ("retry-after", FaultKind::Status(_, retry)) => *retry = Some(RetryAfter::Seconds(whole()?)),
                ("retry-after-date", FaultKind::Status(_, retry)) => *retry = Some(RetryAfter::Date(whole()?)),
                ("over", FaultKind::SlowBody(over)) => {
                    *over = humantime::parse_duration(value).map_err(|_| wrong("a duration like 30s"))?;
                }
                ("to", FaultKind::Redirect(to)) => value.clone_into(to),
                ("by", FaultKind::Total(by)) => *by = value.parse().map_err(|_| wrong("a whole number"))?,
                _ => {
                    return Err(format!(
                        "the fault {name} has no {key}; all have account, page, times and probability"
                    ));
                }
            }
        }
        Ok(fault)
    }
}

fn kind(name: &str) -> Result<FaultKind, String> {
    if let Some((_, kind)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
        return Ok(kind.clone());
    }
    Ok(match (name, name.parse::<u16>()) {
        (_, Ok(status @ 201..=599)) => FaultKind::Status(status, None),
        ("slow-body", _) => FaultKind::SlowBody(Duration::from_mins(1)),
        // No such host can exist (RFC 2606).
        ("redirect", _) => FaultKind::Redirect("https://elsewhere.invalid/".to_owned()),
        ("total", _) => FaultKind::Total(1000),
        _ => {
            let plain: Vec<_> = PLAIN.iter().map(|(plain, _)| *plain).collect();
            return Err(format!(
                "{name:?} is no fault; there are status codes from 201 to 599, slow-body, redirect, total, {}",
                plain.join(", ")
            ));
        }
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Status(status, None) => write!(f, "{status}")?,
            FaultKind::Status(status, Some(RetryAfter::Seconds(wait))) => write!(f, "{status} retry-after={wait}")?,
            FaultKind::Status(status, Some(RetryAfter::Date(wait))) => write!(f, "{status} retry-after-date={wait}")?,
            // Without blanks, so that it is one word.
            FaultKind::SlowBody(over) => write!(f, "slow-body over={}ms", over.as_millis())?,
            FaultKind::Redirect(to) => write!(f, "redirect to={to}")?,
            FaultKind::Total(by) => write!(f, "total by={by}")?,
            plain => {
                let name = PLAIN.iter().find(|(_, kind)| kind == plain).map_or("", |(name, _)| name);
                f.write_str(name)?;
            }
        }
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

/// The faults in force, which may be changed at any time.
#[derive(Debug)]
pub struct Faults(Mutex<(Vec<Fault>, Rng)>);

impl Faults {
    /// These; what is left to chance follows from the seed.
    #[must_use]
    pub fn new(faults: Vec<Fault>, seed: u64) -> Self {
        Self(Mutex::new((faults, Rng::with_seed(seed))))
    }

    /// Puts these in the place of all others.
    pub fn set(&self, faults: Vec<Fault>) {
        self.lock().0 = faults;
    }

    /// Those that can still strike.
    #[must_use]
    pub fn left(&self) -> Vec<Fault> {
        self.lock().0.iter().filter(|fault| fault.times != Some(0)).cloned().collect()
    }

    /// What strikes a request for this page of an account: the first that does.
    pub(super) fn strike(&self, account: &str, page: usize) -> Option<FaultKind> {
        let (faults, rng) = &mut *self.lock();
        faults.iter_mut().find_map(|fault| fault.strikes(account, page, rng).then(|| fault.kind.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<Fault>, Rng)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_they_are_written() {
        let all = PLAIN.iter().map(|(name, _)| (*name).to_owned());
        let others = [
            "503",
            "429 retry-after=2 times=3",
            "503 retry-after-date=60 page=2",
            "slow-body over=1500ms probability=0.25",
            "redirect to=http://127.0.0.1:1/x",
            "total by=-5 page=3 times=1",
            "hang account=acc_7 page=2",
        ];
        for text in all.chain(others.map(str::to_owned)) {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        let list = Fault::list("503 times=1, hang\ncut-body page=2,").unwrap();
        assert_eq!(
            list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["503 times=1", "hang", "cut-body page=2"]
        );
    }

    #[test]
    fn what_is_no_fault_is_said() {
        for (text, word) in [
            ("bogus", "cut-body"),
            ("200", "status codes"),
            ("hang page", "page=2"),
            ("hang page=x", "whole number"),
            ("hang retry-after=1", "no retry-after"),
            ("hang probability=2", "from 0 to 1"),
            ("slow-body over=soon", "duration"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_fault_strikes_so_often_from_its_page_on() {
        let faults = Faults::new(Fault::list("503 page=2 times=2, 404 account=b, hang page=3").unwrap(), 1);
        let strikes = [1, 2, 1, 5, 2, 3].map(|page| faults.strike("a", page));
        let status = Some(FaultKind::Status(503, None));
        assert_eq!(strikes, [None, status.clone(), None, status, None, Some(FaultKind::Hang)]);
        assert_eq!(faults.strike("b", 1), Some(FaultKind::Status(404, None)));
        assert_eq!(faults.left().len(), 2);
    }
}
