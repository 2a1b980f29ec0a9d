//! The `--tryvox.…` options: where the API is and how to use it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::STATUSES;
use crate::duration;
use crate::options::{List, defaults, integer, list};

/// Where an account's API is, what to list there, and how many requests to send.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "TryVox API")]
pub struct TryvoxOptions {
    /// Base URL of the TryVox API
    #[arg(id = "tryvox.url", long, value_name = "URL", default_value = "https://api.tryvox.io", value_parser = base_url)]
    pub url: Url,
    /// ID of the account to list
    #[arg(id = "tryvox.account-id", long, value_name = "ID", value_parser = account_id)]
    pub account_id: Option<String>,
    /// File with the account's API key, read again at each poll; without it the key is read from TRYVOX_API_KEY
    #[arg(id = "tryvox.api-key-file", long, value_name = "PATH")]
    pub api_key_file: Option<PathBuf>,
    /// Timeout for one API request
    #[arg(id = "tryvox.timeout", long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_positive)]
    pub timeout: Duration,
    /// How long a failing page is retried before the poll fails, 0s to never retry
    #[arg(id = "tryvox.retry-for", long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub retry_for: Duration,
    /// Maximum requests in flight per account, 1 to 1000
    #[arg(id = "tryvox.concurrency", long, value_name = "N", default_value = "4", value_parser = integer(1..=1000_usize))]
    pub concurrency: usize,
    /// Maximum requests in flight over all accounts, shared fairly, 1 to 10000
    #[arg(id = "tryvox.total-concurrency", long, value_name = "N", default_value = "64", value_parser = integer(1..=10_000_usize))]
    pub total_concurrency: usize,
    /// Maximum requests per second and account, 0 for unlimited
    #[arg(id = "tryvox.rate-limit", long, value_name = "RATE", default_value = "20", value_parser = rate)]
    pub rate_limit: f64,
    /// Numbers requested per page, 1 to 100
    #[arg(id = "tryvox.per-page", long, value_name = "N", default_value = "100", value_parser = integer(1..=100_u8))]
    pub per_page: u8,
    /// List only numbers of these countries: ISO 3166-1 alpha-2 codes, comma-separated
    #[arg(id = "tryvox.countries", long, value_name = "CODES", value_parser = countries)]
    pub countries: Option<List<String>>,
    /// List only numbers with these statuses: active, pending or suspended, comma-separated
    #[arg(id = "tryvox.statuses", long, value_name = "STATUSES", value_parser = statuses)]
    pub statuses: Option<List<String>>,
}

/// Parses the URL that the API's paths are appended to.
fn base_url(text: &str) -> Result<Url, String> {
    let example = "write it like https://api.tryvox.io";
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); {example}"))?;
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "must start with https:// or http://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not contain a user name or a password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must not contain a query or a fragment"
    } else {
        return Ok(url);
    };
    Err(format!("{problem}; {example}"))
}

/// Parses an account ID, which becomes one segment of a path.
///
/// # Errors
/// If it is empty, a relative path segment, or contains white space or control characters.
pub fn account_id(text: &str) -> Result<String, String> {
    if text.is_empty() || matches!(text, "." | "..") || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err("is not an account ID; find it in the TryVox console, it looks like acc_4XQ2".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Parses a rate in requests per second: 0 for unlimited, or a rate that the pacer can keep.
fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| *rate == 0.0 || (0.001..=1e6).contains(rate))
        .ok_or_else(|| "must be 0 (unlimited) or from 0.001 to 1000000 requests per second".to_owned())
}

/// Parses ISO 3166-1 alpha-2 codes.
fn countries(text: &str) -> Result<List<String>, String> {
    let is_alpha2 = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    list(text, is_alpha2, "not a country code; write it like US or US,CA")
}

/// Parses statuses that the API can filter by.
fn statuses(text: &str) -> Result<List<String>, String> {
    list(text, |status| STATUSES.contains(&status), "not one of active, pending, suspended")
}

impl Default for TryvoxOptions {
    fn default() -> Self {
        defaults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_be_an_api_are_refused() {
        assert!(base_url("http://127.0.0.1:8080/tryvox/").is_ok());
        for invalid in [
            "",
            "api.tryvox.io",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a?x=1",
            "https://a#x",
            "http://a:99999",
        ] {
            assert!(base_url(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn rates_keep_to_their_range() {
        assert_eq!(rate("0"), Ok(0.0));
        assert_eq!(rate("2.5"), Ok(2.5));
        for invalid in ["-1", "NaN", "inf", "1e-9", "fast", ""] {
            assert!(rate(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn filters_are_distinct_country_codes_and_documented_statuses() {
        assert_eq!(countries("US, CA,US"), Ok(vec!["US".to_owned(), "CA".to_owned()]));
        for invalid in ["", "us", "USA", "US,", "U1"] {
            assert!(countries(invalid).is_err(), "{invalid}");
        }
        assert_eq!(statuses("suspended"), Ok(vec!["suspended".to_owned()]));
        assert!(statuses("active,gone").is_err());
    }
}
