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

/// Reads a body. Returns `None` if it is not as documented, or has more than [`MAX_RECORDS`] records.
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

/// Maximum number of known keys, so that a record with thousands of keys takes little memory.
const MAX_KEYS: usize = 32;

/// A key of earlier records.
struct KnownKey<'a> {
    /// The bytes before the value: a separator, the key and a colon.
    text: &'a [u8],
    /// The first of these bytes, and zeros behind the text.
    start: [u8; 32],
    /// `0xff` for each byte of the text in `start`, and zeros behind it.
    mask: [u8; 32],
    /// Whether the separator is the opening brace of a record.
    is_first: bool,
    /// The field that the key names.
    field: Field,
}

impl<'a> KnownKey<'a> {
    fn new(text: &'a [u8], is_first: bool, field: Field) -> Self {
        let (mut start, mut mask) = ([0; 32], [0; 32]);
        for ((start, mask), byte) in start.iter_mut().zip(&mut mask).zip(text) {
            (*start, *mask) = (*byte, u8::MAX);
        }
        Self { text, start, mask, is_first, field }
    }

    /// Returns whether a text starts with the key, usually without a branch for each byte.
    fn is_start_of(&self, text: &[u8]) -> bool {
        match text.first_chunk::<32>() {
            Some(bytes) if self.text.len() <= bytes.len() => {
                let pairs = bytes.iter().zip(&self.start).zip(&self.mask);
                pairs.fold(0, |difference, ((a, b), mask)| difference | ((a & mask) ^ b)) == 0
            }
            _ => text.starts_with(self.text),
        }
    }
}

/// Reads JSON from a text. Every method returns `None` if what it reads is not there; the position is unspecified then.
struct Reader<'a> {
    text: &'a str,
    /// An index into the text.
    position: usize,
    /// The keys of earlier records, in order.
    keys: Vec<KnownKey<'a>>,
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
        // It is filled in its place, because it is large.
        records.resize_with(records.len() + 1, NumberRecord::unread);
        let record = records.last_mut()?;
        let (mut seen, mut next) = (0, 0);
        loop {
            let (start, is_first) = (self.position, seen == 0);
            let field = match self.known_key(is_first, &mut next) {
                Some(field) => field,
                None if is_first => self.skip(b'{').and_then(|()| self.new_key(start, is_first, &mut next))?,
                None if self.skip_separator(b'}')? => self.new_key(start, is_first, &mut next)?,
                None => return (seen & Field::REQUIRED == Field::REQUIRED).then_some(()),
            };
            if seen & field.bit() != 0 && field != Field::Other {
                return None;
            }
            seen |= field.bit();
            self.field(field, record)?;
        }
    }

    /// Skips the separator, key and colon if they are the same bytes as in an earlier record. Advances `next` past this key.
    fn known_key(&mut self, is_first: bool, next: &mut usize) -> Option<Field> {
        let candidates = self.keys.get(*next..)?;
        let text = self.rest();
        let found = candidates.iter().position(|key| key.is_first == is_first && key.is_start_of(text))?;
        let key = candidates.get(found)?;
        *next += found + 1;
        self.position += key.text.len();
        Some(key.field)
    }

    /// Reads another key. `start` is the end of what precedes its separator.
    fn new_key(&mut self, start: usize, is_first: bool, next: &mut usize) -> Option<Field> {
        self.skip_whitespace();
        let name = self.plain_string()?;
        self.skip(b':')?;
        self.skip_whitespace();
        let (text, field) = (self.text.as_bytes().get(start..self.position)?, Field::named(name)?);
        if self.keys.len() < MAX_KEYS {
            self.keys.insert(*next, KnownKey::new(text, is_first, field));
            *next += 1;
        }
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
        match self.rest() {
            [b'n', b'u', b'l', b'l', ..] => self.position += 4,
            _ => *field = read(self.string()?).ok()?,
        }
        Some(())
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
