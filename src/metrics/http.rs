//! The families of the web server: requests and connections.
//!
//! The server counts them in [`HttpMetrics`]. They change at almost every request, so they are rendered on their own,
//! apart from the other live metrics, which would otherwise have to be rendered at every scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::exposition::{Samples, push_family};
use super::format::Format;
use super::metric::Metric;
use super::text::CachedText;

/// The requests and connections of the web server.
#[derive(Debug, Default)]
pub struct HttpMetrics(Mutex<HttpState>);

#[derive(Debug, Default)]
struct HttpState {
    counts: HttpCounts,
    /// The rendered counts by format, until they change.
    rendered: [Option<Arc<CachedText>>; 2],
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct HttpCounts {
    /// Requests by handler and status code.
    requests: BTreeMap<String, BTreeMap<u16, u64>>,
    open_connections: usize,
    refused_connections: u64,
}

type HttpMetric = Metric<HttpCounts>;

/// The families of the web server, in the order of the exposition.
pub(super) static HTTP: &[HttpMetric] = &[
    HttpMetric::counter(
        "tryvox_exporter_http_requests_total",
        &["handler", "code"],
        "Total number of HTTP requests by handler (path below --web.route-prefix, or other) and status code.",
        |counts, samples| {
            for (handler, codes) in &counts.requests {
                for (code, requests) in codes {
                    samples.push([handler, &code.to_string()], *requests);
                }
            }
        },
    )
    .unit("requests")
    .example(
        "Failed HTTP requests per second of each handler",
        "sum by (handler) (rate(tryvox_exporter_http_requests_total{code=~\"[45]..\"}[5m]))",
    ),
    HttpMetric::gauge(
        "tryvox_exporter_http_connections",
        &[],
        "Number of open HTTP connections, at most --web.max-connections.",
        |counts, samples| samples.push([], counts.open_connections as u64),
    )
    .unit("connections")
    .example("Open connections of each exporter", "tryvox_exporter_http_connections"),
    HttpMetric::counter(
        "tryvox_exporter_http_connections_refused_total",
        &[],
        "Total number of HTTP connections refused because of --web.max-connections.",
        |counts, samples| samples.push([], counts.refused_connections),
    )
    .unit("connections")
    .example(
        "Exporters that refused connections in the last hour",
        "increase(tryvox_exporter_http_connections_refused_total[1h]) > 0",
    ),
];

impl HttpMetrics {
    /// Makes requests of a handler with these status codes present, at 0 if there were none.
    pub fn declare_handler(&self, handler: &str, codes: &[u16]) {
        self.update(|counts| {
            let present = counts.requests.entry(handler.to_owned()).or_default();
            for code in codes {
                present.entry(*code).or_default();
            }
        });
    }

    /// Counts a request and the status code of the response to it.
    pub fn count_request(&self, handler: &str, code: u16) {
        self.update(|counts| {
            if let Some(codes) = counts.requests.get_mut(handler) {
                *codes.entry(code).or_default() += 1;
            } else {
                counts.requests.insert(handler.to_owned(), [(code, 1)].into());
            }
        });
    }

    /// Sets the number of open connections.
    pub fn set_open_connections(&self, open: usize) {
        self.update(|counts| counts.open_connections = open);
    }

    /// Counts a connection that was refused because of the limit.
    pub fn count_refused_connection(&self) {
        self.update(|counts| counts.refused_connections += 1);
    }

    fn update(&self, change: impl FnOnce(&mut HttpCounts)) {
        let HttpState { counts, rendered } = &mut *self.lock();
        change(counts);
        *rendered = [None, None];
    }

    /// Returns the rendered families.
    pub(super) fn text(&self, format: Format) -> Arc<CachedText> {
        let HttpState { counts, rendered } = &mut *self.lock();
        let text = rendered[format as usize].get_or_insert_with(|| {
            let mut text = String::with_capacity(2 << 10);
            for metric in HTTP {
                push_family(&mut text, &metric.family, format, false, |out| {
                    (metric.fill)(counts, &mut Samples::new(&metric.family, None, format, out));
                });
            }
            Arc::new(text.into())
        });
        text.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HttpState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered_again_only_if_they_changed() {
        let metrics = HttpMetrics::default();
        metrics.declare_handler("/metrics", &[200, 404]);
        let first = metrics.text(Format::Text);
        assert!(Arc::ptr_eq(&first, &metrics.text(Format::Text)));
        assert!(!Arc::ptr_eq(&first, &metrics.text(Format::OpenMetrics)));
        metrics.count_request("/metrics", 200);
        metrics.count_request("other", 404);
        metrics.set_open_connections(3);
        metrics.count_refused_connection();
        let text = String::from_utf8(metrics.text(Format::Text).bytes().to_vec()).unwrap();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "tryvox_exporter_http_requests_total{handler=\"/metrics\",code=\"200\"} 1",
            "tryvox_exporter_http_requests_total{handler=\"/metrics\",code=\"404\"} 0",
            "tryvox_exporter_http_requests_total{handler=\"other\",code=\"404\"} 1",
            "tryvox_exporter_http_connections 3",
            "tryvox_exporter_http_connections_refused_total 1",
        ];
        assert_eq!(samples, expected);
    }
}
