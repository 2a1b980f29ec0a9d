//! What a fault does: its name, its parameters and their values.

use std::borrow::Cow;
use std::time::Duration;

use crate::duration;

/// What a fault does, named as users write it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FaultKind {
    /// An error with this status code and perhaps a `Retry-After` header.
    Status(u16, Option<RetryAfter>),
    /// An error with a message of the API's own.
    Message(ErrorMessage),
    /// An error with a rate limit's reset time and no `Retry-After` header.
    ResetHeader(RateLimitReset),
    /// No response, ever, on a connection that stays open.
    Hang,
    /// No response, ever, to this and any later request on the same connection.
    HungConnection,
    /// The page, sent slowly over this time.
    SlowBody(Duration),
    /// The connection is closed before a response.
    CutConnection,
    /// The connection is reset before a response.
    ResetConnection,
    /// The connection is closed in the middle of the body.
    CutBody,
    /// Status 200 with an HTML page.
    Html,
    /// Status 200 with a body that is not valid JSON.
    BadJson,
    /// Valid JSON with values of the wrong types.
    WrongTypes,
    /// Valid JSON with `null` for all values.
    Nulls,
    /// Status 200 with an empty body.
    EmptyBody,
    /// A small compressed body that decompresses to a huge one.
    GzipBomb,
    /// A body that never ends.
    EndlessBody,
    /// A redirect to this URL.
    Redirect(Cow<'static, str>),
    /// A total that is wrong by this many numbers.
    Total(i64),
    /// Pages without records.
    EmptyPages,
    /// A listing of one billion pages.
    EndlessPages,
    /// A few numbers are purchased or released after the page was read, which shifts the pages that follow.
    Shift,
    /// Every tenth record is invalid.
    BadRecords,
    /// The last page instead of the first, and so on.
    ReorderedPages,
    /// Half as many records per page as requested.
    ShortPages,
    /// More than twice as many records per page as requested.
    ManyRecords,
    /// Numbers in another notation than documented.
    StringNumbers(NumberStyle),
    /// `null` instead of the list of records.
    NullData,
    /// A byte order mark before the JSON.
    ByteOrderMark,
    /// Timestamps in other notations of ISO 8601 than documented, in turn.
    OddTimestamps,
    /// Fees as objects, so every record is invalid.
    TypeChange,
    /// Optional fields of wrong types.
    UnreadableFields,
    /// A byte that is not UTF-8 in the region of the first record.
    InvalidUtf8,
}

/// The format of a `Retry-After` header; both values are seconds from now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RetryAfter {
    Seconds(f64),
    Date(u64),
}

/// An error response with a message of the API's own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ErrorMessage {
    pub(super) status: u16,
    /// [`AUTHORIZATION_PLACEHOLDER`] stands for the `Authorization` header of the request.
    pub(super) text: Cow<'static, str>,
    /// How often the text is repeated.
    pub(super) repeat: usize,
    pub(super) field: MessageField,
}

/// Replaced in the text of an [`ErrorMessage`] by the `Authorization` header of the request.
pub(super) const AUTHORIZATION_PLACEHOLDER: &str = "{authorization}";

/// Where an [`ErrorMessage`] is in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageField {
    /// In the field `message` of the object `error`.
    ErrorMessage,
    /// In a field of this name.
    Named(&'static str),
    /// The body is the message, as plain text.
    None,
}

/// An error response that says when a rate limit is reset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RateLimitReset {
    pub(super) status: u16,
    /// The name of the header, in lower case.
    pub(super) header: &'static str,
    /// Seconds from now.
    pub(super) after: f64,
    pub(super) format: ResetFormat,
}

/// The format of a reset time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetFormat {
    /// Seconds from now.
    Seconds,
    /// A Unix timestamp in whole seconds.
    Epoch,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberStyle {
    /// Fees and the numbers of the pagination as strings.
    String,
    /// The numbers of the pagination with a fraction, like `47.0`.
    Float,
}

/// Why a parameter is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParameterError {
    /// The kind has no parameter of this name.
    Unknown,
    /// The value is not what it must be.
    Invalid(&'static str),
}

const WHOLE_NUMBER: ParameterError = ParameterError::Invalid("a whole number");
const ERROR_STATUS: ParameterError = ParameterError::Invalid("a status code from 400 to 599");

/// The parameters of a fault that is a status code.
const STATUS_PARAMETERS: &[&str] = &["retry-after", "retry-after-date"];

/// The name of each kind except status codes, the names of its parameters, and the kind with default parameters.
pub(super) const KINDS: [(&str, &[&str], FaultKind); 31] = [
    ("hang", &[], FaultKind::Hang),
    ("hung-connection", &[], FaultKind::HungConnection),
    ("slow-body", &["over"], FaultKind::SlowBody(Duration::from_mins(1))),
    ("cut-connection", &[], FaultKind::CutConnection),
    ("reset-connection", &[], FaultKind::ResetConnection),
    ("cut-body", &[], FaultKind::CutBody),
    (
        "message",
        &["status", "text", "repeat", "field"],
        FaultKind::Message(ErrorMessage {
            status: 403,
            text: Cow::Borrowed("Simulated fault."),
            repeat: 1,
            field: MessageField::ErrorMessage,
        }),
    ),
    (
        "reset-header",
        &["status", "header", "after", "format"],
        FaultKind::ResetHeader(RateLimitReset {
            status: 429,
            header: "x-ratelimit-reset",
            after: 2.0,
            format: ResetFormat::Seconds,
        }),
    ),
    ("html", &[], FaultKind::Html),
    ("bad-json", &[], FaultKind::BadJson),
    ("wrong-types", &[], FaultKind::WrongTypes),
    ("nulls", &[], FaultKind::Nulls),
    ("empty-body", &[], FaultKind::EmptyBody),
    ("gzip-bomb", &[], FaultKind::GzipBomb),
    ("endless-body", &[], FaultKind::EndlessBody),
    // A host name that is guaranteed not to exist (RFC 2606).
    ("redirect", &["to"], FaultKind::Redirect(Cow::Borrowed("https://elsewhere.invalid/"))),
    ("total", &["by"], FaultKind::Total(1000)),
    ("empty-pages", &[], FaultKind::EmptyPages),
    ("endless-pages", &[], FaultKind::EndlessPages),
    ("short-pages", &[], FaultKind::ShortPages),
    ("many-records", &[], FaultKind::ManyRecords),
    ("reordered-pages", &[], FaultKind::ReorderedPages),
    ("shift", &[], FaultKind::Shift),
    ("bad-records", &[], FaultKind::BadRecords),
    ("type-change", &[], FaultKind::TypeChange),
    ("unreadable-fields", &[], FaultKind::UnreadableFields),
    ("invalid-utf8", &[], FaultKind::InvalidUtf8),
    ("string-numbers", &["style"], FaultKind::StringNumbers(NumberStyle::String)),
    ("odd-timestamps", &[], FaultKind::OddTimestamps),
    ("null-data", &[], FaultKind::NullData),
    ("bom", &[], FaultKind::ByteOrderMark),
];

impl FaultKind {
    /// Returns the kind of this name, with default parameters, and the names of its parameters.
    ///
    /// # Errors
    /// If there is no such kind, a message that names all of them.
    pub(super) fn from_name(name: &str) -> Result<(Self, &'static [&'static str]), String> {
        if let Some((_, parameters, kind)) = KINDS.iter().find(|(other, ..)| *other == name) {
            return Ok((kind.clone(), parameters));
        }
        match name.parse() {
            Ok(status @ 201..=599) => Ok((Self::Status(status, None), STATUS_PARAMETERS)),
            _ => Err(format!(
                "unknown fault {name:?}; use a status code from 201 to 599, {}",
                KINDS.map(|(name, ..)| name).join(", ")
            )),
        }
    }

    /// Sets a parameter of this kind.
    ///
    /// # Errors
    /// If the kind has no parameter of this name, or the value is invalid.
    pub(super) fn set_parameter(&mut self, key: &str, value: &str) -> Result<(), ParameterError> {
        match (key, self) {
            ("retry-after", Self::Status(_, retry)) => *retry = Some(RetryAfter::Seconds(parse_seconds(value)?)),
            ("retry-after-date", Self::Status(_, retry)) => {
                *retry = Some(RetryAfter::Date(value.parse().map_err(|_| WHOLE_NUMBER)?));
            }
            ("over", Self::SlowBody(over)) => *over = parse_duration(value)?,
            ("to", Self::Redirect(to)) => *to = value.to_owned().into(),
            ("by", Self::Total(by)) => *by = value.parse().map_err(|_| WHOLE_NUMBER)?,
            ("style", Self::StringNumbers(style)) => {
                *style = match value {
                    "string" => NumberStyle::String,
                    "float" => NumberStyle::Float,
                    _ => return Err(ParameterError::Invalid("string or float")),
                };
            }
            (
                "status",
                Self::Message(ErrorMessage { status, .. }) | Self::ResetHeader(RateLimitReset { status, .. }),
            ) => {
                *status = value.parse().ok().filter(|status| (400..=599).contains(status)).ok_or(ERROR_STATUS)?;
            }
            ("text", Self::Message(message)) => {
                let must_be = "text in UTF-8 with + for spaces and %XX for other bytes";
                message.text = decode_text(value).ok_or(ParameterError::Invalid(must_be))?.into();
            }
            ("repeat", Self::Message(message)) => {
                let repeat = value.parse().ok().filter(|repeat| (1..=1000).contains(repeat));
                message.repeat = repeat.ok_or(ParameterError::Invalid("a whole number from 1 to 1000"))?;
            }
            ("field", Self::Message(message)) => {
                message.field = match value {
                    "error.message" => MessageField::ErrorMessage,
                    "message" => MessageField::Named("message"),
                    "error" => MessageField::Named("error"),
                    "detail" => MessageField::Named("detail"),
                    "title" => MessageField::Named("title"),
                    "none" => MessageField::None,
                    _ => {
                        let must_be = "error.message, message, error, detail, title or none";
                        return Err(ParameterError::Invalid(must_be));
                    }
                };
            }
            ("header", Self::ResetHeader(reset)) => {
                reset.header = match value.to_ascii_lowercase().as_str() {
                    "x-ratelimit-reset" => "x-ratelimit-reset",
                    "ratelimit-reset" => "ratelimit-reset",
                    _ => return Err(ParameterError::Invalid("X-RateLimit-Reset or RateLimit-Reset")),
                };
            }
            ("after", Self::ResetHeader(reset)) => reset.after = parse_seconds(value)?,
            ("format", Self::ResetHeader(reset)) => {
                reset.format = match value {
                    "seconds" => ResetFormat::Seconds,
                    "epoch" => ResetFormat::Epoch,
                    _ => return Err(ParameterError::Invalid("seconds or epoch")),
                };
            }
            _ => return Err(ParameterError::Unknown),
        }
        Ok(())
    }
}

/// Parses a duration. A parameter is one word, so units are not separated by spaces.
pub(super) fn parse_duration(value: &str) -> Result<Duration, ParameterError> {
    duration::parse(value).map_err(|_| ParameterError::Invalid("a duration like 30s or 1m30s of at most a year"))
}

fn parse_seconds(value: &str) -> Result<f64, ParameterError> {
    let seconds = value.parse().ok().filter(|seconds: &f64| seconds.is_finite() && seconds.is_sign_positive());
    seconds.ok_or(ParameterError::Invalid("a number of seconds like 2 or 2.5"))
}

/// Decodes text that is written as in the query of a URL, or returns `None` if it is not valid.
fn decode_text(text: &str) -> Option<String> {
    let (mut decoded, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_accepts_the_parameters_it_is_listed_with() {
        let status = ("503", STATUS_PARAMETERS, FaultKind::Status(503, None));
        for (name, parameters, kind) in KINDS.into_iter().chain([status]) {
            assert_eq!(FaultKind::from_name(name), Ok((kind.clone(), parameters)));
            for parameter in parameters {
                let error = kind.clone().set_parameter(parameter, "").err();
                assert_ne!(error, Some(ParameterError::Unknown), "{name} {parameter}");
            }
        }
    }

    #[test]
    fn every_kind_and_parameter_is_documented() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulator.md")).unwrap();
        for (name, parameters, _) in KINDS {
            let start = [format!("| `{name}` "), format!("| `{name} ")];
            let row = docs.lines().find(|line| start.iter().any(|start| line.starts_with(start)));
            let row = row.unwrap_or_else(|| panic!("{name} is not documented"));
            for parameter in parameters {
                assert!(row.contains(&format!("{parameter}=")), "{name}: {parameter} is not documented");
            }
        }
    }

    #[test]
    fn text_is_decoded_like_the_query_of_a_url() {
        for (text, decoded) in [
            ("account_closed", Some("account_closed")),
            ("account+closed", Some("account closed")),
            ("a%2Cb%2b%0a%1B", Some("a,b+\n\u{1b}")),
            ("%E2%80%a8", Some("\u{2028}")),
            ("", Some("")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%E2", None),
        ] {
            assert_eq!(decode_text(text).as_deref(), decoded, "{text}");
        }
    }
}
