//! The JSON of `GET /v1/account/{account_id}/numbers`.
//!
//! [`PageText::new`] makes text of the bytes of a body, and [`ListingPage::parse`] makes records of it that borrow from
//! the text. A page as documented is parsed at once, by [`documented`] or, failing that, by `serde_json`. In any other,
//! each record is read on its own: forms that have only one meaning are read and named in [`ListingPage::deviations`], an
//! unreadable optional field is left out, and a malformed record is passed on as such. Only a body that is not a page at
//! all is an error. Whether the texts of a record are valid is not checked here but in `inventory`.

mod deviation;
mod documented;
mod json;
mod lenient;
mod pagination;
mod record;
mod text;
mod timestamp;

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::failure::{Failure, FailureReason};
use super::round_up_to_seconds;
use json::{ObjectOnly, is_null, present, type_name};

pub use deviation::{Deviation, FieldSet, OptionalField};
pub use lenient::MalformedRecord;
pub use pagination::Pagination;
pub use record::{MAX_TEXT, NumberRecord, optional_text, optional_timestamp};
pub use text::PageText;

/// One page of a listing.
#[derive(Debug)]
pub struct ListingPage<'a> {
    /// The well-formed records, in the order of the page.
    pub records: Vec<NumberRecord<'a>>,
    /// The other records.
    pub malformed: Vec<MalformedRecord<'a>>,
    /// The totals of the listing.
    pub pagination: Pagination,
    /// The undocumented forms that the page has. Fees and capabilities are not checked for them here.
    pub deviations: BTreeSet<Deviation>,
    /// When the API generated the page. The body does not contain it, so [`parse`](Self::parse) leaves it `None`.
    pub generated: Option<GenerationWindow>,
}

/// Why a body is not accepted as a page. No message quotes what the API wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPage {
    /// The body is not valid JSON, or does not have the structure of a page.
    #[error("the response is not a page of numbers: {0}; check that --tryvox.url is the TryVox API")]
    NotAPage(String),
    /// The page has more than twice as many records as requested.
    #[error(
        "the page has {records} records although {per_page} were requested, which is more than twice as many; check that \
         --tryvox.url is the TryVox API"
    )]
    TooManyRecords {
        /// Number of records in the page.
        records: usize,
        /// Number of records requested.
        per_page: u8,
    },
}

impl From<InvalidPage> for Failure {
    fn from(error: InvalidPage) -> Self {
        let reason = match error {
            InvalidPage::NotAPage(_) => FailureReason::Decode,
            InvalidPage::TooManyRecords { .. } => FailureReason::TooLarge,
        };
        Self::new(reason, error.to_string())
    }
}

/// The time window in which the API generated a page, by the API's own clock, as Unix timestamps in seconds, like `created_at`, with
/// which they are compared. Times after 2106 count as 2106.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationWindow {
    /// When the request was sent, or earlier.
    pub earliest: u32,
    /// When the response began, or later.
    pub latest: u32,
}

impl GenerationWindow {
    /// Returns the window of a response with this `Date` header that arrived this long after its request was sent.
    #[must_use]
    pub fn of_response(date: SystemTime, elapsed: Duration) -> Self {
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let date = seconds(date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        // A `Date` header and the timestamps compared with `earliest` are truncated to seconds, so round outwards.
        let earliest = date.saturating_sub(seconds(round_up_to_seconds(elapsed)));
        Self { earliest, latest: date.saturating_add(1) }
    }
}

/// The body of a page exactly as documented.
#[derive(Deserialize)]
struct StrictBody<'a> {
    #[serde(default, rename = "")]
    _object: ObjectOnly,
    #[serde(borrow)]
    data: BoundedRecords<NumberRecord<'a>>,
    pagination: Pagination,
}

/// The body of a page whose parts have not been read yet.
#[derive(Deserialize)]
struct RawBody<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pagination: Option<&'a RawValue>,
}

/// Maximum number of records that are kept of a page. Even at the highest `per_page`, more than these are too many.
const MAX_RECORDS: usize = 2 * u8::MAX as usize;

/// The records of a page, of which at most [`MAX_RECORDS`] are kept.
#[derive(Debug, PartialEq)]
struct BoundedRecords<R> {
    records: Vec<R>,
    /// Number of all records.
    count: usize,
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for BoundedRecords<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedVisitor<R>(PhantomData<R>);

        impl<'de, R: Deserialize<'de>> Visitor<'de> for BoundedVisitor<R> {
            type Value = BoundedRecords<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<BoundedRecords<R>, A::Error> {
                let mut records = Vec::with_capacity(100);
                while records.len() < MAX_RECORDS {
                    match array.next_element()? {
                        Some(record) => records.push(record),
                        None => return Ok(BoundedRecords { count: records.len(), records }),
                    }
                }
                let mut count = records.len();
                while array.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(BoundedRecords { records, count })
            }
        }

        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

impl<R> BoundedRecords<R> {
    /// Returns the records unless they are more than twice as many as requested.
    fn checked(self, per_page: u8) -> Result<Vec<R>, InvalidPage> {
        let Self { records, count } = self;
        if count > 2 * usize::from(per_page) {
            return Err(InvalidPage::TooManyRecords { records: count, per_page });
        }
        Ok(records)
    }
}

impl<'a> ListingPage<'a> {
    /// Parses the body of a page that was requested with this `per_page`.
    ///
    /// # Errors
    /// If the body is not valid JSON, does not have the structure of a page, or has too many records.
    pub fn parse(text: &'a PageText<'_>, per_page: u8) -> Result<Self, InvalidPage> {
        let mut page = match Self::parse_documented(text) {
            Some((records, pagination)) => Self {
                records: records.checked(per_page)?,
                malformed: Vec::new(),
                pagination,
                deviations: BTreeSet::new(),
                generated: None,
            },
            None => Self::parse_lenient(text, per_page)?,
        };
        if text.has_byte_order_mark() {
            page.deviations.insert(Deviation::ByteOrderMark);
        }
        Ok(page)
    }

    /// Parses a body that is exactly as documented.
    fn parse_documented(text: &'a PageText<'_>) -> Option<(BoundedRecords<NumberRecord<'a>>, Pagination)> {
        // In any other body, records are parsed separately to find those with invalid bytes.
        let body = text.is_utf8().then(|| text.as_str())?;
        let strict = || {
            let StrictBody { data, pagination, .. } = serde_json::from_str(body).ok()?;
            Some((data, pagination))
        };
        let Some((records, pagination)) = documented::read(body) else { return strict() };
        let page = Some((BoundedRecords { count: records.len(), records }, pagination));
        debug_assert_eq!(page, strict(), "the faster reader differs");
        page
    }

    /// Parses any other body, each part of it on its own.
    fn parse_lenient(text: &'a PageText<'_>, per_page: u8) -> Result<Self, InvalidPage> {
        let not_a_page = |error: serde_json::Error| InvalidPage::NotAPage(error.to_string());
        let body: &RawValue = serde_json::from_str(text.as_str()).map_err(not_a_page)?;
        if !body.get().starts_with('{') {
            return Err(InvalidPage::NotAPage(format!("it is {} instead of an object", type_name(body))));
        }
        let RawBody { data, pagination } = serde_json::from_str(body.get()).map_err(not_a_page)?;
        let missing = |field| InvalidPage::NotAPage(format!("{field} is missing"));
        let (data, pagination) =
            (data.ok_or_else(|| missing("data"))?, pagination.ok_or_else(|| missing("pagination"))?);

        let mut deviations = BTreeSet::new();
        let pagination = Pagination::read(pagination, &mut deviations).map_err(InvalidPage::NotAPage)?;
        let elements = match type_name(data) {
            "an array" => {
                let elements: BoundedRecords<&RawValue> = serde_json::from_str(data.get()).map_err(not_a_page)?;
                elements.checked(per_page)?
            }
            _ if is_null(data) && pagination.total == 0 => {
                deviations.insert(Deviation::NullData);
                Vec::new()
            }
            other => return Err(InvalidPage::NotAPage(format!("data is {other} instead of an array"))),
        };
        let (mut records, mut malformed) = (Vec::with_capacity(elements.len()), Vec::new());
        for json in elements {
            let record = if text.is_intact(json.get()) {
                lenient::read_record(json, &mut deviations)
            } else {
                Err(lenient::malformed(json, "the record has a byte that is not UTF-8".to_owned()))
            };
            match record {
                Ok(record) => records.push(record),
                Err(record) => malformed.push(record),
            }
        }
        Ok(Self { records, malformed, pagination, deviations, generated: None })
    }
}

#[cfg(test)]
mod tests;
