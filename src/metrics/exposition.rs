//! The exposition formats: headers, samples, and how labels and values are written.
//!
//! They are specified in <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.

use std::fmt::Write;

use super::family::Family;
use super::format::Format;

/// Renders the samples of one family, for one account if the family has an `account` label.
#[derive(Debug)]
pub struct Samples<'a> {
    family: &'a Family,
    account: Option<&'a str>,
    format: Format,
    out: &'a mut String,
}

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleValue {
    /// Written with all digits.
    Integer(u64),
    /// Written with the fewest digits that distinguish it from the adjacent doubles.
    Double(f64),
}

impl From<u64> for SampleValue {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for SampleValue {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<bool> for SampleValue {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl<'a> Samples<'a> {
    /// Appends the family's samples to `out`. `account` is the value of the first label, if that is `account`.
    pub(super) fn new(family: &'a Family, account: Option<&'a str>, format: Format, out: &'a mut String) -> Self {
        Self { family, account, format, out }
    }

    /// Appends a sample; the label values, without that of `account`, are in the order of the family's labels.
    pub fn push<const N: usize>(&mut self, values: [&str; N], value: impl Into<SampleValue>) {
        self.push_line("", &values, None, value.into());
    }

    /// Appends a histogram: the upper bound and the observations of each bucket, not cumulative, and the sum and the
    /// count of all observations.
    pub fn push_histogram<const N: usize>(&mut self, values: [&str; N], buckets: &[(f64, u64)], sum: f64, count: u64) {
        let mut cumulative = 0;
        for (bound, observations) in buckets {
            cumulative += observations;
            let mut le = format_double(*bound);
            if self.format == Format::OpenMetrics && !le.contains('.') {
                le.push_str(".0");
            }
            self.push_line("_bucket", &values, Some(&le), cumulative.into());
        }
        self.push_line("_bucket", &values, Some("+Inf"), count.into());
        self.push_line("_sum", &values, None, sum.into());
        self.push_line("_count", &values, None, count.into());
    }

    fn push_line(&mut self, suffix: &str, values: &[&str], le: Option<&str>, value: SampleValue) {
        let values = self.account.iter().chain(values);
        debug_assert_eq!(values.clone().count(), self.family.labels.len(), "{}", self.family.name);
        self.out.push_str(self.family.name);
        self.out.push_str(suffix);
        let mut separator = '{';
        let labels = self.family.labels.iter().zip(values).map(|(label, value)| (*label, *value));
        for (label, value) in labels.chain(le.map(|le| ("le", le))) {
            self.out.push(separator);
            self.out.push_str(label);
            self.out.push_str("=\"");
            push_escaped(self.out, value);
            self.out.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        match value {
            // Writing to a string cannot fail.
            SampleValue::Integer(value) => _ = write!(self.out, "{value}"),
            SampleValue::Double(value) => self.out.push_str(&format_double(value)),
        }
        self.out.push('\n');
    }
}

/// Parses a label value up to its closing quote; also returns what follows that.
pub(super) fn label_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        value.push(match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => match rest.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            },
            plain => plain,
        });
    }
}

/// Appends the `# HELP`, `# TYPE` and `# UNIT` lines of a family.
pub(super) fn push_header(out: &mut String, family: &Family, format: Format) {
    // These would have to be escaped; no HELP text here has them.
    debug_assert!(!family.help.contains(['\\', '\n', '"']), "{}", family.name);
    let name = family.name_in(format);
    _ = write!(out, "# HELP {name} {}\n# TYPE {name} {}\n", family.help, family.kind.name(format));
    push_unit(out, name, format);
}

/// Appends samples of a family, after its header unless it has that already. Returns whether there were any; without
/// samples there is no header.
pub(super) fn push_family(
    out: &mut String,
    family: &Family,
    format: Format,
    has_header: bool,
    push_samples: impl FnOnce(&mut String),
) -> bool {
    let start = out.len();
    if !has_header {
        push_header(out, family, format);
    }
    let header_end = out.len();
    push_samples(out);
    let has_samples = out.len() > header_end;
    if !has_samples {
        out.truncate(start);
    }
    has_samples
}

/// Appends the `# UNIT` line of a family whose name ends with a unit; only `OpenMetrics` has such lines. Its rule that
/// the name must end with the unit is met because the unit is taken from the name.
fn push_unit(out: &mut String, name: &str, format: Format) {
    let unit = ["seconds", "bytes"].into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|n| n.ends_with('_')));
    if let Some(unit) = unit.filter(|_| format == Format::OpenMetrics) {
        _ = writeln!(out, "# UNIT {name} {unit}");
    }
}

/// Appends a label value with backslashes, quotes and line feeds escaped.
fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => r"\\",
            b'"' => "\\\"",
            _ => r"\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Formats a double with the fewest digits that read back as the same value.
fn format_double(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if value.abs() >= 1e17 || (value != 0.0 && value.abs() < 1e-7) {
        // Without an exponent, 1e300 would have 301 digits.
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Example, MetricType};
    use proptest::prelude::*;

    const FAMILY: Family = Family {
        name: "m",
        help: "h.",
        kind: MetricType::Gauge,
        labels: &["account", "a"],
        unit: "",
        is_opt_in: false,
        example: Example { result: "", query: "m" },
    };

    fn text(fill: impl FnOnce(&mut Samples<'_>)) -> String {
        let mut out = String::new();
        fill(&mut Samples::new(&FAMILY, Some("x"), Format::Text, &mut out));
        out
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(
            text(|samples| samples.push(["a\"b\\c\nd東京都"], 1_u64)),
            "m{account=\"x\",a=\"a\\\"b\\\\c\\nd東京都\"} 1\n"
        );
    }

    #[test]
    fn values_are_written_with_all_significant_digits() {
        let values = [0.0, 115_000.0, 0.1, -1.5, 1e300, 1e-10, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        assert_eq!(values.map(format_double), ["0", "115000", "0.1", "-1.5", "1e300", "1e-10", "+Inf", "-Inf", "NaN"]);
        assert_eq!(text(|samples| samples.push([""], u64::MAX)), "m{account=\"x\",a=\"\"} 18446744073709551615\n");
    }

    #[test]
    fn headers_of_counters_and_info_families_lack_the_suffix_in_openmetrics_only() {
        let header = |name, kind, format| {
            let mut out = String::new();
            push_header(&mut out, &Family { name, kind, ..FAMILY }, format);
            out
        };
        for (name, kind, text, openmetrics) in [
            (
                "a_seconds_total",
                MetricType::Counter,
                "# HELP a_seconds_total h.\n# TYPE a_seconds_total counter\n",
                "# HELP a_seconds h.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n",
            ),
            ("b_info", MetricType::Info, "# HELP b_info h.\n# TYPE b_info gauge\n", "# HELP b h.\n# TYPE b info\n"),
            (
                "c_bytes",
                MetricType::Gauge,
                "# HELP c_bytes h.\n# TYPE c_bytes gauge\n",
                "# HELP c_bytes h.\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\n",
            ),
        ] {
            assert_eq!(header(name, kind, Format::Text), text);
            assert_eq!(header(name, kind, Format::OpenMetrics), openmetrics);
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        assert_eq!(
            text(|samples| samples.push_histogram(["y"], &[(0.5, 2), (1.0, 3)], 7.25, 6)),
            "m_bucket{account=\"x\",a=\"y\",le=\"0.5\"} 2\n\
             m_bucket{account=\"x\",a=\"y\",le=\"1\"} 5\n\
             m_bucket{account=\"x\",a=\"y\",le=\"+Inf\"} 6\n\
             m_sum{account=\"x\",a=\"y\"} 7.25\n\
             m_count{account=\"x\",a=\"y\"} 6\n"
        );
    }

    proptest! {
        #[test]
        fn doubles_read_back_as_the_same_value(value in any::<f64>()) {
            let back: f64 = format_double(value).parse().unwrap();
            prop_assert!(back == value || (back.is_nan() && value.is_nan()));
        }
    }
}
