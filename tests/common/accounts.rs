//! Many made-up accounts behind one API, and the file that lists them.

use std::fmt::Write;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tempfile::TempDir;

use super::api::{Api, Asked, page};
use super::expected::{self, Series};

/// What an account is like; its id is `acc_` and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    Hanging,
    Refused,
}

const PER_PAGE: usize = 100;

/// The records of an account, which differ from those of any other.
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

/// What the exporter must say of a good account.
pub(crate) fn truth(account: usize, numbers: usize) -> Series {
    expected::from_records(&format!("acc_{account}"), records(account, numbers).into_iter())
}

/// An API with such accounts, each with so many numbers.
pub(crate) async fn api(numbers: usize, kind: impl Fn(usize) -> Kind + Copy + Send + Sync + 'static) -> Api {
    Api::start(move |asked| async move {
        let account = account_of(&asked);
        match kind(account) {
            Kind::Good => answer(account, numbers, asked.page),
            Kind::Hanging => std::future::pending().await,
            Kind::Refused => StatusCode::UNAUTHORIZED.into_response(),
        }
    })
    .await
}

/// The account that a request is for.
pub(crate) fn account_of(asked: &Asked) -> usize {
    asked.uri.path().split('/').nth(3).unwrap().trim_start_matches("acc_").parse().unwrap()
}

fn answer(account: usize, numbers: usize, number: usize) -> Response {
    let start = ((number - 1) * PER_PAGE).min(numbers);
    let records = records(account, (start + PER_PAGE).min(numbers)).split_off(start);
    page(&records, numbers, number, numbers.div_ceil(PER_PAGE))
}

/// A configuration file in a folder of its own.
pub(crate) struct File {
    folder: TempDir,
}

impl File {
    /// A file with this text.
    pub(crate) fn new(text: &str) -> Self {
        let file = Self { folder: tempfile::tempdir().unwrap() };
        file.write(text);
        file
    }

    /// Replaces the text.
    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.folder.path().join("config.yml"), text).unwrap();
    }

    pub(crate) fn flag(&self) -> String {
        format!("--config.file={}", self.folder.path().join("config.yml").display())
    }
}

/// The text of a file with these accounts.
pub(crate) fn text(url: &str, accounts: impl IntoIterator<Item = usize>) -> String {
    let mut text = format!("tryvox: {{url: '{url}', rate_limit: 0}}\naccounts:\n");
    for account in accounts {
        writeln!(text, "- {{account_id: acc_{account}}}").unwrap();
    }
    text
}
