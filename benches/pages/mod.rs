//! The pages of a simulated account, as they come over a network.

use std::time::SystemTime;

use bytes::Bytes;
use tryvox_exporter::simulator::SimulatedAccount;

/// Numbers of the account that is measured with.
pub(crate) const NUMBERS: usize = 20_000;
pub(crate) const PER_PAGE: usize = 100;

/// The pages of an account, as the API writes them.
#[derive(Debug)]
pub(crate) struct Pages(pub(crate) Vec<Bytes>);

/// Another account at each run.
pub(crate) fn world() -> SimulatedAccount {
    SimulatedAccount::new(NUMBERS, fastrand::u64(..), SystemTime::now())
}

impl Pages {
    pub(crate) fn of(world: &SimulatedAccount) -> Self {
        let records: Vec<&str> = world.records().collect();
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

    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}
