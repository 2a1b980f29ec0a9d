//! Where an account's pages are.

use reqwest::Url;

/// What to list of an account: what the API is asked for in one series of pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// An ISO 3166-1 alpha-2 code; none for all countries.
    pub country: Option<String>,
    /// A status; none for all.
    pub status: Option<String>,
}

impl Filter {
    /// Each country with each status; where there are none, all of them.
    #[must_use]
    pub fn all(countries: &[String], statuses: &[String]) -> Vec<Self> {
        let each = |values: &[String]| -> Vec<Option<String>> {
            if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
        };
        let statuses = each(statuses);
        let with = |country: Option<String>| {
            statuses.iter().map(move |status| Self { country: country.clone(), status: status.clone() })
        };
        each(countries).into_iter().flat_map(with).collect()
    }
}

/// The address of an account's listing: `{url}/v1/account/{account_id}/numbers`.
#[must_use]
pub fn numbers_url(url: &Url, account_id: &str) -> Url {
    let mut numbers = url.clone();
    // Only a URL that cannot be a base has no path segments, and `http` and `https` can be one.
    if let Ok(mut path) = numbers.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "account", account_id, "numbers"]);
    }
    numbers
}

/// The listing of what a filter lets through, without a page.
pub(super) fn listing_url(numbers: &Url, filter: &Filter) -> Url {
    let mut url = numbers.clone();
    for (name, value) in [("country", &filter.country), ("status", &filter.status)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

/// One page of a listing.
pub(super) fn page_url(listing: &Url, page: u32, per_page: u8) -> Url {
    let mut url = listing.clone();
    url.query_pairs_mut().append_pair("page", &page.to_string()).append_pair("per_page", &per_page.to_string());
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_one_segment_behind_the_base_url() {
        for (base, account, expected) in [
            ("https://api.tryvox.io", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("https://api.tryvox.io/", "acc_4XQ2", "https://api.tryvox.io/v1/account/acc_4XQ2/numbers"),
            ("http://gateway/tryvox/", "a/b?c", "http://gateway/tryvox/v1/account/a%2Fb%3Fc/numbers"),
        ] {
            assert_eq!(numbers_url(&base.parse().unwrap(), account).as_str(), expected);
        }
    }

    #[test]
    fn filters_are_every_combination() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let all = |countries: &[&str], statuses: &[&str]| {
            let filters = Filter::all(&words(countries), &words(statuses));
            filters.iter().map(|f| format!("{:?} {:?}", f.country, f.status).replace("None", "-")).collect::<Vec<_>>()
        };
        assert_eq!(all(&[], &[]), ["- -"]);
        assert_eq!(all(&["US"], &[]), [r#"Some("US") -"#]);
        assert_eq!(all(&["US", "CA"], &["active", "pending"]).len(), 4);
    }

    #[test]
    fn a_page_of_a_filter_is_a_query() {
        let numbers = "http://a/numbers".parse().unwrap();
        let filter = Filter { country: Some("US".to_owned()), status: Some("active".to_owned()) };
        let page = |filter| page_url(&listing_url(&numbers, filter), 3, 50).to_string();
        assert_eq!(page(&filter), "http://a/numbers?country=US&status=active&page=3&per_page=50");
        assert_eq!(page(&Filter::default()), "http://a/numbers?page=3&per_page=50");
    }
}
