//! The JSON of `GET /v1/account/{account_id}/numbers`, borrowed from the body.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// Why the others, if any, could not be read. It may quote them.
    pub unreadable: Vec<String>,
    /// Where the page stands.
    pub pagination: Pagination,
}

#[derive(Deserialize)]
struct Envelope<R> {
    data: Vec<R>,
    pagination: Pagination,
}

impl<'a> Page<'a> {
    /// Reads a page's body.
    ///
    /// # Errors
    /// When the body is not JSON of the shape of a page. A record of another shape than
    /// [`Record`]'s is no error of the page: it is left out and said in `unreadable`.
    pub fn read(body: &'a [u8]) -> serde_json::Result<Self> {
        if let Ok(Envelope { data, pagination }) = serde_json::from_slice::<Envelope<Record<'a>>>(body) {
            return Ok(Self { records: data, unreadable: Vec::new(), pagination });
        }
        // Something is odd: if it is a record, only that one is lost.
        let Envelope { data, pagination } = serde_json::from_slice::<Envelope<&'a RawValue>>(body)?;
        let mut page = Self { records: Vec::with_capacity(data.len()), unreadable: Vec::new(), pagination };
        for record in data {
            match serde_json::from_str(record.get()) {
                Ok(record) => page.records.push(record),
                Err(error) => page.unreadable.push(error.to_string()),
            }
        }
        Ok(page)
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
        assert!(page.unreadable.is_empty());
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
            assert_eq!((page.records.len(), page.unreadable.len()), (2, 1), "{odd}");
        }
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
