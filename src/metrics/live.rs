//! What is of the moment: how polling goes, and the process.
//!
//! It is written anew where something has happened since it was written last, and else handed out once
//! more. Only the process always changes, and looking at it costs more than all the rest: that is done
//! some times a second.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::exporter::{ConfigStatus, EXPORTER, Exporter};
use super::exposition::{Format, Samples, push_header};
use super::family::Family;
use super::polling::{POLLING, Polled};
use crate::poller::{Account, AccountSnapshot, Text};

/// How old the process's figures are at most.
const FRESH: Duration = Duration::from_millis(100);

/// About what a text has; the last has less. More than one, as thousands of accounts have, are not kept.
const TEXT: usize = 64 << 10;

/// An account as one scrape takes it.
#[derive(Debug)]
pub(super) struct Taken {
    account: Arc<Account>,
    published: Arc<AccountSnapshot>,
    state: State,
}

/// Two of the same account in which everything of the moment is alike are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    account: u64,
    polls: u64,
    requests: u64,
    shown: bool,
}

impl Taken {
    pub(super) fn of(account: &Arc<Account>, now: Instant) -> Self {
        // Before the requests themselves are read: what comes in between makes it look older than it is.
        let requests = account.requests_version();
        let published = account.snapshot();
        let state = State {
            account: account.serial(),
            polls: published.polls.count(),
            requests,
            shown: published.current(now).is_some(),
        };
        Self { account: account.clone(), published, state }
    }

    /// What it has of a family of the inventory, if that is to be shown.
    pub(super) fn kept(&self, family: usize) -> Option<&Text> {
        let kept = self.published.last_listing.as_ref().filter(|_| self.state.shown)?;
        kept.encoded.get(family).map(|text| &**text).filter(|text| !text.bytes().is_empty())
    }
}

/// What was written last, by format.
#[derive(Debug, Default)]
pub(super) struct Memory([ArcSwapOption<Written>; 2]);

#[derive(Debug)]
struct Written {
    of: Arc<Of>,
    at: Instant,
    text: Arc<Text>,
}

/// What a text was written of.
#[derive(Debug, PartialEq)]
struct Of {
    accounts: Vec<State>,
    configured: ConfigStatus,
    process: bool,
}

impl Exporter {
    /// What is of the moment, as one text that is ready or as several that are written when they are
    /// asked for.
    pub(super) fn live(self: &Arc<Self>, accounts: Vec<Taken>, format: Format, now: Instant, process: bool) -> Live {
        let accounts_of = accounts.iter().map(|taken| taken.state).collect();
        let of = Of { accounts: accounts_of, configured: self.configured(), process };
        let written = self.memory.0[format as usize].load_full();
        if let Some(written) = written.filter(|written| *written.of == of && now < written.at + FRESH) {
            return Live::Ready(Some(written.text.clone()));
        }
        let polled = |Taken { account, published, .. }| {
            let requests = account.requests();
            Polled { account, published, requests, now }
        };
        let accounts = accounts.into_iter().map(polled).collect();
        let (exporter, of) = (self.clone(), Arc::new(of));
        Live::Writing(Writer { exporter, accounts, of, format, now, next: (0, 0), headed: false })
    }
}

/// The texts of the moment.
pub(super) enum Live {
    Ready(Option<Arc<Text>>),
    Writing(Writer),
}

impl Iterator for Live {
    type Item = Arc<Text>;

    fn next(&mut self) -> Option<Arc<Text>> {
        match self {
            Self::Ready(text) => text.take(),
            Self::Writing(writer) => {
                let text = writer.write();
                if writer.is_done() {
                    *self = Self::Ready(None);
                }
                Some(text)
            }
        }
    }
}

/// Writes them.
pub(super) struct Writer {
    exporter: Arc<Exporter>,
    accounts: Vec<Polled>,
    of: Arc<Of>,
    format: Format,
    now: Instant,
    /// A family of polling, and an account.
    next: (usize, usize),
    headed: bool,
}

impl Writer {
    fn is_done(&self) -> bool {
        self.next.0 > POLLING.len()
    }

    /// The next of the texts.
    fn write(&mut self) -> Arc<Text> {
        let first = self.next == (0, 0);
        let mut text = String::with_capacity(TEXT / 8);
        while !self.is_done() && text.len() < TEXT {
            let (family, account) = self.next;
            match (POLLING.get(family), self.accounts.get(account)) {
                (Some(metric), Some(polled)) => {
                    let name = Some(polled.account.name());
                    self.headed |= push_family(&mut text, &metric.family, self.format, self.headed, |out| {
                        (metric.fill)(polled, &mut Samples::new(&metric.family, name, self.format, out));
                    });
                    self.next.1 += 1;
                }
                (Some(_), None) => {
                    self.next = (family + 1, 0);
                    self.headed = false;
                }
                (None, _) => {
                    self.push_exporter(&mut text);
                    self.next.0 += 1;
                }
            }
        }
        let text = Arc::new(Text::from(text));
        if first && self.is_done() {
            let written = Written { of: self.of.clone(), at: self.now, text: text.clone() };
            self.exporter.memory.0[self.format as usize].store(Some(Arc::new(written)));
        }
        text
    }

    fn push_exporter(&self, text: &mut String) {
        for metric in EXPORTER {
            push_family(text, &metric.family, self.format, false, |out| {
                (metric.fill)(&self.of.configured, &mut Samples::new(&metric.family, None, self.format, out));
            });
        }
        if self.of.process {
            self.exporter.push_process(text, self.format);
        }
        if self.format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
    }
}

/// Adds samples of a family, behind its header where that is not there yet; says whether there were any.
fn push_family(
    out: &mut String,
    family: &Family,
    format: Format,
    headed: bool,
    samples: impl FnOnce(&mut String),
) -> bool {
    let start = out.len();
    if !headed {
        push_header(out, family, format);
    }
    let behind = out.len();
    samples(out);
    let any = out.len() > behind;
    if !any {
        out.truncate(start);
    }
    any
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn exporter() -> Arc<Exporter> {
        let now = SystemTime::UNIX_EPOCH;
        Arc::new(Exporter::new(ConfigStatus { successful: true, since: now, shard: 0, total_shards: 1 }))
    }

    fn text(exporter: &Arc<Exporter>, format: Format, now: Instant) -> Arc<Text> {
        let texts: Vec<_> = exporter.live(Vec::new(), format, now, true).collect();
        let [text] = &texts[..] else { panic!("{} texts", texts.len()) };
        text.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_of_the_moment_is_written_when_it_changes_and_when_it_is_old() {
        let (exporter, now) = (exporter(), Instant::now());
        let first = text(&exporter, Format::Text, now);
        assert!(Arc::ptr_eq(&first, &text(&exporter, Format::Text, now + FRESH / 2)));
        assert!(!Arc::ptr_eq(&first, &text(&exporter, Format::OpenMetrics, now)));
        assert!(!Arc::ptr_eq(&first, &text(&exporter, Format::Text, now + FRESH)), "the process is another by now");

        let before = text(&exporter, Format::Text, now);
        exporter.configure(ConfigStatus { successful: false, ..exporter.configured() });
        assert!(!Arc::ptr_eq(&before, &text(&exporter, Format::Text, now)), "a reload is seen at once");
    }
}
