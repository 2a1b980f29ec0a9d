//! What an answer means, before its records are looked at.

use std::time::SystemTime;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION};

use super::{Failure, Reason};

/// How many pages to ask for. A page need not be full and may even be empty, but a listing whose
/// pages have nothing to do with its numbers has no end.
pub(super) fn plausible(total: u64, total_pages: u64) -> Result<u32, Failure> {
    let most = total.saturating_mul(10).saturating_add(1000);
    u32::try_from(total_pages.max(1)).ok().filter(|pages| u64::from(*pages) <= most).ok_or_else(|| {
        Failure::new(
            Reason::Inconsistent,
            format!("total_pages is {total_pages} where total is {total}; no listing is like that"),
        )
    })
}

/// The time by the API's own clock, when it wrote the answer.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// What an answer that is not 200 means.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap) -> Failure {
    let (reason, meaning) = match status.as_u16() {
        401 => (Reason::Unauthorized, "the API does not accept the key; check it, it may have been rotated"),
        403 => (Reason::Forbidden, "the key may not list this account; check its permissions"),
        404 => (Reason::NotFound, "the API knows no such account; check the account id and the URL"),
        429 => (Reason::RateLimited, "too many requests; lower --tryvox.rate-limit"),
        300..=399 => (Reason::Redirect, "a redirect, which is never followed; check the URL"),
        500..=599 => (Reason::ServerError, "the API is in trouble"),
        _ => (Reason::HttpStatus, "not an answer this API documents"),
    };
    let target = match headers.get(LOCATION) {
        Some(target) if reason == Reason::Redirect => format!(" to {target:?}"),
        _ => String::new(),
    };
    Failure::new(reason, format!("HTTP {}{target}: {meaning}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_end_are_no_listing() {
        assert_eq!(plausible(0, 0), Ok(1));
        assert_eq!(plausible(47, 3), Ok(3));
        assert_eq!(plausible(0, 1000), Ok(1000));
        for (total, pages) in [(0, 1001), (47, 1_000_000_000), (u64::MAX, u64::MAX)] {
            assert_eq!(plausible(total, pages).unwrap_err().reason, Reason::Inconsistent);
        }
    }
}
