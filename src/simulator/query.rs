//! The query of a request for numbers: parsed, validated, and as a filter on numbers.

use std::collections::HashMap;

use super::number::SimulatedNumber;

/// The largest page that the API returns.
const MAX_PER_PAGE: usize = 100;

/// A valid query for one page of numbers.
pub(super) struct NumbersQuery {
    pub(super) filter: QueryFilter,
    /// The page requested; the first one is 1.
    pub(super) page: usize,
    /// Records per page, from 1 to [`MAX_PER_PAGE`].
    pub(super) per_page: usize,
}

/// The numbers that a query selects; `None` selects all.
#[derive(Debug, Clone, Default)]
pub(super) struct QueryFilter {
    /// ISO 3166-1 alpha-2 code.
    pub(super) country: Option<String>,
    pub(super) status: Option<String>,
}

impl NumbersQuery {
    /// Parses the parameters of a query string; unknown parameters are ignored.
    ///
    /// # Errors
    /// If a parameter is invalid, the message with which the API rejects it.
    pub(super) fn parse(mut parameters: HashMap<String, String>) -> Result<Self, &'static str> {
        let filter = QueryFilter { country: parameters.remove("country"), status: parameters.remove("status") };
        let is_alpha2 = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !filter.country.as_ref().is_none_or(is_alpha2) {
            return Err("country must be an ISO 3166-1 alpha-2 code.");
        }
        if !filter.status.as_deref().is_none_or(|status| matches!(status, "active" | "pending" | "suspended")) {
            return Err("status must be one of active, pending, suspended.");
        }
        let mut parse = |name, default| parameters.remove(name).map_or(Ok(default), |text| text.parse::<usize>());
        let page = parse("page", 1).ok().filter(|page| *page >= 1).ok_or("page must be at least 1.")?;
        let per_page = parse("per_page", 20).ok().filter(|size| (1..=MAX_PER_PAGE).contains(size));
        Ok(Self { filter, page, per_page: per_page.ok_or("per_page must be 1 to 100.")? })
    }
}

impl QueryFilter {
    /// Returns whether every number matches.
    pub(super) fn is_empty(&self) -> bool {
        self.country.is_none() && self.status.is_none()
    }

    /// Returns whether a number has the country and the status of this filter.
    pub(super) fn matches(&self, number: &SimulatedNumber) -> bool {
        self.country.as_ref().is_none_or(|country| country == number.country.code)
            && self.status.as_ref().is_none_or(|status| status == number.status.as_str())
    }
}
