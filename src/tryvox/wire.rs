//! The JSON of `GET /v1/account/{account_id}/numbers`, borrowed from the body.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// No page that was asked for has so many records: a longer one is refused before it costs memory.
const MAX_RECORDS: usize = 10_000;

/// Of records that cannot be read this many are told of.
const MAX_EXAMPLES: usize = 5;

/// One number of the listing, as the API wrote it. Fields that nothing asks about are not read.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// The number in E.164 format.
    #[serde(borrow)]
    pub e164: Cow<'a, str>,
    /// ISO 3166-1 alpha-2.
    #[serde(borrow)]
    pub country: Cow<'a, str>,
    /// `local`, `toll_free` or `mobile`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// `active`, `pending` or `suspended`.
    #[serde(borrow)]
    pub status: Cow<'a, str>,
    /// ISO 4217.
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
    /// What the number costs a month: the digits of the JSON number, untouched.
    #[serde(borrow)]
    pub monthly_fee: &'a RawValue,
    /// What the number cost once.
    #[serde(borrow)]
    pub setup_fee: &'a RawValue,
    /// Of `voice`, `sms`, `mms`: whatever the API wrote there.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// A state or region, if there is one.
    #[serde(borrow, default)]
    pub region: OptionalText<'a>,
    /// The trunk that it leads to, if any.
    #[serde(borrow, default)]
    pub trunk_id: OptionalText<'a>,
    /// The application that it leads to, if any.
    #[serde(borrow, default)]
    pub application_id: OptionalText<'a>,
    /// When it was bought, if the API says so.
    #[serde(default)]
    pub created_at: OptionalTimestamp,
    /// When it was last updated, if the API says so.
    #[serde(default)]
    pub updated_at: OptionalTimestamp,
}

/// A longer text is no id or name.
const MAX_TEXT: usize = 256;

/// A text that is there and neither empty nor longer than any name: whatever else the API wrote is none.
#[derive(Debug, Default)]
pub struct OptionalText<'a>(pub Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for OptionalText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = |text: Cow<'de, str>| Some(text).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
        deserializer.deserialize_any(IfText(name)).map(Self)
    }
}

/// A time as in RFC 3339, the profile of ISO 8601 that the API's documentation shows: whatever else the
/// API wrote is none.
#[derive(Debug, Default)]
pub struct OptionalTimestamp(pub Option<SystemTime>);

impl<'de> Deserialize<'de> for OptionalTimestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = |text: Cow<'de, str>| {
            // A time of UTC, as nearly all are, is read in a tenth of the time.
            let utc = humantime::parse_rfc3339(&text).ok();
            utc.or_else(|| OffsetDateTime::parse(&text, &Rfc3339).ok().map(SystemTime::from))
        };
        deserializer.deserialize_any(IfText(moment)).map(Self)
    }
}

/// Makes something of a text, and nothing of all else.
struct IfText<F>(F);

impl<'de, T, F: FnOnce(Cow<'de, str>) -> Option<T>> Visitor<'de> for IfText<F> {
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

/// Where a page stands in its listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Pagination {
    /// Numbers that match the filter, over all pages.
    pub total: u64,
    /// How many pages there are; 0 or 1 when there is no number.
    pub total_pages: u64,
}

/// One page of a listing.
#[derive(Debug)]
pub struct Page<'a> {
    /// The records, in the page's order.
    pub records: Vec<Record<'a>>,
    /// The others, if any.
    pub unreadable: InvalidRecords,
    /// Where the page stands.
    pub pagination: Pagination,
    /// When the API wrote it, where that is known.
    pub written: Option<WriteWindow>,
}

/// Records of a page that are not of a [`Record`]'s shape.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InvalidRecords {
    /// How many.
    pub count: u64,
    /// What is wrong with the first few; it may quote them.
    pub examples: Vec<String>,
}

/// When the API wrote a page, by its own clock: not before `from` and not after `to`, both in whole
/// seconds, as the API's timestamps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteWindow {
    /// When the page was asked for, or earlier.
    pub from: SystemTime,
    /// When the answer began, or later.
    pub to: SystemTime,
}

impl WriteWindow {
    /// Of an answer that is dated `date` and that came within `took`.
    #[must_use]
    pub fn answered(date: SystemTime, took: Duration) -> Self {
        let second = Duration::from_secs(1);
        let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        // A date is cut to its second, and so is what `from` is compared with.
        let took = Duration::from_secs(took.as_secs() + u64::from(took.subsec_nanos() > 0));
        Self { from: date.checked_sub(took).unwrap_or(date), to: date + second }
    }
}

#[derive(Deserialize)]
struct Envelope<R> {
    #[serde(bound(deserialize = "R: Deserialize<'de>"))]
    data: Records<R>,
    pagination: Pagination,
}

/// At most [`MAX_RECORDS`] of them.
struct Records<R>(Vec<R>);

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Records<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<R>(PhantomData<R>);

        impl<'de, R: Deserialize<'de>> Visitor<'de> for Bounded<R> {
            type Value = Records<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Records<R>, A::Error> {
                let mut records = Vec::with_capacity(100);
                while let Some(record) = array.next_element()? {
                    if records.len() == MAX_RECORDS {
                        return Err(A::Error::custom(format!("a page has more than {MAX_RECORDS} records")));
                    }
                    records.push(record);
                }
                Ok(Records(records))
            }
        }

        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}

impl<'a> Page<'a> {
    /// Reads a page's body.
    ///
    /// # Errors
    /// When the body is not JSON of the shape of a page. A record of another shape than
    /// [`Record`]'s is no error of the page: it is left out and said in `unreadable`.
    pub fn read(body: &'a [u8]) -> serde_json::Result<Self> {
        // Once for all of it, and not for each text in it.
        let body = std::str::from_utf8(body).map_err(serde_json::Error::custom)?;
        if let Ok(Envelope { data, pagination }) = serde_json::from_str::<Envelope<Record<'a>>>(body) {
            return Ok(Self { records: data.0, unreadable: InvalidRecords::default(), pagination, written: None });
        }
        // Something is odd: if it is a record, only that one is lost.
        let Envelope { data, pagination } = serde_json::from_str::<Envelope<&'a RawValue>>(body)?;
        let (mut records, mut unreadable) = (Vec::with_capacity(data.0.len()), InvalidRecords::default());
        for record in data.0 {
            match serde_json::from_str(record.get()) {
                Ok(record) => records.push(record),
                Err(error) => {
                    unreadable.count += 1;
                    if unreadable.examples.len() < MAX_EXAMPLES {
                        unreadable.examples.push(error.to_string());
                    }
                }
            }
        }
        Ok(Self { records, unreadable, pagination, written: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORD: &str = r#"{"e164":"+14155550123","country":"US","type":"local","region":"CA","status":"active",
        "capabilities":["voice","sms","mms"],"monthly_fee":1.15,"setup_fee":0.0,"currency":"USD",
        "trunk_id":"trk_9f2c","application_id":null,"created_at":"2025-03-11T09:24:00Z","updated_at":"2025-11-02T17:40:12Z"}"#;
    const PAGINATION: &str = r#"{"total":1,"count":1,"per_page":100,"current_page":1,"total_pages":1}"#;

    fn page(records: &[&str]) -> String {
        format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, records.join(","))
    }

    #[test]
    fn the_documented_example_is_read_with_its_digits() {
        let body = page(&[RECORD]);
        let page = Page::read(body.as_bytes()).unwrap();
        assert_eq!(page.pagination, Pagination { total: 1, total_pages: 1 });
        assert_eq!(page.unreadable, InvalidRecords::default());
        assert_eq!(page.records[0].created_at.0, Some(humantime::parse_rfc3339("2025-03-11T09:24:00Z").unwrap()));
        let [record] = &page.records[..] else { panic!("{page:?}") };
        assert_eq!((&*record.e164, &*record.kind, &*record.status), ("+14155550123", "local", "active"));
        assert_eq!((record.monthly_fee.get(), record.setup_fee.get()), ("1.15", "0.0"));
    }

    #[test]
    fn an_odd_record_costs_itself_alone() {
        let no_status = RECORD.replace(r#""status":"active","#, "");
        let surrogate = RECORD.replace("local", r"\ud800");
        let twice = RECORD.replacen('{', r#"{"e164":"+1","#, 1);
        for odd in ["7", "null", "[]", "{}", r#""x""#, &no_status, &surrogate, &twice] {
            let body = page(&[RECORD, odd, RECORD]);
            let page = Page::read(body.as_bytes()).unwrap();
            assert_eq!((page.records.len(), page.unreadable.count, page.unreadable.examples.len()), (2, 1, 1), "{odd}");
        }
    }

    #[test]
    fn when_a_number_was_bought_is_read_where_it_can_be() {
        let created = |text: &str| {
            let body = page(&[&RECORD.replace(r#""2025-03-11T09:24:00Z""#, text)]);
            let page = Page::read(body.as_bytes()).unwrap();
            page.records[0].created_at.0.map(|at| humantime::format_rfc3339_seconds(at).to_string())
        };
        for good in [r#""2025-03-11T09:24:00Z""#, r#""2025-03-11T11:24:00+02:00""#, r#""2025-03-11T09:24:00.000Z""#] {
            assert_eq!(created(good).as_deref(), Some("2025-03-11T09:24:00Z"), "{good}");
        }
        for odd in ["null", "7", "{}", r#""""#, r#""yesterday""#, r#""2025-13-11T09:24:00Z""#] {
            assert_eq!(created(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_name_is_a_text_and_whatever_else_is_there_is_none() {
        let region = |text: &str| {
            let body = page(&[&RECORD.replace(r#""CA""#, text)]);
            let page = Page::read(body.as_bytes()).unwrap();
            assert_eq!((page.records.len(), page.unreadable.count), (1, 0), "{text}");
            page.records[0].region.0.as_deref().map(str::to_owned)
        };
        for (text, name) in [(r#""Québec""#, "Québec"), (r#""Qu\u00e9bec""#, "Québec"), (r#""a \"b\"""#, "a \"b\"")]
        {
            assert_eq!(region(text).as_deref(), Some(name));
        }
        let long = format!("{:?}", "x".repeat(MAX_TEXT + 1));
        for none in ["null", "7", "-7", "1.5", "true", r#"[1,["x"]]"#, r#"{"x":{}}"#, r#""""#, &long] {
            assert_eq!(region(none), None, "{none}");
        }
    }

    #[test]
    fn many_odd_records_cost_no_memory() {
        let many = |count| format!(r#"{{"data":[{}],"pagination":{PAGINATION}}}"#, vec!["7"; count].join(","));
        let body = many(MAX_RECORDS);
        let unreadable = Page::read(body.as_bytes()).unwrap().unreadable;
        assert_eq!((unreadable.count, unreadable.examples.len()), (MAX_RECORDS as u64, MAX_EXAMPLES));
        let error = Page::read(many(MAX_RECORDS + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 10000 records"), "{error}");
    }

    #[test]
    fn an_answer_was_written_between_the_request_and_its_date() {
        let second = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let written = |took| WriteWindow::answered(second(100), Duration::from_millis(took));
        assert_eq!(written(0), WriteWindow { from: second(100), to: second(101) });
        assert_eq!(written(20), WriteWindow { from: second(99), to: second(101) });
        assert_eq!(written(2001), WriteWindow { from: second(97), to: second(101) });
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        let good = page(&[RECORD]);
        let cut = &good[..good.len() - 1];
        let more = format!("{good}x");
        for bad in
            ["", "null", "[]", "{}", "<html>", r#"{"data":[]}"#, r#"{"data":null,"pagination":null}"#, cut, &more]
        {
            assert!(Page::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_page_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Page::read(&bytes);
        }

        #[test]
        fn a_changed_byte_is_a_page_or_an_error(at in 0..300_usize, byte in any::<u8>()) {
            let mut body = page(&[RECORD, RECORD]).into_bytes();
            body[at] = byte;
            let _ = Page::read(&body);
        }
    }
}
