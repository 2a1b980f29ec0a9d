//! Content negotiation (RFC 9110, section 12.5): request headers go in, the format and encoding of the response to a
//! scrape come out. There is always one; a request is never rejected because of its headers.

use std::cmp::Reverse;

use axum::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use crate::metrics::{Encoding, Format};

/// Values of the `escaping` parameter, with which Prometheus 3 selects how names that it may not support are escaped
/// (<https://prometheus.io/docs/instrumenting/escaping_schemes/>). All names here are valid in every scheme.
const ESCAPING_SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

/// The format and the encoding of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) format: Format,
    /// The escaping scheme that the client requested together with the format, if it is a known one.
    escaping: Option<&'static str>,
    pub(super) encoding: Encoding,
}

impl Negotiated {
    /// Returns the value of the `Content-Type` header.
    pub(super) fn content_type(self) -> HeaderValue {
        let media_type = self.format.content_type();
        let echoed = self.escaping.map(|scheme| HeaderValue::try_from(format!("{media_type}; escaping={scheme}")));
        echoed.and_then(Result::ok).unwrap_or_else(|| HeaderValue::from_static(media_type))
    }
}

/// Returns the format and the encoding that a client prefers.
pub(super) fn negotiate(headers: &HeaderMap) -> Negotiated {
    // A header may occur several times; values that are not text are ignored.
    let joined = |name: HeaderName| -> String {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join(",")
    };
    let (format, escaping) = choose_format(&joined(ACCEPT));
    Negotiated { format, escaping, encoding: choose_encoding(&joined(ACCEPT_ENCODING)) }
}

/// How specifically a media range describes a format; the most specific range applies (RFC 9110, section 12.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*`
    Anything,
    /// `text/*`
    Type,
    /// `text/plain`
    Subtype,
    /// `text/plain;version=0.0.4`
    Version,
}

/// Returns how specifically a media range describes a format; `None` if it does not include the format.
fn specificity(range: &AcceptChoice<'_>, format: Format) -> Option<Specificity> {
    let (kind, name, version) = match format {
        Format::Text => ("text/*", "text/plain", "0.0.4"),
        Format::OpenMetrics => ("application/*", "application/openmetrics-text", "1.0.0"),
    };
    match (&*range.name, range.parameter("version")) {
        ("*/*", _) => Some(Specificity::Anything),
        (range, _) if range == kind => Some(Specificity::Type),
        (range, None) if range == name => Some(Specificity::Subtype),
        (range, Some(requested)) if range == name && requested == version => Some(Specificity::Version),
        _ => None,
    }
}

/// Returns the format that an `Accept` header prefers, and the escaping scheme that belongs to it; the text format if
/// none is acceptable. Among formats of the same quality, one that the header names precedes one that a wildcard
/// includes, then the one that it lists first, then the text format.
fn choose_format(accept: &str) -> (Format, Option<&'static str>) {
    let ranges: Vec<_> = parse_choices(accept).collect();
    let formats = [Format::OpenMetrics, Format::Text].into_iter().filter_map(|format| {
        let matching = ranges
            .iter()
            .enumerate()
            .filter_map(|(position, range)| Some((specificity(range, format)?, range.quality, Reverse(position))));
        let (specificity, quality, position) = matching.max()?;
        // Between formats, a range with a version ranks like one without.
        let rank = specificity.min(Specificity::Subtype);
        (quality > 0).then_some(((quality, rank, position), format))
    });
    // If several are equal, the last one is the maximum.
    let Some(((.., Reverse(position)), format)) = formats.max_by_key(|(preference, _)| *preference) else {
        return (Format::Text, None);
    };
    let requested = ranges[position].parameter("escaping");
    (format, ESCAPING_SCHEMES.into_iter().find(|scheme| requested == Some(*scheme)))
}

/// What `*` in `Accept-Encoding` stands for: the first of these that the header does not name. Every client supports
/// the first two.
const ANY_ENCODING: [Encoding; 3] = [Encoding::Gzip, Encoding::Identity, Encoding::Zstd];

/// Returns the encoding that an `Accept-Encoding` header prefers: `Identity` if it is preferred or no other
/// supported encoding is accepted.
fn choose_encoding(accept: &str) -> Encoding {
    let named = |choice: &AcceptChoice<'_>| match &*choice.name {
        "gzip" | "x-gzip" => Some(Encoding::Gzip),
        "zstd" => Some(Encoding::Zstd),
        "identity" => Some(Encoding::Identity),
        _ => None,
    };
    let any = || {
        let is_named = |encoding| parse_choices(accept).any(|choice| named(&choice) == Some(encoding));
        ANY_ENCODING.into_iter().find(|encoding| !is_named(*encoding))
    };
    let supported = parse_choices(accept).filter_map(|choice| {
        let encoding = if choice.name == "*" { any() } else { named(&choice) };
        Some((choice.quality, encoding?))
    });
    highest_quality(supported).unwrap_or(Encoding::Identity)
}

/// Returns the highest-quality choice; ties go to the first. Quality 0 means "not acceptable".
fn highest_quality<T>(choices: impl Iterator<Item = (u16, T)>) -> Option<T> {
    let acceptable = choices.filter(|(quality, _)| *quality > 0);
    acceptable.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, choice)| choice)
}

/// One choice of an `Accept` or `Accept-Encoding` header.
struct AcceptChoice<'a> {
    /// In lower case.
    name: String,
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths, up to 1000; 1000 if absent, 0 if invalid.
    quality: u16,
}

impl AcceptChoice<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

fn parse_choices(header: &str) -> impl Iterator<Item = AcceptChoice<'_>> {
    split_unquoted(header, ',').map(|choice| {
        let mut parts = split_unquoted(choice, ';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<_> = parts
            .filter_map(|parameter| parameter.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case("q"));
        let quality = quality.map_or(1000, |(_, value)| parse_quality(value).unwrap_or(0));
        AcceptChoice { name, parameters, quality }
    })
}

/// Splits a header value at separators outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let is_separator = character == separator && !is_quoted;
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && is_quoted && !is_escaped;
        is_separator
    })
}

/// Parses a quality from 0 to 1, and returns it in thousandths.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !text.is_empty() && [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let thousandths = format!("{whole}{fraction:0<3.3}").parse().ok().filter(|_| is_number)?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_header_selects_the_preferred_format() {
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
            // The headers that Prometheus 2 and 3 send.
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
            ("text/plain;q=0,*/*", OpenMetrics),
            ("*/*;q=0.5,text/plain;version=0.0.4;q=0", OpenMetrics),
            ("text/plain;q=0,text/*", Text),
            ("text/plain;version=1.0.0;q=0,*/*", Text),
            ("*/*,text/plain;q=0.1", OpenMetrics),
            // The most specific media range applies, wherever it is in the header.
            ("text/*;q=0,*/*", OpenMetrics),
            ("*/*,text/*;q=0", OpenMetrics),
            ("text/*;q=0", Text),
            ("text/*;q=0,text/plain;q=0.1,*/*", OpenMetrics),
            ("text/*;q=0,text/plain,*/*;q=0.5", Text),
            ("application/*", OpenMetrics),
            ("application/*;q=0.5,text/*", Text),
            ("application/*;q=0,*/*", Text),
            ("application/*;q=0,application/openmetrics-text", OpenMetrics),
            ("application/*,application/openmetrics-text;q=0", Text),
            ("*/*;q=0,text/plain;q=0.1,application/openmetrics-text;q=0.2", OpenMetrics),
            ("*/*,application/openmetrics-text;q=0.5", Text),
            ("text/plain;q=0.1,text/plain;version=0.0.4,application/openmetrics-text;q=0.5", Text),
            ("text/plain;version=0.0.4;q=0.1,text/plain,application/openmetrics-text;q=0.5", OpenMetrics),
            // Of the same quality.
            ("*/*,application/openmetrics-text", OpenMetrics),
            ("*/*,text/plain,application/openmetrics-text;version=1.0.0", Text),
            ("application/openmetrics-text,text/plain;version=0.0.4", OpenMetrics),
            ("text/html, image/gif, *; q=.2, */*; q=.2", Text),
            // Separators in quoted strings.
            (r#"application/openmetrics-text;x="a,text/plain;q=1";q=0.5,text/plain;q=0.1"#, OpenMetrics),
            (r#"text/html;x="\",application/openmetrics-text,";q=0.5,text/plain;q=0.1"#, Text),
            (r#"text/html;x="\\",application/openmetrics-text"#, OpenMetrics),
            ("application/openmetrics-text;version=\"1.0.0,text/plain", Text),
            ("text/plain;q=0.001,application/openmetrics-text;q=0.0", Text),
            ("text/plain;q=0.25,application/openmetrics-text;q=0.3", OpenMetrics),
            ("application/openmetrics-text;q=-0,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=,text/plain;q=0.1", Text),
            ("application/openmetrics-text;q=x", Text),
            ("application/openmetrics-text;q=NaN", Text),
            ("application/openmetrics-text;q=2,text/plain;q=0.1", Text),
            (";;;,,,=", Text),
        ] {
            assert_eq!(choose_format(accept).0, expected, "{accept}");
        }
    }

    #[test]
    fn content_type_echoes_a_known_escaping_scheme_of_the_chosen_format() {
        const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
        const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        for (accept, media_type, escaping) in [
            ("", TEXT, ""),
            ("application/openmetrics-text;version=1.0.0", OPENMETRICS, ""),
            ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8", OPENMETRICS, "; escaping=allow-utf-8"),
            ("application/openmetrics-text;Escaping=\"dots\";q=0.5", OPENMETRICS, "; escaping=dots"),
            ("text/plain;version=0.0.4;escaping=underscores", TEXT, "; escaping=underscores"),
            ("text/plain;version=0.0.4;escaping=values", TEXT, "; escaping=values"),
            ("application/openmetrics-text;version=1.0.0;escaping=rot13", OPENMETRICS, ""),
            ("application/openmetrics-text;version=1.0.0;escaping=", OPENMETRICS, ""),
            ("text/plain;version=0.0.4;escaping=allow-utf-8, x", TEXT, "; escaping=allow-utf-8"),
            // The header that Prometheus 3 sends, and the same if OpenMetrics is disabled. Version 1.0.0 of the text
            // format is not supported, and its scheme applies only to that version.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OPENMETRICS,
                "; escaping=allow-utf-8",
            ),
            ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4", TEXT, ""),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(negotiate(&headers).content_type(), format!("{media_type}{escaping}"), "{accept}");
        }
    }

    #[test]
    fn accept_encoding_header_selects_the_preferred_encoding() {
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
            ("gzip;q=0, *", Identity),
            ("*, gzip;q=0", Identity),
            ("x-gzip;q=0, *", Identity),
            ("gzip;q=0, identity;q=0, *", Zstd),
            ("gzip;q=0, identity;q=0.5, *;q=0.8", Zstd),
            ("zstd;q=0.5, *;q=0.8", Gzip),
            ("gzip;q=0, identity;q=0, zstd;q=0, *", Identity),
            ("identity;q=0", Identity),
            ("gzip;q=none", Identity),
            (",;=,", Identity),
        ] {
            assert_eq!(choose_encoding(accept), expected, "{accept}");
        }
    }
}
