//! One answer to one scrape.

use std::sync::{Arc, LazyLock};

use tokio::time::Instant;

use super::coding::Coding;
use super::encode::{Format, Samples, push_header};
use super::exporter::{EXPORTER, Exporter};
use super::family::Family;
use super::inventory::INVENTORY;
use super::polling::{POLLING, Polled};
use crate::poller::{Account, Text};

/// Every family that is declared here, in the order of the exposition.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let inventory = INVENTORY.iter().map(|metric| &metric.family);
    let polling = POLLING.iter().map(|metric| &metric.family);
    let exporter = EXPORTER.iter().map(|metric| &metric.family);
    inventory.chain(polling).chain(exporter)
}

/// The headers of the inventory's families, by format.
static HEADERS: LazyLock<[Vec<Text>; 2]> = LazyLock::new(|| {
    [Format::Text, Format::OpenMetrics].map(|format| {
        let header = |family: &Family| {
            let mut header = String::new();
            push_header(&mut header, family, format);
            header.into()
        };
        INVENTORY.iter().map(|metric| header(&metric.family)).collect()
    })
});

/// All there is to say, as of one moment: each account's state is taken once, so that all of its
/// families are of the same listing.
#[derive(Debug)]
pub struct Scrape<'a> {
    accounts: Vec<Polled>,
    exporter: &'a Exporter,
}

impl<'a> Scrape<'a> {
    /// What there is to say now.
    #[must_use]
    pub fn new(accounts: &[Arc<Account>], exporter: &'a Exporter) -> Self {
        let polled = |account: &Arc<Account>| Polled {
            account: account.clone(),
            published: account.published(),
            requests: account.requests(),
            now: Instant::now(),
        };
        Self { accounts: accounts.iter().map(polled).collect(), exporter }
    }

    /// All of it, the process included.
    #[must_use]
    pub fn pack(&self, format: Format, coding: Coding) -> Vec<u8> {
        let mut live = self.live(format);
        self.exporter.push_process(&mut live, format);
        if format == Format::OpenMetrics {
            live.push_str("# EOF\n");
        }
        coding.pack(self.kept(format), &live)
    }

    /// The same without the process: for a file that another process reads out together with its own.
    #[must_use]
    pub fn report(&self, format: Format) -> String {
        let kept: String = self.kept(format).map(Text::as_str).collect();
        kept + &self.live(format)
    }

    /// How many bytes it is, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let inventory = self.accounts.iter().flat_map(texts).map(|text| text.as_str().len());
        inventory.sum::<usize>() + (self.accounts.len() + 1) * POLLING_WEIGHT
    }

    /// The inventory. A family without samples is left out, its header too.
    fn kept(&self, format: Format) -> impl Iterator<Item = &Text> {
        let headers = &HEADERS[format as usize];
        headers.iter().enumerate().flat_map(|(family, header)| {
            let of_family = move |polled| texts(polled).get(family).filter(|text| !text.as_str().is_empty());
            let mut texts = self.accounts.iter().filter_map(of_family).peekable();
            texts.peek().is_some().then_some(header).into_iter().chain(texts)
        })
    }

    fn live(&self, format: Format) -> String {
        let mut out = String::with_capacity((self.accounts.len() + 1) * POLLING_WEIGHT);
        for metric in POLLING {
            push_family(&mut out, &metric.family, format, |out| {
                for polled in &self.accounts {
                    let account = Some(polled.account.name());
                    (metric.fill)(polled, &mut Samples::new(&metric.family, account, format, out));
                }
            });
        }
        let configured = self.exporter.configured();
        for metric in EXPORTER {
            push_family(&mut out, &metric.family, format, |out| {
                (metric.fill)(&configured, &mut Samples::new(&metric.family, None, format, out));
            });
        }
        out
    }
}

/// Bytes that an account has besides its inventory, about.
const POLLING_WEIGHT: usize = 8 << 10;

/// The families of an account's inventory, if that is to be shown.
fn texts(polled: &Polled) -> &[Text] {
    polled.current().map_or(&[], |kept| kept.encoded.as_slice())
}

/// A family without samples is left out, its header too.
fn push_family(out: &mut String, family: &Family, format: Format, samples: impl FnOnce(&mut String)) {
    let start = out.len();
    push_header(out, family, format);
    let header = out.len();
    samples(out);
    if out.len() == header {
        out.truncate(start);
    }
}
