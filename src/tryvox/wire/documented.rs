//! Reads a page that is exactly as documented in a third of the time that `serde_json` takes: the records of one API have
//! their fields in one order, so each key is compared with the one at the same place of the record before.
//!
//! It knows only the documented shape, and returns `None` for anything else, also for invalid JSON: such a page is read again
//! by `serde_json`. What it does return is what `serde_json` returns.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::deviation::FieldSet;
use super::json::ObjectOnly;
use super::pagination::Pagination;
use super::record::{NumberRecord, within_limit};
use super::{MAX_RECORDS, timestamp};
use crate::short_text::equal;

/// Reads a body. Returns `None` if it is not as documented, or has more records than are kept of a page.
pub(super) fn read(body: &str) -> Option<(Vec<NumberRecord<'_>>, Pagination)> {
    let mut reader = Reader { text: body, position: 0, keys: Vec::new() };
    let (mut records, mut pagination) = (None, None);
    reader.object(|reader, key| {
        match key {
            "data" if records.is_none() => records = Some(reader.records()?),
            "pagination" if pagination.is_none() => pagination = Some(reader.other_value()?),
            "data" | "pagination" | "" => return None,
            _ => _ = reader.raw_value()?,
        }
        Some(())
    })?;
    reader.skip_whitespace();
    (reader.position == body.len()).then_some((records?, pagination?))
}

/// A field of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    E164,
    Country,
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
    Other,
}

impl Field {
    fn named(name: &str) -> Self {
        match name {
            "e164" => Self::E164,
            "country" => Self::Country,
            "type" => Self::Kind,
            "status" => Self::Status,
            "currency" => Self::Currency,
            "monthly_fee" => Self::MonthlyFee,
            "setup_fee" => Self::SetupFee,
            "capabilities" => Self::Capabilities,
            "region" => Self::Region,
            "trunk_id" => Self::TrunkId,
            "application_id" => Self::ApplicationId,
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            _ => Self::Other,
        }
    }
}

/// The fields that every record has, as bits.
const REQUIRED: u16 = bit(Field::E164)
    | bit(Field::Country)
    | bit(Field::Kind)
    | bit(Field::Status)
    | bit(Field::Currency)
    | bit(Field::MonthlyFee)
    | bit(Field::SetupFee);

const fn bit(field: Field) -> u16 {
    1 << field as u16
}

/// A record none of whose fields have been read.
const UNREAD: NumberRecord<'_> = NumberRecord {
    _object: ObjectOnly,
    e164: Cow::Borrowed(""),
    country: Cow::Borrowed(""),
    kind: Cow::Borrowed(""),
    status: Cow::Borrowed(""),
    currency: Cow::Borrowed(""),
    monthly_fee: "",
    setup_fee: "",
    capabilities: None,
    region: None,
    trunk_id: None,
    application_id: None,
    created_at: None,
    updated_at: None,
    unreadable: FieldSet::EMPTY,
};

/// Reads JSON from a text. Every method returns `None` if what it reads is not there; the position is of no use then.
struct Reader<'a> {
    text: &'a str,
    /// An index into the text.
    position: usize,
    /// What is between the values of the last record, in order, and which field it names.
    keys: Vec<(&'a [u8], Field)>,
}

impl<'a> Reader<'a> {
    /// Returns the text that has not been read.
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.position..).unwrap_or_default()
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.rest().first() {
            self.position += 1;
        }
    }

    /// Skips a byte and the whitespace before it.
    fn skip(&mut self, byte: u8) -> Option<()> {
        self.skip_whitespace();
        self.skip_if(byte).then_some(())
    }

    /// Skips a byte if it is the next one.
    fn skip_if(&mut self, byte: u8) -> bool {
        let is_next = self.rest().first() == Some(&byte);
        self.position += usize::from(is_next);
        is_next
    }

    /// Reads an object. `value` reads the value of a key.
    fn object(&mut self, mut value: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.skip(b'{')?;
        loop {
            self.skip_whitespace();
            let key = self.plain_string()?;
            self.skip(b':')?;
            self.skip_whitespace();
            value(self, key)?;
            if !self.skip_separator(b'}')? {
                return Some(());
            }
        }
    }

    /// Skips a comma or the end of an array or object. Returns whether it was a comma.
    fn skip_separator(&mut self, end: u8) -> Option<bool> {
        self.skip_whitespace();
        let is_comma = self.skip_if(b',');
        (is_comma || self.skip_if(end)).then_some(is_comma)
    }

    /// Reads the array of records.
    fn records(&mut self) -> Option<Vec<NumberRecord<'a>>> {
        self.skip(b'[')?;
        self.skip_whitespace();
        let mut records = Vec::with_capacity(100);
        if self.skip_if(b']') {
            return Some(records);
        }
        while records.len() < MAX_RECORDS {
            self.record(&mut records)?;
            if !self.skip_separator(b']')? {
                return Some(records);
            }
        }
        None
    }

    /// Reads a record and adds it to others.
    fn record(&mut self, records: &mut Vec<NumberRecord<'a>>) -> Option<()> {
        let (mut record, mut seen) = (UNREAD, 0);
        self.skip(b'{')?;
        for index in 0.. {
            let Some(field) = self.key(index)? else { break };
            if seen & bit(field) != 0 && field != Field::Other {
                return None;
            }
            seen |= bit(field);
            self.field(field, &mut record)?;
        }
        (seen & REQUIRED == REQUIRED).then(|| records.push(record))
    }

    /// Reads the key at an index of a record, with everything between the values before and after it. Returns `None` in the
    /// end of the record.
    fn key(&mut self, index: usize) -> Option<Option<Field>> {
        if let Some((key, field)) = self.keys.get(index)
            && self.rest().get(..key.len()).is_some_and(|text| equal(text, key))
        {
            self.position += key.len();
            return Some(Some(*field));
        }
        let start = self.position;
        if index > 0 && !self.skip_separator(b'}')? {
            return Some(None);
        }
        self.skip_whitespace();
        let name = self.plain_string()?;
        self.skip(b':')?;
        self.skip_whitespace();
        let (key, field) = (self.text.as_bytes().get(start..self.position)?, Field::named(name));
        self.keys.truncate(index);
        self.keys.push((key, field));
        // `serde_json` rejects an empty one.
        (!name.is_empty()).then_some(Some(field))
    }

    /// Reads the value of a field into a record.
    fn field(&mut self, field: Field, record: &mut NumberRecord<'a>) -> Option<()> {
        match field {
            Field::E164 => record.e164 = self.string()?,
            Field::Country => record.country = self.string()?,
            Field::Kind => record.kind = self.string()?,
            Field::Status => record.status = self.string()?,
            Field::Currency => record.currency = self.string()?,
            Field::MonthlyFee => record.monthly_fee = self.raw_value()?,
            Field::SetupFee => record.setup_fee = self.raw_value()?,
            Field::Capabilities => record.capabilities = Some(self.raw_value()?).filter(|json| *json != "null"),
            Field::Region => record.region = self.optional_text()?,
            Field::TrunkId => record.trunk_id = self.optional_text()?,
            Field::ApplicationId => record.application_id = self.optional_text()?,
            Field::CreatedAt => record.created_at = self.optional_timestamp()?,
            Field::UpdatedAt => record.updated_at = self.optional_timestamp()?,
            Field::Other => _ = self.raw_value()?,
        }
        Some(())
    }

    fn optional_text(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.skip_null() { Some(None) } else { within_limit(self.string()?).ok() }
    }

    fn optional_timestamp(&mut self) -> Option<Option<SystemTime>> {
        if self.skip_null() { Some(None) } else { timestamp::parse(&self.string()?).map(Some) }
    }

    fn skip_null(&mut self) -> bool {
        let is_null = self.rest().starts_with(b"null");
        self.position += if is_null { 4 } else { 0 };
        is_null
    }

    /// Reads a string.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.position;
        if let Some(text) = self.plain_string() {
            return Some(text.into());
        }
        self.position = start;
        self.other_value::<String>().map(Cow::Owned)
    }

    /// Reads a string without escapes.
    fn plain_string(&mut self) -> Option<&'a str> {
        let rest = self.rest().strip_prefix(b"\"")?;
        let length = plain_length(rest);
        let start = self.position + 1;
        self.position = start + length + 1;
        (rest.get(length) == Some(&b'"')).then_some(())?;
        self.text.get(start..start + length)
    }

    /// Reads any value, and returns it as it is written.
    fn raw_value(&mut self) -> Option<&'a str> {
        let start = self.position;
        match self.rest().first()? {
            b'-' | b'0'..=b'9' => self.skip_number()?,
            b'[' if self.skip_plain_strings().is_some() => {}
            _ => {
                self.position = start;
                return self.other_value::<&RawValue>().map(RawValue::get);
            }
        }
        self.text.get(start..self.position)
    }

    /// Skips a number (RFC 8259, section 6).
    fn skip_number(&mut self) -> Option<()> {
        self.skip_if(b'-');
        if !self.skip_if(b'0') {
            self.skip_digits()?;
        }
        if self.skip_if(b'.') {
            self.skip_digits()?;
        }
        if self.skip_if(b'e') || self.skip_if(b'E') {
            _ = self.skip_if(b'+') || self.skip_if(b'-');
            self.skip_digits()?;
        }
        Some(())
    }

    /// Skips at least one digit.
    fn skip_digits(&mut self) -> Option<()> {
        let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.position += digits;
        (digits > 0).then_some(())
    }

    /// Skips a non-empty array of strings without escapes.
    fn skip_plain_strings(&mut self) -> Option<()> {
        self.skip(b'[')?;
        loop {
            self.skip_whitespace();
            self.plain_string()?;
            if !self.skip_separator(b']')? {
                return Some(());
            }
        }
    }

    /// Reads any value with `serde_json`.
    fn other_value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.text.get(self.position..)?).into_iter();
        let value = values.next()?.ok()?;
        self.position += values.byte_offset();
        Some(value)
    }
}

/// Returns how many bytes precede the first quote, backslash or control character.
fn plain_length(text: &[u8]) -> usize {
    /// The lowest bit of each byte.
    const LOWEST: u64 = u64::MAX / 0xff;

    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of the first byte that is less than `limit` becomes 1.
        let less = |word: u64, limit: u64| word.wrapping_sub(LOWEST * limit) & !word;
        let equal = |byte: u8| less(word ^ (LOWEST * u64::from(byte)), 1);
        let found = (less(word, 0x20) | equal(b'"') | equal(b'\\')) & (LOWEST << 7);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !matches!(byte, 0..0x20 | b'"' | b'\\');
    text.len() - rest.len() + rest.iter().take_while(is_plain).count()
}
