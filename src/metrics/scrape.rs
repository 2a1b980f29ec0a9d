//! One answer to one scrape.

use std::sync::Arc;

use tokio::time::Instant;

use super::encode::{Format, Samples, push_header};
use super::exporter::{EXPORTER, Exporter};
use super::family::Family;
use super::inventory::INVENTORY;
use super::polling::{POLLING, Polled};
use crate::poller::Account;

/// Every family that is declared here, in the order of the exposition.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let inventory = INVENTORY.iter().map(|metric| &metric.family);
    let polling = POLLING.iter().map(|metric| &metric.family);
    let exporter = EXPORTER.iter().map(|metric| &metric.family);
    inventory.chain(polling).chain(exporter)
}

/// Everything there is to say at this moment, the process included.
#[must_use]
pub fn scrape(accounts: &[Arc<Account>], exporter: &Exporter, format: Format) -> String {
    let mut out = report(accounts, exporter, format);
    exporter.push_process(&mut out, format);
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// The same without the process: for a file that another process reads out together with its own.
///
/// Each account's state is taken once: all of its families are of the same listing.
#[must_use]
pub fn report(accounts: &[Arc<Account>], exporter: &Exporter, format: Format) -> String {
    let states: Vec<(&str, Polled)> = accounts.iter().map(|account| (account.name(), polled(account))).collect();
    let inventory: usize = states.iter().flat_map(|(_, polled)| chunks(polled)).map(String::len).sum();
    let mut out = String::with_capacity(inventory + (8 << 10) + (8 << 10) * states.len());

    for (index, metric) in INVENTORY.iter().enumerate() {
        push_family(&mut out, &metric.family, format, |out| {
            for chunk in states.iter().filter_map(|(_, polled)| chunks(polled).get(index)) {
                out.push_str(chunk);
            }
        });
    }
    for metric in POLLING {
        push_family(&mut out, &metric.family, format, |out| {
            for (account, polled) in &states {
                (metric.fill)(polled, &mut Samples::new(&metric.family, Some(account), format, out));
            }
        });
    }
    let configured = exporter.configured();
    for metric in EXPORTER {
        push_family(&mut out, &metric.family, format, |out| {
            (metric.fill)(&configured, &mut Samples::new(&metric.family, None, format, out));
        });
    }
    out
}

fn polled(account: &Arc<Account>) -> Polled {
    Polled {
        account: account.clone(),
        published: account.published(),
        requests: account.requests(),
        now: Instant::now(),
    }
}

fn chunks(polled: &Polled) -> &[String] {
    polled.current().map_or(&[], |kept| kept.encoded.as_slice())
}

/// A family without samples is left out, its header too.
fn push_family(out: &mut String, family: &Family, format: Format, samples: impl FnOnce(&mut String)) {
    let start = out.len();
    push_header(out, family, format);
    let header = out.len();
    samples(out);
    if out.len() == header {
        out.truncate(start);
    }
}
