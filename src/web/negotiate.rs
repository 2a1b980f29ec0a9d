//! Which format and which coding a scrape asks for (RFC 9110, section 12.5).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::metrics::{Encoding, Format};

/// What an answer is made of for a client with these headers.
pub(super) fn negotiate(headers: &HeaderMap) -> (Format, Encoding) {
    // A header may be in several parts; one that is no text says nothing.
    let text = |name: HeaderName| -> String {
        let parts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        parts.collect::<Vec<_>>().join(",")
    };
    (format(&text(ACCEPT)), coding(&text(ACCEPT_ENCODING)))
}

/// The format that an `Accept` header prefers, as Prometheus sends it: `OpenMetrics` where it is asked
/// for by name and in the version there is, else the text format, whatever is asked for.
fn format(accept: &str) -> Format {
    let offered = choices(accept).filter_map(|choice| {
        let format = match (&*choice.name, choice.parameter("version")) {
            ("application/openmetrics-text", None | Some("1.0.0")) => Format::OpenMetrics,
            ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => Format::Text,
            _ => return None,
        };
        Some((choice.quality, format))
    });
    best(offered).unwrap_or(Format::Text)
}

/// The coding that an `Accept-Encoding` header prefers. Not to code at all is always possible, and done
/// where that is preferred or nothing else is acceptable.
fn coding(accept: &str) -> Encoding {
    let offered = choices(accept).filter_map(|choice| {
        let coding = match &*choice.name {
            // Of all that there are everybody knows gzip.
            "gzip" | "x-gzip" | "*" => Encoding::Gzip,
            "zstd" => Encoding::Zstd,
            "identity" => Encoding::Identity,
            _ => return None,
        };
        Some((choice.quality, coding))
    });
    best(offered).unwrap_or(Encoding::Identity)
}

/// Of two that are as welcome the first; what is not acceptable has quality 0.
fn best<T>(offered: impl Iterator<Item = (f32, T)>) -> Option<T> {
    let acceptable = offered.filter(|(quality, _)| *quality > 0.0);
    acceptable.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, offer)| offer)
}

/// One of the choices that a header lists.
struct Choice<'a> {
    name: String,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Choice<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

fn choices(header: &str) -> impl Iterator<Item = Choice<'_>> {
    header.split(',').map(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<_> = parts
            .filter_map(|parameter| parameter.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case("q"));
        // One that cannot be read is none that is welcome.
        let read = |value: &str| value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0);
        let quality = quality.map_or(1.0, |(_, value)| read(value));
        Choice { name, parameters, quality }
    })
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
            ("application/json", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            // As Prometheus sends it, 2 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 text/plain;version=0.0.4;q=0.3,application/openmetrics-text;q=0.2",
                Text,
            ),
            ("application/openmetrics-text;q=0,*/*", Text),
            ("application/openmetrics-text;q=x", Text),
            ("application/openmetrics-text;q=NaN", Text),
            ("application/openmetrics-text;q=2,text/plain;q=0.1", Text),
            (";;;,,,=", Text),
        ] {
            assert_eq!(format(accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_coding_is_the_one_that_is_preferred() {
        use Encoding::{Gzip, Identity, Zstd};
        for (accept, expected) in [
            ("", Identity),
            ("gzip", Gzip),
            ("GZip", Gzip),
            ("x-gzip", Gzip),
            ("zstd", Zstd),
            ("br", Identity),
            ("deflate, br", Identity),
            ("identity", Identity),
            ("gzip, deflate, br, zstd", Gzip),
            ("zstd, gzip", Zstd),
            ("gzip;q=0.5, zstd;q=0.8", Zstd),
            ("gzip;q=0.8, zstd;q=0.5", Gzip),
            ("gzip;q=0.5, identity", Identity),
            ("gzip;q=0", Identity),
            ("gzip;q=0, zstd", Zstd),
            ("gzip;q=0.0, *;q=0", Identity),
            ("*", Gzip),
            ("identity;q=0, *;q=0.1", Gzip),
            ("identity;q=0", Identity),
            ("gzip;q=none", Identity),
            (",;=,", Identity),
        ] {
            assert_eq!(coding(accept), expected, "{accept}");
        }
    }
}
