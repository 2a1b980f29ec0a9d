//! How a fault changes the JSON of a page.
//!
//! The changes are made in the text that the simulator generates, so everything else stays byte for byte as it is. A
//! name like `"total":` occurs in it only as the name of a field.

use std::ops::Range;

use serde_json::value::RawValue;

use super::fault_kind::{FaultKind, NumberStyle};
use super::response::SimulatedPage;

const FEES: [&str; 2] = ["monthly_fee", "setup_fee"];
const TIMESTAMPS: [&str; 2] = ["created_at", "updated_at"];
const PAGINATION: [&str; 5] = ["total", "count", "per_page", "current_page", "total_pages"];

/// The start of UTF-8 text that says it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `"Québec"` in Latin-1, which is not UTF-8.
const LATIN_1_REGION: &[u8] = b"\"Qu\xe9bec\"";

/// Changes the JSON of the record at this index of a page as the fault would.
pub(super) fn alter_record(fault: &FaultKind, index: usize, record: &mut String) {
    match fault {
        FaultKind::StringNumbers(NumberStyle::String) => replace_values(record, &FEES, |fee| format!("\"{fee}\"")),
        FaultKind::TypeChange => {
            let currency = value_range(record, "currency").map_or("null", |range| &record[range]).to_owned();
            replace_values(record, &FEES, |fee| format!(r#"{{"amount":"{fee}","currency":{currency}}}"#));
        }
        FaultKind::OddTimestamps => replace_values(record, &TIMESTAMPS, |timestamp| odd_timestamp(index, timestamp)),
        FaultKind::UnreadableFields => {
            replace_values(record, &["capabilities"], |_| r#""voice""#.to_owned());
            replace_values(record, &["region"], |region| format!(r#"{{"code":{region}}}"#));
            replace_values(record, &["trunk_id", "application_id"], |id| {
                if id == "null" { id.to_owned() } else { "40239".to_owned() }
            });
            replace_values(record, &TIMESTAMPS, |_| "1762105212".to_owned());
        }
        _ => {}
    }
}

/// Returns the body of a page as the fault would write it.
pub(super) fn encode_page(fault: Option<&FaultKind>, page: &SimulatedPage) -> Vec<u8> {
    let mut json = page.to_json();
    match fault {
        Some(FaultKind::NullData) => replace_values(&mut json, &["data"], |_| "null".to_owned()),
        Some(FaultKind::StringNumbers(NumberStyle::String)) => {
            replace_values(&mut json, &PAGINATION, |number| format!("\"{number}\""));
        }
        Some(FaultKind::StringNumbers(NumberStyle::Float)) => {
            replace_values(&mut json, &PAGINATION, |number| format!("{number}.0"));
        }
        Some(FaultKind::ByteOrderMark) => return [BYTE_ORDER_MARK, json.as_bytes()].concat(),
        Some(FaultKind::InvalidUtf8) => {
            if let Some(Range { start, end }) = value_range(&json, "region") {
                let json = json.as_bytes();
                return [&json[..start], LATIN_1_REGION, &json[end..]].concat();
            }
        }
        _ => {}
    }
    json.into_bytes()
}

/// Returns a JSON string with the same timestamp in another notation, which depends on the index.
fn odd_timestamp(index: usize, timestamp: &str) -> String {
    let Some((date, time)) = timestamp.trim_matches('"').trim_end_matches('Z').split_once('T') else {
        return timestamp.to_owned();
    };
    match index % 5 {
        0 => format!(r#""{date} {time}Z""#),
        1 => format!(r#""{date}T{time}""#),
        2 => format!(r#""{date}T{time}+0000""#),
        3 => format!(r#""{date}T{time}.750Z""#),
        _ => format!(r#""{date} {time}.123456""#),
    }
}

/// Replaces the value of the first field of each name.
fn replace_values(json: &mut String, names: &[&str], replace: impl Fn(&str) -> String) {
    for name in names {
        if let Some(range) = value_range(json, name) {
            let value = replace(&json[range.clone()]);
            json.replace_range(range, &value);
        }
    }
}

/// Returns where the value of the first field of this name is.
fn value_range(json: &str, name: &str) -> Option<Range<usize>> {
    let key = format!("\"{name}\":");
    let start = json.find(&key)? + key.len();
    let mut values = serde_json::Deserializer::from_str(&json[start..]).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some(start..start + value.get().len())
}
