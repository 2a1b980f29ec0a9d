//! URLs of the API: an account's numbers, a filtered listing of them, and its pages.

use reqwest::Url;

/// Restricts a listing to the numbers of one country, one status, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListingFilter {
    /// ISO 3166-1 alpha-2 code, or `None` for all countries.
    pub country: Option<String>,
    /// Status of the numbers, or `None` for all statuses.
    pub status: Option<String>,
}

impl ListingFilter {
    /// Returns a filter for every combination of a country and a status, because the API accepts one of each per
    /// listing. An empty list stands for all values.
    #[must_use]
    pub fn combinations(countries: &[String], statuses: &[String]) -> Vec<Self> {
        let choices = |values: &[String]| -> Vec<Option<String>> {
            if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
        };
        let statuses = choices(statuses);
        let with_each_status = |country: Option<String>| {
            statuses.iter().map(move |status| Self { country: country.clone(), status: status.clone() })
        };
        choices(countries).into_iter().flat_map(with_each_status).collect()
    }
}

/// Returns the URL of an account's numbers: `{base}/v1/account/{account_id}/numbers`.
pub(super) fn numbers_url(base: &Url, account_id: &str) -> Url {
    let mut url = base.clone();
    // This fails only for a URL that cannot be a base; `http` and `https` URLs always can.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "account", account_id, "numbers"]);
    }
    url
}

/// Returns the URL of a filtered listing, without a page.
pub(super) fn listing_url(numbers_url: &Url, filter: &ListingFilter) -> Url {
    let mut url = numbers_url.clone();
    for (name, value) in [("country", &filter.country), ("status", &filter.status)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

/// Returns the URL of one page of a listing; pages count from 1.
pub(super) fn page_url(listing_url: &Url, page: u32, per_page: u8) -> Url {
    let mut url = listing_url.clone();
    let query = listing_url.query().map(|query| format!("{query}&")).unwrap_or_default();
    url.set_query(Some(&format!("{query}page={page}&per_page={per_page}")));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_id_is_one_path_segment_after_the_base_url() {
        for (base, account_id, expected) in [
            ("https://api.tryvox.io", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("https://api.tryvox.io/", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("http://gateway/tryvox/", "a/b?c", "http://gateway/tryvox/v1/account/a%2Fb%3Fc/numbers"),
        ] {
            assert_eq!(numbers_url(&base.parse().unwrap(), account_id).as_str(), expected);
        }
    }

    #[test]
    fn filters_are_all_combinations_of_countries_and_statuses() {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let combinations = |countries: &[&str], statuses: &[&str]| {
            let filters = ListingFilter::combinations(&strings(countries), &strings(statuses));
            filters.iter().map(|f| format!("{:?} {:?}", f.country, f.status).replace("None", "-")).collect::<Vec<_>>()
        };
        assert_eq!(combinations(&[], &[]), ["- -"]);
        assert_eq!(combinations(&["US"], &[]), [r#"Some("US") -"#]);
        assert_eq!(combinations(&["US", "CA"], &["active", "pending"]).len(), 4);
    }

    #[test]
    fn page_url_has_the_filter_and_the_page_as_its_query() {
        let numbers = "http://a/numbers".parse().unwrap();
        let filter = ListingFilter { country: Some("US".to_owned()), status: Some("active".to_owned()) };
        let page = |filter| page_url(&listing_url(&numbers, filter), 3, 50).to_string();
        assert_eq!(page(&filter), "http://a/numbers?country=US&status=active&page=3&per_page=50");
        assert_eq!(page(&ListingFilter::default()), "http://a/numbers?page=3&per_page=50");
    }
}
