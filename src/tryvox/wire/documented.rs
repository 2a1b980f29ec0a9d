//! A faster reader for pages in exactly the documented form. The records of one API have their fields in one order, so the
//! next key is known from the records before, and one comparison shows whether it is there.
//!
//! It returns what `serde_json` returns, or `None`; the caller then parses the body with `serde_json`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::MAX_RECORDS;
use super::json::plain_length;
use super::pagination::Pagination;
use super::record::{Field, NumberRecord, Undocumented, known_timestamp, within_limit};
use crate::short_text::equal;

/// Reads a body. Returns `None` if it is not as documented, or has more than [`MAX_RECORDS`] records.
pub(super) fn read(body: &str) -> Option<(Vec<NumberRecord<'_>>, Pagination)> {
    let mut reader =
        Reader { text: body, position: 0, first_keys: KnownKeys::default(), other_keys: KnownKeys::default() };
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

/// The bytes before values of earlier records (separator, key and colon), in order, and the field that each key names.
#[derive(Default)]
struct KnownKeys<'a>(Vec<(&'a [u8], Field)>);

impl<'a> KnownKeys<'a> {
    /// Maximum number of keys, so that a record with thousands of keys takes little memory.
    const MAX: usize = 32;

    /// Returns the first key from `next` on with which a text starts, and moves `next` behind it.
    fn find(&self, text: &[u8], next: &mut usize) -> Option<(&'a [u8], Field)> {
        let is_start = |(key, _): &(&[u8], _)| text.get(..key.len()).is_some_and(|start| equal(start, key));
        let candidates = self.0.get(*next..)?;
        let found = candidates.iter().position(is_start)?;
        *next += found + 1;
        candidates.get(found).copied()
    }

    /// Adds a key at `next`, and moves `next` behind it.
    fn insert(&mut self, next: &mut usize, key: &'a [u8], field: Field) {
        if self.0.len() < Self::MAX {
            self.0.insert(*next, (key, field));
            *next += 1;
        }
    }
}

/// Reads JSON from a text. Every method returns `None` if what it reads is not there; the position is unspecified then.
struct Reader<'a> {
    text: &'a str,
    /// An index into the text.
    position: usize,
    /// The keys that follow an opening brace.
    first_keys: KnownKeys<'a>,
    /// The keys that follow a value and a comma.
    other_keys: KnownKeys<'a>,
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
        records.push(NumberRecord::unread());
        let (record, mut seen) = (records.last_mut()?, 0);
        let (start, mut next) = (self.position, 0);
        let mut field = match self.known_key(true, &mut 0) {
            Some(field) => field,
            None => self.new_key(true, start, &mut 0)?,
        };
        loop {
            if seen & field.bit() != 0 && field != Field::Other {
                return None;
            }
            seen |= field.bit();
            self.field(field, record)?;
            let start = self.position;
            field = match self.known_key(false, &mut next) {
                Some(field) => field,
                None if self.skip_separator(b'}')? => self.new_key(false, start, &mut next)?,
                None => return (seen & Field::REQUIRED == Field::REQUIRED).then_some(()),
            };
        }
    }

    fn keys(&mut self, is_first: bool) -> &mut KnownKeys<'a> {
        if is_first { &mut self.first_keys } else { &mut self.other_keys }
    }

    /// Skips the separator, key and colon if they are the same bytes as in an earlier record.
    fn known_key(&mut self, is_first: bool, next: &mut usize) -> Option<Field> {
        let rest = self.rest();
        let (key, field) = self.keys(is_first).find(rest, next)?;
        self.position += key.len();
        Some(field)
    }

    /// Reads another key. `start` is the end of the value before it.
    fn new_key(&mut self, is_first: bool, start: usize, next: &mut usize) -> Option<Field> {
        self.skip_whitespace();
        let name = self.plain_string()?;
        self.skip(b':')?;
        self.skip_whitespace();
        let (key, field) = (self.text.as_bytes().get(start..self.position)?, Field::named(name)?);
        self.keys(is_first).insert(next, key, field);
        // `NumberRecord` rejects an empty key, see `ObjectOnly`.
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
