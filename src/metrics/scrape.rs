//! One answer to one scrape.

use std::fmt;
use std::sync::{Arc, LazyLock};

use tokio::time::Instant;

use super::coding::{Coding, Packer};
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
pub struct Scrape {
    accounts: Vec<Polled>,
    exporter: Arc<Exporter>,
    /// Whether the process is spoken of, too.
    process: bool,
}

impl Scrape {
    /// What there is to say now.
    #[must_use]
    pub fn new(accounts: &[Arc<Account>], exporter: Arc<Exporter>) -> Self {
        let polled = |account: &Arc<Account>| Polled {
            account: account.clone(),
            published: account.published(),
            requests: account.requests(),
            now: Instant::now(),
        };
        Self { accounts: accounts.iter().map(polled).collect(), exporter, process: true }
    }

    /// The same without the process: for a file that another process reads out together with its own.
    #[must_use]
    pub fn without_process(self) -> Self {
        Self { process: false, ..self }
    }

    /// All of it in pieces, each made when it is asked for.
    #[must_use]
    pub fn pack(self, format: Format, coding: Coding) -> Pieces {
        let (packer, text) = (Packer::new(coding), String::new());
        Pieces { scrape: self, format, packer, text, next: Next::Kept(0, 0), headed: false }
    }

    /// All of it as text.
    #[must_use]
    pub fn text(self, format: Format) -> String {
        let bytes: Vec<u8> = self.pack(format, Coding::Identity).flatten().collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// A scrape, piece by piece.
pub struct Pieces {
    scrape: Scrape,
    format: Format,
    packer: Packer,
    /// What is of the moment and not packed yet.
    text: String,
    next: Next,
    /// Whether the family has its header: one without samples has none.
    headed: bool,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("format", &self.format).field("next", &self.next).finish_non_exhaustive()
    }
}

/// What comes next: a family of a table, and an account.
#[derive(Debug, Clone, Copy)]
enum Next {
    Kept(usize, usize),
    Polling(usize, usize),
    Exporter,
    Nothing,
}

/// About what a piece has; the last has less.
const PIECE: usize = 64 << 10;

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let ended = matches!(self.next, Next::Nothing);
            if ended || self.packer.ready() >= PIECE {
                return Some(self.packer.take()).filter(|piece| !piece.is_empty());
            }
            self.step();
        }
    }
}

impl Pieces {
    /// Adds what comes next: of one family what one account has.
    fn step(&mut self) {
        let accounts = &self.scrape.accounts;
        self.next = match self.next {
            Next::Kept(family, _) if family == INVENTORY.len() => Next::Polling(0, 0),
            Next::Polling(family, _) if family == POLLING.len() => Next::Exporter,
            Next::Kept(family, account) if account == accounts.len() => {
                self.headed = false;
                Next::Kept(family + 1, 0)
            }
            Next::Polling(family, account) if account == accounts.len() => {
                self.headed = false;
                Next::Polling(family + 1, 0)
            }
            Next::Kept(family, account) => {
                if let Some(text) = kept(&accounts[account], family) {
                    if !self.headed {
                        self.packer.kept(&HEADERS[self.format as usize][family]);
                        self.headed = true;
                    }
                    self.packer.kept(text);
                }
                Next::Kept(family, account + 1)
            }
            Next::Polling(family, account) => {
                let (metric, polled) = (&POLLING[family], &accounts[account]);
                let format = self.format;
                self.headed |= push_family(&mut self.text, &metric.family, format, self.headed, |out| {
                    (metric.fill)(polled, &mut Samples::new(&metric.family, Some(polled.account.name()), format, out));
                });
                self.pack_text(PIECE);
                Next::Polling(family, account + 1)
            }
            Next::Exporter => {
                self.push_exporter();
                self.pack_text(0);
                self.packer.finish();
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        };
    }

    fn push_exporter(&mut self) {
        let configured = self.scrape.exporter.configured();
        for metric in EXPORTER {
            push_family(&mut self.text, &metric.family, self.format, false, |out| {
                (metric.fill)(&configured, &mut Samples::new(&metric.family, None, self.format, out));
            });
        }
        if self.scrape.process {
            self.scrape.exporter.push_process(&mut self.text, self.format);
        }
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }

    /// Packs what is of the moment, if it is so much.
    fn pack_text(&mut self, least: usize) {
        if self.text.len() >= least {
            self.packer.live(&self.text);
            self.text.clear();
        }
    }
}

/// What an account has of a family of the inventory, if that is to be shown.
fn kept(polled: &Polled, family: usize) -> Option<&Text> {
    polled.current()?.encoded.get(family).filter(|text| !text.as_str().is_empty())
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
