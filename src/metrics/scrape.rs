//! One answer to one scrape.

use std::fmt;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::time::Instant;

use super::encoding::{Encoding, Level, Packer};
use super::exporter::{EXPORTER, Exporter};
use super::exposition::{Format, push_header};
use super::family::Family;
use super::inventory::INVENTORY;
use super::live::{Live, Taken};
use super::polling::POLLING;
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
    accounts: Vec<Taken>,
    exporter: Arc<Exporter>,
    now: Instant,
    /// Whether the process is spoken of, too.
    process: bool,
}

impl Scrape {
    /// What there is to say now.
    #[must_use]
    pub fn new(accounts: &[Arc<Account>], exporter: Arc<Exporter>) -> Self {
        let now = Instant::now();
        Self {
            accounts: accounts.iter().map(|account| Taken::of(account, now)).collect(),
            exporter,
            now,
            process: true,
        }
    }

    /// The same without the process: for a file that another process reads out together with its own.
    #[must_use]
    pub fn without_process(self) -> Self {
        Self { process: false, ..self }
    }

    /// All of it in pieces, each made when it is asked for.
    #[must_use]
    pub fn pack(self, format: Format, coding: Encoding) -> Chunks {
        Chunks { scrape: self, format, packer: Packer::new(coding), next: Next::Kept(0, 0), headed: false }
    }

    /// All of it as text.
    #[must_use]
    pub fn text(self, format: Format) -> String {
        let bytes: Vec<u8> = self.pack(format, Encoding::Identity).flatten().collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// A scrape, piece by piece.
pub struct Chunks {
    scrape: Scrape,
    format: Format,
    packer: Packer,
    next: Next,
    /// Whether the family has its header: one without samples has none.
    headed: bool,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("format", &self.format).finish_non_exhaustive()
    }
}

/// What comes next.
enum Next {
    /// A family of the inventory, of an account.
    Kept(usize, usize),
    Live(Live),
    Nothing,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = self.packer.take();
            if piece.is_some() || matches!(self.next, Next::Nothing) {
                return piece;
            }
            self.step();
        }
    }
}

impl Chunks {
    fn step(&mut self) {
        let Scrape { accounts, exporter, now, process } = &mut self.scrape;
        match &mut self.next {
            Next::Kept(family, _) if *family == INVENTORY.len() => {
                let live = exporter.live(std::mem::take(accounts), self.format, *now, *process);
                self.next = Next::Live(live);
            }
            Next::Kept(family, account) => match accounts.get(*account) {
                None => {
                    (*family, *account) = (*family + 1, 0);
                    self.headed = false;
                }
                Some(taken) => {
                    if let Some(text) = taken.kept(*family) {
                        if !self.headed {
                            self.packer.add(&HEADERS[self.format as usize][*family], Level::Kept);
                            self.headed = true;
                        }
                        self.packer.add(text, Level::Kept);
                    }
                    *account += 1;
                }
            },
            Next::Live(live) => {
                if let Some(text) = live.next() {
                    self.packer.add(&text, Level::Live);
                } else {
                    self.packer.finish();
                    self.next = Next::Nothing;
                }
            }
            Next::Nothing => {}
        }
    }
}
