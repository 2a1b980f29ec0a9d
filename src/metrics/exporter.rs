//! The metrics that a scrape renders: how polling goes, the exporter itself, its process and its web server.
//!
//! A rendering is kept, with its compressed forms, and reused until one of the things that it depends on changes or
//! it [expires](super::cache::MAX_AGE).

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::account::ScrapedAccount;
use super::cache::{RenderCache, RenderKey};
use super::exporter_families::{ConfigStatus, EXPORTER, ExporterStatus};
use super::exposition::{Samples, push_family};
use super::format::Format;
use super::http::HttpMetrics;
use super::polling_families::{POLLING, PollingStatus};
use super::process::{PROCESS, ProcessStatus, read_start_time};
use super::text::CachedText;
use crate::config::OwnerBudgets;
use crate::state::StateStore;

/// The size from which a text is complete; all but the last are at least this large. A rendering of several texts,
/// which only hundreds of accounts have, is not cached.
const TEXT_SIZE: usize = 64 << 10;

/// The metrics of the exporter itself, and the cache of what is rendered at scrapes.
#[derive(Debug)]
pub struct ExporterMetrics {
    /// When the process started, in seconds since the epoch.
    started_at: Option<f64>,
    config_status: ArcSwap<ConfigStatus>,
    owner_budgets: ArcSwap<OwnerBudgets>,
    state: Option<Arc<StateStore>>,
    http: Arc<HttpMetrics>,
    cache: RenderCache,
}

impl ExporterMetrics {
    /// Creates the metrics of an exporter with this configuration.
    #[must_use]
    pub fn new(config_status: ConfigStatus) -> Self {
        Self {
            started_at: read_start_time(),
            config_status: ArcSwap::from_pointee(config_status),
            owner_budgets: ArcSwap::default(),
            state: None,
            http: Arc::default(),
            cache: RenderCache::default(),
        }
    }

    /// Adds the metrics of a state file.
    #[must_use]
    pub fn with_state(self, state: Arc<StateStore>) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Returns the status of the configuration.
    #[must_use]
    pub fn config_status(&self) -> ConfigStatus {
        **self.config_status.load()
    }

    /// Sets the status of the configuration.
    pub fn set_config_status(&self, config_status: ConfigStatus) {
        self.config_status.store(Arc::new(config_status));
    }

    /// Sets the maximum monthly fees of owners.
    pub fn set_owner_budgets(&self, budgets: Arc<OwnerBudgets>) {
        self.owner_budgets.store(budgets);
    }

    /// Returns the metrics of the web server, which counts its requests and connections in them.
    #[must_use]
    pub fn http(&self) -> &Arc<HttpMetrics> {
        &self.http
    }

    /// Returns the live metrics of the accounts and of the exporter. Those of the exporter and its process are
    /// left out unless `has_exporter`; then the cache is not used, which belongs to the complete scrapes.
    pub(super) fn live(
        self: &Arc<Self>,
        accounts: Vec<ScrapedAccount>,
        format: Format,
        now: Instant,
        has_exporter: bool,
    ) -> LiveTexts {
        let versions = accounts.iter().map(|scraped| scraped.version).collect();
        let state = self.state.as_ref().map(|state| state.status()).unwrap_or_default();
        let (config, owner_budgets) = (self.config_status(), self.owner_budgets.load_full());
        let key = RenderKey { accounts: versions, exporter: ExporterStatus { config, owner_budgets, state } };
        if let Some(text) = self.cache.get(&key, format, now).filter(|_| has_exporter) {
            return LiveTexts::Cached(Some(text));
        }
        let status = |ScrapedAccount { account, view, .. }: ScrapedAccount| {
            let requests = account.requests();
            PollingStatus { account, snapshot: view.snapshot.clone(), requests, now }
        };
        let accounts = accounts.into_iter().map(status).collect();
        let (exporter, key) = (self.clone(), Arc::new(key));
        let next = NextLivePart::Polling { family: 0, account: 0, has_header: false };
        LiveTexts::Rendering(LiveRenderer { exporter, accounts, has_exporter, key, format, now, next })
    }
}

/// The live metrics: one text from the cache, or texts that are rendered one by one.
pub(super) enum LiveTexts {
    Cached(Option<Arc<CachedText>>),
    Rendering(LiveRenderer),
}

impl Iterator for LiveTexts {
    type Item = Arc<CachedText>;

    fn next(&mut self) -> Option<Arc<CachedText>> {
        match self {
            Self::Cached(text) => text.take(),
            Self::Rendering(renderer) => {
                let text = renderer.render_text();
                if renderer.is_done() {
                    *self = Self::Cached(None);
                }
                Some(text)
            }
        }
    }
}

/// Renders the live metrics, family by family.
pub(super) struct LiveRenderer {
    exporter: Arc<ExporterMetrics>,
    accounts: Vec<PollingStatus>,
    has_exporter: bool,
    key: Arc<RenderKey>,
    format: Format,
    now: Instant,
    next: NextLivePart,
}

/// The part of the live metrics that is rendered next.
#[derive(Clone, Copy)]
enum NextLivePart {
    /// A family of [`POLLING`], for one account. It gets its header with its first samples, so one without samples
    /// has none.
    Polling { family: usize, account: usize, has_header: bool },
    /// The metrics of the exporter and its process.
    Exporter,
    /// Nothing is left.
    End,
}

impl LiveRenderer {
    fn is_done(&self) -> bool {
        matches!(self.next, NextLivePart::End)
    }

    /// Renders the next text, and caches it if it is the only one.
    fn render_text(&mut self) -> Arc<CachedText> {
        let is_first = matches!(self.next, NextLivePart::Polling { family: 0, account: 0, .. });
        let mut text = String::with_capacity(TEXT_SIZE / 8);
        while !self.is_done() && text.len() < TEXT_SIZE {
            self.next = match self.next {
                NextLivePart::Polling { family, account, has_header } => {
                    self.push_polling(&mut text, family, account, has_header)
                }
                NextLivePart::Exporter => {
                    self.push_exporter(&mut text);
                    NextLivePart::End
                }
                NextLivePart::End => NextLivePart::End,
            };
        }
        let text = Arc::new(CachedText::from(text));
        if is_first && self.is_done() && self.has_exporter {
            self.exporter.cache.insert(self.key.clone(), self.format, self.now, text.clone());
        }
        text
    }

    /// Appends a family of [`POLLING`] for one account, and returns the part that follows.
    fn push_polling(&self, text: &mut String, family: usize, account: usize, has_header: bool) -> NextLivePart {
        let Some(metric) = POLLING.get(family) else {
            return if self.has_exporter { NextLivePart::Exporter } else { NextLivePart::End };
        };
        let Some(status) = self.accounts.get(account) else {
            return NextLivePart::Polling { family: family + 1, account: 0, has_header: false };
        };
        let name = Some(status.account.name());
        let has_samples = push_family(text, &metric.family, self.format, has_header, |out| {
            (metric.fill)(status, &mut Samples::new(&metric.family, name, self.format, out));
        });
        NextLivePart::Polling { family, account: account + 1, has_header: has_header || has_samples }
    }

    fn push_exporter(&self, text: &mut String) {
        for metric in EXPORTER {
            push_family(text, &metric.family, self.format, false, |out| {
                (metric.fill)(&self.key.exporter, &mut Samples::new(&metric.family, None, self.format, out));
            });
        }
        let process = ProcessStatus::read(self.exporter.started_at);
        for metric in PROCESS {
            push_family(text, &metric.family, self.format, false, |out| {
                (metric.fill)(&process, &mut Samples::new(&metric.family, None, self.format, out));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::cache::MAX_AGE;
    use super::*;

    fn metrics() -> Arc<ExporterMetrics> {
        let loaded_at = SystemTime::UNIX_EPOCH;
        Arc::new(ExporterMetrics::new(ConfigStatus { is_valid: true, loaded_at, shard: 0, total_shards: 1 }))
    }

    fn text(metrics: &Arc<ExporterMetrics>, format: Format, now: Instant) -> Arc<CachedText> {
        let texts: Vec<_> = metrics.live(Vec::new(), format, now, true).collect();
        let [text] = &texts[..] else { panic!("{} texts", texts.len()) };
        text.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn live_metrics_are_cached_until_they_change_or_expire() {
        let (metrics, now) = (metrics(), Instant::now());
        let first = text(&metrics, Format::Text, now);
        assert!(Arc::ptr_eq(&first, &text(&metrics, Format::Text, now + MAX_AGE / 2)));
        assert!(!Arc::ptr_eq(&first, &text(&metrics, Format::OpenMetrics, now)));
        assert!(!Arc::ptr_eq(&first, &text(&metrics, Format::Text, now + MAX_AGE)), "process metrics expire");

        let second = text(&metrics, Format::Text, now);
        metrics.set_config_status(ConfigStatus { is_valid: false, ..metrics.config_status() });
        let third = text(&metrics, Format::Text, now);
        assert!(!Arc::ptr_eq(&second, &third), "a reload shows at once");
        let budget = [("USD".to_owned(), "5.5".parse().unwrap())];
        metrics.set_owner_budgets(Arc::new([("support".into(), budget.into())].into()));
        let third = text(&metrics, Format::Text, now);
        let budget = "tryvox_owner_monthly_budget{owner=\"support\",currency=\"USD\"} 5.5\n";
        assert!(String::from_utf8_lossy(third.bytes()).contains(budget));

        metrics.live(Vec::new(), Format::Text, now, false).for_each(drop);
        assert!(Arc::ptr_eq(&third, &text(&metrics, Format::Text, now)), "a scrape of some accounts replaces nothing");
    }
}
