//! The JSON of `GET /v1/account/{account_id}/numbers`.
//!
//! [`ListingPage::parse`] turns the bytes of a body into records that borrow from it. A malformed record is left out
//! and counted; only a body that is not a page at all is an error. Whether the texts of a record are valid is not
//! checked here but in `inventory`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::{Failure, FailureReason};
use super::round_up_to_seconds;

/// Maximum number of records in a page, far above any page size. A longer page is rejected, which bounds memory.
const MAX_RECORDS: usize = 10_000;

/// Maximum number of malformed records per page whose error messages are kept.
const MAX_EXAMPLES: usize = 5;

/// One number of the listing, with its fields as the API sends them. Other fields are ignored.
#[derive(Debug, Deserialize)]
pub struct NumberRecord<'a> {
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
    #[serde(borrow)]
    pub monthly_fee: &'a RawValue,
    /// The one-time setup fee as raw JSON.
    #[serde(borrow)]
    pub setup_fee: &'a RawValue,
    /// The capabilities as raw JSON: an array of `voice`, `sms` and `mms`.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// The state or region, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub region: Option<Cow<'a, str>>,
    /// The ID of the trunk that the number is assigned to, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub trunk_id: Option<Cow<'a, str>>,
    /// The ID of the application that the number is assigned to, if any.
    #[serde(borrow, default, deserialize_with = "optional_text")]
    pub application_id: Option<Cow<'a, str>>,
    /// When the number was purchased, if known.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub created_at: Option<SystemTime>,
    /// When the number was last updated, if known.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub updated_at: Option<SystemTime>,
}

/// Maximum length of an optional text, in bytes: longer than any ID or name.
const MAX_TEXT: usize = 256;

/// Deserializes a string of 1 to 256 bytes; any other value becomes `None`.
///
/// # Errors
/// If the value is not valid JSON.
pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let within_limits = |text: Cow<'de, str>| Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
    deserializer.deserialize_any(StringVisitor(within_limits))
}

/// Deserializes an RFC 3339 timestamp, the profile of ISO 8601 that the API's documentation shows; any other value
/// becomes `None`.
///
/// # Errors
/// If the value is not valid JSON.
pub fn optional_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let parse = |text: Cow<'de, str>| {
        // Nearly all timestamps are UTC, which `humantime` parses in a tenth of the time.
        let utc = humantime::parse_rfc3339(&text).ok();
        utc.or_else(|| OffsetDateTime::parse(&text, &Rfc3339).ok().map(SystemTime::from))
    };
    deserializer.deserialize_any(StringVisitor(parse))
}

/// Applies a function to a string and returns `None` for any other JSON value.
struct StringVisitor<F>(F);

impl<'de, T, F: FnOnce(Cow<'de, str>) -> Option<T>> Visitor<'de> for StringVisitor<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Option<T>, E> {
        Ok(self.0(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<T>, E> {
        Ok(self.0(text.to_owned().into()))
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Option<T>, A::Error> {
        IgnoredAny.visit_seq(array).map(|_| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Option<T>, A::Error> {
        IgnoredAny.visit_map(object).map(|_| None)
    }
}

/// The totals of a listing, as reported by each of its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Pagination {
    /// Number of records that match the filter, over all pages.
    pub total: u64,
    /// Number of pages, 0 or 1 if there are no records. It is not checked; see `page_count`.
    pub total_pages: u64,
}

impl Pagination {
    /// Returns the number of pages to request, at least 1.
    ///
    /// # Errors
    /// If it exceeds 10 pages per record plus 1000, which no real listing does even though pages may be partly filled
    /// or empty. Without this limit a listing might never end.
    pub(super) fn page_count(self) -> Result<u32, Failure> {
        let Self { total, total_pages } = self;
        let limit = total.saturating_mul(10).saturating_add(1000);
        u32::try_from(total_pages.max(1)).ok().filter(|pages| u64::from(*pages) <= limit).ok_or_else(|| {
            Failure::new(
                FailureReason::Inconsistent,
                format!(
                    "the API reports {total_pages} pages for {total} numbers, which cannot be right; check that \
                     --tryvox.url is the TryVox API"
                ),
            )
        })
    }
}

/// One page of a listing.
#[derive(Debug)]
pub struct ListingPage<'a> {
    /// The well-formed records, in the order of the page.
    pub records: Vec<NumberRecord<'a>>,
    /// The other records.
    pub malformed: MalformedRecords,
    /// The totals of the listing.
    pub pagination: Pagination,
    /// When the API generated the page. The body does not contain it, so [`parse`](Self::parse) leaves it `None`.
    pub generated: Option<GenerationWindow>,
}

/// Elements of a page that do not have the fields of a [`NumberRecord`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MalformedRecords {
    /// Number of malformed records.
    pub count: u64,
    /// Error messages of the first few. They may quote the records.
    pub examples: Vec<String>,
}

/// The time window in which the API generated a page, by the API's own clock and in whole seconds, like the timestamps
/// that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationWindow {
    /// When the request was sent, or earlier.
    pub earliest: SystemTime,
    /// When the response began, or later.
    pub latest: SystemTime,
}

impl GenerationWindow {
    /// Returns the window of a response with this `Date` header that arrived this long after its request was sent.
    #[must_use]
    pub fn of_response(date: SystemTime, elapsed: Duration) -> Self {
        let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs());
        // A `Date` header and the timestamps compared with `earliest` are truncated to seconds, so round outwards.
        let earliest = date.checked_sub(round_up_to_seconds(elapsed)).unwrap_or(date);
        Self { earliest, latest: date + Duration::from_secs(1) }
    }
}

/// The body of a page, with records of type `R`.
#[derive(Deserialize)]
struct PageBody<R> {
    #[serde(bound(deserialize = "R: Deserialize<'de>"))]
    data: BoundedRecords<R>,
    pagination: Pagination,
}

/// At most [`MAX_RECORDS`] records; deserializing more of them is an error.
struct BoundedRecords<R>(Vec<R>);

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
                while let Some(record) = array.next_element()? {
                    if records.len() == MAX_RECORDS {
                        return Err(A::Error::custom(format!("more than {MAX_RECORDS} records in a page")));
                    }
                    records.push(record);
                }
                Ok(BoundedRecords(records))
            }
        }

        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

impl<'a> ListingPage<'a> {
    /// Parses the body of a page. Malformed records are left out and counted.
    ///
    /// # Errors
    /// If the body is not valid JSON, or does not have the structure of a page.
    pub fn parse(body: &'a [u8]) -> serde_json::Result<Self> {
        // Checking UTF-8 once for the whole body is faster than once per string.
        let body = std::str::from_utf8(body).map_err(serde_json::Error::custom)?;
        if let Ok(PageBody { data, pagination }) = serde_json::from_str::<PageBody<NumberRecord<'a>>>(body) {
            return Ok(Self { records: data.0, malformed: MalformedRecords::default(), pagination, generated: None });
        }
        // Something is malformed. Parsing each record on its own loses only the malformed ones.
        let PageBody { data, pagination } = serde_json::from_str::<PageBody<&'a RawValue>>(body)?;
        let (mut records, mut malformed) = (Vec::with_capacity(data.0.len()), MalformedRecords::default());
        for record in data.0 {
            match serde_json::from_str(record.get()) {
                Ok(record) => records.push(record),
                Err(error) => {
                    malformed.count += 1;
                    if malformed.examples.len() < MAX_EXAMPLES {
                        malformed.examples.push(error.to_string());
                    }
                }
            }
        }
        Ok(Self { records, malformed, pagination, generated: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"e164":"+14155550123","country":"US","type":"local","region":"CA","status":"active",
        "capabilities":["voice","sms","mms"],"monthly_fee":1.15,"setup_fee":0.0,"currency":"USD",
        "trunk_id":"trk_9f2c","application_id":null,"created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}"#;
    const PAGINATION: &str = r#"{"total":1,"count":1,"per_page":100,"current_page":1,"total_pages":1}"#;

    fn page(records: &[&str]) -> String {
        format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, records.join(","))
    }

    #[test]
    fn documented_example_is_parsed_with_exact_fees() {
        let body = page(&[RECORD]);
        let page = ListingPage::parse(body.as_bytes()).unwrap();
        assert_eq!(page.pagination, Pagination { total: 1, total_pages: 1 });
        assert_eq!(page.malformed, MalformedRecords::default());
        assert_eq!(page.records[0].created_at, Some(humantime::parse_rfc3339("2025-03-11T09:24:00Z").unwrap()));
        let [record] = &page.records[..] else { panic!("{page:?}") };
        assert_eq!((&*record.e164, &*record.kind, &*record.status), ("+14155550123", "local", "active"));
        assert_eq!((record.monthly_fee.get(), record.setup_fee.get()), ("1.15", "0.0"));
    }

    #[test]
    fn malformed_record_does_not_affect_the_others() {
        let no_status = RECORD.replace(r#""status":"active","#, "");
        let surrogate = RECORD.replace("local", r"\ud800");
        let twice = RECORD.replacen('{', r#"{"e164":"+1","#, 1);
        for malformed in ["7", "null", "[]", "{}", r#""x""#, &no_status, &surrogate, &twice] {
            let body = page(&[RECORD, malformed, RECORD]);
            let page = ListingPage::parse(body.as_bytes()).unwrap();
            assert_eq!(
                (page.records.len(), page.malformed.count, page.malformed.examples.len()),
                (2, 1, 1),
                "{malformed}"
            );
        }
    }

    #[test]
    fn timestamp_is_rfc_3339_or_none() {
        let created_at = |text: &str| {
            let body = page(&[&RECORD.replace(r#""2025-03-11T09:24:00Z""#, text)]);
            let page = ListingPage::parse(body.as_bytes()).unwrap();
            page.records[0].created_at.map(|at| humantime::format_rfc3339_seconds(at).to_string())
        };
        for valid in [r#""2025-03-11T09:24:00Z""#, r#""2025-03-11T11:24:00+02:00""#, r#""2025-03-11T09:24:00.000Z""#] {
            assert_eq!(created_at(valid).as_deref(), Some("2025-03-11T09:24:00Z"), "{valid}");
        }
        for invalid in ["null", "7", "{}", r#""""#, r#""yesterday""#, r#""2025-13-11T09:24:00Z""#] {
            assert_eq!(created_at(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn optional_text_is_a_string_or_none() {
        let region = |json: &str| {
            let body = page(&[&RECORD.replace(r#""CA""#, json)]);
            let page = ListingPage::parse(body.as_bytes()).unwrap();
            assert_eq!((page.records.len(), page.malformed.count), (1, 0), "{json}");
            page.records[0].region.as_deref().map(str::to_owned)
        };
        for (json, text) in [(r#""Québec""#, "Québec"), (r#""Qu\u00e9bec""#, "Québec"), (r#""a \"b\"""#, "a \"b\"")]
        {
            assert_eq!(region(json).as_deref(), Some(text));
        }
        let long = format!("{:?}", "x".repeat(MAX_TEXT + 1));
        for other in ["null", "7", "-7", "1.5", "true", r#"[1,["x"]]"#, r#"{"x":{}}"#, r#""""#, &long] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn implausible_page_counts_are_rejected() {
        let page_count = |total, total_pages| Pagination { total, total_pages }.page_count();
        assert_eq!(page_count(0, 0), Ok(1));
        assert_eq!(page_count(47, 3), Ok(3));
        assert_eq!(page_count(0, 1000), Ok(1000));
        for (total, total_pages) in [(0, 1001), (47, 1_000_000_000), (u64::MAX, u64::MAX)] {
            assert_eq!(page_count(total, total_pages).unwrap_err().reason, FailureReason::Inconsistent);
        }
    }

    #[test]
    fn many_malformed_records_take_bounded_memory() {
        let malformed_page =
            |count| format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, vec!["7"; count].join(","));
        let body = malformed_page(MAX_RECORDS);
        let malformed = ListingPage::parse(body.as_bytes()).unwrap().malformed;
        assert_eq!((malformed.count, malformed.examples.len()), (MAX_RECORDS as u64, MAX_EXAMPLES));
        let error = ListingPage::parse(malformed_page(MAX_RECORDS + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 10000 records"), "{error}");
    }

    #[test]
    fn generation_window_contains_request_and_date_in_whole_seconds() {
        let second = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let window = |elapsed| GenerationWindow::of_response(second(100), Duration::from_millis(elapsed));
        assert_eq!(window(0), GenerationWindow { earliest: second(100), latest: second(101) });
        assert_eq!(window(20), GenerationWindow { earliest: second(99), latest: second(101) });
        assert_eq!(window(2001), GenerationWindow { earliest: second(97), latest: second(101) });
    }

    #[test]
    fn body_that_is_not_a_page_is_an_error() {
        let valid = page(&[RECORD]);
        let truncated = &valid[..valid.len() - 1];
        let trailing = format!("{valid}x");
        for invalid in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"data":[]}"#,
            r#"{"data":null,"pagination":null}"#,
            truncated,
            &trailing,
        ] {
            assert!(ListingPage::parse(invalid.as_bytes()).is_err(), "{invalid}");
        }
    }
}
