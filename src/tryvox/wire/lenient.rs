//! Reads records that are not exactly as documented: unreadable optional fields are left out, and timestamps may have
//! other notations.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::deviation::{Deviation, FieldSet, OptionalField};
use super::json::{ObjectOnly, is_null, present, text, type_name};
use super::record::{NumberRecord, Undocumented, within_limit};
use super::timestamp;

/// A record that lacks a required field, or is not a record at all.
#[derive(Debug, PartialEq, Eq)]
pub struct MalformedRecord<'a> {
    /// What is wrong with it. It quotes nothing that the API wrote.
    pub error: String,
    /// The `e164` of the record, if that can be read.
    pub e164: Option<Cow<'a, str>>,
}

/// A record whose fields have not been read yet.
#[derive(Deserialize)]
struct RawRecord<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    e164: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    country: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    status: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    currency: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    monthly_fee: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    setup_fee: Option<&'a RawValue>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    region: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trunk_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    application_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    updated_at: Option<&'a RawValue>,
}

/// Reads a record and adds its deviations from the documentation to `deviations`.
///
/// # Errors
/// If a required field is missing or has the wrong type.
pub(super) fn read_record<'a>(
    json: &'a RawValue,
    deviations: &mut BTreeSet<Deviation>,
) -> Result<NumberRecord<'a>, MalformedRecord<'a>> {
    if let Ok(record) = serde_json::from_str(json.get()) {
        return Ok(record);
    }
    let mut found = BTreeSet::new();
    let record = read_fields(json, &mut found).map_err(|error| malformed(json, error))?;
    deviations.extend(found);
    Ok(record)
}

/// Returns a malformed record with its `e164`, if that can be read.
pub(super) fn malformed(json: &RawValue, error: String) -> MalformedRecord<'_> {
    #[derive(Deserialize)]
    struct Numbered<'a> {
        #[serde(borrow)]
        e164: Cow<'a, str>,
    }

    let is_object = json.get().starts_with('{');
    let numbered = is_object.then(|| serde_json::from_str(json.get()).ok()).flatten();
    MalformedRecord { error, e164: numbered.map(|Numbered { e164 }| e164) }
}

fn read_fields<'a>(json: &'a RawValue, deviations: &mut BTreeSet<Deviation>) -> Result<NumberRecord<'a>, String> {
    if !json.get().starts_with('{') {
        return Err(format!("the record is {} instead of an object", type_name(json)));
    }
    // Only a field that occurs twice, or a key that is not valid Unicode.
    let raw: RawRecord<'_> = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    let mut unreadable = FieldSet::default();
    let mut optional_text = |field, json: Option<&'a RawValue>| {
        let text = text(json?).ok_or(Undocumented).and_then(within_limit);
        text.unwrap_or_else(|Undocumented| {
            unreadable.insert(field);
            None
        })
    };
    let region = optional_text(OptionalField::Region, raw.region);
    let trunk_id = optional_text(OptionalField::TrunkId, raw.trunk_id);
    let application_id = optional_text(OptionalField::ApplicationId, raw.application_id);
    let mut optional_timestamp = |field, json: Option<&RawValue>| {
        let json = json?;
        let time = text(json).and_then(|text| timestamp::parse_lenient(&text, deviations));
        if time.is_none() {
            unreadable.insert(field);
        }
        time
    };
    Ok(NumberRecord {
        _object: ObjectOnly,
        e164: required_text("e164", raw.e164)?,
        country: required_text("country", raw.country)?,
        kind: required_text("type", raw.kind)?,
        status: required_text("status", raw.status)?,
        currency: required_text("currency", raw.currency)?,
        monthly_fee: required("monthly_fee", raw.monthly_fee)?.get(),
        setup_fee: required("setup_fee", raw.setup_fee)?.get(),
        capabilities: raw.capabilities.map(RawValue::get),
        region,
        trunk_id,
        application_id,
        created_at: optional_timestamp(OptionalField::CreatedAt, raw.created_at),
        updated_at: optional_timestamp(OptionalField::UpdatedAt, raw.updated_at),
        unreadable,
    })
}

fn required<'a>(field: &str, json: Option<&'a RawValue>) -> Result<&'a RawValue, String> {
    json.ok_or_else(|| format!("{field} is missing"))
}

fn required_text<'a>(field: &str, json: Option<&'a RawValue>) -> Result<Cow<'a, str>, String> {
    let json = required(field, json)?;
    text(json).ok_or_else(|| match type_name(json) {
        "a string" => format!("{field} is not valid Unicode"),
        other if is_null(json) => format!("{field} is {other}"),
        other => format!("{field} is {other} instead of a string"),
    })
}
