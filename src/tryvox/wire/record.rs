//! One number of a listing, with its fields exactly as the API documents them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{self, StrDeserializer};
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use super::deviation::FieldSet;
use super::json::ObjectOnly;
use super::timestamp;

/// One number of the listing. Other fields are ignored.
#[derive(Debug, Deserialize, PartialEq)]
pub struct NumberRecord<'a> {
    #[serde(default, rename = "")]
    pub(super) _object: ObjectOnly,
    /// The number in E.164 format.
    #[serde(borrow)]
    pub e164: Cow<'a, str>,
    /// The country as an ISO 3166-1 alpha-2 code.
    #[serde(borrow)]
    pub country: Cow<'a, str>,
    /// The type of the number: `local`, `toll_free` or `mobile`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The status of the number: `active`, `pending` or `suspended`.
    #[serde(borrow)]
    pub status: Cow<'a, str>,
    /// The currency of the fees as an ISO 4217 code.
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
    /// The monthly fee as raw JSON, so that sums are made from the API's own digits.
    #[serde(borrow, deserialize_with = "raw")]
    pub monthly_fee: &'a str,
    /// The one-time setup fee as raw JSON.
    #[serde(borrow, deserialize_with = "raw")]
    pub setup_fee: &'a str,
    /// The capabilities as raw JSON: an array of `voice`, `sms` and `mms`.
    #[serde(borrow, default, deserialize_with = "optional_raw")]
    pub capabilities: Option<&'a str>,
    /// The state or region, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub region: Option<Cow<'a, str>>,
    /// The ID of the trunk that the number is assigned to, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub trunk_id: Option<Cow<'a, str>>,
    /// The ID of the application that the number is assigned to, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub application_id: Option<Cow<'a, str>>,
    /// When the number was purchased, if known, as a Unix timestamp in seconds.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub created_at: Option<u32>,
    /// When the number was last updated, if known, as a Unix timestamp in seconds.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub updated_at: Option<u32>,
    /// The fields above that are `None` because they cannot be read. Raw JSON is never among them.
    #[serde(skip)]
    pub unreadable: FieldSet,
}

/// A field of a record. Those up to the setup fee are in every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    E164,
    Country,
    #[serde(rename = "type")]
    Kind,
    Status,
    Currency,
    MonthlyFee,
    SetupFee,
    Capabilities,
    Region,
    TrunkId,
    ApplicationId,
    CreatedAt,
    UpdatedAt,
    /// A field that is ignored.
    #[serde(other)]
    Other,
}

impl Field {
    /// The fields that are in every record, as bits.
    pub(super) const REQUIRED: u16 = (Self::SetupFee.bit() << 1) - 1;

    /// Returns the field as a bit of a set.
    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Returns the field of a key.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<value::Error>::new(name)).ok()
    }
}

impl NumberRecord<'_> {
    /// Returns a record none of whose fields have been read. This is a function because copying a
    /// constant is slower.
    pub(super) fn unread() -> Self {
        Self {
            _object: ObjectOnly,
            e164: "".into(),
            country: "".into(),
            kind: "".into(),
            status: "".into(),
            currency: "".into(),
            monthly_fee: "",
            setup_fee: "",
            capabilities: None,
            region: None,
            trunk_id: None,
            application_id: None,
            created_at: None,
            updated_at: None,
            unreadable: FieldSet::EMPTY,
        }
    }
}

/// Deserializes any value as it is written.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'de str, D::Error> {
    <&RawValue>::deserialize(deserializer).map(RawValue::get)
}

/// Deserializes any value but `null` as it is written.
fn optional_raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Option::<&RawValue>::deserialize(deserializer).map(|json| json.map(RawValue::get))
}

/// Maximum length of a text that is kept, in bytes: longer than any ID or name.
pub const MAX_TEXT: usize = 256;

/// A value does not have its documented form.
pub(super) struct Undocumented;

/// Returns an optional text unless it is too long; an empty one is none at all.
pub(super) fn within_limit(text: Cow<'_, str>) -> Result<Option<Cow<'_, str>>, Undocumented> {
    if text.len() > MAX_TEXT {
        return Err(Undocumented);
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Parses an RFC 3339 timestamp, see [`timestamp::parse`].
#[expect(clippy::needless_pass_by_value, reason = "it has the signature of `within_limit`")]
pub(super) fn known_timestamp(text: Cow<'_, str>) -> Result<Option<u32>, Undocumented> {
    timestamp::parse(&text).map(Some).ok_or(Undocumented)
}

/// Deserializes a string of at most 256 bytes or `null`. An empty string becomes `None`.
///
/// # Errors
/// If the value is anything else.
pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    deserializer.deserialize_any(StringVisitor(within_limit))
}

/// Deserializes an RFC 3339 timestamp or `null`, as a Unix timestamp in seconds.
///
/// # Errors
/// If the value is anything else.
pub fn optional_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    deserializer.deserialize_any(StringVisitor(known_timestamp))
}

/// Reads a string with a function, and `null` as `None`.
struct StringVisitor<F>(F);

impl<'de, T, F: FnOnce(Cow<'de, str>) -> Result<Option<T>, Undocumented>> Visitor<'de> for StringVisitor<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of the documented form")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Option<T>, E> {
        (self.0)(text.into()).map_err(|Undocumented| E::custom("undocumented form"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        (self.0)(text.to_owned().into()).map_err(|Undocumented| E::custom("undocumented form"))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}
