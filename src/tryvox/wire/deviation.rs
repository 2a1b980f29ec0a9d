//! In what form a listing differs from the documentation although its meaning is clear, and the fields that a record
//! may lack.

use std::fmt;

/// A form that the API does not document and that is still read, because its meaning is clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deviation {
    /// A byte order mark precedes the JSON.
    ByteOrderMark,
    /// `data` is `null` instead of an empty array.
    NullData,
    /// `total` or `total_pages` is a string.
    TotalAsString,
    /// `total` or `total_pages` is a whole number in another notation, such as `47.0`.
    TotalAsDecimal,
    /// A fee is a string.
    FeeAsString,
    /// A timestamp has a space instead of the `T`.
    TimestampWithSpace,
    /// A timestamp has no time zone.
    TimestampWithoutZone,
    /// The offset of a timestamp is written like `+0000` or `+00`.
    TimestampWithShortOffset,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByteOrderMark => "a byte order mark before the JSON",
            Self::NullData => "data is null instead of an empty array",
            Self::TotalAsString => "total or total_pages is a string instead of a number",
            Self::TotalAsDecimal => "total or total_pages is written like 47.0",
            Self::FeeAsString => "a fee is a string instead of a number",
            Self::TimestampWithSpace => "a timestamp has a space instead of T",
            Self::TimestampWithoutZone => "a timestamp has no time zone (read as UTC)",
            Self::TimestampWithShortOffset => "a timestamp has an offset like +0000 instead of +00:00",
        })
    }
}

/// A field that a record may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the API's")]
pub enum OptionalField {
    Region,
    TrunkId,
    ApplicationId,
    Capabilities,
    CreatedAt,
    UpdatedAt,
}

impl OptionalField {
    /// All fields, in the order of their declaration: `ALL[field as usize] == field`.
    pub const ALL: [Self; 6] =
        [Self::Region, Self::TrunkId, Self::ApplicationId, Self::Capabilities, Self::CreatedAt, Self::UpdatedAt];

    /// The fields that say what a number is assigned to.
    pub const ASSIGNMENT: [Self; 2] = [Self::TrunkId, Self::ApplicationId];

    /// Returns the name of the field.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::TrunkId => "trunk_id",
            Self::ApplicationId => "application_id",
            Self::Capabilities => "capabilities",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
        }
    }
}

/// A set of optional fields, in one byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u8);

impl FieldSet {
    /// The set without fields.
    pub const EMPTY: Self = Self(0);

    /// Adds a field.
    pub fn insert(&mut self, field: OptionalField) {
        self.0 |= 1 << field as u8;
    }

    /// Returns the fields as bits: that of a field is `1 << field as u8`.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether a field is in the set.
    #[must_use]
    pub fn contains(self, field: OptionalField) -> bool {
        self.0 & 1 << field as u8 != 0
    }

    /// Returns whether any of these fields is in the set.
    #[must_use]
    pub fn contains_any(self, fields: &[OptionalField]) -> bool {
        fields.iter().any(|field| self.contains(*field))
    }
}
