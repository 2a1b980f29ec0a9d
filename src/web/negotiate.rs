//! Which format a scrape asks for.

use crate::metrics::Format;

/// The format that an `Accept` header prefers (RFC 9110, section 12.5.1), as Prometheus sends it:
/// `OpenMetrics` where it is asked for by name and in a version there is, else the text format.
pub(super) fn format(accept: &str) -> Format {
    let mut best = (Format::Text, 0.0);
    for range in accept.split(',') {
        let mut parameters = range.split(';').map(str::trim);
        let media = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, None);
        for parameter in parameters {
            match parameter.split_once('=') {
                Some(("q" | "Q", value)) => quality = value.trim().parse().unwrap_or(0.0),
                Some(("version", value)) => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        let offered = match (&*media, version) {
            ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => Format::OpenMetrics,
            ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => Format::Text,
            _ => continue,
        };
        // Of two that are as welcome the first is taken.
        if quality > best.1 {
            best = (offered, quality);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Text),
            ("text/plain;version=0.0.4", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Text),
            // As Prometheus sends it.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 text/plain;version=0.0.4;q=0.3,application/openmetrics-text;q=0.2",
                Text,
            ),
            ("application/openmetrics-text;q=0,*/*", Text),
            ("application/openmetrics-text;q=x", Text),
            (";;;,,,=", Text),
        ] {
            assert_eq!(format(accept), expected, "{accept}");
        }
    }
}
