//! Reads a page that is exactly as documented in less time than `serde_json`: the records of one API have their fields in one
//! order, so each key is compared with the one at the same place of the record before.
//!
//! It returns what `serde_json` returns, or `None` for anything but the documented shape, which `serde_json` reads again.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::value::{self, StrDeserializer};
use serde_json::value::RawValue;

use super::MAX_RECORDS;
use super::json::plain_length;
use super::pagination::Pagination;
use super::record::{NumberRecord, Undocumented, known_timestamp, within_limit};
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

/// A field of a record. Those up to the setup fee are in every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
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
    const REQUIRED: u16 = (Self::SetupFee.bit() << 1) - 1;

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    fn named(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<value::Error>::new(name)).ok()
    }
}

/// Reads JSON from a text. Every method returns `None` if what it reads is not there; the position is of no use then.
struct Reader<'a> {
    text: &'a str,
    /// An index into the text.
    position: usize,
    /// What is between the values of the last record, in order, and which field it names.
    keys: Vec<(&'a [u8], Field)>,
}

impl<'a> Reader<'a> {
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
        self.skip(b'{')?;
        // It is filled in its place, because it is large.
        records.push(NumberRecord::UNREAD);
        let (record, mut seen) = (records.last_mut()?, 0);
        for index in 0.. {
            let start = self.position;
            let field = match self.skip_known_key(index) {
                Some(field) => field,
                None if index > 0 && !self.skip_separator(b'}')? => break,
                None => self.new_key(index, start)?,
            };
            if seen & field.bit() != 0 && field != Field::Other {
                return None;
            }
            seen |= field.bit();
            self.field(field, record)?;
        }
        (seen & Field::REQUIRED == Field::REQUIRED).then_some(())
    }

    /// Skips the key at an index of a record, with all that is around it, if it is as in the record before.
    fn skip_known_key(&mut self, index: usize) -> Option<Field> {
        let (key, field) = self.keys.get(index)?;
        equal(self.rest().get(..key.len())?, key).then(|| {
            self.position += key.len();
            *field
        })
    }

    /// Reads another key. What is around it begins at `start`.
    fn new_key(&mut self, index: usize, start: usize) -> Option<Field> {
        self.skip_whitespace();
        let name = self.plain_string()?;
        self.skip(b':')?;
        self.skip_whitespace();
        let (key, field) = (self.text.as_bytes().get(start..self.position)?, Field::named(name)?);
        self.keys.truncate(index);
        self.keys.push((key, field));
        // `serde_json` rejects an empty one.
        (!name.is_empty()).then_some(field)
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
            Field::Region => self.optional(&mut record.region, within_limit)?,
            Field::TrunkId => self.optional(&mut record.trunk_id, within_limit)?,
            Field::ApplicationId => self.optional(&mut record.application_id, within_limit)?,
            Field::CreatedAt => self.optional(&mut record.created_at, known_timestamp)?,
            Field::UpdatedAt => self.optional(&mut record.updated_at, known_timestamp)?,
            Field::Other => _ = self.raw_value()?,
        }
        Some(())
    }

    /// Reads a string with a function, or `null`, which leaves the field as it is.
    fn optional<T>(
        &mut self,
        field: &mut Option<T>,
        read: impl FnOnce(Cow<'a, str>) -> Result<Option<T>, Undocumented>,
    ) -> Option<()> {
        if !self.skip_null() {
            *field = read(self.string()?).ok()?;
        }
        Some(())
    }

    fn skip_null(&mut self) -> bool {
        let is_null = self.rest().starts_with(b"null");
        self.position += if is_null { 4 } else { 0 };
        is_null
    }

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
