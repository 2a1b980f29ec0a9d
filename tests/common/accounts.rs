//! Many made-up accounts behind one mock API, and the configuration file that lists them.

use std::fmt::Write;
use std::path::Path;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tempfile::TempDir;

use super::api::{ApiRequest, MockApi, page};
use super::expected::{self, Series};

/// How the API responds to requests for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountBehavior {
    /// With its records.
    Valid,
    /// Never.
    Hanging,
    /// With status 401.
    Unauthorized,
}

const PER_PAGE: usize = 100;

/// Returns the records of an account, which differ between accounts. The account's ID is `acc_` and its
/// number.
pub(crate) fn records(account: usize, numbers: usize) -> Vec<String> {
    (0..numbers)
        .map(|number| {
            let mix = account * 7 + number;
            let country = ["US", "CA", "GB", "DE", "FR", "JP"][mix % 6];
            let kind = ["local", "toll_free", "mobile"][mix / 6 % 3];
            let status = ["active", "active", "active", "suspended", "pending"][mix % 5];
            let (fee, currency) = (format!("{}.{:03}", mix % 17, mix % 1000), ["USD", "EUR"][mix % 2]);
            format!(
                r#"{{"e164":"+1{account:06}{number:06}","country":"{country}","type":"{kind}","region":null,
                "status":"{status}","capabilities":[],"monthly_fee":{fee},"setup_fee":0.5,"currency":"{currency}",
                "trunk_id":null,"application_id":null,"created_at":"2025-03-11T09:24:00Z","updated_at":null}}"#
            )
        })
        .collect()
}

/// Returns the series that a correct exporter serves of a valid account.
pub(crate) fn expected_series(account: usize, numbers: usize) -> Series {
    expected::from_records(&format!("acc_{account}"), records(account, numbers).into_iter())
}

/// Starts an API with `numbers` numbers in each account.
pub(crate) async fn start_api(
    numbers: usize,
    kind: impl Fn(usize) -> AccountBehavior + Copy + Send + Sync + 'static,
) -> MockApi {
    MockApi::start(move |request| async move {
        let account = account_of(&request);
        match kind(account) {
            AccountBehavior::Valid => listing_page(account, numbers, request.page),
            AccountBehavior::Hanging => std::future::pending().await,
            AccountBehavior::Unauthorized => StatusCode::UNAUTHORIZED.into_response(),
        }
    })
    .await
}

/// Returns the number of the account that a request is for.
pub(crate) fn account_of(request: &ApiRequest) -> usize {
    request.uri.path().split('/').nth(3).unwrap().trim_start_matches("acc_").parse().unwrap()
}

fn listing_page(account: usize, numbers: usize, page_number: usize) -> Response {
    let start = ((page_number - 1) * PER_PAGE).min(numbers);
    let records = records(account, (start + PER_PAGE).min(numbers)).split_off(start);
    page(&records, numbers, page_number, numbers.div_ceil(PER_PAGE))
}

/// A configuration file in a directory of its own, which is removed on drop.
pub(crate) struct ConfigFile {
    directory: TempDir,
}

impl ConfigFile {
    /// Creates a file with this text.
    pub(crate) fn new(text: &str) -> Self {
        let file = Self { directory: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    /// Replaces the text of the file.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.directory.path().join("config.yml"), text).unwrap();
    }

    /// Returns the folder of the file, which exists as long as this value.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn flag(&self) -> String {
        format!("--config.file={}", self.directory.path().join("config.yml").display())
    }
}

/// Returns the text of a configuration file with these accounts.
pub(crate) fn config_text(url: &str, accounts: impl IntoIterator<Item = usize>) -> String {
    let mut text = format!("tryvox: {{url: '{url}', rate_limit: 0}}\naccounts:\n");
    for account in accounts {
        writeln!(text, "- {{account_id: acc_{account}}}").unwrap();
    }
    text
}
