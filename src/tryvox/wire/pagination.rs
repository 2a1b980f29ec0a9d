//! The totals of a listing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::deviation::Deviation;
use super::json::{ObjectOnly, present, text, type_name};
use crate::tryvox::failure::{Failure, FailureReason};

/// The totals of a listing, as reported by each of its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pagination {
    /// Number of records that match the filter, over all pages.
    pub total: u64,
    /// Number of pages, 0 or 1 if there are no records. It is not checked; see `page_count`.
    pub total_pages: u64,
}

/// The totals exactly as documented.
#[derive(Deserialize)]
struct StrictPagination {
    #[serde(default, rename = "")]
    _object: ObjectOnly,
    total: u64,
    total_pages: u64,
}

impl<'de> Deserialize<'de> for Pagination {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StrictPagination { total, total_pages, .. } = StrictPagination::deserialize(deserializer)?;
        Ok(Self { total, total_pages })
    }
}

/// Totals that have not been read yet.
#[derive(Deserialize)]
struct RawPagination<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    total: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    total_pages: Option<&'a RawValue>,
}

impl Pagination {
    /// Reads totals whose numbers may be strings or in any notation of JSON, and adds such deviations to `deviations`.
    ///
    /// # Errors
    /// If a total is missing or is not a whole number.
    pub(super) fn read(json: &RawValue, deviations: &mut BTreeSet<Deviation>) -> Result<Self, String> {
        if !json.get().starts_with('{') {
            return Err(format!("pagination is {} instead of an object", type_name(json)));
        }
        let RawPagination { total, total_pages } =
            serde_json::from_str(json.get()).map_err(|error| format!("pagination: {error}"))?;
        Ok(Self {
            total: read_total("total", total, deviations)?,
            total_pages: read_total("total_pages", total_pages, deviations)?,
        })
    }

    /// Returns the number of pages to request, at least 1.
    ///
    /// # Errors
    /// If it exceeds 10 pages per record plus 1000, which no real listing does even though pages may be partly filled
    /// or empty. Without this limit a listing might never end.
    pub(in crate::tryvox) fn page_count(self) -> Result<u32, Failure> {
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

fn read_total(field: &str, json: Option<&RawValue>, deviations: &mut BTreeSet<Deviation>) -> Result<u64, String> {
    let json = json.ok_or_else(|| format!("pagination.{field} is missing"))?;
    let (total, deviation) = match text(json) {
        Some(text) => (whole_number(&text), Some(Deviation::TotalAsString)),
        None => match json.get().parse() {
            Ok(total) => (Some(total), None),
            Err(_) => (whole_number(json.get()), Some(Deviation::TotalAsDecimal)),
        },
    };
    deviations.extend(deviation);
    total.ok_or_else(|| format!("pagination.{field} is not a whole number"))
}

/// Parses a JSON number that is a whole number from 0 to 2^64 - 1 in any notation, such as `47`, `47.0` or `4.7e1`.
fn whole_number(text: &str) -> Option<u64> {
    /// Longer than any total, however it is written.
    const MAX_LENGTH: usize = 64;

    let is_json_number = text.len() <= MAX_LENGTH && serde_json::from_str::<serde_json::Number>(text).is_ok();
    // The parser skips whitespace around the number.
    if !is_json_number || text.trim() != text {
        return None;
    }
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing_zeros = digits.len() - significant.len();
    let shift = i64::from(exponent) + i64::try_from(trailing_zeros).ok()? - i64::try_from(fraction.len()).ok()?;
    let zeros = usize::try_from(shift).ok().filter(|zeros| *zeros <= MAX_LENGTH && !is_negative)?;
    format!("{significant}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn whole_numbers_are_read_in_any_notation() {
        for (text, number) in [
            ("47", 47),
            ("47.0", 47),
            ("47.000", 47),
            ("4.7e1", 47),
            ("4.7E+1", 47),
            ("470e-1", 47),
            ("0.47e2", 47),
            ("0", 0),
            ("-0", 0),
            ("0.00e9", 0),
            ("1e3", 1000),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551615.0", u64::MAX),
        ] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_whole_number() {
        let long = format!("47.{}", "0".repeat(100));
        for text in [
            "",
            "4.75",
            "47e-1",
            "-1",
            "-1e3",
            "1e20",
            "1e99",
            "1e-999999999999",
            "18446744073709551616",
            "NaN",
            "+47",
            "047",
            " 47",
            "47 ",
            "4_7",
            "0x2f",
            "47.",
            ".5",
            "forty-seven",
            &long,
        ] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
