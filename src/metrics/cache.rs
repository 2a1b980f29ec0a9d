//! The cache of what the last scrape rendered.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::account::AccountVersion;
use super::exporter_families::ExporterStatus;
use super::format::Format;
use super::text::CachedText;

/// Time after which a text expires. The process metrics change all the time, but reading them costs more than
/// everything else, so scrapes may serve values of this age.
pub(super) const MAX_AGE: Duration = Duration::from_millis(100);

/// Everything that a rendered text depends on, except the process metrics.
#[derive(Debug, PartialEq)]
pub(super) struct RenderKey {
    pub(super) accounts: Vec<AccountVersion>,
    pub(super) exporter: ExporterStatus,
}

/// The last text of each format, with its compressed forms.
#[derive(Debug, Default)]
pub(super) struct RenderCache([ArcSwapOption<CachedRendering>; 2]);

#[derive(Debug)]
struct CachedRendering {
    key: Arc<RenderKey>,
    rendered_at: Instant,
    text: Arc<CachedText>,
}

impl RenderCache {
    /// Returns the text of this key and format unless it has expired.
    pub(super) fn get(&self, key: &RenderKey, format: Format, now: Instant) -> Option<Arc<CachedText>> {
        let cached = self.0[format as usize].load();
        let is_valid =
            |cached: &&Arc<CachedRendering>| cached.key.as_ref() == key && now < cached.rendered_at + MAX_AGE;
        cached.as_ref().filter(is_valid).map(|cached| cached.text.clone())
    }

    /// Replaces the text of a format.
    pub(super) fn insert(&self, key: Arc<RenderKey>, format: Format, now: Instant, text: Arc<CachedText>) {
        self.0[format as usize].store(Some(Arc::new(CachedRendering { key, rendered_at: now, text })));
    }
}
