//! Pages that drift from the documentation, and what they mean, computed without any of the exporter's code.
//!
//! A page is a tree whose leaves are raw JSON, so that it can have any notation, duplicate fields and bytes that are not
//! UTF-8. The oracle reads the leaves with `serde_json::Value`. Fees are multiples of a thousandth.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers are checked before they are cast"
)]

use std::collections::BTreeMap;

use serde_json::Value;

use super::expected::Series;

/// A JSON value with its exact notation.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Leaf(Vec<u8>),
}

impl Node {
    pub(crate) fn leaf(json: impl AsRef<[u8]>) -> Self {
        Self::Leaf(json.as_ref().to_vec())
    }

    /// Writes the value as JSON.
    pub(crate) fn write(&self, json: &mut Vec<u8>) {
        match self {
            Self::Object(fields) => {
                json.push(b'{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    json.extend_from_slice(if index > 0 { b", \"" } else { b"\"" });
                    json.extend_from_slice(name.as_bytes());
                    json.extend_from_slice(b"\": ");
                    value.write(json);
                }
                json.push(b'}');
            }
            Self::Array(values) => {
                json.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    json.extend_from_slice(if index > 0 { b"," } else { b"" });
                    value.write(json);
                }
                json.push(b']');
            }
            Self::Leaf(raw) => json.extend_from_slice(raw),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write(&mut json);
        json
    }

    /// Returns the value; `None` if it is not valid Unicode.
    fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.bytes()).ok()
    }

    fn is_utf8(&self) -> bool {
        std::str::from_utf8(&self.bytes()).is_ok()
    }

    /// Returns the values of all fields with this name.
    fn fields(&self, name: &str) -> Vec<&Node> {
        let Self::Object(fields) = self else { return Vec::new() };
        fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value).collect()
    }

    /// Returns the only field with this name.
    fn only_field(&self, name: &str) -> Option<&Node> {
        let fields = self.fields(name);
        fields.first().copied().filter(|_| fields.len() == 1)
    }
}

/// What a poll of a listing must lead to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The listing is published with these series.
    Published(Series),
    /// The poll fails for this reason.
    Failed(&'static str),
}

/// A valid record.
struct Number {
    e164: String,
    country: String,
    kind: String,
    status: String,
    currency: String,
    /// In thousandths.
    fees: [i128; 2],
    capabilities: Vec<String>,
    region: String,
    trunk: String,
    application: String,
    created_at: Option<i64>,
    updated_at: Option<i64>,
    unreadable: Vec<&'static str>,
}

/// Returns what a poll must lead to if every page of the listing is this one; `max_discrepancy` is the option.
pub(crate) fn meaning(page: &Node, max_discrepancy: f64) -> Outcome {
    let (Some(data), Some(pagination)) = (page.only_field("data"), page.only_field("pagination")) else {
        return Outcome::Failed("decode");
    };
    let total = |field| pagination.only_field(field).and_then(|leaf| whole_number(&leaf.value()?));
    let (Some(total), Some(pages)) = (total("total"), total("total_pages")) else { return Outcome::Failed("decode") };
    let records = match data {
        Node::Array(records) => records.as_slice(),
        Node::Leaf(raw) if raw == b"null" && total == 0 => &[],
        _ => return Outcome::Failed("decode"),
    };
    if records.len() > 200 {
        return Outcome::Failed("too_large");
    }
    if pages > total * 10 + 1000 {
        return Outcome::Failed("inconsistent");
    }
    let mut numbers = BTreeMap::new();
    let (mut with_number, mut without_number) = (0, 0);
    for record in records {
        match (read_record(record), readable_number(record)) {
            (Some(number), _) => _ = numbers.insert(number.e164.clone(), number),
            (None, Some(_)) => with_number += 1,
            (None, None) => without_number += 1,
        }
    }
    // The invalid records of a number count on one page only.
    let invalid = with_number + without_number * pages.max(1);
    let listed = numbers.len() as u64;
    let allowed = if max_discrepancy == 0.0 { 0 } else { ((max_discrepancy * total as f64).floor() as u64).max(1) };
    if invalid > allowed || (invalid > 0 && listed == 0 && total > 0) {
        return Outcome::Failed("invalid_records");
    }
    if (listed + invalid).abs_diff(total) > allowed || (listed == 0 && total > 0) {
        return Outcome::Failed("inconsistent");
    }
    Outcome::Published(series(&numbers, invalid, total))
}

/// Returns the phone number of any record.
fn readable_number(record: &Node) -> Option<String> {
    let e164 = record.only_field("e164")?.value()?.as_str()?.to_owned();
    let digits = e164.strip_prefix('+')?;
    let is_valid = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then_some(e164)
}

/// Returns the number of a valid record.
fn read_record(record: &Node) -> Option<Number> {
    const FIELDS: [&str; 13] = [
        "e164",
        "country",
        "type",
        "status",
        "currency",
        "monthly_fee",
        "setup_fee",
        "capabilities",
        "region",
        "trunk_id",
        "application_id",
        "created_at",
        "updated_at",
    ];
    if !record.is_utf8() || FIELDS.iter().any(|name| record.fields(name).len() > 1) {
        return None;
    }
    let field = |name: &str| record.only_field(name);
    let text = |name: &str| field(name)?.value()?.as_str().map(str::to_owned);
    let required = |name: &str| text(name).filter(|text| !text.is_empty() && text.len() <= 256);
    let mut unreadable = Vec::new();
    let mut optional_text = |name: &'static str| {
        let value = field(name)?.value();
        match value {
            Some(Value::Null) => None,
            Some(Value::String(text)) if text.len() <= 256 => Some(text),
            _ => {
                unreadable.push(name);
                None
            }
        }
    };
    let [region, trunk, application] =
        ["region", "trunk_id", "application_id"].map(&mut optional_text).map(Option::unwrap_or_default);
    let mut optional_time = |name: &'static str| {
        let value = field(name)?.value();
        match value {
            Some(Value::Null) => None,
            Some(Value::String(text)) if seconds(&text).is_some() => seconds(&text),
            _ => {
                unreadable.push(name);
                None
            }
        }
    };
    let [created_at, updated_at] = ["created_at", "updated_at"].map(&mut optional_time);
    let capabilities = match field("capabilities").map(|node| (node.bytes().len(), node.value())) {
        None | Some((_, Some(Value::Null))) => Vec::new(),
        Some((length, Some(Value::Array(names)))) if length <= 256 && names.iter().all(Value::is_string) => {
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).filter(|name| !name.is_empty()).collect()
        }
        _ => {
            unreadable.push("capabilities");
            Vec::new()
        }
    };
    let e164 = text("e164")?;
    let digits = e164.strip_prefix('+')?;
    if digits.is_empty() || digits.len() > 15 || digits.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    Some(Number {
        country: required("country")?,
        kind: required("type")?,
        status: required("status")?,
        currency: required("currency")?,
        fees: [thousandths(field("monthly_fee")?)?, thousandths(field("setup_fee")?)?],
        capabilities,
        region,
        trunk,
        application,
        created_at,
        updated_at,
        unreadable,
        e164,
    })
}

/// Returns a number that is written as a JSON number or as a string that contains one.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) if text.trim() == text => serde_json::from_str::<Value>(text).ok()?.as_f64(),
        other => other.as_f64(),
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    number(value).filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number)).map(|number| number as u64)
}

fn thousandths(fee: &Node) -> Option<i128> {
    number(&fee.value()?).filter(|fee| fee.abs() < 1e15).map(|fee| (fee * 1000.0).round() as i128)
}

/// Returns the Unix timestamp of a text like `2025-11-02T17:40:12Z`, with the deviations of form that are read.
fn seconds(text: &str) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let shape: Vec<_> = [4, 7, 10, 13, 16].map(|index| text.get(index..=index)).into_iter().collect::<Option<_>>()?;
    if !matches!(shape[..], ["-", "-", "T" | " ", ":", ":"]) {
        return None;
    }
    let zone = text.get(19..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let offset = match zone {
        "" | "Z" | "+00:00" | "+0000" | "+00" | "-0000" => 0,
        "+02:00" | "+0200" | "+02" => 7200,
        _ => return None,
    };
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = |month| match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if !(1..=12).contains(&month) || !(1..=month_days(month)).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let days = years + (1..month).map(month_days).sum::<i64>() + day - 1;
    Some(days * 86400 + hour * 3600 + minute * 60 + second - offset)
}

/// Returns the series of a listing, with all collectors and without per-number series.
fn series(numbers: &BTreeMap<String, Number>, invalid: u64, total: u64) -> Series {
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    let mut add = |family: &str, labels: &[(&str, &str)], amount: i128| {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escape(value))).collect();
        *sums.entry(format!("tryvox_{family}{{account=\"acc_demo\"{}}}", labels.concat())).or_default() += amount;
    };
    add("listed_numbers", &[], numbers.len() as i128 * 1000);
    add("reported_numbers", &[], i128::from(total) * 1000);
    add("invalid_records", &[], i128::from(invalid) * 1000);
    for field in ["region", "trunk_id", "application_id", "capabilities", "created_at", "updated_at"] {
        let count = numbers.values().filter(|number| number.unreadable.contains(&field)).count();
        add("unreadable_fields", &[("field", field)], count as i128 * 1000);
    }
    for number in numbers.values() {
        let group = [("country", &*number.country), ("type", &*number.kind)];
        let (status, currency) = (("status", &*number.status), ("currency", &*number.currency));
        for documented in ["active", "pending", "suspended", &number.status] {
            let status = ("status", documented);
            add("numbers", &[group[0], group[1], status], 0);
            for family in ["monthly_fees", "setup_fees"] {
                add(family, &[group[0], group[1], status, currency], 0);
            }
        }
        add("numbers", &[group[0], group[1], status], 1000);
        for (family, fee) in ["monthly_fees", "setup_fees"].into_iter().zip(number.fees) {
            add(family, &[group[0], group[1], status, currency], fee);
        }
        let mut capabilities = number.capabilities.clone();
        capabilities.sort();
        capabilities.dedup();
        for capability in &capabilities {
            add("capability_numbers", &[("capability", capability), status], 1000);
        }
        let assignment = match (number.trunk.is_empty(), number.application.is_empty()) {
            (false, false) => "both",
            (false, true) => "trunk",
            (true, false) => "application",
            (true, true) => "none",
        };
        add("assignment_numbers", &[("assignment", assignment), status], 1000);
        add("assignment_monthly_fees", &[("assignment", assignment), status, currency], number.fees[0]);
        let region = [group[0], ("region", &number.region), status];
        let (trunk, application) = (("trunk_id", &*number.trunk), ("application_id", &*number.application));
        add("region_numbers", &region, 1000);
        add("trunk_numbers", &[trunk, status], 1000);
        add("application_numbers", &[application, status], 1000);
        add("region_monthly_fees", &[&region[..], &[currency]].concat(), number.fees[0]);
        add("trunk_monthly_fees", &[trunk, status, currency], number.fees[0]);
        add("application_monthly_fees", &[application, status, currency], number.fees[0]);
    }
    let mut oldest: BTreeMap<&str, i64> = BTreeMap::new();
    for number in numbers.values() {
        if let Some(updated_at) = number.updated_at {
            let oldest = oldest.entry(&number.status).or_insert(updated_at);
            *oldest = updated_at.min(*oldest);
        }
    }
    for (status, updated_at) in oldest {
        add("oldest_update_timestamp_seconds", &[("status", status)], i128::from(updated_at) * 1000);
    }
    if let Some(created_at) = numbers.values().filter_map(|number| number.created_at).max() {
        add("newest_creation_timestamp_seconds", &[], i128::from(created_at) * 1000);
    }
    sums.into_iter().map(|(series, sum)| (series, format!("{sum}e-3").parse().unwrap())).collect()
}
