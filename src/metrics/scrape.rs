//! One scrape: all metrics as of one moment, rendered and encoded chunk by chunk.

use std::fmt;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::time::Instant;

use super::account::{AccountMetrics, ScrapedAccount};
use super::body::BodyEncoder;
use super::encoding::{CompressionLevel, Encoding};
use super::exporter::{ExporterMetrics, LiveTexts};
use super::exporter_families::EXPORTER;
use super::exposition::push_header;
use super::family::Family;
use super::format::Format;
use super::http::HTTP;
use super::inventory_families::INVENTORY;
use super::polling_families::POLLING;
use super::text::CachedText;

/// Returns every family that is declared here, in the order of the exposition. The `process_*` families are not.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let inventory = INVENTORY.iter().map(|metric| &metric.family);
    let polling = POLLING.iter().map(|metric| &metric.family);
    let exporter = EXPORTER.iter().map(|metric| &metric.family);
    let http = HTTP.iter().map(|metric| &metric.family);
    inventory.chain(polling).chain(exporter).chain(http)
}

/// The headers of the families of the inventory, by format.
static HEADERS: LazyLock<[Vec<CachedText>; 2]> = LazyLock::new(|| {
    [Format::Text, Format::OpenMetrics].map(|format| {
        let header = |family: &Family| {
            let mut header = String::new();
            push_header(&mut header, family, format);
            header.into()
        };
        INVENTORY.iter().map(|metric| header(&metric.family)).collect()
    })
});

/// The end of a body in `OpenMetrics`.
static END: LazyLock<CachedText> = LazyLock::new(|| "# EOF\n".to_owned().into());

/// All metrics as of one moment. The view of each account is loaded once, so all of its metrics are of the same poll.
#[derive(Debug)]
pub struct Scrape {
    accounts: Vec<ScrapedAccount>,
    exporter: Arc<ExporterMetrics>,
    now: Instant,
    /// Whether the metrics without an `account` label are included.
    has_exporter: bool,
}

impl Scrape {
    /// Starts a scrape as of now.
    #[must_use]
    pub fn new(accounts: &[Arc<AccountMetrics>], exporter: Arc<ExporterMetrics>) -> Self {
        let now = Instant::now();
        let accounts = accounts.iter().map(|metrics| ScrapedAccount::new(metrics, now)).collect();
        Self { accounts, exporter, now, has_exporter: true }
    }

    /// Leaves out the metrics that have no `account` label. A process that exposes files of several runs together with
    /// its own metrics would have them twice, and so would Prometheus if it scrapes accounts separately.
    #[must_use]
    pub fn without_exporter(self) -> Self {
        Self { has_exporter: false, ..self }
    }

    /// Returns the body of the response, chunk by chunk; each is rendered when it is requested.
    #[must_use]
    pub fn encode(self, format: Format, encoding: Encoding) -> Chunks {
        let encoder = BodyEncoder::new(encoding);
        Chunks { scrape: self, format, encoder, next: NextPart::Inventory { family: 0, account: 0, has_header: false } }
    }

    /// Returns the body of the response as text.
    #[must_use]
    pub fn text(self, format: Format) -> String {
        let bytes: Vec<u8> = self.encode(format, Encoding::Identity).flatten().collect();
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// The chunks of a scrape's body.
pub struct Chunks {
    scrape: Scrape,
    format: Format,
    encoder: BodyEncoder,
    next: NextPart,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("format", &self.format).finish_non_exhaustive()
    }
}

/// The part of the body that is encoded next.
enum NextPart {
    /// A family of the inventory, for one account. It gets its header with its first samples, so one without samples
    /// has none.
    Inventory { family: usize, account: usize, has_header: bool },
    /// The live metrics.
    Live(LiveTexts),
    /// The metrics of the web server, and the end of the body.
    Http,
    /// Nothing is left.
    End,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let chunk = self.encoder.next_chunk();
            if chunk.is_some() || matches!(self.next, NextPart::End) {
                return chunk;
            }
            self.encode_next();
        }
    }
}

impl Chunks {
    /// Encodes the next part, which may complete any number of chunks.
    fn encode_next(&mut self) {
        let Scrape { accounts, exporter, now, has_exporter } = &mut self.scrape;
        match &mut self.next {
            NextPart::Inventory { family, .. } if *family == INVENTORY.len() => {
                let live = exporter.live(std::mem::take(accounts), self.format, *now, *has_exporter);
                self.next = NextPart::Live(live);
            }
            NextPart::Inventory { family, account, has_header } => match accounts.get(*account) {
                None => (*family, *account, *has_header) = (*family + 1, 0, false),
                Some(scraped) => {
                    if let Some(samples) = scraped.inventory_samples(*family) {
                        if !*has_header {
                            self.encoder.push(&HEADERS[self.format as usize][*family], CompressionLevel::Small);
                            *has_header = true;
                        }
                        self.encoder.push(samples, CompressionLevel::Small);
                    }
                    *account += 1;
                }
            },
            NextPart::Live(live) => {
                if let Some(text) = live.next() {
                    self.encoder.push(&text, CompressionLevel::Fast);
                } else {
                    self.next = NextPart::Http;
                }
            }
            NextPart::Http => {
                if *has_exporter {
                    self.encoder.push(&exporter.http().text(self.format), CompressionLevel::None);
                }
                if self.format == Format::OpenMetrics {
                    self.encoder.push(&END, CompressionLevel::None);
                }
                self.encoder.finish();
                self.next = NextPart::End;
            }
            NextPart::End => {}
        }
    }
}
