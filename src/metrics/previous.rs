//! The metrics that an earlier run wrote to a file, read again for accounts that cannot be listed now.
//!
//! Only a file that this program wrote and that has not changed since is accepted: [`seal`] ends it with a checksum,
//! and [`PreviousMetrics::parse`] checks that and the form of every line. Families that no longer exist, or whose type
//! or labels have changed, are left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exposition::label_value;
use super::family::{Family, MetricType};
use super::format::Format;
use super::inventory_families::INVENTORY;
use super::listing_samples::{WATCHED_ASSIGNED, WATCHED_STATUS};
use super::polling_families::{LAST_SUCCESS, POLLING};
use super::render::RenderedListing;
use super::text::CachedText;
use crate::config::stable_hash;
use crate::inventory::{E164, WatchedNumber, WatchedStatus};

/// Starts the last line of a file; the checksum of everything before it follows. Parsers of metrics ignore comments.
const SEAL: &str = "# tryvox-exporter: end of the metrics, checksum ";

/// Time for which the status of a watched number is kept, as by the state file.
const WATCHED_RETENTION: Duration = Duration::from_hours(7 * 24);

/// Starts the line that identifies what an account lists; the hashes of its name and of its source follow.
const SOURCE: &str = "# tryvox-exporter: account ";

/// Appends the lines that make metrics in the text format complete and recognizable. `accounts` has the name and the
/// [source](crate::config::AccountConfig::source) of each account.
#[must_use]
pub fn seal<'a>(mut text: String, accounts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    for (name, source) in accounts {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{SOURCE}{:016x} lists {:016x}", stable_hash(name), stable_hash(&source));
    }
    let checksum = stable_hash(&text);
    _ = writeln!(text, "{SEAL}{checksum:016x}");
    text
}

/// Why a text is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreviousMetricsError {
    /// The last line is not that of [`seal`].
    #[error("it is incomplete or was not written by tryvox-exporter")]
    NotSealed,
    /// The checksum is that of another text.
    #[error("it was changed after tryvox-exporter wrote it")]
    Changed,
    /// This line, counted from 1, is not one that [`Scrape`](super::Scrape) renders.
    #[error("line {0} is not one that tryvox-exporter writes")]
    Line(usize),
}

/// The metrics of each account in a file.
#[derive(Debug, Default)]
pub struct PreviousMetrics {
    accounts: HashMap<String, PreviousAccount>,
    /// The lines that identify what each account lists.
    sources: HashSet<String>,
}

/// The metrics of one account in a file, as far as a failed poll does not replace them.
#[derive(Debug, Default)]
pub struct PreviousAccount {
    /// The samples of each family of [`INVENTORY`], as the file has them.
    inventory: HashMap<usize, String>,
    /// The watched numbers and the names that they had.
    watched: BTreeMap<E164, WatchedStatus>,
    /// When the last successful poll ended; `None` if none was successful.
    pub(super) last_success_at: Option<SystemTime>,
}

impl PreviousAccount {
    /// Returns whether there is any inventory.
    pub(super) fn has_inventory(&self) -> bool {
        !self.inventory.is_empty()
    }

    /// Returns the watched numbers as of the last valid listing; none if that was more than seven days before `now`.
    #[must_use]
    pub fn watched_at(&self, now: SystemTime) -> Vec<WatchedStatus> {
        let is_recent = self.age_at(now).is_some_and(|age| age <= WATCHED_RETENTION);
        self.watched.values().filter(|_| is_recent).cloned().collect()
    }

    /// Returns the time between the last success and `now`, in either direction, because the clock may have been set back.
    pub(super) fn age_at(&self, now: SystemTime) -> Option<Duration> {
        let success = self.last_success_at?;
        Some(now.duration_since(success).unwrap_or_else(|error| error.duration()))
    }

    /// Returns a watched number as of the last valid listing.
    pub(super) fn watched_number(&self, e164: E164) -> Option<&WatchedStatus> {
        self.watched.get(&e164)
    }

    /// Adds what a sample says of a watched number. Returns `None` if it has no number.
    fn add_watched(&mut self, sample: &Sample<'_>, family: &Family) -> Option<()> {
        let label = |name| sample.labels.iter().position(|label| *label == name).and_then(|at| sample.values.get(at));
        let (e164, name) = (label("e164")?.parse().ok()?, label("name")?.as_str().into());
        let is_true = sample.value.parse() == Ok(1.0);
        let watched = self.watched.entry(e164).or_insert_with(|| {
            let number = WatchedNumber { e164, name };
            WatchedStatus { number, status: None, is_assigned: None }
        });
        match label("status") {
            Some(status) if is_true => watched.status = Some(status.as_str().into()),
            None if family.name == WATCHED_ASSIGNED => watched.is_assigned = Some(is_true),
            _ => {}
        }
        Some(())
    }

    /// Returns the samples of the inventory like those of a new listing.
    pub(super) fn listing(&self) -> RenderedListing {
        let text = |family| CachedText::from(self.inventory.get(&family).cloned().unwrap_or_default()).into();
        (0..INVENTORY.len()).map(text).collect()
    }
}

impl PreviousMetrics {
    /// Reads a text that [`seal`] completed.
    ///
    /// # Errors
    /// If it is anything else, or has been changed.
    pub fn parse(text: &str) -> Result<Self, PreviousMetricsError> {
        let metrics = unsealed(text)?;
        let mut previous = Self::default();
        let (mut families, mut series) = (HashSet::new(), HashSet::new());
        let mut lines = (1..).zip(metrics.split_terminator('\n')).peekable();
        while let Some((number, line)) = lines.next() {
            if let Some(source) = line.strip_prefix(SOURCE) {
                previous.sources.insert(source.to_owned());
                continue;
            }
            let name = help_name(line).filter(|name| families.insert(*name));
            let name = name.ok_or(PreviousMetricsError::Line(number))?;
            let kind = lines.next().and_then(|(_, line)| type_of(line, name));
            let kind = kind.ok_or(PreviousMetricsError::Line(number + 1))?;
            while let Some((number, line)) = lines.next_if(|(_, line)| !line.starts_with('#')) {
                let sample = Sample::parse(line, name, kind).filter(|sample| series.insert(sample.series));
                let added = sample.and_then(|sample| previous.add(&sample, name, kind));
                added.ok_or(PreviousMetricsError::Line(number))?;
            }
        }
        Ok(previous)
    }

    /// Returns the metrics of an account, unless it listed other numbers then.
    #[must_use]
    pub fn account(&self, name: &str, source: &str) -> Option<&PreviousAccount> {
        let is_same = self.sources.contains(&format!("{:016x} lists {:016x}", stable_hash(name), stable_hash(source)));
        self.accounts.get(name).filter(|_| is_same)
    }

    /// Adds a sample if it is kept. Returns `None` if its value is not one that its family can have.
    fn add(&mut self, sample: &Sample<'_>, name: &str, kind: &str) -> Option<()> {
        let is_current = |family: &Family| {
            family.name == name && family.kind.name(Format::Text) == kind && family.labels == sample.labels
        };
        let account = self.accounts.entry(sample.account().to_owned()).or_default();
        if let Some((index, metric)) = INVENTORY.iter().enumerate().find(|(_, metric)| is_current(&metric.family)) {
            if [WATCHED_STATUS, WATCHED_ASSIGNED].contains(&metric.family.name) {
                account.add_watched(sample, &metric.family)?;
            }
            let text = account.inventory.entry(index).or_default();
            text.push_str(sample.line);
            text.push('\n');
        } else if name == LAST_SUCCESS && POLLING.iter().any(|metric| is_current(&metric.family)) {
            account.last_success_at = Some(time(sample.value)?);
        }
        Some(())
    }
}

/// Returns what is before the seal.
fn unsealed(text: &str) -> Result<&str, PreviousMetricsError> {
    let lines = text.strip_suffix('\n').ok_or(PreviousMetricsError::NotSealed)?;
    let (metrics, last) = text.split_at(lines.rfind('\n').map_or(0, |end| end + 1));
    let checksum = last.trim_end_matches('\n').strip_prefix(SEAL).ok_or(PreviousMetricsError::NotSealed)?;
    if checksum == format!("{:016x}", stable_hash(metrics)) { Ok(metrics) } else { Err(PreviousMetricsError::Changed) }
}

/// Returns the name in a HELP line.
fn help_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("# HELP ")?.split_once(' ')?;
    (name.starts_with("tryvox_") && is_name(name)).then_some(name)
}

/// Returns the type in the TYPE line of a family.
fn type_of<'a>(line: &'a str, family: &str) -> Option<&'a str> {
    let kind = line.strip_prefix("# TYPE ")?.strip_prefix(family)?.strip_prefix(' ')?;
    let kinds = [MetricType::Counter, MetricType::Gauge, MetricType::Histogram];
    kinds.iter().any(|known| known.name(Format::Text) == kind).then_some(kind)
}

/// Returns whether a text is a name of a family or a label.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Parses a Unix timestamp in seconds.
fn time(value: &str) -> Option<SystemTime> {
    let since_epoch = Duration::try_from_secs_f64(value.parse().ok()?).ok()?;
    UNIX_EPOCH.checked_add(since_epoch)
}

/// A sample that has an `account` label.
struct Sample<'a> {
    line: &'a str,
    /// The line without the value.
    series: &'a str,
    /// The names of the labels, of which `account` is the first.
    labels: Vec<&'a str>,
    /// The values of the labels.
    values: Vec<String>,
    value: &'a str,
}

impl<'a> Sample<'a> {
    /// Parses a sample of a family.
    fn parse(line: &'a str, family: &str, kind: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        value.parse::<f64>().ok()?;
        let mut rest = series.strip_prefix(family)?;
        if kind == MetricType::Histogram.name(Format::Text) {
            rest = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| rest.strip_prefix(suffix))?;
        }
        rest = rest.strip_prefix('{')?;
        let (mut labels, mut values) = (Vec::new(), Vec::new());
        loop {
            let (name, text) = rest.split_once("=\"").filter(|(name, _)| is_name(name))?;
            let (value, after) = label_value(text)?;
            labels.push(name);
            values.push(value);
            match after.split_at_checked(1)? {
                ("}", "") => break,
                (",", next) => rest = next,
                _ => return None,
            }
        }
        (labels.first() == Some(&"account")).then_some(Self { line, series, labels, values, value })
    }

    fn account(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exposition::{Samples, push_header};
    use super::*;

    /// The name of an account, its phone numbers by country, and the end of its last successful poll.
    type AccountMetrics = (String, Vec<(String, u64)>, f64);

    /// Returns the metrics of these accounts.
    fn metrics(accounts: &[AccountMetrics]) -> String {
        let numbers = &INVENTORY.iter().find(|metric| metric.family.name == "tryvox_numbers").unwrap().family;
        let success = &POLLING.iter().find(|metric| metric.family.name == LAST_SUCCESS).unwrap().family;
        let mut text = String::new();
        push_header(&mut text, numbers, Format::Text);
        for (account, counts, _) in accounts {
            let mut samples = Samples::new(numbers, Some(account), Format::Text, &mut text);
            for (country, count) in counts {
                samples.push([country, "local", "active"], *count);
            }
        }
        push_header(&mut text, success, Format::Text);
        for (account, _, at) in accounts {
            Samples::new(success, Some(account), Format::Text, &mut text).push([], *at);
        }
        text
    }

    fn sealed(text: String) -> String {
        seal(text, [])
    }

    fn inventory(account: &PreviousAccount) -> String {
        account.listing().iter().map(|text| String::from_utf8(text.bytes().to_vec()).unwrap()).collect()
    }

    fn accounts() -> impl Strategy<Value = Vec<AccountMetrics>> {
        let text = || proptest::string::string_regex("[a-z\"\\\\\n{}=, #東é]{1,12}").unwrap();
        let counts = proptest::collection::btree_map(text(), any::<u64>(), 1..4);
        proptest::collection::btree_map(text(), (counts, 1.7e9..4e9), 1..4).prop_map(|accounts| {
            accounts.into_iter().map(|(name, (counts, at))| (name, counts.into_iter().collect(), at)).collect()
        })
    }

    proptest! {
        #[test]
        fn metrics_read_back_as_they_were_written(accounts in accounts()) {
            let previous = PreviousMetrics::parse(&sealed(metrics(&accounts))).unwrap();
            prop_assert_eq!(previous.accounts.len(), accounts.len());
            for (name, counts, at) in &accounts {
                let account = previous.accounts.get(name).unwrap();
                let written = metrics(&[(name.clone(), counts.clone(), *at)]);
                let samples: String = written.split_inclusive('\n').skip(2).take(counts.len()).collect();
                prop_assert_eq!(inventory(account), samples);
                let read = super::super::polling_families::timestamp(account.last_success_at.unwrap());
                prop_assert_eq!(read.to_bits(), at.to_bits());
            }
        }

        #[test]
        fn changed_and_truncated_metrics_are_not_accepted(
            accounts in accounts(), at in any::<proptest::sample::Index>(), byte in 1..128_u8,
        ) {
            let sealed = sealed(metrics(&accounts)).into_bytes();
            let at = at.index(sealed.len());
            if let Ok(truncated) = std::str::from_utf8(&sealed[..at]) {
                prop_assert_eq!(PreviousMetrics::parse(truncated).unwrap_err(), PreviousMetricsError::NotSealed);
            }
            let mut changed = sealed;
            changed[at] ^= byte;
            if let Ok(changed) = std::str::from_utf8(&changed) {
                prop_assert!(PreviousMetrics::parse(changed).is_err());
            }
        }

        #[test]
        fn text_with_a_valid_checksum_is_refused_or_read_line_by_line(
            accounts in accounts(), at in any::<proptest::sample::Index>(), inserted in "[a-c{}=\",\\\\# 0-9\n]{1,3}",
        ) {
            let mut text = metrics(&accounts);
            let at = at.index(text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, &inserted);
            }
            if let Ok(previous) = PreviousMetrics::parse(&sealed(text.clone())) {
                let lines: HashSet<_> = text.lines().collect();
                prop_assert!(previous.accounts.values().all(|account| inventory(account).lines().all(|line| lines.contains(line))));
            }
        }
    }

    #[test]
    fn lines_of_other_programs_are_refused() {
        let family = |name: &str, kind: &str| format!("# HELP {name} h\n# TYPE {name} {kind}\n");
        let gauge = family("tryvox_up", "gauge");
        for (line, text) in [
            (1, "up 1\n".to_owned()),
            (1, "# a comment\n".to_owned()),
            (1, family("node_boot_time_seconds", "gauge")),
            (1, "# TYPE tryvox_up gauge\n".to_owned()),
            (2, "# HELP tryvox_up h\n".to_owned()),
            (2, "# HELP tryvox_up h\n# TYPE tryvox_polls gauge\n".to_owned()),
            (2, family("tryvox_up", "summary")),
            (3, gauge.clone() + &gauge),
            (3, gauge.clone() + "tryvox_up 1\n"),
            (3, gauge.clone() + "tryvox_up{} 1\n"),
            (3, gauge.clone() + "tryvox_up{a=\"b\",account=\"a\"} 1\n"),
            (3, gauge.clone() + "tryvox_up{account=\"a\"} x\n"),
            (3, gauge.clone() + "tryvox_up{account=\"a\"} 1 1700000000\n"),
            (3, gauge.clone() + "tryvox_up{account=\"a\\t\"} 1\n"),
            (3, gauge.clone() + "tryvox_up{account=\"a} 1\n"),
            (3, gauge.clone() + "tryvox_upper{account=\"a\"} 1\n"),
            (3, gauge.clone() + "\n"),
            (4, gauge.clone() + "tryvox_up{account=\"a\"} 1\ntryvox_up{account=\"a\"} 1\n"),
            (3, family(LAST_SUCCESS, "gauge") + LAST_SUCCESS + "{account=\"a\"} -1\n"),
            (3, family(LAST_SUCCESS, "gauge") + LAST_SUCCESS + "{account=\"a\"} 1e300\n"),
        ] {
            assert_eq!(
                PreviousMetrics::parse(&sealed(text.clone())).unwrap_err(),
                PreviousMetricsError::Line(line),
                "{text}"
            );
        }
        assert!(PreviousMetrics::parse(&sealed(String::new())).unwrap().accounts.is_empty());
    }

    #[test]
    fn account_that_lists_other_numbers_now_has_no_previous_metrics() {
        let text = metrics(&[("a".to_owned(), vec![("US".to_owned(), 7)], 1.7e9)]);
        let previous = PreviousMetrics::parse(&seal(text, [("a", "old".to_owned()), ("b", "new".to_owned())])).unwrap();
        assert!(previous.account("a", "old").is_some_and(PreviousAccount::has_inventory));
        assert!(previous.account("a", "new").is_none() && previous.account("b", "new").is_none());
    }

    #[test]
    fn families_that_no_longer_exist_or_have_changed_are_left_out() {
        for text in [
            "# HELP tryvox_removed h\n# TYPE tryvox_removed gauge\ntryvox_removed{account=\"a\"} 1\n",
            "# HELP tryvox_listed_numbers h\n# TYPE tryvox_listed_numbers counter\ntryvox_listed_numbers{account=\"a\"} 1\n",
            "# HELP tryvox_listed_numbers h\n# TYPE tryvox_listed_numbers gauge\n\
             tryvox_listed_numbers{account=\"a\",country=\"US\"} 1\n",
        ] {
            let previous = PreviousMetrics::parse(&sealed(text.to_owned())).unwrap();
            assert!(!previous.accounts["a"].has_inventory(), "{text}");
        }
    }
}
