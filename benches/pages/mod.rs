//! The pages of a simulated account, as response bodies in memory.

use std::time::SystemTime;

use bytes::Bytes;
use tryvox_exporter::simulator::SimulatedAccount;

/// How many numbers the simulated account has.
pub(crate) const NUMBERS: usize = 20_000;
pub(crate) const PER_PAGE: usize = 100;

/// The bodies of all pages of a listing, in order.
#[derive(Debug)]
pub(crate) struct Pages(pub(crate) Vec<Bytes>);

/// Creates an account with a random seed, so that no result depends on one particular account.
pub(crate) fn simulated_account() -> SimulatedAccount {
    SimulatedAccount::new(NUMBERS, fastrand::u64(..), SystemTime::now())
}

impl Pages {
    /// Renders the current listing of an account.
    pub(crate) fn new(account: &SimulatedAccount) -> Self {
        let records: Vec<&str> = account.records().collect();
        let (total, total_pages) = (records.len(), records.len().div_ceil(PER_PAGE));
        let page = |(index, records): (usize, &[&str])| {
            let pagination = format!(
                r#"{{"total":{total},"count":{},"per_page":{PER_PAGE},"current_page":{},"total_pages":{total_pages}}}"#,
                records.len(),
                index + 1
            );
            format!(r#"{{"data":[{}],"pagination":{pagination}}}"#, records.join(",")).into()
        };
        Self(records.chunks(PER_PAGE).enumerate().map(page).collect())
    }

    /// Returns the total size of all pages in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}
